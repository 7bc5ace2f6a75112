//! What one process sees of a lock that nobody else wants: taking it, giving it up, and renewing it.

use std::time::Duration;

use super::pace::Pacer;
use super::{Plan, failed};
use crate::backend;
use crate::error::{Attempt, Error};
use crate::lock::{Acquired, Keys, Lease, LockBackend, Release, Renewal};
use crate::sys::boottime::BootInstant;

/// How long each took.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) acquire: Vec<Duration>,
    pub(super) release: Vec<Duration>,
}

/// Takes the lock over a fresh connection each time, as every `run` does, and gives it up. Closing is not measured: nobody
/// waits for that.
pub(super) async fn acquire_and_release(plan: &Plan<'_>, share: Duration) -> Result<Taken, Error> {
    let mut taken = Taken::default();
    let mut pacer = Pacer::over(share);
    while pacer.next().await {
        let began = BootInstant::now();
        let backend = backend::open(&plan.deployment.target).map_err(failed(plan))?;
        let lease = acquire(plan, &*backend).await?;
        let granted = BootInstant::now();
        release(plan, &*backend, &lease).await?;
        let released = BootInstant::now();
        plan.close(&*backend).await;
        taken.acquire.push(granted.since(began));
        taken.release.push(released.since(granted));
    }
    Ok(taken)
}

/// Takes the lock and gives it up once, unmeasured: the program's own pages are read from disk, names are looked up, and what
/// is wrong is wrong from the start. The lease as it was granted.
pub(super) async fn warm_up(plan: &Plan<'_>) -> Result<Lease, Error> {
    let backend = backend::open(&plan.deployment.target).map_err(failed(plan))?;
    let lease = acquire(plan, &*backend).await?;
    release(plan, &*backend, &lease).await?;
    plan.close(&*backend).await;
    Ok(lease)
}

/// Holds the lock and renews it, again and again.
pub(super) async fn renew(plan: &Plan<'_>, share: Duration) -> Result<Vec<Duration>, Error> {
    let backend = backend::open(&plan.deployment.target).map_err(failed(plan))?;
    let lease = acquire(plan, &*backend).await?;
    let mut renewals = Vec::new();
    let mut pacer = Pacer::over(share);
    while pacer.next().await {
        let began = BootInstant::now();
        let renewal = backend.renew(&lease).await;
        let took = BootInstant::now().since(began);
        match renewal.map_err(|error| Error::backend(Attempt::Renew(plan.key.clone()), error))? {
            Renewal::Renewed { .. } | Renewal::Revoked { .. } => renewals.push(took),
            Renewal::Lost => return Err(lost(plan)),
        }
    }
    release(plan, &*backend, &lease).await?;
    plan.close(&*backend).await;
    Ok(renewals)
}

async fn acquire(plan: &Plan<'_>, backend: &dyn LockBackend) -> Result<Lease, Error> {
    match backend.acquire(&plan.claim(plan.settings.mode), &|_| {}).await.map_err(failed(plan))? {
        Acquired::Granted(lease) => Ok(lease),
        Acquired::Held(_) | Acquired::Lost => Err(lost(plan)),
    }
}

async fn release(plan: &Plan<'_>, backend: &dyn LockBackend, lease: &Lease) -> Result<(), Error> {
    let released = backend.release(&lease.key, &lease.token).await;
    match released.map_err(|error| Error::backend(Attempt::Release(plan.key.clone()), error))? {
        Release::Released => Ok(()),
        Release::NotHeld => Err(lost(plan)),
    }
}

/// Only an operator or a server that forgets can take it.
fn lost(plan: &Plan<'_>) -> Error {
    let reason = "nobody but this measurement uses it; was the server flushed or restarted?".to_owned();
    Error::Lost { keys: Keys::from(plan.key.clone()), reason }
}
