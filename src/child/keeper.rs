//! The keeper's side: starts the command, hears what becomes of it, signals its tree.

use std::cell::Cell;
use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, getpgid, setpgid, setsid};
use thiserror::Error;

use super::channel::{Channel, FromFront};
use super::supervisor::Rest;
use super::{CLOSE_INHERITED_AFTER, Deadline, name_all, tree};
use crate::sys::process::{self, Blocking, Change, Exit, PidFd, Which};
use crate::sys::readiness::Readiness;
use crate::sys::signals::Inherited;
use crate::sys::{program_pages, spawn};

/// The keeper right after the fork, before it has an event loop.
#[derive(Debug)]
pub struct KeeperStart {
    pub(super) front: Pid,
    pub(super) channel: Rc<Channel>,
    pub(super) inherited: Inherited,
    pub(super) deadline: Deadline,
}

/// The keeper in its event loop.
#[derive(Debug)]
pub struct Keeper {
    front: Pid,
    channel: Readiness<Rc<Channel>>,
    inherited: Inherited,
    deadline: Deadline,
    child_signals: Readiness<SignalFd>,
    command: Cell<Option<Pid>>,
    command_ended: Cell<bool>,
}

/// What happened below the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeChange {
    /// The command itself ended and is reaped.
    Ended { exit: Exit, rest: Rest },
    /// After the command's end the last of its tree ended too.
    TreeGone,
    /// The command was stopped.
    Stopped,
    /// The command was continued.
    Continued,
}

/// Why the command was not started. Nothing of it runs.
#[derive(Debug, Error)]
pub enum SpawnError {
    #[error("there is no such command")]
    NotFound,
    #[error("{0}")]
    NotExecutable(io::Error),
    #[error("the deadline had passed before it could be started")]
    TooLate,
    #[error("the system refused a process: {0}")]
    System(io::Error),
}

impl KeeperStart {
    /// Enters the event loop of the runtime that this is called in.
    ///
    /// # Errors
    /// When the process or the machine has no descriptor left.
    pub fn enter(&self) -> io::Result<Keeper> {
        let mut child_signal = SigSet::empty();
        child_signal.add(Signal::SIGCHLD);
        let child_signals = SignalFd::with_flags(&child_signal, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Keeper {
            front: self.front,
            channel: Readiness::new(Rc::clone(&self.channel))?,
            inherited: self.inherited,
            deadline: self.deadline,
            child_signals: Readiness::new(child_signals)?,
            command: Cell::new(None),
            command_ended: Cell::new(false),
        })
    }
}

impl KeeperStart {
    /// Tells the front how dlock ends, and ends this process.
    pub fn end(&self, exit: Exit) -> ! {
        self.channel.tell_ended(exit);
        process::exit_now(0)
    }
}

impl Keeper {
    /// What the front says next. May be dropped at any point.
    pub async fn from_front(&self) -> FromFront {
        self.channel.readable(|channel| channel.hear_front()).await.unwrap_or(FromFront::Gone)
    }

    /// The deadline that front and guard watch.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Tells the front that the wait is over for now, so that it can stop as it was asked to.
    pub fn suspend_wait(&self) {
        self.channel.get_ref().tell_wait_suspended();
    }

    /// Starts the command, in the process group and session of the front, and steps out of both.
    ///
    /// The front hears of it first: from then on it watches the deadline and keeps `descriptor` open until nothing of
    /// the command lives.
    ///
    /// # Errors
    /// [`SpawnError`] tells why nothing was started.
    pub fn spawn(&self, command: &Command, descriptor: Option<BorrowedFd<'_>>) -> Result<(), SpawnError> {
        self.channel.get_ref().tell_holding(descriptor);
        // A shell may have moved the front into a group of its own since the fork.
        if let Ok(group) = getpgid(Some(self.front)) {
            setpgid(Pid::from_raw(0), group).ok();
        }
        let pid = spawn::spawn_tied_to_this_thread(command, self.front, self.inherited, self.deadline.0)
            .map_err(SpawnError::from)?;
        self.command.set(Some(pid));
        // With its parent in another session the command's stops and orphan rules are those of a direct start;
        // otherwise a job that was stopped under `ssh -t` hangs for ever.
        setsid().ok();
        Ok(())
    }

    /// Closes what was inherited, a little after the command's start; never completes. To be polled while it runs.
    pub async fn close_inherited(&self) -> std::convert::Infallible {
        tokio::time::sleep(CLOSE_INHERITED_AFTER).await;
        process::close_inherited_descriptors().ok();
        program_pages::give_back();
        std::future::pending().await
    }

    /// The next change below the keeper; everything else that ended is reaped on the way. May be dropped at any point.
    pub async fn change(&self) -> TreeChange {
        loop {
            match process::wait_child(Which::Any, Blocking::No) {
                Ok(Some((pid, change))) if Some(pid) == self.command.get() => match change {
                    Change::Ended(exit) => {
                        self.command_ended.set(true);
                        let rest = if process::has_children() { Rest::Alive } else { Rest::Gone };
                        return TreeChange::Ended { exit, rest };
                    }
                    Change::Stopped(_) => return TreeChange::Stopped,
                    Change::Continued => return TreeChange::Continued,
                },
                Ok(Some(_)) => {}
                Err(Errno::ECHILD) if self.command_ended.get() => return TreeChange::TreeGone,
                Ok(None) | Err(_) => {
                    self.child_signals.readable(|signals| signals.read_signal()?.ok_or(Errno::EAGAIN)).await.ok();
                }
            }
        }
    }

    /// Sends `signal` to the command alone.
    pub fn forward(&self, signal: i32) {
        if let Some(pid) = self.command.get().filter(|_| !self.command_ended.get())
            && let Ok(command) = PidFd::open(pid)
        {
            command.send(signal).ok();
        }
    }

    /// Asks everything below the keeper to end. Returns those that may not be signalled, named for a message.
    pub fn terminate_tree(&self) -> Option<String> {
        // A stopped process acts on TERM only once it is continued.
        self.signal_tree(&[libc::SIGTERM, libc::SIGCONT])
    }

    /// Kills everything below the keeper. Returns those that may not be signalled, named for a message.
    pub fn kill_tree(&self) -> Option<String> {
        self.signal_tree(&[libc::SIGKILL])
    }

    /// How many processes are below the keeper.
    #[must_use]
    pub fn count_tree(&self) -> usize {
        tree::descendants(nix::unistd::getpid(), &[]).len()
    }

    /// Lets the front stop, as the command has been.
    pub fn command_stopped(&self) {
        self.channel.get_ref().tell_command_stopped();
    }

    /// Wakes the front if it had stopped with the command.
    pub fn command_continued(&self) {
        nix::sys::signal::kill(self.front, Signal::SIGCONT).ok();
    }

    /// Tells the front how dlock ends, and ends this process.
    pub fn end(self, exit: Exit) -> ! {
        self.channel.get_ref().tell_ended(exit);
        process::exit_now(0)
    }

    fn signal_tree(&self, signals: &[i32]) -> Option<String> {
        let sent = tree::signal_descendants(nix::unistd::getpid(), &[], signals);
        (!sent.forbidden.is_empty()).then(|| name_all(&sent.forbidden))
    }
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => Self::NotFound,
            Some(spawn::TOO_LATE) => Self::TooLate,
            Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::ECHILD) => Self::System(error),
            _ => Self::NotExecutable(error),
        }
    }
}
