//! What is said of a lock while its command runs and when it ends.

use std::ffi::OsStr;
use std::time::Duration;

use crate::error::phrase::{Escaped, Exact, Listed, Quoted, Rough};
use crate::lock::keep_alive::Ended;
use crate::lock::{BackendError, Keys, Lease, LockKey};
use crate::settings::{OnLost, RunSettings};

#[must_use]
pub fn acquired(lease: &Lease) -> String {
    let key = Quoted(lease.key.as_str());
    let fence = lease.fence.map(|fence| format!(" with fencing token {fence}")).unwrap_or_default();
    // As granted, which may be another one than the default.
    let lasts = lease.renew_every.map(|_| format!(", lease {}", humantime::format_duration(lease.ttl)));
    format!("acquired {key}{fence}{}", lasts.unwrap_or_default())
}

#[must_use]
pub fn renewed(key: &LockKey) -> String {
    format!("renewed {}", Quoted(key.as_str()))
}

/// `left`: for how long the lease can still be believed.
#[must_use]
pub fn renewal_failed(key: &LockKey, error: &BackendError, left: Option<Duration>) -> String {
    let left = Rough(left.unwrap_or_default());
    format!(
        "cannot renew {}: {}; trying again, the lease lasts another {left}",
        Quoted(key.as_str()),
        Escaped(&error.message)
    )
}

#[must_use]
pub fn released(key: &LockKey) -> String {
    format!("released {}", Quoted(key.as_str()))
}

/// Said at the instant of loss.
#[must_use]
pub fn lost(settings: &RunSettings, key: &LockKey, ended: &std::io::Result<Ended>) -> String {
    let key = Quoted(key.as_str());
    let why = match ended {
        Ok(Ended::Unrenewed(Some(error))) => {
            format!("it could not be renewed in time ({})", Escaped(&error.message))
        }
        Ok(Ended::Unrenewed(None)) => "its lease ran out while dlock was not running".to_owned(),
        Ok(Ended::Revoked) => "an operator asked for it back".to_owned(),
        Ok(Ended::Lost | Ended::Stopped) => {
            "it is not held by this command any more (deleted, expired or taken)".to_owned()
        }
        Err(error) => format!("it cannot be renewed ({error})"),
    };
    let program = settings.program.to_string_lossy();
    let program = Quoted(&program);
    match (settings.stopping.on_lost, ended) {
        (OnLost::Warn, Ok(Ended::Unrenewed(_) | Ended::Lost | Ended::Stopped)) => {
            format!("lost {key}: {why}; {program} runs on without it")
        }
        (OnLost::Kill, Ok(Ended::Lost | Ended::Stopped)) => format!("lost {key}: {why}; killing {program}"),
        _ => format!("lost {key}: {why}; stopping {program}"),
    }
}

/// Said when the command is asked to end.
#[must_use]
pub fn timed_out(program: &OsStr, limit: Option<Duration>) -> String {
    let program = program.to_string_lossy();
    format!("{} has run for --max-runtime {}; stopping it", Quoted(&program), Exact(limit.unwrap_or_default()))
}

/// Said soon after the start of a command that became another user.
#[must_use]
pub fn out_of_reach(program: &OsStr) -> String {
    let program = program.to_string_lossy();
    let name = Quoted(&program);
    format!("{name} runs as another user, and dlock could not stop it; write: sudo dlock run … -- COMMAND")
}

/// The release found the lock gone although nothing had told us so.
#[must_use]
pub fn was_not_ours(key: &LockKey) -> String {
    format!("lost {}: when the command ended it was not held by it any more", Quoted(key.as_str()))
}

/// `left`: for how long others are still kept out.
#[must_use]
pub fn not_released(key: &LockKey, error: &BackendError, left: Option<Duration>) -> String {
    let key = Quoted(key.as_str());
    let error = Escaped(&error.message);
    match left {
        Some(left) => format!("cannot release {key}: {error}; it stays taken for up to {}", Rough(left)),
        None => format!("cannot release {key}: {error}"),
    }
}

/// Whether the lock is still held while something does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Held,
    Lost,
}

/// Said once a minute while this user may not end them.
#[must_use]
pub fn may_not_end(keys: &Keys, survivors: &str, standing: Standing) -> String {
    let until = until_then(keys, standing);
    format!("cannot end process {}: not permitted; end it as its own user, {until}", Escaped(survivors))
}

/// Said once a minute while they were killed and are still there.
#[must_use]
pub fn does_not_end(keys: &Keys, survivors: &str, standing: Standing) -> String {
    let until = until_then(keys, standing);
    let survivors = Escaped(survivors);
    format!("process {survivors} was killed, and waits in the kernel for a disk or a network; look after that, {until}")
}

fn until_then(keys: &Keys, standing: Standing) -> String {
    let listed = Listed(keys);
    match (standing, keys.as_slice().len()) {
        (Standing::Held, 1) => format!("{listed} stays held until then"),
        (Standing::Held, _) => format!("{listed} stay held until then"),
        (Standing::Lost, 1) => format!("{listed} is lost and may have another holder already"),
        (Standing::Lost, _) => format!("{listed} are lost and may have other holders already"),
    }
}

/// The command ended, and a run inside it has not.
#[must_use]
pub fn still_used(program: &OsStr, keys: &Keys) -> String {
    let program = program.to_string_lossy();
    let stays = if keys.as_slice().len() == 1 { "stays" } else { "stay" };
    format!(
        "{} ended, and a dlock run inside it still uses {}, which {stays} held until that ends",
        Quoted(&program),
        Listed(keys)
    )
}

/// The command ended of its own accord, and something that it started did not.
#[must_use]
pub fn left_running(program: &OsStr, count: usize) -> String {
    let program = program.to_string_lossy();
    let processes = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
    format!("{} ended and left {processes} running, which the lock no longer covers", Quoted(&program))
}
