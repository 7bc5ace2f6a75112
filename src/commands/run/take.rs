//! Getting the lock for `run`: contending, being interrupted, and not starting on a lease that is half over.

use std::cell::Cell;
use std::time::Duration;

use nix::unistd::getppid;

use crate::child::supervisor::asks_to_end;
use crate::child::{FromFront, Keeper};
use crate::commands::contend::{Contended, contend};
use crate::commands::describe;
use crate::error::Error;
use crate::lock::several::{Holding, Wanted};
use crate::lock::{Claim, LeaseKind, LockBackend, LockKey, OwnerToken, Patience, backoff};
use crate::report::Stderr;
use crate::settings::{Contest, RunSettings, Wait};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::process::Exit;

/// What came of it.
pub(super) enum Taken<'a> {
    Locks(Holding<'a>),
    /// dlock was told to end first.
    Nothing(Exit),
}

/// What stands for the front's death among the signals that interrupt a wait: nothing else can kill it so quietly.
const FRONT_GONE: i32 = libc::SIGKILL;

/// Contends until there are leases worth starting a command on.
pub(super) async fn take<'a>(
    keeper: &Keeper,
    backend: &'a dyn LockBackend,
    keys: &[&LockKey],
    settings: &RunSettings,
    stderr: Stderr,
) -> Result<Taken<'a>, Error> {
    if keys.is_empty() {
        return Ok(Taken::Locks(Holding::default()));
    }
    let front_is_gone = Cell::new(false);
    if let Some(exit) = linger(keeper, settings.contest.jitter, &front_is_gone).await? {
        return Ok(Taken::Nothing(exit));
    }
    let started = BootInstant::now();
    let mut contest = settings.contest;
    loop {
        let wanted = wanted(backend, keys, settings, contest);
        let endpoint = &settings.deployment.endpoint;
        match contend(&wanted, contest, endpoint, stderr, || interruption(keeper, &front_is_gone)).await {
            Ok(Contended::Granted(holding)) => {
                if !holding.is_stale().await {
                    return Ok(Taken::Locks(holding));
                }
                // All has to begin anew.
                give_up_all(&holding).await;
            }
            Ok(Contended::LostOne) => {}
            Err(Error::Interrupted(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))) => {
                keeper.suspend_wait(signal);
                if let Some(exit) = continued(keeper).await {
                    return Ok(Taken::Nothing(exit));
                }
            }
            Err(Error::Interrupted(signal)) => return Ok(Taken::Nothing(Exit::Signal(signal))),
            Err(error) => return Err(error),
        }
        contest = settings.contest.after(started);
    }
}

/// Sleeps for a random part of `longest`; `Some`: dlock is to end like this instead.
async fn linger(keeper: &Keeper, longest: Duration, front_is_gone: &Cell<bool>) -> Result<Option<Exit>, Error> {
    if longest.is_zero() {
        return Ok(None);
    }
    let until = BootInstant::now() + backoff::jittered(Duration::ZERO, longest);
    let mut timer = BootTimer::new().map_err(|error| Error::system("set a timer", error))?;
    loop {
        let signal = tokio::select! {
            biased;
            signal = interruption(keeper, front_is_gone) => signal,
            () = timer.sleep_until(until) => return Ok(None),
        };
        if !matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU) {
            return Ok(Some(Exit::Signal(signal)));
        }
        keeper.suspend_wait(signal);
        if let Some(exit) = continued(keeper).await {
            return Ok(Some(exit));
        }
    }
}

/// A fresh claim for each key: a token is never used for a second try.
fn wanted<'a>(
    backend: &'a dyn LockBackend,
    keys: &[&LockKey],
    settings: &RunSettings,
    contest: Contest,
) -> Vec<Wanted<'a>> {
    // The front: the process that people see as dlock.
    let pid = u32::try_from(getppid().as_raw()).unwrap_or_default();
    let ttl = settings.ttl.duration();
    let token = OwnerToken::random();
    let holder = describe(pid, Some(&settings.program), settings.label.as_deref());
    let claim = |key: &LockKey| Claim {
        key: key.clone(),
        token: token.clone(),
        holder: holder.clone(),
        ttl: settings.ttl,
        kind: LeaseKind::Running,
        mode: settings.mode,
        looks_first: contest.max_waiters.is_some(),
        retention: settings.retention,
        patience: match contest.wait {
            Wait::Refuse => Patience::Refuse,
            // A lost connection is sought until the wait ends; the wait ends it first.
            Wait::For(limit) => Patience::Queue { reconnect_for: limit },
            Wait::Forever => Patience::Queue { reconnect_for: ttl },
        },
    };
    keys.iter().map(|key| Wanted { backend, claim: claim(key), most_ahead: contest.max_waiters }).collect()
}

async fn give_up_all(holding: &Holding<'_>) {
    for part in holding.parts() {
        part.backend.release(part.key(), &part.renewing.lease().token).await.ok();
    }
}

/// Completes with the signal that a waiting dlock must act upon. The front's death is told once: told again, it would cut
/// the leaving of the queue short.
async fn interruption(keeper: &Keeper, front_is_gone: &Cell<bool>) -> i32 {
    if front_is_gone.get() {
        return std::future::pending().await;
    }
    loop {
        match keeper.from_front().await {
            FromFront::Gone => {
                front_is_gone.set(true);
                return FRONT_GONE;
            }
            // What a program that handles none of them would not notice either.
            FromFront::Signal { number: libc::SIGCONT | libc::SIGWINCH | libc::SIGURG, .. } | FromFront::CaughtUp => {}
            FromFront::Signal { number, .. } => return number,
        }
    }
}

/// Waits until the front runs again; `Some`: it will not, or it is to end like this.
async fn continued(keeper: &Keeper) -> Option<Exit> {
    loop {
        match keeper.from_front().await {
            FromFront::Gone => return Some(Exit::Signal(FRONT_GONE)),
            FromFront::Signal { number: libc::SIGCONT, .. } => return None,
            FromFront::Signal { number, .. } if asks_to_end(number) => return Some(Exit::Signal(number)),
            FromFront::Signal { .. } | FromFront::CaughtUp => {}
        }
    }
}
