//! What is said of a lock while its command runs and when it ends.

use std::ffi::OsStr;
use std::time::Duration;

use crate::error::phrase::{Escaped, Quoted, Rough};
use crate::lock::keep_alive::Ended;
use crate::lock::{BackendError, Lease, LockKey};

#[must_use]
pub fn acquired(lease: &Lease) -> String {
    let key = Quoted(lease.key.as_str());
    match lease.fence {
        Some(fence) => format!("acquired {key} with fencing token {fence}"),
        None => format!("acquired {key}"),
    }
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
pub fn lost(key: &LockKey, ended: &std::io::Result<Ended>, program: &OsStr) -> String {
    let key = Quoted(key.as_str());
    let program = program.to_string_lossy();
    let program = Quoted(&program);
    match ended {
        Ok(Ended::Unrenewed(Some(error))) => {
            format!("lost {key}: it could not be renewed in time ({}); stopping {program}", Escaped(&error.message))
        }
        Ok(Ended::Unrenewed(None)) => {
            format!("lost {key}: its lease ran out while dlock was not running; stopping {program}")
        }
        Ok(Ended::Revoked) => format!("lost {key}: an operator asked for it back; stopping {program}"),
        Ok(Ended::Lost | Ended::Stopped) => {
            format!(
                "lost {key}: it is not held by this command any more (deleted, expired or taken); killing {program}"
            )
        }
        Err(error) => format!("lost {key}: it cannot be renewed ({error}); killing {program}"),
    }
}

/// The release found the lock gone although nothing had told us so.
#[must_use]
pub fn was_not_ours(key: &LockKey) -> String {
    format!("lost {}: when the command ended it was not held by it any more", Quoted(key.as_str()))
}

/// `left`: for how long others are still kept out.
#[must_use]
pub fn not_released(key: &LockKey, error: &str, left: Option<Duration>) -> String {
    let key = Quoted(key.as_str());
    let error = Escaped(error);
    match left {
        Some(left) => format!("cannot release {key}: {error}; it stays taken for up to {}", Rough(left)),
        None => format!("cannot release {key}: {error}"),
    }
}

/// Said once a minute while it is so.
#[must_use]
pub fn cannot_kill(key: &LockKey, survivors: &str) -> String {
    format!(
        "cannot end process {}: not permitted; end it as its own user, {} stays held until then",
        Escaped(survivors),
        Quoted(key.as_str())
    )
}

/// The command ended of its own accord, and something that it started did not.
#[must_use]
pub fn left_running(program: &OsStr, count: usize) -> String {
    let program = program.to_string_lossy();
    let processes = if count == 1 { "1 process".to_owned() } else { format!("{count} processes") };
    format!("{} ended and left {processes} running, which the lock no longer covers", Quoted(&program))
}
