//! Getting the lock for `run`: contending, being interrupted, and not starting on a lease that is half over.

use std::cell::Cell;

use nix::unistd::getppid;

use crate::child::supervisor::asks_to_end;
use crate::child::{FromFront, Keeper};
use crate::commands::{contend, describe};
use crate::error::Error;
use crate::lock::keep_alive::Renewing;
use crate::lock::{Claim, Lease, LeaseKind, LockBackend, OwnerToken, Patience};
use crate::report::Stderr;
use crate::settings::{Contest, RunSettings, Wait};
use crate::sys::boottime::BootInstant;
use crate::sys::process::Exit;

/// What came of it.
#[derive(Debug)]
pub(super) enum Taken {
    Lease(Lease),
    /// dlock was told to end first.
    Nothing(Exit),
}

/// What stands for the front's death among the signals that interrupt a wait: nothing else can kill it so quietly.
const FRONT_GONE: i32 = libc::SIGKILL;

/// Contends until there is a lease worth starting a command on.
pub(super) async fn take(
    keeper: &Keeper,
    backend: &dyn LockBackend,
    settings: &RunSettings,
    stderr: Stderr,
) -> Result<Taken, Error> {
    let started = BootInstant::now();
    let mut contest = settings.contest;
    let front_is_gone = Cell::new(false);
    loop {
        let claim = claim(settings, contest);
        let endpoint = &settings.deployment.endpoint;
        match contend(backend, &claim, contest, endpoint, stderr, || interruption(keeper, &front_is_gone)).await {
            Ok(lease) => {
                if let Some(lease) = fresh(backend, lease).await {
                    return Ok(Taken::Lease(lease));
                }
            }
            Err(Error::Interrupted(signal @ (libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU))) => {
                keeper.suspend_wait(signal);
                if let Some(exit) = continued(keeper).await {
                    return Ok(Taken::Nothing(exit));
                }
            }
            Err(Error::Interrupted(signal)) => return Ok(Taken::Nothing(Exit::Signal(signal))),
            Err(error) => return Err(error),
        }
        contest.wait = rest_of(settings.contest.wait, started);
    }
}

/// A fresh claim: a token is never used for a second try.
fn claim(settings: &RunSettings, contest: Contest) -> Claim {
    // The front: the process that people see as dlock.
    let pid = u32::try_from(getppid().as_raw()).unwrap_or_default();
    let ttl = settings.ttl.duration();
    Claim {
        key: settings.key.clone(),
        token: OwnerToken::random(),
        holder: describe(pid, Some(&settings.program), settings.label.as_deref()),
        ttl: settings.ttl,
        kind: LeaseKind::Running,
        mode: settings.mode,
        patience: match contest.wait {
            Wait::Refuse => Patience::Refuse,
            // A lost connection is sought until the wait ends; the wait ends it first.
            Wait::For(limit) => Patience::Queue { reconnect_for: limit },
            Wait::Forever => Patience::Queue { reconnect_for: ttl },
        },
    }
}

/// What is left of `wait` for a contender that began at `started`.
fn rest_of(wait: Wait, started: BootInstant) -> Wait {
    match wait {
        Wait::For(limit) => Wait::For((started + limit).remaining()),
        Wait::Refuse | Wait::Forever => wait,
    }
}

/// The lease, renewed once if half of it is gone; nothing if it is lost by then, and all has to begin anew.
async fn fresh(backend: &dyn LockBackend, lease: Lease) -> Option<Lease> {
    let lease = Renewing::new(lease);
    if !lease.is_half_spent() || lease.renew_once(backend).await {
        return Some(lease.into_lease());
    }
    backend.release(&lease.lease().key, &lease.lease().token).await.ok();
    None
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
