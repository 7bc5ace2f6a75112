//! For how long others are kept out beyond what the holder makes use of.

use std::time::Duration;

use super::source::{Environment, Level, text};
use super::{BackendName, Deployment, duration};
use crate::backend::{Target, redis};
use crate::cli;
use crate::error::Error;
use crate::lock::{LONGEST_TTL, Retention};

/// What a file that is only locked cannot do.
const NOTHING_IS_WRITTEN: &str =
    "with an empty namespace the file is only locked, never written, so nobody would know; name a namespace";

/// # Errors
/// When one is no duration, is longer than any backend keeps, or was typed for a place that cannot keep it.
pub(super) fn retention(
    typed: &cli::Retention,
    environment: &Environment,
    deployment: &Deployment,
) -> Result<Retention, Error> {
    Ok(Retention {
        hold_at_least: length(typed.hold_at_least.as_ref(), HOLD_AT_LEAST, environment, deployment)?,
        ..of_acquire(&typed.delay, environment, deployment)?
    })
}

/// The same for `acquire`, whose lock nobody gives up but whoever wants it free.
///
/// # Errors
/// As for [`retention`].
pub(super) fn of_acquire(
    typed: &cli::LockDelay,
    environment: &Environment,
    deployment: &Deployment,
) -> Result<Retention, Error> {
    let lock_delay = length(typed.lock_delay.as_ref(), "lock-delay", environment, deployment)?;
    Ok(Retention { lock_delay, ..Retention::default() })
}

fn length(
    flag: Option<&String>,
    long: &str,
    environment: &Environment,
    deployment: &Deployment,
) -> Result<Duration, Error> {
    let Some(stated) = text(flag, long, environment)? else { return Ok(Duration::ZERO) };
    let length = duration::parse(&stated.value).map_err(|reason| stated.invalid(reason))?;
    if length > LONGEST_TTL {
        return Err(stated.invalid("no backend keeps a lock for longer than 366d"));
    }
    match refusal(long, deployment) {
        Some(reason) if stated.level == Level::CommandLine && !length.is_zero() => Err(stated.invalid(reason)),
        Some(_) => Ok(Duration::ZERO),
        None => Ok(length),
    }
}

const HOLD_AT_LEAST: &str = "hold-at-least";

/// Why the place cannot do that; `None`: it can.
fn refusal(long: &str, deployment: &Deployment) -> Option<&'static str> {
    match &deployment.target {
        _ if deployment.backend == BackendName::File && deployment.namespace.is_empty() => Some(NOTHING_IS_WRITTEN),
        Target::RedisLayout(_, redis::Layout::PythonRedisLock) if long == HOLD_AT_LEAST => Some(
            "who waits with python-redis-lock is told of a release alone, and would wait for ever for a lock that ends by \
             itself; use another layout",
        ),
        _ => None,
    }
}
