//! When and how dlock itself stops the command, and what a lost lease or a left-over process means.

use std::time::Duration;

use super::source::{Environment, Level, Stated, text};
use super::{Descendants, OnLost, Stopping, duration};
use crate::cli;
use crate::error::Error;
use crate::error::phrase::Grace;
use crate::lock::Ttl;
use crate::lock::pace::{Upkeep, check_grace};
use crate::sys::signals;

/// Signals that hold a process or wake it, but never end one.
const NEVER_ENDS: [i32; 5] = [libc::SIGSTOP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU, libc::SIGCONT];

/// # Errors
/// When an option is invalid.
pub(super) fn stopping(typed: &cli::Stopping, environment: &Environment) -> Result<Stopping, Error> {
    let kill_after = text(typed.kill_after.as_ref(), "kill-after", environment)?;
    Ok(Stopping {
        kill_after: kill_after.map(|stated| length(&stated)).transpose()?,
        signal: signal(typed, environment)?,
        max_runtime: max_runtime(typed, environment)?,
        on_lost: on_lost(typed, environment)?,
        descendants: descendants(typed, environment)?,
    })
}

/// Refuses a grace that leaves no room for renewing a lease of `ttl`. What only a server can tell, the length of a
/// session that nobody named, is left to the moment of the grant. `level`: where the grace was named.
///
/// # Errors
/// With the sums and the TTL that would do.
pub(super) fn check(stopping: &Stopping, ttl: Ttl, upkeep: Option<Upkeep>, level: Level) -> Result<(), Error> {
    let (Some(grace), Some(upkeep)) = (stopping.kill_after, upkeep) else { return Ok(()) };
    if upkeep == Upkeep::Session && matches!(ttl, Ttl::Default(_)) {
        return Ok(());
    }
    check_grace(ttl.duration(), grace, upkeep).map_err(|sums| level.error(Grace(&sums).to_string()))
}

/// Where `--kill-after` was named.
///
/// # Errors
/// When the variable is not UTF-8.
pub(super) fn grace_level(typed: &cli::Stopping, environment: &Environment) -> Result<Level, Error> {
    let stated = text(typed.kill_after.as_ref(), "kill-after", environment)?;
    Ok(stated.map_or(Level::CommandLine, |stated| stated.level))
}

fn length(stated: &Stated<String>) -> Result<Duration, Error> {
    duration::parse(&stated.value).map_err(|reason| stated.invalid(reason))
}

fn signal(typed: &cli::Stopping, environment: &Environment) -> Result<i32, Error> {
    let Some(stated) = text(typed.stop_signal.as_ref(), "stop-signal", environment)? else {
        return Ok(libc::SIGTERM);
    };
    match signals::by_name(&stated.value) {
        None => Err(stated.invalid("there is no such signal; use a name or a number, as TERM, SIGINT, 15 or RTMIN+3")),
        Some(signal) if NEVER_ENDS.contains(&signal) => {
            Err(stated.invalid("that signal ends no process; use TERM, INT, HUP, QUIT or another that does"))
        }
        Some(signal) => Ok(signal),
    }
}

fn max_runtime(typed: &cli::Stopping, environment: &Environment) -> Result<Option<Duration>, Error> {
    let Some(stated) = text(typed.max_runtime.as_ref(), "max-runtime", environment)? else { return Ok(None) };
    match length(&stated)? {
        Duration::ZERO => Err(stated.invalid("no command is done in no time; leave the option out for no limit")),
        limit => Ok(Some(limit)),
    }
}

fn on_lost(typed: &cli::Stopping, environment: &Environment) -> Result<OnLost, Error> {
    let Some(stated) = text(typed.on_lost.as_ref(), "on-lost", environment)? else { return Ok(OnLost::Kill) };
    match stated.value.as_str() {
        "kill" => Ok(OnLost::Kill),
        "warn" => Ok(OnLost::Warn),
        _ => Err(stated.invalid("use kill (stop the command) or warn (say so and leave it alone)")),
    }
}

fn descendants(typed: &cli::Stopping, environment: &Environment) -> Result<Descendants, Error> {
    let stated = text(typed.descendants.as_ref(), "descendants", environment)?;
    let Some(stated) = stated else { return Ok(Descendants::Ignore) };
    match stated.value.as_str() {
        "ignore" => Ok(Descendants::Ignore),
        "wait" => Ok(Descendants::Wait),
        "kill" => Ok(Descendants::Kill),
        _ => Err(stated.invalid(
            "use ignore (release the lock and leave them), wait (until they have ended) or kill (stop them first)",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut cli::Stopping)) -> Result<Stopping, String> {
        let mut typed = cli::Stopping::default();
        change(&mut typed);
        stopping(&typed, &Environment::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_nobody_says_has_its_default() {
        let stopping = with(|_| ()).expect("defaults are valid");
        assert_eq!((stopping.kill_after, stopping.max_runtime, stopping.signal), (None, None, libc::SIGTERM));
        assert_eq!((stopping.on_lost, stopping.descendants), (OnLost::Kill, Descendants::Ignore));
    }

    #[test]
    fn each_option_can_stand_in_the_environment() {
        let environment = Environment::of(&[
            ("DLOCK_KILL_AFTER", "2s"),
            ("DLOCK_STOP_SIGNAL", "int"),
            ("DLOCK_MAX_RUNTIME", "1h"),
            ("DLOCK_ON_LOST", "warn"),
            ("DLOCK_DESCENDANTS", "wait"),
        ]);
        let stopping = stopping(&cli::Stopping::default(), &environment).expect("all are valid");
        assert_eq!(stopping.kill_after, Some(Duration::from_secs(2)));
        assert_eq!(stopping.max_runtime, Some(Duration::from_secs(3600)));
        assert_eq!((stopping.signal, stopping.on_lost), (libc::SIGINT, OnLost::Warn));
        assert_eq!(stopping.descendants, Descendants::Wait);
    }

    #[test]
    fn a_signal_that_ends_nothing_is_refused_and_so_is_one_that_there_is_not() {
        for name in ["STOP", "sigcont", "TSTP", "19"] {
            let sentence = with(|typed| typed.stop_signal = Some(name.to_owned())).expect_err(name);
            assert!(sentence.contains("ends no process"), "{sentence}");
        }
        for name in ["", "TERMINATE", "0", "65", "-1", "RTMIN+99", "32"] {
            let environment = Environment::default();
            let typed = cli::Stopping { stop_signal: Some(name.to_owned()), ..cli::Stopping::default() };
            let sentence = stopping(&typed, &environment).expect_err(name).to_string();
            assert!(sentence.contains("there is no such signal"), "{sentence}");
        }
    }

    #[test]
    fn a_grace_is_checked_where_the_lease_is_known() {
        let stopping = with(|typed| typed.kill_after = Some("10s".to_owned())).expect("a duration");
        let short = Ttl::Exactly(Duration::from_secs(15));
        let sentence = check(&stopping, short, Some(Upkeep::Expiry), Level::CommandLine)
            .expect_err("15 s are too short")
            .to_string();
        assert!(sentence.contains("use --ttl 27s 500ms or more"), "{sentence}");
        let in_a_file = check(&stopping, short, Some(Upkeep::Expiry), Level::System);
        assert!(matches!(in_a_file, Err(Error::Configuration(_))));
        assert!(check(&stopping, short, None, Level::CommandLine).is_ok(), "a kernel lock has no lease");
        assert!(
            check(&stopping, Ttl::Default(Duration::from_secs(15)), Some(Upkeep::Session), Level::CommandLine).is_ok()
        );
        assert!(check(&stopping, short, Some(Upkeep::Session), Level::CommandLine).is_err());
    }
}
