//! `dlock run`: acquire, spawn, supervise, reap, release.
//!
//! From the first line it is two processes (see `child`). The front knows nothing of locks; everything below `keep` is
//! the keeper, which holds the lock and is the command's parent.

mod ending;
mod environment;
mod give_up;
mod hold;
pub(super) mod nested;
mod survivors;
mod take;

use std::process::Command;
use std::time::Duration;

use super::{end, event_loop, failed, fence, strict};
use crate::backend;
use crate::child::{self, Keeper, KeeperStart, Side, Terminal};
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::LockBackend;
use crate::report::{Stderr, running};
use crate::settings::RunSettings;
use crate::sys::process::Exit;
use nested::{Nested, Users};
use take::Taken;

/// How long the end waits for the connection or session to close: nothing that is kept hangs on it by then.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);

/// Runs the command under the lock. In the front it returns only what came in the way of that: once there are two processes,
/// each of them ends here, and leaves to the system what would be given back one by one.
#[must_use]
pub(super) fn run(settings: &RunSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    for notice in &settings.deployment.notices {
        stderr.notice(notice);
    }
    let terminal = Terminal::remember();
    match child::split() {
        Ok(Side::Keeper(start)) => {
            drop(terminal);
            keep(&start, settings, stderr)
        }
        Ok(Side::Front(mut front)) => {
            let verdict = front.watch(|survivors| {
                stderr.say(running::may_not_end(&settings.keys, survivors, running::Standing::Lost));
            });
            if ending::is_dlocks_own(verdict) {
                terminal.restore();
            }
            end(ending::mirror(verdict, settings, stderr))
        }
        Err(errno) => failed(&Error::system("start the keeper process", errno), stderr),
    }
}

/// The keeper's life.
fn keep(start: &KeeperStart, settings: &RunSettings, stderr: Stderr) -> ! {
    let entered = event_loop().and_then(|runtime| {
        let keeper = runtime.block_on(async { start.enter() })?;
        Ok((runtime, keeper))
    });
    let (runtime, keeper) =
        entered.unwrap_or_else(|error| start.end(failed(&Error::system("start the event loop", error), stderr).into()));
    let told = runtime.block_on(async {
        let backend = backend::open(&settings.deployment.target)
            .map_err(|error| Error::backend(Attempt::Acquire(settings.keys.first().clone()), error))?;
        let told = tell(&keeper, &*backend, settings, stderr).await;
        tokio::time::timeout(CLOSING_LIMIT, backend.close()).await.ok();
        told
    });
    keeper.end(told.unwrap_or_else(|error| failed(&error, stderr).into()))
}

/// The story: from wanting the lock to having given it up.
async fn tell(
    keeper: &Keeper,
    backend: &dyn LockBackend,
    settings: &RunSettings,
    stderr: Stderr,
) -> Result<Exit, Error> {
    let nested = nested::nested(backend, settings).await?;
    let keys = nested::not_nested(&settings.keys, &nested);
    nested::check_order(&keys, &settings.above, settings.contest)?;
    if !keys.is_empty() {
        strict::check(backend, &settings.deployment, settings.ttl).await?;
    }
    let holding = match take::take(keeper, backend, &keys, settings, stderr).await? {
        Taken::Locks(holding) => holding,
        Taken::Nothing(exit) => return Ok(exit),
    };
    let endpoint = &settings.deployment.endpoint;
    holding.parts().iter().for_each(|part| stderr.detail(|| running::acquired(part.renewing.lease()).on(endpoint)));
    if let Err(unfit) = ending::check_grace(settings, &holding) {
        give_up::give_up(&holding, stderr).await;
        return Err(unfit);
    }
    hold::publish_deadline(keeper, &holding, settings);

    let mut command = Command::new(&settings.program);
    command.args(&settings.arguments);
    let mut users = Users::of(&holding);
    environment::set(&mut command, settings, &holding, &nested, &users);
    if let Err(unwritten) = fence::write(settings, &command) {
        keeper.deadline().set(None);
        give_up::give_up(&holding, stderr).await;
        return Err(unwritten);
    }
    let kept_open: Vec<_> = backend.descriptors().into_iter().chain(nested.iter().map(Nested::guard)).collect();
    if let Err(error) = keeper.spawn(&command, &kept_open) {
        keeper.deadline().set(None);
        give_up::give_up(&holding, stderr).await;
        return Err(ending::not_started(error, settings));
    }
    backend.settle();

    let held = hold::hold(keeper, &holding, &mut users, settings, stderr).await;
    keeper.deadline().set(None);
    Ok(ending::status(held, give_up::give_up_after(held, &holding, settings.retention, stderr).await))
}
