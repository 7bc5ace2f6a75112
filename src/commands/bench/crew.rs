//! The processes of a measurement, and what the measuring one asks of them. They are forked before there is any thread or
//! connection, so each has its own.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::unistd::{Pid, setsid};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::wire::{Order, Wire, Word};
use super::{Plan, contender, janitor};
use crate::error::{Attempt, Error};
use crate::lock::{FIRST_CONTACT, LockKey};
use crate::sys::process::{self, Blocking, Forked, Which};
use crate::sys::signals;

/// The janitor tries twice, and each try may take as long as first contact and closing do.
const CLEANING_LIMIT: Duration = Duration::from_secs(4 * FIRST_CONTACT.as_secs() + 2);

/// A hand-over has two sides, also where nobody else is to contend.
const FEWEST: usize = 2;

/// How they are called in `ps`. Not `dlock`: whoever kills all of that name is cleaned up behind.
const CONTENDER_NAME: &std::ffi::CStr = c"lock-contender";
const JANITOR_NAME: &std::ffi::CStr = c"lock-janitor";

/// The processes of one backend, not yet spoken to.
pub(super) struct Crew {
    contenders: Vec<UnixStream>,
    /// The janitor reads from its other end until nobody has this one any more.
    held: UnixStream,
    report: UnixStream,
    pids: Vec<Pid>,
}

/// The same in the event loop.
pub(super) struct Working<'a> {
    pub(super) contenders: Vec<Peer<'a>>,
    rest: Rest,
}

struct Rest {
    held: UnixStream,
    report: UnixStream,
    pids: Vec<Pid>,
}

/// Forks a crew for each plan.
///
/// # Errors
/// When the system refuses a process or a descriptor.
pub(super) fn muster(plans: &[Plan<'_>]) -> io::Result<Vec<Crew>> {
    let mut crews = Vec::new();
    for plan in plans {
        let (others, held) = UnixStream::pair()?;
        let (report, reported) = UnixStream::pair()?;
        let mut crew = Crew { contenders: Vec::new(), held, report, pids: Vec::new() };
        match process::fork_single_threaded()? {
            Forked::Child => {
                // Copies of the ends whose closing tells that this process is gone.
                drop((crews, crew));
                by_itself(JANITOR_NAME);
                janitor::live(others, reported, plan)
            }
            Forked::Parent { child } => crew.pids.push(child),
        }
        drop((others, reported));
        for _ in 0..plan.settings.contenders.max(FEWEST) {
            let (ours, orders) = UnixStream::pair()?;
            match process::fork_single_threaded()? {
                Forked::Child => {
                    let Crew { contenders, held, report, pids: _ } = crew;
                    drop((crews, contenders, report, ours));
                    by_itself(CONTENDER_NAME);
                    // Until it ends: the janitor waits for that.
                    std::mem::forget(held);
                    contender::live(orders, plan)
                }
                Forked::Parent { child } => crew.pids.push(child),
            }
            crew.contenders.push(ours);
        }
        crews.push(crew);
    }
    Ok(crews)
}

/// A fork that no signal ends but KILL, least of all one of the terminal's: it ends when the measuring process does.
fn by_itself(name: &std::ffi::CStr) {
    signals::take_over();
    setsid().ok();
    nix::sys::prctl::set_name(name).ok();
}

impl Crew {
    /// # Errors
    /// When the event loop takes no further descriptor.
    pub(super) fn into_working(self, key: &LockKey) -> io::Result<Working<'_>> {
        let Self { contenders, held, report, pids } = self;
        let peers = contenders.into_iter().map(|stream| Ok(Peer { wire: Wire::new(stream)?, key }));
        let contenders = peers.collect::<io::Result<Vec<_>>>()?;
        Ok(Working { contenders, rest: Rest { held, report, pids } })
    }
}

impl Working<'_> {
    /// Tells the janitor how much there is to clean up: [`janitor::ASKED`] before the first request, [`janitor::GRANTED`]
    /// after the first grant.
    ///
    /// # Errors
    /// When the janitor is gone.
    pub(super) fn note(&mut self, step: u8) -> Result<(), Error> {
        self.rest.held.write_all(&[step]).map_err(gone)
    }

    /// Sends everybody home, and has removed what was stored. `Err`: why it could not be.
    pub(super) async fn dismiss(self) -> Result<(), String> {
        let Self { contenders, rest: Rest { held, report, pids } } = self;
        drop((contenders, held));
        let told = timeout(CLEANING_LIMIT, heard(report)).await;
        if told.is_ok() {
            for pid in pids {
                process::wait_child(Which::Pid(pid), Blocking::Yes).ok();
            }
        }
        match told {
            Ok(Ok(word)) if word == janitor::CLEAN => Ok(()),
            Ok(Ok(reason)) if !reason.is_empty() => Err(reason),
            Ok(_) => Err("the process that was to do it is gone".to_owned()),
            Err(_) => Err("it takes too long".to_owned()),
        }
    }
}

async fn heard(report: UnixStream) -> io::Result<String> {
    report.set_nonblocking(true)?;
    let mut text = String::new();
    tokio::net::UnixStream::from_std(report)?.read_to_string(&mut text).await?;
    Ok(text)
}

/// One contender, as the measuring process sees it.
pub(super) struct Peer<'a> {
    wire: Wire,
    key: &'a LockKey,
}

impl Peer<'_> {
    /// # Errors
    /// When the contender is gone.
    pub(super) async fn order(&mut self, order: Order) -> Result<(), Error> {
        self.wire.send(&order).await.map_err(gone)
    }

    /// The next word that is not a failure.
    ///
    /// # Errors
    /// What the contender failed with; or when it is gone.
    pub(super) async fn word(&mut self) -> Result<Word, Error> {
        match self.wire.receive().await.map_err(gone)? {
            Some(Word::Failed(failure)) => Err(Error::backend(Attempt::Acquire(self.key.clone()), failure.into())),
            Some(word) => Ok(word),
            None => Err(gone(io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

/// It was killed: nothing else ends one before its time.
fn gone(error: io::Error) -> Error {
    Error::system("go on measuring, as one of its processes is gone", error)
}

/// It answered something else.
pub(super) fn nonsense(word: &Word) -> Error {
    let what = std::mem::discriminant(word);
    Error::system("go on measuring", io::Error::other(format!("{what:?} is no answer")))
}
