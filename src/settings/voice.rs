//! How much is said on standard error, and in which form.

use super::contest::exclusive;
use super::source::{Environment, Level, switch_at, text};
use crate::cli;
use crate::error::Error;

/// How dlock talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voice {
    pub volume: Volume,
    pub format: LogFormat,
    pub color: Color,
}

impl Voice {
    /// Where nobody has said anything, or nobody knows what was said.
    pub const NORMAL: Self = Self { volume: Volume::Normal, format: LogFormat::Text, color: Color::Never };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// Failures only, and not even "held by somebody else".
    Quiet,
    Normal,
    Verbose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One object a line, as `docs/log-events.md` tells.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Color {
    OnTerminals,
    Always,
    Never,
}

/// # Errors
/// When a value is invalid, or `-q` and `-v` stand on one level.
pub(super) fn voice(typed: &cli::Voice, environment: &Environment) -> Result<Voice, Error> {
    Ok(Voice {
        volume: volume(typed, environment)?,
        format: format(typed, environment)?,
        color: color(typed, environment)?,
    })
}

/// The form for a failure that came before the settings were known: as far as it can be told what was wanted.
#[must_use]
pub fn voice_of_failures(typed: &cli::Voice, files: &cli::Files, environment: &Environment) -> Voice {
    let with_files = environment.with_files(files);
    let environment = with_files.as_ref().unwrap_or(environment);
    Voice {
        format: format(typed, environment).unwrap_or(LogFormat::Text),
        color: color(typed, environment).unwrap_or(Color::Never),
        ..Voice::NORMAL
    }
}

/// {-q, -v} is one setting: the highest level that names one of them decides.
///
/// # Errors
/// When both stand on one level.
fn volume(typed: &cli::Voice, environment: &Environment) -> Result<Volume, Error> {
    for level in Level::ALL {
        let quiet = switch_at(level, typed.quiet, "quiet", environment)?;
        let verbose = switch_at(level, typed.verbose, "verbose", environment)?;
        match (quiet, verbose) {
            (Some(true), Some(true)) => return Err(exclusive(environment, level, "quiet", "verbose")),
            (Some(true), _) => return Ok(Volume::Quiet),
            (_, Some(true)) => return Ok(Volume::Verbose),
            (Some(false), _) | (_, Some(false)) => return Ok(Volume::Normal),
            (None, None) => {}
        }
    }
    Ok(Volume::Normal)
}

fn format(typed: &cli::Voice, environment: &Environment) -> Result<LogFormat, Error> {
    let Some(stated) = text(typed.log_format.as_ref(), "log-format", environment)? else { return Ok(LogFormat::Text) };
    match stated.value.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(stated.invalid("use text or json")),
    }
}

/// Whoever names a colour rule means it; `NO_COLOR` and a terminal without colours speak where nobody does.
fn color(typed: &cli::Voice, environment: &Environment) -> Result<Color, Error> {
    match text(typed.color.as_ref(), "color", environment)? {
        Some(stated) => match stated.value.as_str() {
            "auto" => Ok(unless_disliked(environment)),
            "always" => Ok(Color::Always),
            "never" => Ok(Color::Never),
            _ => Err(stated.invalid("use auto, always or never")),
        },
        None => Ok(unless_disliked(environment)),
    }
}

fn unless_disliked(environment: &Environment) -> Color {
    let is_dumb = environment.get("TERM").is_some_and(|kind| kind == "dumb");
    if environment.get("NO_COLOR").is_some() || is_dumb { Color::Never } else { Color::OnTerminals }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(log_format: Option<&str>, color: Option<&str>) -> cli::Voice {
        let [log_format, color] = [log_format, color].map(|text| text.map(str::to_owned));
        cli::Voice { log_format, color, ..cli::Voice::default() }
    }

    #[test]
    fn a_quiet_command_line_outranks_a_verbose_environment() {
        let quiet = cli::Voice { quiet: true, ..cli::Voice::default() };
        let environment = Environment::of(&[("DLOCK_VERBOSE", "1")]);
        let volume = |typed: &cli::Voice| voice(typed, &environment).expect("one member each").volume;
        assert_eq!(volume(&quiet), Volume::Quiet);
        assert_eq!(volume(&cli::Voice::default()), Volume::Verbose);
        let both = cli::Voice { verbose: true, ..quiet };
        assert!(voice(&both, &environment).is_err());
    }

    #[test]
    fn colours_are_for_terminals_unless_somebody_decides() {
        let decided = |flag: Option<&str>, variables: &[(&str, &str)]| {
            voice(&typed(None, flag), &Environment::of(variables)).map(|voice| voice.color).ok()
        };
        assert_eq!(decided(None, &[]), Some(Color::OnTerminals));
        assert_eq!(decided(None, &[("NO_COLOR", "1")]), Some(Color::Never));
        assert_eq!(decided(None, &[("NO_COLOR", "")]), Some(Color::OnTerminals));
        assert_eq!(decided(None, &[("TERM", "dumb")]), Some(Color::Never));
        assert_eq!(decided(Some("auto"), &[("NO_COLOR", "1")]), Some(Color::Never));
        assert_eq!(decided(Some("always"), &[("NO_COLOR", "1")]), Some(Color::Always));
        assert_eq!(decided(Some("never"), &[]), Some(Color::Never));
        assert_eq!(decided(None, &[("DLOCK_COLOR", "always"), ("NO_COLOR", "1")]), Some(Color::Always));
        assert_eq!(decided(Some("sometimes"), &[]), None);
    }

    #[test]
    fn a_failure_speaks_in_the_form_that_was_asked_for_as_far_as_that_is_known() {
        let format = |flag: Option<&str>, variables: &[(&str, &str)]| {
            voice_of_failures(&typed(flag, None), &cli::Files::default(), &Environment::of(variables)).format
        };
        assert_eq!(format(None, &[]), LogFormat::Text);
        assert_eq!(format(Some("json"), &[]), LogFormat::Json);
        assert_eq!(format(None, &[("DLOCK_LOG_FORMAT", "json"), ("DLOCK_PROFILE", "missing")]), LogFormat::Json);
        assert_eq!(format(Some("xml"), &[]), LogFormat::Text);
    }
}
