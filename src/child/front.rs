//! The front's side: takes the signals, watches the deadline and the keeper, and ends as it is told.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use nix::unistd::{Pid, getpid, getsid};

use super::channel::{Channel, FromKeeper};
use super::guard::Guard;
use super::shared::{HeldSince, Outcome};
use super::supervisor::{Delivery, asks_to_end};
use super::{CLOSE_INHERITED_AFTER, Deadline, tree};
use crate::sys::boottime::{Alarm, BootInstant};
use crate::sys::lifeline::Lifeline;
use crate::sys::process::{self, Blocking, Change, Exit, PidFd, Which};
use crate::sys::seeded::seeded;
use crate::sys::{program_pages, signals};

/// Milliseconds between two walks over a tree that is being killed: a process that forked meanwhile is found then, and
/// a fork takes a tenth of this.
const KILL_PAUSE_MS: u8 = 5;

/// How often what cannot be killed is named.
const NAME_EVERY: Duration = Duration::from_secs(60);

/// The process that the shell started.
#[derive(Debug)]
pub struct Front {
    keeper: Pid,
    sources: Sources,
    deadline: Deadline,
    held_since: HeldSince,
    outcome: Outcome,
    earlier_children: Vec<Pid>,
    /// What was inherited is closed, a little after a command exists.
    inherited_closed: bool,
    /// While the command is being started the keeper hears of nothing else.
    _life: Lifeline,
    /// Keeps the lock alive should the keeper die before the command's tree is dead.
    kept_open: Vec<OwnedFd>,
    /// How often the command has been stopped.
    stops: i32,
    /// Somebody has asked a waiting dlock to end.
    gives_up: bool,
}

/// What the front waits for.
#[derive(Debug)]
pub(super) struct Sources {
    channel: Channel,
    signals: SignalFd,
    alarm: Alarm,
}

impl Sources {
    pub(super) fn new(channel: Channel, handled: &SigSet) -> nix::Result<Self> {
        let signals = SignalFd::with_flags(handled, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        Ok(Self { channel, signals, alarm: Alarm::new()? })
    }

    /// Closes all but the alarm, which rings for the front and may be set by whoever has it.
    pub(super) fn into_alarm(self) -> Alarm {
        self.alarm
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As the keeper said.
    Ended(Exit),
    /// The keeper died while the command ran; nothing of the command lives.
    KeeperDied(Option<Exit>),
    /// The keeper died before there was a command.
    KeeperDiedEarly(Option<Exit>),
    /// The deadline passed before the keeper had stopped the command; nothing of it lives, nor does the keeper.
    DeadlinePassed,
}

impl Front {
    pub(super) fn new(
        keeper: Pid,
        sources: Sources,
        (deadline, held_since, outcome): (Deadline, HeldSince, Outcome),
        earlier_children: Vec<Pid>,
        life: Lifeline,
    ) -> Self {
        Self {
            keeper,
            sources,
            deadline,
            held_since,
            outcome,
            earlier_children,
            inherited_closed: false,
            _life: life,
            kept_open: Vec::new(),
            stops: 0,
            gives_up: false,
        }
    }

    /// Watches until it is over. `name` is given, once a minute, those that this user may not kill.
    pub fn watch(&mut self, name: impl Fn(&str)) -> Verdict {
        loop {
            // First, as nothing is to be done yet: the keeper may have to wait for this process to make way.
            self.wait_for_anything();
            // The deadline comes before everything that has happened with it.
            if self.deadline.has_passed() && !seeded!("front-blind-to-the-deadline") {
                self.kill_all(&name);
                return Verdict::DeadlinePassed;
            }
            if let Some(verdict) = self.hear_keeper(&name) {
                return verdict;
            }
            self.close_inherited();
            self.set_alarm();
            if let Some(verdict) = self.take_signals() {
                return verdict;
            }
        }
    }

    fn wait_for_anything(&self) {
        let mut sources = [
            PollFd::new(self.sources.channel.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.sources.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.sources.alarm.as_fd(), PollFlags::POLLIN),
        ];
        poll(&mut sources, PollTimeout::NONE).ok();
    }

    fn close_inherited(&mut self) {
        let is_due = |since: BootInstant| (since + CLOSE_INHERITED_AFTER).has_passed();
        if !self.inherited_closed && self.held_since.get().is_some_and(is_due) {
            process::close_inherited_descriptors().ok();
            program_pages::give_back();
            self.inherited_closed = true;
        }
    }

    /// Sets the alarm to what is next by now. Every renewal moves the deadline on without a word to the front, so the alarm
    /// goes off about once a lease, and is set anew. It is the keeper that sets it first, when the command is about to
    /// exist; before, nobody else touches it.
    fn set_alarm(&self) {
        let Some(since) = self.held_since.get() else { return };
        let closing = (!self.inherited_closed).then(|| since + CLOSE_INHERITED_AFTER);
        self.sources.alarm.set(self.deadline.get().into_iter().chain(closing).min());
    }

    fn hear_keeper(&mut self, name: &impl Fn(&str)) -> Option<Verdict> {
        loop {
            match self.sources.channel.hear_keeper() {
                Err(Errno::EAGAIN | Errno::EINTR) => return None,
                Ok(FromKeeper::KeepOpen(descriptor)) => self.kept_open.extend(descriptor),
                Ok(FromKeeper::CommandStopped(signal)) => self.stop_with_the_command(signal),
                Ok(FromKeeper::AskedForSignals) => {
                    if let Some(verdict) = self.take_signals() {
                        return Some(verdict);
                    }
                    self.sources.channel.tell_caught_up();
                }
                Ok(FromKeeper::WaitSuspended(signal)) => {
                    signals::stop_by(signal);
                    self.sources.channel.tell_signal(libc::SIGCONT, Delivery::Forward);
                }
                Ok(FromKeeper::Gone) | Err(_) => return Some(self.keeper_has_ended(name)),
            }
        }
    }

    fn keeper_has_ended(&mut self, name: &impl Fn(&str)) -> Verdict {
        if let Some(exit) = self.outcome.get() {
            self.await_keeper();
            return Verdict::Ended(exit);
        }
        if seeded!("front-forgets-the-command") {
            return Verdict::KeeperDied(self.await_keeper());
        }
        let early = self.held_since.get().is_none();
        let exit = self.kill_all(name);
        if early { Verdict::KeeperDiedEarly(exit) } else { Verdict::KeeperDied(exit) }
    }

    fn take_signals(&mut self) -> Option<Verdict> {
        while let Ok(Some(signal)) = self.sources.signals.read_signal() {
            let verdict = self.take(&signal);
            if verdict.is_some() {
                return verdict;
            }
        }
        None
    }

    fn take(&mut self, signal: &siginfo) -> Option<Verdict> {
        let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
        if signals::is_ignored(number) {
            return None;
        }
        if number == libc::SIGCHLD {
            self.reap_adopted();
            return None;
        }
        // SIGPIPE from ourselves is our own message to a reader that has gone, and none of the command's business.
        if sender(signal) == getpid() {
            return None;
        }
        if asks_to_end(number) {
            let holds = self.held_since.get().is_some();
            // The second one is meant: not even the second that cleaning up may take.
            if self.gives_up && !holds {
                self.kill_keeper();
                return Some(Verdict::Ended(Exit::Signal(number)));
            }
            self.gives_up = !holds;
        }
        self.sources.channel.tell_signal(number, self.delivery_of(signal, number));
        None
    }

    /// Whether the command still has to be sent this signal.
    fn delivery_of(&self, signal: &siginfo, number: i32) -> Delivery {
        if signals::is_of_terminal(number, signal.ssi_code) {
            // The terminal signals its whole foreground group, but a hang-up goes to the session's leader alone.
            let leader_alone = number == libc::SIGHUP && getsid(None) == Ok(getpid());
            return if leader_alone { Delivery::Forward } else { Delivery::ToFrontsGroup };
        }
        let sender = sender(signal);
        let from_below = sender == self.keeper || tree::is_below(sender, self.keeper);
        if from_below { Delivery::AlreadyDelivered } else { Delivery::Forward }
    }

    /// Reaps what is neither the keeper nor the command's: children that `exec dlock` inherited, and what falls to the
    /// first process of a PID namespace.
    fn reap_adopted(&mut self) {
        for pid in tree::children(getpid()).into_iter().filter(|&pid| pid != self.keeper) {
            if let Ok(Some((_, Change::Ended(_)))) = process::wait_child(Which::Pid(pid), Blocking::No) {
                // The number may come back as somebody else's.
                self.earlier_children.retain(|&earlier| earlier != pid);
            }
        }
    }

    /// Stops as the command was, so that the shell takes the terminal back; a guard watches the deadline meanwhile.
    fn stop_with_the_command(&mut self, signal: i32) {
        self.stops += 1;
        // Nobody could continue process 1.
        if getpid().as_raw() == 1 {
            return;
        }
        // No guard, no stop: nobody would watch the deadline.
        let Ok(guard) = Guard::start(self.keeper, self.deadline, &self.earlier_children, &self.sources.channel) else {
            return;
        };
        signals::stop_by(signal);
        guard.dismiss();
        // Not forwarded like any other: by the time that the keeper heard of it the command might have been stopped anew.
        if signals::was_woken() {
            self.sources.channel.tell_signal(libc::SIGCONT, Delivery::UnlessWokenFrom { stop: self.stops });
        }
    }

    /// Kills the keeper, then everything that falls to this process when it is gone, until nothing is left. Returns how
    /// the keeper ended.
    ///
    /// The keeper first: a stopped one would start the command later, or its renewal would outlive its children.
    fn kill_all(&mut self, name: &impl Fn(&str)) -> Option<Exit> {
        let exit = self.kill_keeper();
        let mut named_at = None;
        loop {
            let sent = tree::kill_descendants(getpid(), &self.earlier_children);
            for pid in tree::children(getpid()).into_iter().filter(|pid| !self.earlier_children.contains(pid)) {
                process::wait_child(Which::Pid(pid), Blocking::No).ok();
            }
            if tree::descendants(getpid(), &self.earlier_children).is_empty() {
                return exit;
            }
            if !sent.forbidden.is_empty() && named_at.is_none_or(|at: Instant| at.elapsed() >= NAME_EVERY) {
                name(&tree::describe(&sent.forbidden));
                named_at = Some(Instant::now());
            }
            poll(&mut [PollFd::new(self.sources.signals.as_fd(), PollFlags::POLLIN)], PollTimeout::from(KILL_PAUSE_MS))
                .ok();
            while let Ok(Some(_)) = self.sources.signals.read_signal() {}
        }
    }

    fn kill_keeper(&self) -> Option<Exit> {
        if let Ok(keeper) = PidFd::open(self.keeper) {
            keeper.send(libc::SIGKILL).ok();
        }
        self.await_keeper()
    }

    fn await_keeper(&self) -> Option<Exit> {
        loop {
            match process::wait_child(Which::Pid(self.keeper), Blocking::Yes) {
                Ok(Some((_, Change::Ended(exit)))) => return Some(exit),
                // A stop that nobody had asked about yet.
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}

/// Who sent it; 0 for the kernel and for what this process cannot see.
fn sender(signal: &siginfo) -> Pid {
    Pid::from_raw(i32::try_from(signal.ssi_pid).unwrap_or(0))
}
