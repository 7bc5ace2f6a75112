//! Where an option's value stands: on the command line, else in the environment. Every sentence about a value names it.

use std::ffi::{OsStr, OsString};

use crate::cli::variable_of;
use crate::error::Error;
use crate::error::phrase::Quoted;

/// The variables that dlock reads, taken once.
#[derive(Debug, Clone, Default)]
pub struct Environment(Vec<(String, OsString)>);

/// The places where options stand, the one that counts most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    CommandLine,
    Environment,
}

impl Level {
    pub(super) const ALL: [Self; 2] = [Self::CommandLine, Self::Environment];
}

/// A value, and the name under which it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated<T> {
    pub value: T,
    /// `--ttl` or `DLOCK_TTL`.
    pub name: String,
    pub level: Level,
}

impl<T> Stated<T> {
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Stated<U> {
        Stated { value: change(self.value), name: self.name, level: self.level }
    }
}

impl<T: AsRef<str>> Stated<T> {
    /// The sentence for a value that does not do.
    pub(super) fn invalid(&self, reason: impl std::fmt::Display) -> Error {
        Error::usage(format!("invalid {} {}: {reason}", self.name, Quoted(self.value.as_ref())))
    }
}

impl Environment {
    /// Of this process.
    #[must_use]
    pub fn inherited() -> Self {
        let is_read = |name: &str| name.starts_with("DLOCK_") || name == "SHELL" || name == "SSL_CERT_FILE";
        let readable = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(readable.filter(|(name, _)| is_read(name)).collect())
    }

    /// An empty variable is unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.get_even_empty(name).filter(|value| !value.is_empty())
    }

    #[must_use]
    pub fn get_even_empty(&self, name: &str) -> Option<&OsStr> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// A variable's text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<Stated<String>>, Error> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let value = value.to_str().ok_or_else(|| Error::usage(format!("{name} is not valid UTF-8")))?;
        Ok(Some(Stated { value: value.to_owned(), name: name.to_owned(), level: Level::Environment }))
    }
}

#[cfg(test)]
impl Environment {
    pub fn of(variables: &[(&str, &str)]) -> Self {
        Self(variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect())
    }
}

/// The option's text at one level.
///
/// # Errors
/// When the variable is not UTF-8.
pub(super) fn text_at(
    level: Level,
    flag: Option<&String>,
    long: &str,
    environment: &Environment,
) -> Result<Option<Stated<String>>, Error> {
    match level {
        Level::CommandLine => Ok(flag.map(|value| on_command_line(value.clone(), long))),
        Level::Environment => environment.text(&variable_of(long)),
    }
}

/// The option's text, from the highest level that has it.
///
/// # Errors
/// When the variable is not UTF-8.
pub(super) fn text(
    flag: Option<&String>,
    long: &str,
    environment: &Environment,
) -> Result<Option<Stated<String>>, Error> {
    match flag {
        Some(_) => text_at(Level::CommandLine, flag, long, environment),
        None => text_at(Level::Environment, flag, long, environment),
    }
}

/// The option's path, from the highest level that has it.
#[must_use]
pub(super) fn path(
    flag: Option<&std::path::PathBuf>,
    long: &str,
    environment: &Environment,
) -> Option<Stated<OsString>> {
    let variable = variable_of(long);
    let from_environment = || {
        let value = environment.get(&variable)?.to_owned();
        Some(Stated { value, name: variable.clone(), level: Level::Environment })
    };
    flag.map(|path| on_command_line(path.clone().into_os_string(), long)).or_else(from_environment)
}

/// The switch at one level; `None` when nothing is said there.
///
/// # Errors
/// When the variable says neither yes nor no.
pub(super) fn switch_at(
    level: Level,
    flag: bool,
    long: &str,
    environment: &Environment,
) -> Result<Option<bool>, Error> {
    if level == Level::CommandLine {
        return Ok(flag.then_some(true));
    }
    let Some(stated) = environment.text(&variable_of(long))? else { return Ok(None) };
    match stated.value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(Some(true)),
        "0" | "false" | "no" | "off" => Ok(Some(false)),
        _ => Err(stated.invalid("use 1 or 0, true or false, yes or no, on or off")),
    }
}

/// How an option is called at a level.
#[must_use]
pub(super) fn name_at(level: Level, long: &str) -> String {
    match level {
        Level::CommandLine => format!("--{long}"),
        Level::Environment => variable_of(long),
    }
}

pub(super) fn on_command_line<T>(value: T, long: &str) -> Stated<T> {
    Stated { value, name: format!("--{long}"), level: Level::CommandLine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let environment = Environment::of(&[("DLOCK_TTL", "9s")]);
        let flag = "5s".to_owned();
        let stated = text(Some(&flag), "ttl", &environment).expect("UTF-8").expect("stated");
        assert_eq!((stated.value.as_str(), stated.name.as_str()), ("5s", "--ttl"));
        let stated = text(None, "ttl", &environment).expect("UTF-8").expect("stated");
        assert_eq!((stated.value.as_str(), stated.name.as_str()), ("9s", "DLOCK_TTL"));
    }

    #[test]
    fn an_empty_variable_is_unset() {
        let environment = Environment::of(&[("DLOCK_TTL", "")]);
        assert_eq!(text(None, "ttl", &environment).expect("UTF-8"), None);
    }

    #[test]
    fn switches_understand_eight_words_and_refuse_the_rest() {
        for (word, meant) in [("1", true), ("TRUE", true), ("yes", true), ("On", true)].into_iter().chain([
            ("0", false),
            ("false", false),
            ("No", false),
            ("off", false),
        ]) {
            let environment = Environment::of(&[("DLOCK_QUIET", word)]);
            let read = switch_at(Level::Environment, false, "quiet", &environment).expect("a known word");
            assert_eq!(read, Some(meant), "{word}");
        }
        let environment = Environment::of(&[("DLOCK_QUIET", "maybe")]);
        let error = switch_at(Level::Environment, false, "quiet", &environment).expect_err("no known word");
        assert_eq!(
            error.to_string(),
            r#"invalid DLOCK_QUIET "maybe": use 1 or 0, true or false, yes or no, on or off"#
        );
    }
}
