//! `--strict`: no lock from servers of which `doctor` would warn.

use crate::error::{Attempt, Error};
use crate::lock::{Finding, Grade, LockBackend, Ttl};
use crate::settings::{Deployment, Scrutiny};

/// What makes locks untrustworthy by the way a deployment is set up. Everything else that `doctor` looks at passes by itself
/// (a slow answer), or stops a lock anyway and says so with a status of its own (a right that is missing).
const SET_UP: &[&str] = &[
    "eviction",
    "persistence",
    "replicas",
    "cluster-replicas",
    "masters",
    "majority",
    "sentinels",
    "quorum",
    "agreement",
    "ensemble",
    "ttl-nodes",
    // It could not be found out.
    "settings",
];

/// # Errors
/// With the worst of what was found; or when nothing can be asked.
pub(super) async fn check(backend: &dyn LockBackend, deployment: &Deployment, ttl: Ttl) -> Result<(), Error> {
    if deployment.scrutiny == Scrutiny::Trusting {
        return Ok(());
    }
    let found = backend.examine(ttl).await.map_err(|error| Error::backend(Attempt::Examine, error))?;
    let mut bad = found.iter().filter(|finding| finding.grade > Grade::Ok && SET_UP.contains(&finding.check));
    let Some(mut worst) = bad.next() else { return Ok(()) };
    for other in bad {
        if other.grade > worst.grade {
            worst = other;
        }
    }
    let Finding { what, why, advice, .. } = worst;
    Err(Error::Configuration(format!("no lock with --strict: {what}; {why}; {advice}")))
}
