//! What to do when somebody else holds the lock.

use std::time::Duration;

use super::source::{Environment, Level, switch_at, text, text_at};
use super::{Contest, Wait, duration};
use crate::cli;
use crate::error::{Error, Refusal};

/// # Errors
/// When an option is invalid, or two exclude each other.
pub(super) fn contest(typed: &cli::Contest, environment: &Environment) -> Result<Contest, Error> {
    let max_waiters = max_waiters(typed, environment)?;
    let wait = wait(typed, environment)?;
    Ok(Contest {
        wait: if max_waiters == Some(0) { Wait::Refuse } else { wait },
        max_waiters,
        jitter: jitter(typed, environment)?,
        conflict_status: conflict_status(typed, environment)?,
    })
}

/// The same for `acquire`, whose success must mean that there is a lock. A 0 that a file has for the jobs of cron is none
/// of its business.
///
/// # Errors
/// As for [`contest`], and when `-E 0` was typed or stands in the environment.
pub(super) fn of_acquire(typed: &cli::Contest, environment: &Environment) -> Result<Contest, Error> {
    let contest = contest(typed, environment)?;
    if contest.conflict_status != 0 {
        return Ok(contest);
    }
    let stated = text(typed.conflict_exit_code.as_ref(), "conflict-exit-code", environment)?;
    match stated.map(|stated| stated.level) {
        Some(Level::CommandLine | Level::Environment) => {
            Err(Error::usage("-E 0 is not for acquire: a script must not go on without the lock"))
        }
        _ => Ok(Contest { conflict_status: Refusal::STATUS, ..contest }),
    }
}

/// {-n, -w} is one setting: the highest level that names one of them decides.
fn wait(typed: &cli::Contest, environment: &Environment) -> Result<Wait, Error> {
    for level in Level::ALL {
        let nonblock = switch_at(level, typed.nonblock, "nonblock", environment)?;
        let wait = text_at(level, typed.wait.as_ref(), "wait", environment)?;
        match (nonblock, wait) {
            (Some(true), Some(_)) => return Err(exclusive(environment, level, "nonblock", "wait")),
            (Some(true), None) => return Ok(Wait::Refuse),
            (_, Some(wait)) => {
                let limit = duration::parse(&wait.value).map_err(|reason| wait.invalid(reason))?;
                return Ok(if limit.is_zero() { Wait::Refuse } else { Wait::For(limit) });
            }
            (Some(false), None) => return Ok(Wait::Forever),
            (None, None) => {}
        }
    }
    Ok(Wait::Forever)
}

fn max_waiters(typed: &cli::Contest, environment: &Environment) -> Result<Option<usize>, Error> {
    let Some(stated) = text(typed.max_waiters.as_ref(), "max-waiters", environment)? else { return Ok(None) };
    // `usize::from_str` takes a plus sign; nobody types one on purpose.
    let is_number = stated.value.bytes().all(|byte| byte.is_ascii_digit());
    let most = stated.value.parse().ok().filter(|_| is_number);
    most.map(Some).ok_or_else(|| stated.invalid("waiters are a whole number, 0 to give up as soon as the lock is held"))
}

fn jitter(typed: &cli::Contest, environment: &Environment) -> Result<Duration, Error> {
    match text(typed.jitter.as_ref(), "jitter", environment)? {
        Some(stated) => duration::parse(&stated.value).map_err(|reason| stated.invalid(reason)),
        None => Ok(Duration::ZERO),
    }
}

fn conflict_status(typed: &cli::Contest, environment: &Environment) -> Result<u8, Error> {
    let Some(stated) = text(typed.conflict_exit_code.as_ref(), "conflict-exit-code", environment)? else {
        return Ok(Refusal::STATUS);
    };
    // `u8::from_str` takes a plus sign; nobody types one on purpose.
    let is_number = stated.value.bytes().all(|byte| byte.is_ascii_digit());
    let status = stated.value.parse().ok().filter(|_| is_number);
    status.ok_or_else(|| stated.invalid("an exit status is a number from 0 to 255"))
}

pub(super) fn exclusive(environment: &Environment, level: Level, one: &str, other: &str) -> Error {
    let [one, other] = [one, other].map(|long| environment.name_at(level, long));
    level.error(format!("{one} and {other} exclude each other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(nonblock: bool, wait: Option<&str>) -> cli::Contest {
        cli::Contest { nonblock, wait: wait.map(str::to_owned), ..cli::Contest::default() }
    }

    fn decided(typed: &cli::Contest, variables: &[(&str, &str)]) -> Result<Wait, String> {
        contest(typed, &Environment::of(variables)).map(|contest| contest.wait).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_dlock_waits_for_ever() {
        assert_eq!(decided(&typed(false, None), &[]), Ok(Wait::Forever));
    }

    #[test]
    fn behind_no_waiter_at_all_is_not_waiting_either() {
        let typed = |text: &str| cli::Contest { max_waiters: Some(text.to_owned()), ..cli::Contest::default() };
        assert_eq!(decided(&typed("0"), &[]), Ok(Wait::Refuse));
        assert_eq!(decided(&typed("3"), &[]), Ok(Wait::Forever));
        for text in ["-1", "+1", "1.5", "many", ""] {
            assert!(decided(&typed(text), &[]).is_err(), "{text}");
        }
    }

    #[test]
    fn waiting_for_no_time_is_not_waiting() {
        assert_eq!(decided(&typed(false, Some("0")), &[]), Ok(Wait::Refuse));
        assert_eq!(decided(&typed(false, Some("0.2")), &[]), Ok(Wait::For(Duration::from_millis(200))));
    }

    #[test]
    fn nonblock_and_wait_exclude_each_other_on_one_level() {
        assert_eq!(decided(&typed(true, Some("5")), &[]), Err("--nonblock and --wait exclude each other".into()));
        let both = [("DLOCK_NONBLOCK", "1"), ("DLOCK_WAIT", "5")];
        assert_eq!(decided(&typed(false, None), &both), Err("DLOCK_NONBLOCK and DLOCK_WAIT exclude each other".into()));
    }

    #[test]
    fn the_highest_level_that_names_a_member_decides() {
        assert_eq!(decided(&typed(true, None), &[("DLOCK_WAIT", "5")]), Ok(Wait::Refuse));
        let waited = Ok(Wait::For(Duration::from_secs(5)));
        assert_eq!(decided(&typed(false, Some("5")), &[("DLOCK_NONBLOCK", "1")]), waited);
        // What does not count is not even read.
        assert_eq!(decided(&typed(false, Some("5")), &[("DLOCK_NONBLOCK", "perhaps")]), waited);
        assert_eq!(decided(&typed(false, None), &[("DLOCK_NONBLOCK", "no"), ("DLOCK_WAIT", "5")]), waited);
    }

    #[test]
    fn the_conflict_status_is_a_byte_or_refused() {
        let status = |text: &str| {
            let typed = cli::Contest { conflict_exit_code: Some(text.to_owned()), ..typed(false, None) };
            contest(&typed, &Environment::default()).map(|contest| contest.conflict_status)
        };
        assert_eq!(status("0").ok(), Some(0));
        assert_eq!(status("255").ok(), Some(255));
        for text in ["256", "-1", "+1", "1.0", "", "abc"] {
            let sentence = status(text).expect_err(text).to_string();
            assert_eq!(
                sentence,
                format!("invalid --conflict-exit-code {text:?}: an exit status is a number from 0 to 255")
            );
        }
        let default = contest(&typed(false, None), &Environment::default()).expect("defaults are valid");
        assert_eq!(default.conflict_status, 75);
    }
}
