//! Where an option's value stands: on the command line, else in the environment, else in a file. Every sentence about a
//! value names it.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::deployment::SECRETS;
use super::files::{Files, Place};
use super::secrets;
use crate::cli::{self, is_variable_of, variable_of};
use crate::error::Error;
use crate::error::phrase::Quoted;
use crate::sys::users;

/// Of the whole host.
const SYSTEM_FILE: &str = "/etc/dlock/config.toml";

/// Of one user, below the home directory. Never from XDG variables: cron does not set them, and a shell and a cron job
/// must find the same file.
const USER_FILE: &str = ".config/dlock/config.toml";

/// What dlock is told beside the command line: the variables that it reads, taken once, and the settings of files.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: Vec<(String, OsString)>,
    files: Files,
    /// Whether this host's own files count.
    reads_host: bool,
}

/// The places where options stand, the one that counts most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    CommandLine,
    Environment,
    UserProfile,
    User,
    SystemProfile,
    System,
}

impl Level {
    pub(super) const ALL: [Self; 6] =
        [Self::CommandLine, Self::Environment, Self::UserProfile, Self::User, Self::SystemProfile, Self::System];

    /// The failure for a value that stands here and does not do.
    pub(super) fn error(self, sentence: impl Into<String>) -> Error {
        match self {
            Self::CommandLine | Self::Environment => Error::usage(sentence),
            _ => Error::Configuration(sentence.into()),
        }
    }
}

/// A value, and the name under which it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated<T> {
    pub value: T,
    /// `--ttl`, `DLOCK_TTL` or `ttl in /etc/dlock/config.toml line 3`.
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
        let comma = if self.level <= Level::Environment { "" } else { "," };
        self.level.error(format!("invalid {}{comma} {}: {reason}", self.name, Quoted(self.value.as_ref())))
    }
}

impl Environment {
    /// Of this process and this host.
    #[must_use]
    pub fn inherited() -> Self {
        let others = ["SHELL", "SSL_CERT_FILE", "HOME", "NO_COLOR", "TERM"];
        let is_read = |name: &str| name.starts_with("DLOCK_") || others.contains(&name);
        let readable = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let variables: Vec<(String, OsString)> = readable.filter(|(name, _)| is_read(name)).collect();
        if variables.iter().any(|(name, _)| SECRETS.contains(&name.as_str())) {
            secrets::guard();
        }
        Self { variables, files: Files::default(), reads_host: true }
    }

    /// Of these variables alone: nothing of this host counts.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        Self { variables: variables.collect(), ..Self::default() }
    }

    /// With what the files say that `typed` and the variables name.
    ///
    /// # Errors
    /// When something in a file is wrong, or a file or profile that was named is missing.
    pub(super) fn with_files(&self, typed: &cli::Files) -> Result<Self, Error> {
        let named = path(typed.config.as_ref(), "config", self);
        let profile = text(typed.profile.as_ref(), "profile", self)?;
        let named = named.map(|named| named.map(|path| std::path::absolute(&path).unwrap_or(PathBuf::from(path))));
        // What comes through a pipe (`--config <(…)`) is there once.
        let lasting = named.as_ref().filter(|named| named.value.is_file());
        let chosen = [
            ("config", lasting.and_then(|named| named.value.to_str())),
            ("profile", profile.as_ref().map(|profile| profile.value.as_str())),
        ];
        let chosen = chosen.map(|(long, value)| value.map(|value| (variable_of(long), Some(value.to_owned()))));
        let user = match named {
            Some(named) => Some((named.value, Some(named.name))),
            None => self.home().map(|home| (home.join(USER_FILE), None)),
        };
        let user = user.map(|(path, named_as)| {
            let (profile, base) = (Level::UserProfile, Level::User);
            Place { path, named_as, profile, base }
        });
        let system = self.reads_host.then(|| {
            let (profile, base) = (Level::SystemProfile, Level::System);
            Place { path: PathBuf::from(SYSTEM_FILE), named_as: None, profile, base }
        });
        let mut files = Files::read(user.into_iter().chain(system).collect(), profile.as_ref())?;
        files.variables = chosen.into_iter().flatten().collect();
        Ok(Self { files, ..self.clone() })
    }

    /// The names of the profiles that these files have; none when something in them is wrong.
    #[must_use]
    pub fn profiles(&self, typed: &cli::Files) -> Vec<String> {
        let files = cli::Files { profile: None, ..typed.clone() };
        let mut unchosen = self.clone();
        unchosen.variables.retain(|(name, _)| *name != variable_of("profile"));
        unchosen.with_files(&files).map(|environment| environment.files.profiles).unwrap_or_default()
    }

    /// Services and `env -i` have no `HOME`; their user has the same file all the same.
    fn home(&self) -> Option<PathBuf> {
        let home = self.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        home.or_else(|| self.reads_host.then(users::home).flatten())
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// An empty variable is unset.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.get_even_empty(name).filter(|value| !value.is_empty())
    }

    #[must_use]
    pub fn get_even_empty(&self, name: &str) -> Option<&OsStr> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }

    /// A variable's text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub(super) fn text(&self, name: &str) -> Result<Option<Stated<String>>, Error> {
        self.get(name).map(|value| stated(name, value)).transpose()
    }

    /// The text of the variable that stands for `--long`.
    ///
    /// # Errors
    /// When it is not UTF-8.
    fn text_of_option(&self, long: &str) -> Result<Option<Stated<String>>, Error> {
        self.of_option(long).map(|(name, value)| stated(name, value)).transpose()
    }

    /// The variable that stands for `--long`, with its name, unless it is empty.
    fn of_option(&self, long: &str) -> Option<(&str, &OsStr)> {
        let (name, value) = self.variables.iter().find(|(name, _)| is_variable_of(name, long))?;
        (!value.is_empty()).then_some((name, value))
    }

    /// How an option is called at a level.
    #[must_use]
    pub(super) fn name_at(&self, level: Level, long: &str) -> String {
        match level {
            Level::CommandLine => format!("--{long}"),
            Level::Environment => variable_of(long),
            _ => self.files.name_at(level, long),
        }
    }
}

fn stated(name: &str, value: &OsStr) -> Result<Stated<String>, Error> {
    let value = value.to_str().ok_or_else(|| Error::usage(format!("{name} is not valid UTF-8")))?;
    Ok(Stated { value: value.to_owned(), name: name.to_owned(), level: Level::Environment })
}

#[cfg(test)]
impl Environment {
    pub(super) fn of_files(files: Files) -> Self {
        Self { files, ..Self::default() }
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
        Level::Environment => environment.text_of_option(long),
        _ => Ok(environment.files.text(level, long)),
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
    for level in Level::ALL {
        if let Some(stated) = text_at(level, flag, long, environment)? {
            return Ok(Some(stated));
        }
    }
    Ok(None)
}

/// The option's path, from the highest level that has it.
#[must_use]
pub(super) fn path(flag: Option<&PathBuf>, long: &str, environment: &Environment) -> Option<Stated<OsString>> {
    let at = |level| match level {
        Level::CommandLine => flag.map(|path| on_command_line(path.clone().into_os_string(), long)),
        Level::Environment => {
            let (name, value) = environment.of_option(long)?;
            Some(Stated { value: value.to_owned(), name: name.to_owned(), level })
        }
        _ => environment.files.path(level, long).map(|stated| stated.map(PathBuf::into_os_string)),
    };
    Level::ALL.into_iter().find_map(at)
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
    match level {
        Level::CommandLine => return Ok(flag.then_some(true)),
        Level::Environment => {}
        _ => return Ok(environment.files.switch(level, long)),
    }
    let Some(stated) = environment.text_of_option(long)? else { return Ok(None) };
    match stated.value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(Some(true)),
        "0" | "false" | "no" | "off" => Ok(Some(false)),
        _ => Err(stated.invalid("use 1 or 0, true or false, yes or no, on or off")),
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
