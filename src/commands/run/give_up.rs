//! Giving the lock up when nothing of the command is left, and what an unknown outcome means.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::lock::keep_alive::Renewing;
use crate::lock::pace::Pace;
use crate::lock::{BackendError, LockBackend, Release, backoff};
use crate::report::{Stderr, running};

/// A release whose outcome stays unknown is tried again for so long, or until the lease is over: it lapses then.
const LONGEST: Duration = Duration::from_secs(5);

/// No attempt is cut shorter than this by a short lease alone: a reconnection takes two round trips more than a renewal.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(500);

/// What became of the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    Released,
    /// The backend said that it had not been ours: it was lost before the command's end.
    NotOurs,
    /// Nobody knows; it ends with its lease.
    Unknown,
}

/// Releases the lease, and says so when that did not work.
pub(super) async fn give_up(backend: &dyn LockBackend, renewing: &Renewing, stderr: Stderr) -> GivenUp {
    let lease = renewing.lease();
    let pace = Pace::of(lease.ttl);
    let until = Instant::now() + renewing.left().unwrap_or(LONGEST).min(LONGEST);
    let mut last_error: Option<BackendError> = None;
    loop {
        match attempt(backend, renewing, until).await {
            Ok(Release::Released) => {
                stderr.detail(running::released(&lease.key));
                return GivenUp::Released;
            }
            // An attempt whose answer was lost may have released it.
            Ok(Release::NotHeld) if last_error.is_some() => return GivenUp::Released,
            Ok(Release::NotHeld) => {
                stderr.say(running::was_not_ours(&lease.key));
                return GivenUp::NotOurs;
            }
            Err(Some(error)) => last_error = Some(error),
            // What an earlier attempt was told says more than the silence that cut the last one short.
            Err(None) => {
                last_error.get_or_insert_with(|| BackendError::unavailable("no answer"));
            }
        }
        if let Some(error) = &last_error
            && (error.is_settled() || Instant::now() >= until)
        {
            stderr.say(running::not_released(&lease.key, error, renewing.left()));
            return GivenUp::Unknown;
        }
        sleep(backoff::jittered(pace.pause.0, pace.pause.1).min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// Tries once to free what may be left of a lease that was lost; it is over soon in any case.
pub(super) async fn give_up_the_lost(backend: &dyn LockBackend, renewing: &Renewing) {
    attempt(backend, renewing, Instant::now() + renewing.left().unwrap_or(LONGEST).min(LONGEST)).await.ok();
}

/// One release within its limit and before `until`; without an error when there was no answer.
async fn attempt(
    backend: &dyn LockBackend,
    renewing: &Renewing,
    until: Instant,
) -> Result<Release, Option<BackendError>> {
    let lease = renewing.lease();
    let limit = Pace::of(lease.ttl).request_limit.max(SHORTEST_ATTEMPT);
    match timeout_at(until.min(Instant::now() + limit), backend.release(&lease.key, &lease.token)).await {
        Ok(answer) => answer.map_err(Some),
        Err(_) => Err(None),
    }
}
