//! The keeper's side: starts the command, hears what becomes of it, signals its tree.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::BorrowedFd;
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, geteuid, getpgid, getpid, getsid, setpgid, setsid};
use thiserror::Error;

use super::channel::{Channel, FromFront};
use super::shared::{HeldSince, Outcome};
use super::supervisor::{Delivery, Rest, asks_to_end};
use super::tree::{self, Sent};
use super::{CLOSE_INHERITED_AFTER, Deadline};
use crate::sys::boottime::{Alarm, BootInstant};
use crate::sys::lifeline::LifelineWatch;
use crate::sys::process::{self, Blocking, Change, Exit, PidFd, Which};
use crate::sys::readiness::Readiness;
use crate::sys::signals::{self, Inherited};
use crate::sys::{program_pages, spawn};

/// When a command that another user owns is looked at: by then `sudo` has become that user, or asks for a password.
const SETTLES_AFTER: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(1)];

/// The keeper right after the fork, before it has an event loop.
#[derive(Debug)]
pub struct KeeperStart {
    pub(super) front: Pid,
    pub(super) channel: Rc<Channel>,
    pub(super) watch_on_front: RefCell<Option<LifelineWatch>>,
    pub(super) inherited: Inherited,
    pub(super) deadline: Deadline,
    pub(super) held_since: HeldSince,
    pub(super) outcome: Outcome,
    pub(super) fronts_alarm: Rc<Alarm>,
}

/// The keeper in its event loop.
#[derive(Debug)]
pub struct Keeper {
    front: Pid,
    channel: Readiness<Rc<Channel>>,
    /// Until the command is executed.
    watch_on_front: RefCell<Option<LifelineWatch>>,
    inherited: Inherited,
    deadline: Deadline,
    held_since: HeldSince,
    outcome: Outcome,
    /// Rings in the front.
    fronts_alarm: Rc<Alarm>,
    child_signals: Readiness<SignalFd>,
    command: Cell<Option<Pid>>,
    command_ended: Cell<bool>,
    /// The front was let stop, and has not been woken since.
    front_stops: Cell<bool>,
    /// How often the command has been stopped.
    stops: Cell<i32>,
    /// The stop that comes next is that of the terminal's key, under another name.
    stops_by_key: Cell<bool>,
}

/// What happened below the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TreeChange {
    /// The command itself ended and is reaped.
    Ended { exit: Exit, rest: Rest },
    /// After the command's end the last of its tree ended too.
    TreeGone,
    /// The command was stopped, by this signal.
    Stopped(i32),
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
    /// The terminal told the whole group to end, and there was no command yet to hear it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
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
            watch_on_front: RefCell::new(self.watch_on_front.take()),
            inherited: self.inherited,
            deadline: self.deadline,
            held_since: self.held_since,
            outcome: self.outcome,
            fronts_alarm: Rc::clone(&self.fronts_alarm),
            child_signals: Readiness::new(child_signals)?,
            command: Cell::new(None),
            command_ended: Cell::new(false),
            front_stops: Cell::new(false),
            stops: Cell::new(0),
            stops_by_key: Cell::new(false),
        })
    }
}

impl KeeperStart {
    /// Tells the front how dlock ends, and ends this process.
    pub fn end(&self, exit: Exit) -> ! {
        self.outcome.set(exit);
        process::exit_now(0)
    }
}

impl Keeper {
    /// What the front says next. May be dropped at any point.
    pub async fn from_front(&self) -> FromFront {
        let message = self.channel.readable(|channel| channel.hear_front()).await.unwrap_or(FromFront::Gone);
        let FromFront::Signal { number, delivery } = message else { return message };
        let is_missing = match delivery {
            Delivery::ToFrontsGroup => self.command_left_the_group(),
            Delivery::UnlessWokenFrom { stop } => self.command_is_in(stop),
            Delivery::Forward | Delivery::AlreadyDelivered => return message,
        };
        let delivery = if is_missing { Delivery::Forward } else { Delivery::AlreadyDelivered };
        FromFront::Signal { number, delivery }
    }

    /// Nobody has woken the command from this stop.
    fn command_is_in(&self, stop: i32) -> bool {
        let command = self.command.get().filter(|_| self.front_stops.get() && self.stops.get() == stop);
        command.is_some_and(|command| !process::has_changed(command))
    }

    /// The command has made a group of its own in the session, as `timeout` does where it does not lead one already. It
    /// would lead the job's if it had been started directly, and get what the terminal sends.
    fn command_left_the_group(&self) -> bool {
        let Some(command) = self.command.get().filter(|_| !self.command_ended.get()) else { return false };
        getpgid(Some(command)) == Ok(command) && getsid(Some(command)) == getsid(Some(self.front))
    }

    /// Asks the front for every signal that has reached it; [`FromFront::CaughtUp`] follows the last of them.
    pub fn ask_for_signals(&self) {
        self.channel.get_ref().ask_for_signals();
    }

    /// The deadline that front and guard watch.
    #[must_use]
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Tells the front that the wait is over for now, so that it can stop as it was asked to.
    pub fn suspend_wait(&self, signal: i32) {
        // The key that stops this wait is not meant for the command that a later one may start.
        drop(signals::take_pending_of_terminal());
        self.channel.get_ref().tell_wait_suspended(signal);
    }

    /// Starts the command, in the process group and session of the front, and steps out of both.
    ///
    /// From before that on the front watches the deadline, and keeps `descriptors` open until nothing of the command lives.
    ///
    /// # Errors
    /// [`SpawnError`] tells why nothing was started.
    pub fn spawn(&self, command: &Command, descriptors: &[BorrowedFd<'_>]) -> Result<(), SpawnError> {
        descriptors.iter().for_each(|descriptor| self.channel.get_ref().tell_to_keep_open(*descriptor));
        self.wake_front_in_time();
        // A shell may have moved the front into a group of its own since the fork.
        if let Ok(group) = getpgid(Some(self.front)) {
            setpgid(Pid::from_raw(0), group).ok();
        }
        // Until here this process was in the terminal's foreground group, with every signal held back.
        let told = signals::take_pending_of_terminal();
        if let Some(&signal) = told.iter().find(|&&signal| asks_to_end(signal)) {
            return Err(SpawnError::Interrupted(signal));
        }
        // Until the command is executed this process stands still, and an exec can take its time (a network's disk): should
        // the front die meanwhile, nobody else would end the command to be. This process must live on, though: by the time
        // it runs again the command may have come far, and what it has started is not tied to anybody.
        let watch = self.watch_on_front.take().expect("a keeper starts one command");
        let pid = spawn::spawn_tied_to_this_thread(command, self.front, &watch, self.inherited, self.deadline.0)
            .map_err(SpawnError::from)?;
        self.command.set(Some(pid));
        if told.contains(&libc::SIGTSTP) {
            self.forward(libc::SIGTSTP);
        }
        // With its parent in another session the command's stops and orphan rules are those of a direct start;
        // otherwise a job that was stopped under `ssh -t` hangs for ever.
        setsid().ok();
        Ok(())
    }

    /// Sets the front's alarm, which it has not touched before and sets itself from the first time that it rings.
    fn wake_front_in_time(&self) {
        let now = BootInstant::now();
        self.held_since.set(now);
        let closing = now + CLOSE_INHERITED_AFTER;
        self.fronts_alarm.set(Some(self.deadline.get().map_or(closing, |deadline| deadline.min(closing))));
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
            // Its number may pass to another when it has ended.
            let command = self.command.get().filter(|_| !self.command_ended.get());
            match process::wait_child(Which::Any, Blocking::No) {
                Ok(Some((pid, change))) if Some(pid) == command => match change {
                    Change::Ended(exit) => {
                        self.command_ended.set(true);
                        let rest = if process::has_children() { Rest::Alive } else { Rest::Gone };
                        return TreeChange::Ended { exit, rest };
                    }
                    Change::Stopped(signal) => return TreeChange::Stopped(signal),
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

    /// Sends `signal` to the command alone, but what stops and continues to all of a group of its own: the terminal would.
    pub fn forward(&self, signal: i32) {
        let Some(pid) = self.command.get().filter(|_| !self.command_ended.get()) else { return };
        let moves_the_group = match signal {
            // A command that sees to it itself is told.
            libc::SIGTSTP => process::leaves_to_the_system(pid, signal),
            libc::SIGCONT => true,
            _ => false,
        };
        if moves_the_group && self.command_left_the_group() {
            self.forward_to_the_commands_group(pid, signal);
        } else if let Ok(command) = PidFd::open(pid) {
            command.send(signal).ok();
        }
    }

    /// Its leader's parent is in another session: the system takes that for a group that nobody could continue, and ignores
    /// there what the key sends.
    fn forward_to_the_commands_group(&self, leader: Pid, signal: i32) {
        let signal = if signal == libc::SIGCONT { Signal::SIGCONT } else { Signal::SIGSTOP };
        self.stops_by_key.set(signal == Signal::SIGSTOP);
        killpg(leader, signal).ok();
    }

    /// Asks everything below the keeper to end, by `signal`. Returns what it met.
    pub fn terminate_tree(&self, signal: i32) -> Sent {
        // A stopped process acts on a signal only once it is continued.
        tree::signal_descendants(getpid(), &[], &[signal, libc::SIGCONT])
    }

    /// Kills everything below the keeper. Returns what the last walk met.
    pub fn kill_tree(&self) -> Sent {
        tree::kill_descendants(getpid(), &[])
    }

    /// How many processes live below the keeper.
    #[must_use]
    pub fn count_tree(&self) -> usize {
        tree::living(tree::descendants(getpid(), &[])).len()
    }

    /// Completes when it has turned out that this process may not signal the command, soon after its start or never. To
    /// be polled while it runs.
    pub async fn command_out_of_reach(&self) {
        for pause in SETTLES_AFTER {
            tokio::time::sleep(pause).await;
            // Not before the first pause: the kernel closes what an exec closes, by which it is known, before it changes
            // the user.
            if !self.is_set_uid() {
                break;
            }
            if !self.may_signal() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// The command has another effective user than this process. It may be signalled as long as it does not become that
    /// user altogether, as `sudo` does and `ping` does not.
    fn is_set_uid(&self) -> bool {
        let effective = geteuid();
        !effective.is_root() && self.command.get().and_then(process::owner).is_some_and(|owner| owner != effective)
    }

    fn may_signal(&self) -> bool {
        let command = self.command.get().filter(|_| !self.command_ended.get());
        let asked = command.and_then(|pid| PidFd::open(pid).ok()).map(|command| command.send(0));
        asked != Some(Err(Errno::EPERM))
    }

    /// Lets the front stop by `signal`, as the command has been.
    pub fn command_stopped(&self, signal: i32) {
        self.front_stops.set(true);
        self.stops.set(self.stops.get() + 1);
        let signal = if self.stops_by_key.replace(false) { libc::SIGTSTP } else { signal };
        self.channel.get_ref().tell_command_stopped(signal);
    }

    /// Wakes the front if it had stopped with the command.
    pub fn command_continued(&self) {
        self.stops_by_key.set(false);
        if self.front_stops.replace(false) {
            nix::sys::signal::kill(self.front, Signal::SIGCONT).ok();
        }
    }

    /// Tells the front how dlock ends, and ends this process.
    pub fn end(self, exit: Exit) -> ! {
        self.outcome.set(exit);
        // A job that is killed while it is stopped does not stay stopped.
        self.command_continued();
        process::exit_now(0)
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
