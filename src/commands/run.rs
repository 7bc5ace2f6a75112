//! `dlock run`: acquire, spawn, supervise, reap, release.
//!
//! From the first line it is two processes (see `child`). The front knows nothing of locks; everything below `keep` is
//! the keeper, which holds the lock and is the command's parent.

mod environment;
mod give_up;
mod hold;
mod take;

use std::process::Command;
use std::time::Duration;

use super::failed;
use crate::backend;
use crate::child::{self, Keeper, KeeperStart, Side, SpawnError, Verdict};
use crate::error::{Attempt, Error};
use crate::exit_code::{self, Ending};
use crate::lock::LockBackend;
use crate::lock::keep_alive::Renewing;
use crate::report::{Stderr, running};
use crate::settings::RunSettings;
use crate::sys::process::{self, Exit};
use take::Taken;

/// How long the end waits for the connection or session to close: nothing that is kept hangs on it by then.
const CLOSING_LIMIT: Duration = Duration::from_secs(2);

/// Runs the command under the lock; returns in the front, when all is over.
#[must_use]
pub(super) fn run(settings: &RunSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    if let Some(notice) = &settings.deployment.notice {
        stderr.notice(notice);
    }
    match child::split() {
        Ok(Side::Keeper(start)) => keep(start, settings, stderr),
        Ok(Side::Front(front)) => {
            let verdict = front.watch(|survivors| stderr.say(running::cannot_kill(&settings.key, survivors)));
            mirror(verdict, settings, stderr)
        }
        Err(errno) => failed(&Error::system("start the keeper process", errno), stderr),
    }
}

/// How the front ends.
fn mirror(verdict: Verdict, settings: &RunSettings, stderr: Stderr) -> Ending {
    let reason = match verdict {
        Verdict::Ended(exit) => return exit.into(),
        Verdict::KeeperDiedEarly => {
            let killed = std::io::Error::other("it was killed before the command started");
            return failed(&Error::system("go on without the keeper process", killed), stderr);
        }
        Verdict::KeeperDied => "the process that held it was killed, and so was the command",
        Verdict::DeadlinePassed => "its lease ran out, and the command was killed",
    };
    failed(&Error::Lost { key: settings.key.clone(), reason: reason.to_owned() }, stderr)
}

/// The keeper's life.
fn keep(start: KeeperStart, settings: &RunSettings, stderr: Stderr) -> ! {
    let entered = tokio::runtime::Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let keeper = runtime.block_on(async { start.enter() })?;
        Ok((runtime, keeper))
    });
    let (runtime, keeper) = entered.unwrap_or_else(|error| {
        failed(&Error::system("start the event loop", error), stderr);
        process::exit_now(i32::from(exit_code::SYSTEM))
    });
    let told = runtime.block_on(async {
        let backend = backend::open(&settings.deployment.target)
            .map_err(|error| Error::backend(Attempt::Acquire(settings.key.clone()), error))?;
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
    let lease = match take::take(keeper, backend, settings, stderr).await? {
        Taken::Lease(lease) => Renewing::new(lease),
        Taken::Nothing(exit) => return Ok(exit),
    };
    stderr.detail(running::acquired(lease.lease()));
    keeper.deadline().set(lease.valid_until());

    let mut command = Command::new(&settings.program);
    command.args(&settings.arguments);
    environment::set(&mut command, settings, lease.lease());
    if let Err(error) = keeper.spawn(&mut command, backend.descriptor()) {
        keeper.deadline().set(None);
        give_up::give_up(backend, &lease, stderr).await;
        return Err(not_started(error, settings));
    }

    let held = hold::hold(keeper, backend, &lease, settings, stderr).await;
    keeper.deadline().set(None);
    let given_up = give_up::give_up(backend, &lease, stderr).await;
    let lost = held.lost || given_up == give_up::GivenUp::NotOurs;
    Ok(if lost { Exit::Code(i32::from(exit_code::LOST)) } else { held.exit })
}

fn not_started(error: SpawnError, settings: &RunSettings) -> Error {
    let program = settings.program.clone();
    match error {
        SpawnError::NotFound => Error::CommandNotFound { program },
        SpawnError::NotExecutable(source) => Error::CommandNotExecutable { program, source },
        SpawnError::System(source) => Error::system("start the command", source),
        SpawnError::TooLate => Error::Lost {
            key: settings.key.clone(),
            reason: "its lease ran out before the command was started".to_owned(),
        },
    }
}

impl From<Exit> for Ending {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Signal(signal) => Self::Signal(signal),
            // What wait reports of an exit fits a byte.
            Exit::Code(code) => Self::Status(u8::try_from(code & 0xff).expect("masked to a byte")),
        }
    }
}

impl From<Ending> for Exit {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Status(status) => Self::Code(i32::from(status)),
            Ending::Signal(signal) => Self::Signal(signal),
        }
    }
}
