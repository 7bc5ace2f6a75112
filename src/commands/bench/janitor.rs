//! The process that removes what was stored for a measurement. It outlives all others that took part, so that nothing
//! stays behind, however they ended.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Plan;
use crate::backend;
use crate::commands::{CLOSING_LIMIT, event_loop};
use crate::lock::BackendError;
use crate::sys::process::exit_now;

/// What it reports when there is nothing left.
pub(super) const CLEAN: &str = "clean";

/// Once more: the failure that ended a measurement may end the first try as well.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// For a server that has never granted anything, nobody is kept longer than this. A request of unknown outcome may have
/// left something; it goes with its lease.
const UNDO_LIMIT: Duration = Duration::from_millis(800);

/// What the measuring process has come to, a byte for each step.
pub(super) const ASKED: u8 = b'?';
pub(super) const GRANTED: u8 = b'!';

/// Waits until nobody has the other end of `others` any more, and cleans up as far as what came from there tells it to.
pub(super) fn live(mut others: UnixStream, mut report: UnixStream, plan: &Plan<'_>) -> ! {
    let mut steps = Vec::new();
    // An error is an end, too.
    others.read_to_end(&mut steps).ok();
    let done = match steps.last() {
        None => Ok(()),
        Some(&GRANTED) => clean(async || match forget(plan).await {
            Err(error) if error.may_pass() => {
                sleep(AGAIN_AFTER).await;
                forget(plan).await
            }
            done => done,
        }),
        Some(_) => clean(async || timeout(UNDO_LIMIT, forget(plan)).await.unwrap_or(Ok(()))).or(Ok(())),
    };
    let text = done.map_or_else(|error| error.message, |()| CLEAN.to_owned());
    // Whoever was killed does not read it.
    report.write_all(text.as_bytes()).ok();
    exit_now(0)
}

fn clean(work: impl AsyncFnOnce() -> Result<(), BackendError>) -> Result<(), BackendError> {
    let runtime = event_loop().map_err(|error| BackendError::system(error.to_string()))?;
    runtime.block_on(work())
}

async fn forget(plan: &Plan<'_>) -> Result<(), BackendError> {
    let backend = backend::open(&plan.deployment.target)?;
    let done = backend.forget(&plan.key).await;
    timeout(CLOSING_LIMIT, backend.close()).await.ok();
    done
}
