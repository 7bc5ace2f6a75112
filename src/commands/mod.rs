//! One file for each subcommand, and what the one-shots among them share.

mod acquire;
mod bench;
mod complete;
mod completions;
mod contend;
mod doctor;
pub mod fence;
mod force;
mod holder;
mod list;
mod man;
mod parse;
mod release;
mod renew;
mod run;
mod status;
mod strict;
mod top;
mod watch;

use std::time::Duration;

use nix::sys::signal::Signal;

pub use holder::describe;
pub use parse::parse;

use crate::backend;
use crate::cli::{Cli, Command};
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::{Keys, LockBackend, LockKey};
use crate::report::Stderr;
use crate::settings::{self, Deployment, Environment, Voice};
use crate::sys::process::exit_now;
use crate::sys::{signals, users};

/// How long a finished one-shot waits for its connection or session to close. What is not closed by then ends by
/// itself: a session with its timeout, and nothing that is kept hangs on it.
const CLOSING_LIMIT: Duration = Duration::from_secs(5);

/// The same for one that was interrupted: with the time to leave the queue, one second in all.
const INTERRUPTED_CLOSING_LIMIT: Duration = Duration::from_millis(200);

/// Does what was asked for; everything has been said when this returns.
pub fn dispatch(cli: Cli) -> Ending {
    let environment = Environment::inherited();
    let (voice, files) = cli.command.talk();
    let done = match cli.command {
        Command::Run(typed) => settings::run(typed, &environment).map(|settings| run::run(&settings)),
        Command::Acquire(typed) => acquire::acquire(&typed, &environment),
        Command::Renew(typed) => settings::renew(&typed, &environment).map(|settings| renew::renew(&settings)),
        Command::Release(typed) if typed.forcing.force => {
            settings::force(&typed, &environment).map(|settings| force::force(&settings))
        }
        Command::Release(typed) => settings::release(&typed, &environment).map(|settings| release::release(&settings)),
        Command::Status(typed) => settings::status(&typed, &environment).map(|settings| status::status(&settings)),
        Command::List(typed) => settings::list(&typed, &environment).map(|settings| list::list(&settings)),
        Command::Top(typed) => settings::top(&typed, &environment).map(|settings| top::top(&settings)),
        Command::Doctor(typed) => settings::doctor(&typed, &environment).and_then(doctor::doctor),
        Command::Bench(typed) => settings::bench(&typed, &environment).map(|settings| bench::bench(&settings)),
        Command::FenceCheck(typed) => {
            settings::fence_check(&typed, &environment).map(|settings| fence::fence_check(&settings))
        }
        Command::Completions(typed) => completions::completions(&typed),
        Command::Man(typed) => man::man(&typed),
    };
    // No settings, no voice: what was typed wrong is always said.
    done.unwrap_or_else(|error| failed(&error, Stderr::new(settings::voice_of_failures(&voice, &files, &environment))))
}

/// Ends this process so. What it holds the system takes back in one go.
pub fn end(ending: Ending) -> ! {
    if let Ending::Signal(signal) = ending {
        signals::die_of(signal);
        // Still here: the first process of a PID namespace does not die of its own signals.
    }
    exit_now(ending.as_seen_by_a_shell())
}

/// Ends a dlock that has rights which its caller lacks: variables, files and the command are the caller's, so those rights
/// would be, too.
#[must_use]
pub fn refuse_borrowed_rights() -> Option<Ending> {
    let refusal = "this dlock has a user's or a group's rights that its caller does not have, and whoever calls it would get \
                   them: take the set-user-ID and set-group-ID bits off it (chmod ug-s), and let sudo decide who may run what";
    users::has_borrowed_rights().then(|| failed(&Error::Configuration(refusal.to_owned()), Stderr::new(Voice::NORMAL)))
}

/// Says the one sentence for `error`, and gives its status.
fn failed(error: &Error, stderr: Stderr) -> Ending {
    stderr.failure(error);
    Ending::from(error)
}

/// Does it for every key for which it can be done. Of several failures the first ends the program and the others are
/// said; but that a token does not hold one of the keys comes before any that may pass.
async fn all_that_can(
    keys: &Keys,
    stderr: Stderr,
    for_one: impl AsyncFn(&LockKey) -> Result<(), Error>,
) -> Result<Ending, Error> {
    let mut failures = Vec::new();
    for key in keys.as_slice() {
        if let Err(error) = for_one(key).await {
            failures.push(error);
        }
    }
    let first = failures.iter().position(|error| matches!(error, Error::NotHeld { .. })).unwrap_or(0);
    if failures.is_empty() {
        return Ok(Ending::SUCCESS);
    }
    let first = failures.remove(first);
    failures.iter().for_each(|error| stderr.failure(error));
    Err(first)
}

/// Runs one conversation with the backend of `deployment` to its end, the closing included, and says how it failed.
fn one_shot(
    deployment: &Deployment,
    stderr: Stderr,
    attempt: Attempt,
    conversation: impl AsyncFnOnce(&dyn LockBackend) -> Result<Ending, Error>,
) -> Ending {
    in_event_loop(deployment, stderr, async || {
        let backend = backend::open(&deployment.target).map_err(|error| Error::backend(attempt, error))?;
        let ending = conversation(&*backend).await;
        let limit = match &ending {
            Err(Error::Interrupted(_)) => INTERRUPTED_CLOSING_LIMIT,
            Ok(_) | Err(_) => CLOSING_LIMIT,
        };
        if tokio::time::timeout(limit, backend.close()).await.is_err() {
            stderr.detail(|| "the connection did not close in time");
        }
        ending
    })
}

/// An event loop for one thread, in which a server that hangs up is an error: the client crate of ZooKeeper writes to its
/// connection in a way that brings SIGPIPE, of which a process dies without a word.
fn event_loop() -> std::io::Result<tokio::runtime::Runtime> {
    signals::hold_back(Signal::SIGPIPE)?;
    // A handful of connections and timers: no room for a thousand events, which would be two pages more to fetch at start.
    tokio::runtime::Builder::new_current_thread().enable_all().max_io_events_per_tick(32).build()
}

/// Does `work`, which talks to `deployment`, in an event loop of its own, and says how it failed.
fn in_event_loop(deployment: &Deployment, stderr: Stderr, work: impl AsyncFnOnce() -> Result<Ending, Error>) -> Ending {
    let done = || {
        let runtime = event_loop().map_err(|error| Error::system("start the event loop", error))?;
        for notice in &deployment.notices {
            stderr.notice(notice);
        }
        runtime.block_on(work())
    };
    done().unwrap_or_else(|error| failed(&error, stderr))
}
