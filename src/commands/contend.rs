//! Contending for a lock until it is granted, refused, given up or interrupted; whatever the end, nothing stays behind.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use tokio::sync::Notify;

use crate::error::phrase::Exact;
use crate::error::{Attempt, Error, Obstacle, Refusal};
use crate::lock::{Acquired, BackendError, Claim, Lease, LockBackend, Progress};
use crate::report::{Stderr, WaitingLine, running};
use crate::settings::{Contest, Wait};
use crate::sys::boottime::{BootInstant, BootTimer};

/// How long leaving the queue may take. What is left behind then ends by itself: with its waiter's lease, its session,
/// or the short first grant of a one-shot. Whoever interrupts a wait is kept for a second at most, the closing of the
/// connection included.
const UNDO_LIMIT: Duration = Duration::from_millis(800);

/// Takes the lock as `claim` says; `endpoint` is what the backend is called in messages. `interrupted` completes with
/// the signal that ends the wait; it is asked again afterwards, and a second signal ends the cleaning up.
///
/// # Errors
/// When the lock was not obtained; then nothing of the claim is left, as far as the backend could be told.
pub async fn contend<I: Future<Output = i32>>(
    backend: &dyn LockBackend,
    claim: &Claim,
    contest: Contest,
    endpoint: &str,
    stderr: Stderr,
    interrupted: impl Fn() -> I,
) -> Result<Lease, Error> {
    let started = BootInstant::now();
    let news: RefCell<Option<(Progress, BootInstant)>> = RefCell::new(None);
    let changed = Notify::new();
    let progress = |latest| {
        news.replace(Some((latest, BootInstant::now())));
        changed.notify_one();
    };
    let as_of_now = || {
        let (latest, learnt_at) = news.borrow().clone()?;
        Some(latest.aged(BootInstant::now().since(learnt_at)))
    };
    let mut line = WaitingLine::new(&claim.key, stderr);
    let mut acquiring = backend.acquire(claim, &progress);
    let mut interruption = Box::pin(interrupted());
    let mut time_is_up = Box::pin(time_is_up(contest.wait, started)?);
    let end = loop {
        let waited = BootInstant::now().since(started);
        let pause = match as_of_now() {
            Some(latest) => {
                line.update(&latest, waited);
                line.due_in(waited)
            }
            // Still connecting: there is nobody to name yet.
            None => Duration::MAX,
        };
        tokio::select! {
            biased;
            signal = &mut interruption => break End::Interrupted(signal),
            answer = &mut acquiring => break End::Answered(answer),
            limit = &mut time_is_up => break End::GaveUp(limit),
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    };
    line.clear();
    drop(acquiring);
    let error = match end {
        // A signal that came with the grant still ends it: whoever sent it expects no lock.
        End::Answered(Ok(Acquired::Granted(lease))) => match pending(&mut interruption).await {
            None => return Ok(lease),
            Some(signal) => Error::Interrupted(signal),
        },
        // A definite answer; the contender has left by itself.
        End::Answered(Ok(Acquired::Held(contention))) => {
            return Err(refused(claim, contest, Obstacle::HeldBy(contention), None));
        }
        End::Answered(Err(error)) => Error::backend(Attempt::Acquire(claim.key.clone()), error),
        End::Interrupted(signal) => {
            stderr.detail(running::interrupted(&claim.key, signal));
            Error::Interrupted(signal)
        }
        End::GaveUp(limit) => gave_up(claim, contest, endpoint, as_of_now(), limit),
    };
    undo(backend, claim, stderr, interrupted()).await;
    Err(error)
}

/// A server that was silent for less than this may be as well as any: when the first packet of a connection is lost,
/// TCP sends the second after one second. Shorter by what may have passed of a limit of one second before we see it.
const TELLING_SILENCE: Duration = Duration::from_millis(990);

enum End {
    Answered(Result<Acquired, BackendError>),
    Interrupted(i32),
    GaveUp(Duration),
}

/// Completes with the limit once it has been waited for.
fn time_is_up(wait: Wait, started: BootInstant) -> Result<impl Future<Output = Duration>, Error> {
    let alarm = match wait {
        Wait::For(limit) => {
            let timer = BootTimer::new().map_err(|error| Error::system("set a timer", error))?;
            Some((timer, limit))
        }
        Wait::Refuse | Wait::Forever => None,
    };
    Ok(async move {
        match alarm {
            Some((mut timer, limit)) => {
                timer.sleep_until(started + limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    })
}

/// The signal that has arrived already, if any.
async fn pending(interruption: &mut (impl Future<Output = i32> + Unpin)) -> Option<i32> {
    tokio::select! {
        biased;
        signal = interruption => Some(signal),
        () = std::future::ready(()) => None,
    }
}

fn refused(claim: &Claim, contest: Contest, obstacle: Obstacle, gave_up_after: Option<Duration>) -> Error {
    let status = contest.conflict_status;
    Error::NotAcquired(Box::new(Refusal { key: claim.key.clone(), obstacle, gave_up_after, status }))
}

/// Held to the end, or not even to be asked: the one is a conflict, the other an outage.
fn gave_up(claim: &Claim, contest: Contest, endpoint: &str, news: Option<Progress>, limit: Duration) -> Error {
    let away = match news {
        Some(Progress::Waiting(contention)) => {
            return refused(claim, contest, Obstacle::HeldBy(contention), Some(limit));
        }
        Some(Progress::Disconnected(error)) => error,
        None if limit < TELLING_SILENCE => {
            return refused(claim, contest, Obstacle::NoAnswerYet(endpoint.to_owned()), Some(limit));
        }
        None => BackendError::unavailable(format!("{endpoint} does not answer")),
    };
    let sentence = format!("{}; gave up after {}", away.message, Exact(limit));
    Error::backend(Attempt::Acquire(claim.key.clone()), BackendError::new(away.kind, sentence))
}

async fn undo(backend: &dyn LockBackend, claim: &Claim, stderr: Stderr, second_signal: impl Future<Output = i32>) {
    let undone = tokio::select! {
        biased;
        _ = second_signal => return,
        undone = tokio::time::timeout(UNDO_LIMIT, backend.release(&claim.key, &claim.token)) => undone,
    };
    match undone {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => stderr.detail(format_args!("leaving the queue was not confirmed: {error}")),
        Err(_) => stderr.detail("leaving the queue was not confirmed in time"),
    }
}

#[cfg(test)]
mod tests;
