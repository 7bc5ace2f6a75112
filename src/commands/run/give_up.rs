//! Giving the locks up when nothing of the command is left, and what an unknown outcome means.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::hold::Held;
use crate::lock::pace::Pace;
use crate::lock::several::{Holding, Part};
use crate::lock::{BackendError, Parting, Release, Retention, backoff};
use crate::report::{Stderr, running};
use crate::sys::boottime::BootInstant;

/// A release whose outcome stays unknown is tried again for so long, or until the lease is over: it lapses then.
const LONGEST: Duration = Duration::from_secs(5);

/// No attempt is cut shorter than this by a short lease alone: a reconnection takes two round trips more than a renewal.
const SHORTEST_ATTEMPT: Duration = Duration::from_millis(500);

/// What became of the locks; of several the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum GivenUp {
    /// The backend said that one was not ours, and nobody had said since the command's end that it was.
    NotOurs,
    /// Nobody knows of one; it ends with its lease.
    Unknown,
    /// It is ours no more; perhaps it was not when the rest of the command ended.
    Released,
}

/// Gives up what was held for the command that `held` tells of.
pub(super) async fn give_up_after(held: Held, holding: &Holding<'_>, retention: Retention, stderr: Stderr) -> GivenUp {
    let ended_at = Some(held.ended_at);
    if held.asked_back && !held.lease_over {
        return give_up_all(holding, Parting::Unused, ended_at, Retention::default(), stderr).await;
    }
    // With one of them lost and the command stopped for it, the others are over soon in any case.
    if held.lease_over || (held.lost && !holding.parts().iter().any(Part::is_over)) {
        join_all(holding.parts().iter().map(give_up_the_lost)).await;
        return GivenUp::Unknown;
    }
    let parting = if held.orphaned { Parting::Orphaned } else { Parting::Done };
    give_up_all(holding, parting, ended_at, retention, stderr).await
}

/// Frees all at once: nothing has been done under them.
pub(super) async fn give_up(holding: &Holding<'_>, stderr: Stderr) -> GivenUp {
    give_up_all(holding, Parting::Unused, None, Retention::default(), stderr).await
}

/// Releases all leases, and says so where that did not work. A command that ran under them was reaped at `ended_at`.
async fn give_up_all(
    holding: &Holding<'_>,
    parting: Parting,
    ended_at: Option<BootInstant>,
    retention: Retention,
    stderr: Stderr,
) -> GivenUp {
    let given_up = join_all(holding.parts().iter().map(async |part| {
        if part.is_over() {
            give_up_the_lost(part).await;
            return GivenUp::Unknown;
        }
        give_up_one(part, parting, ended_at, retention, stderr).await
    }));
    given_up.await.into_iter().min().unwrap_or(GivenUp::Released)
}

async fn give_up_one(
    part: &Part<'_>,
    parting: Parting,
    ended_at: Option<BootInstant>,
    retention: Retention,
    stderr: Stderr,
) -> GivenUp {
    let (key, renewing) = (part.key(), &part.renewing);
    let pace = Pace::of(renewing.lease().ttl);
    let until = Instant::now() + renewing.left().unwrap_or(LONGEST).min(LONGEST);
    let mut last_error: Option<BackendError> = None;
    loop {
        match attempt(part, parting, until).await {
            Ok(Release::Released) => {
                stderr.detail(|| running::released(key, retention.stays(parting, renewing.lease().requested_at)));
                return GivenUp::Released;
            }
            // An attempt whose answer was lost may have released it.
            Ok(Release::NotHeld) if last_error.is_some() => return GivenUp::Released,
            Ok(Release::NotHeld) if ended_at.is_some_and(|ended_at| renewing.confirmed_at() >= ended_at) => {
                stderr.notice(running::gone_late(key));
                return GivenUp::Released;
            }
            Ok(Release::NotHeld) => {
                stderr.say(running::was_not_ours(key));
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
            stderr.notice(running::not_released(key, error, renewing.left()));
            return GivenUp::Unknown;
        }
        sleep(backoff::jittered(pace.pause.0, pace.pause.1).min(until.saturating_duration_since(Instant::now()))).await;
    }
}

/// Tries once to free what may be left of a lease that was lost; it is over soon in any case.
async fn give_up_the_lost(part: &Part<'_>) {
    attempt(part, Parting::Lost, Instant::now() + part.renewing.left().unwrap_or(LONGEST).min(LONGEST)).await.ok();
}

/// One release within its limit and before `until`; without an error when there was no answer.
async fn attempt(part: &Part<'_>, parting: Parting, until: Instant) -> Result<Release, Option<BackendError>> {
    let lease = part.renewing.lease();
    let limit = Pace::of(lease.ttl).request_limit.max(SHORTEST_ATTEMPT);
    let parted = part.backend.part(&lease.key, &lease.token, parting);
    match timeout_at(until.min(Instant::now() + limit), parted).await {
        Ok(answer) => answer.map_err(Some),
        Err(_) => Err(None),
    }
}
