//! Contending for a lock until it is granted, refused, given up or interrupted; whatever the end, nothing stays behind.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Notify;

use crate::error::phrase::{Exact, Quoted};
use crate::error::{Attempt, Error, Obstacle, Refusal};
use crate::lock::several::{Holding, Outcome, Wanted, acquire_all};
use crate::lock::{BackendError, Contention, LockKey, Progress};
use crate::report::{Stderr, WaitingLine, running};
use crate::settings::{Contest, Wait};
use crate::sys::boottime::{BootInstant, BootTimer};

/// How long leaving the queue may take. What is left behind then ends by itself: with its waiter's lease, its session,
/// or the short first grant of a one-shot. Whoever interrupts a wait is kept for a second at most, the closing of the
/// connection included.
const UNDO_LIMIT: Duration = Duration::from_millis(800);

/// How contending went well, or has to go on.
pub(super) enum Contended<'a> {
    Granted(Holding<'a>),
    /// One of several locks was lost while another was awaited: all has to begin anew, with new tokens.
    LostOne,
}

/// Takes all of `wanted`, one after the other; `endpoint` is what the backend is called in messages. `interrupted`
/// completes with the signal that ends the wait; it is asked again afterwards, and a second signal ends the cleaning up.
///
/// # Errors
/// When the locks were not obtained; then nothing of the claims is left, as far as the backend could be told.
pub(super) async fn contend<'a, I: Future<Output = i32>>(
    wanted: &[Wanted<'a>],
    contest: Contest,
    endpoint: &str,
    stderr: Stderr,
    interrupted: impl Fn() -> I,
) -> Result<Contended<'a>, Error> {
    let started = BootInstant::now();
    let news: RefCell<Option<News>> = RefCell::new(None);
    let changed = Notify::new();
    let progress = |key: &LockKey, latest: Progress| {
        news.replace(Some(News { key: key.clone(), latest, learnt_at: BootInstant::now() }));
        changed.notify_one();
    };
    let as_of_now = || news.borrow().as_ref().map(News::as_of_now);
    let mut line = WaitingLine::new(stderr);
    let begun = Cell::new(0);
    let mut acquiring = Box::pin(acquire_all(wanted, &begun, &progress));
    let mut interruption = Box::pin(interrupted());
    let mut time_is_up = Box::pin(time_is_up(contest.wait, started)?);
    let end = loop {
        let waited = BootInstant::now().since(started);
        let pause = match as_of_now() {
            Some((key, Progress::Waiting(contention)))
                if contest.max_waiters.is_some_and(|most| contention.ahead.is_some_and(|ahead| ahead >= most)) =>
            {
                let waiting = contention.ahead.unwrap_or_default();
                break End::Crowded(key, contention, waiting);
            }
            Some((key, latest)) => {
                line.update(&key, &latest, waited);
                line.due_in(waited)
            }
            // Still connecting: there is nobody to name yet.
            None => Duration::MAX,
        };
        tokio::select! {
            biased;
            signal = &mut interruption => break End::Interrupted(signal),
            outcome = &mut acquiring => break End::Answered(outcome),
            limit = &mut time_is_up => break End::GaveUp(limit),
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    };
    line.clear();
    drop(acquiring);
    let begun = &wanted[..begun.get()];
    let asked_last = || begun.last().map_or(&wanted[0].claim.key, |last| &last.claim.key).clone();
    let error = match end {
        // A signal that came with the grant still ends it: whoever sent it expects no lock.
        End::Answered(Ok(Outcome::Granted(holding))) => match pending(&mut interruption).await {
            None => return Ok(Contended::Granted(holding)),
            Some(signal) => Error::Interrupted(signal),
        },
        End::Answered(Ok(Outcome::Held(key, contention))) => {
            // A definite answer; that contender has left by itself.
            undo(begun.iter().filter(|one| one.claim.key != key), stderr, interrupted()).await;
            return Err(refused(key, contest, Obstacle::HeldBy(contention), None));
        }
        End::Answered(Ok(Outcome::Crowded(key, contention, waiting))) => {
            refused(key, contest, Obstacle::Crowd(contention, waiting), None)
        }
        // Who came between the look and the queue.
        End::Crowded(key, contention, waiting) => refused(key, contest, Obstacle::Crowd(contention, waiting), None),
        End::Answered(Ok(Outcome::Lost(key))) => {
            stderr.notice(format_args!("lost {} while another was awaited; starting over", Quoted(key.as_str())));
            undo(begun, stderr, interrupted()).await;
            return Ok(Contended::LostOne);
        }
        End::Answered(Err((key, error))) => Error::backend(Attempt::Acquire(key), error),
        End::Interrupted(signal) => {
            stderr.detail(|| running::interrupted(&asked_last(), signal));
            Error::Interrupted(signal)
        }
        End::GaveUp(limit) => match as_of_now() {
            Some((key, news)) => gave_up(key, contest, endpoint, Some(news), limit),
            None => gave_up(asked_last(), contest, endpoint, None, limit),
        },
    };
    undo(begun, stderr, interrupted()).await;
    Err(error)
}

/// What was heard last, of the lock that is being awaited.
struct News {
    key: LockKey,
    latest: Progress,
    learnt_at: BootInstant,
}

impl News {
    fn as_of_now(&self) -> (LockKey, Progress) {
        (self.key.clone(), self.latest.aged(BootInstant::now().since(self.learnt_at)))
    }
}

/// A server that was silent for less than this may be as well as any: when the first packet of a connection is lost,
/// TCP sends the second after one second. Shorter by what may have passed of a limit of one second before we see it.
const TELLING_SILENCE: Duration = Duration::from_millis(990);

enum End<'a> {
    Answered(Result<Outcome<'a>, (LockKey, BackendError)>),
    Interrupted(i32),
    Crowded(LockKey, Contention, usize),
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

fn refused(key: LockKey, contest: Contest, obstacle: Obstacle, gave_up_after: Option<Duration>) -> Error {
    let status = contest.conflict_status;
    Error::NotAcquired(Box::new(Refusal { key, obstacle, gave_up_after, status }))
}

/// Held to the end, or not even to be asked: the one is a conflict, the other an outage.
fn gave_up(key: LockKey, contest: Contest, endpoint: &str, news: Option<Progress>, limit: Duration) -> Error {
    let away = match news {
        Some(Progress::Waiting(contention)) => {
            return refused(key, contest, Obstacle::HeldBy(contention), Some(limit));
        }
        Some(Progress::Disconnected(error)) => error,
        None if limit < TELLING_SILENCE => {
            return refused(key, contest, Obstacle::NoAnswerYet(endpoint.to_owned()), Some(limit));
        }
        None => BackendError::unavailable(format!("{endpoint} does not answer")),
    };
    let sentence = format!("{}; gave up after {}", away.message, Exact(limit));
    Error::backend(Attempt::Acquire(key), BackendError::new(away.kind, sentence))
}

async fn undo<'a>(
    claims: impl IntoIterator<Item = &'a Wanted<'a>>,
    stderr: Stderr,
    second_signal: impl Future<Output = i32>,
) {
    let release = |Wanted { backend, claim, .. }: &'a Wanted<'a>| backend.release(&claim.key, &claim.token);
    let releases: Vec<_> = claims.into_iter().map(release).collect();
    if releases.is_empty() {
        return;
    }
    let undone = tokio::select! {
        biased;
        _ = second_signal => return,
        undone = tokio::time::timeout(UNDO_LIMIT, join_all(releases)) => undone,
    };
    let Ok(undone) = undone else { return stderr.detail(|| "leaving the queue was not confirmed in time") };
    for error in undone.into_iter().filter_map(Result::err) {
        stderr.detail(|| format!("leaving the queue was not confirmed: {error}"));
    }
}

#[cfg(test)]
mod tests;
