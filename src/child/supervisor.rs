//! What to do with the command, as a pure function of what happened: (phase, event) → action.
//!
//! The supervisor is told "stop it, with this grace" or "kill it", never why.

use std::time::Duration;

use crate::sys::boottime::BootInstant;
use crate::sys::process::Exit;

/// How soon a KILL is repeated at first: a process that forked while the tree was walked has a child by then, and a
/// fork takes about a tenth of this.
const FIRST_REPEAT: Duration = Duration::from_millis(5);

/// How slowly a KILL is repeated in the end, for what cannot be killed (another user's process, a hanging disk).
const SLOWEST_REPEAT: Duration = Duration::from_secs(1);

/// What can happen to the command or be asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The command itself ended; `rest` tells whether processes of its tree are still there.
    Ended { exit: Exit, rest: Rest },
    /// The last process of the command's tree is gone.
    TreeGone,
    /// No run inside the command uses its lock any more.
    UsersGone,
    /// A signal reached dlock.
    Signal { number: i32, delivery: Delivery },
    /// The command must stop; it has this long to do so by itself.
    Stop { grace: Duration },
    /// The command must be dead now.
    Kill,
    /// The instant that [`Supervisor::due`] named has come.
    Due,
}

/// What is left of the command's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    Gone,
    Alive,
    /// A run inside the command, in its tree or not, still uses the lock.
    UsesTheLock,
}

/// Whether a signal that reached dlock still has to be sent to the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Forward,
    /// The terminal, or the command's own tree, has seen to it.
    AlreadyDelivered,
    /// The terminal has sent it to the group of the front; only the keeper knows whether the command is still in it.
    ToFrontsGroup,
    /// It has woken the front from this stop, and the command too if it was sent to both.
    UnlessWokenFrom {
        stop: i32,
    },
}

/// What becomes of the tree when the command itself has ended of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LeftBehind {
    /// It was meant to run on.
    Ignore,
    /// The job is over when the last of it has ended.
    Await,
    Stop,
}

/// What the supervisor wants done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Nothing,
    /// Send this signal to the command alone.
    Forward(i32),
    /// Send the signal that asks to end, then CONT, to the whole tree.
    TerminateTree,
    /// Send KILL to the whole tree.
    KillTree,
    /// Nothing of the command is left that has to be waited for.
    Finish(Exit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Running,
    /// The command has ended of its own accord, and the rest of its tree is waited for.
    Lingering,
    /// The tree was asked to end.
    Stopping {
        kill_at: BootInstant,
    },
    /// KILL was sent and is repeated until nothing is left.
    Killing {
        again_at: BootInstant,
        pause: Duration,
    },
}

/// The state of one command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Supervisor {
    phase: Phase,
    exit: Option<Exit>,
    /// INT, TERM, HUP or QUIT reached dlock: somebody wants all of this ended.
    interrupted: bool,
    left_behind: LeftBehind,
    /// For stopping what the command left behind.
    grace: Duration,
}

impl Supervisor {
    /// `grace`: how long what the command left behind gets to end by itself where it has to.
    #[must_use]
    pub fn new(left_behind: LeftBehind, grace: Duration) -> Self {
        Self { phase: Phase::Running, exit: None, interrupted: false, left_behind, grace }
    }

    /// How the command itself ended, once it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// When [`Event::Due`] is wanted, if ever.
    #[must_use]
    pub fn due(&self) -> Option<BootInstant> {
        match self.phase {
            Phase::Running | Phase::Lingering => None,
            Phase::Stopping { kill_at } => Some(kill_at),
            Phase::Killing { again_at, .. } => Some(again_at),
        }
    }

    pub fn on(&mut self, event: Event, now: BootInstant) -> Action {
        match event {
            Event::Ended { exit, rest } => self.ended(exit, rest, now),
            Event::TreeGone => self.exit.map_or(Action::Nothing, Action::Finish),
            Event::UsersGone => match (self.phase, self.left_behind, self.exit) {
                (Phase::Lingering, LeftBehind::Ignore, Some(exit)) => Action::Finish(exit),
                _ => Action::Nothing,
            },
            Event::Signal { number, delivery } => self.signalled(number, delivery, now),
            Event::Stop { grace } => self.stop(now + grace),
            Event::Kill => self.kill(now, FIRST_REPEAT),
            Event::Due => match self.phase {
                Phase::Stopping { kill_at } if kill_at <= now => self.kill(now, FIRST_REPEAT),
                Phase::Killing { again_at, pause } if again_at <= now => {
                    self.kill(now, (pause * 2).min(SLOWEST_REPEAT))
                }
                _ => Action::Nothing,
            },
        }
    }

    fn signalled(&mut self, number: i32, delivery: Delivery, now: BootInstant) -> Action {
        self.interrupted |= asks_to_end(number);
        match (self.phase, delivery) {
            // There is no command left to decide what the signal means.
            (Phase::Lingering, _) if asks_to_end(number) => self.stop(now + self.grace),
            (_, Delivery::Forward) => Action::Forward(number),
            (_, Delivery::AlreadyDelivered | Delivery::ToFrontsGroup | Delivery::UnlessWokenFrom { .. }) => {
                Action::Nothing
            }
        }
    }

    fn ended(&mut self, exit: Exit, rest: Rest, now: BootInstant) -> Action {
        self.exit = Some(exit);
        if rest == Rest::Gone {
            return Action::Finish(exit);
        }
        match (self.phase, self.left_behind) {
            (Phase::Stopping { .. } | Phase::Killing { .. }, _) => Action::Nothing,
            (Phase::Running | Phase::Lingering, LeftBehind::Stop) => self.stop(now + self.grace),
            (Phase::Running | Phase::Lingering, _) if self.interrupted => self.stop(now + self.grace),
            (Phase::Running | Phase::Lingering, LeftBehind::Ignore) if rest == Rest::Alive => Action::Finish(exit),
            (Phase::Running | Phase::Lingering, LeftBehind::Ignore | LeftBehind::Await) => {
                self.phase = Phase::Lingering;
                Action::Nothing
            }
        }
    }

    fn stop(&mut self, kill_at: BootInstant) -> Action {
        match &mut self.phase {
            Phase::Running | Phase::Lingering => {
                self.phase = Phase::Stopping { kill_at };
                Action::TerminateTree
            }
            Phase::Stopping { kill_at: earlier } => {
                *earlier = (*earlier).min(kill_at);
                Action::Nothing
            }
            Phase::Killing { .. } => Action::Nothing,
        }
    }

    fn kill(&mut self, now: BootInstant, pause: Duration) -> Action {
        self.phase = Phase::Killing { again_at: now + pause, pause };
        Action::KillTree
    }
}

/// The signals by which people and init systems ask a job to end.
#[must_use]
pub fn asks_to_end(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> BootInstant {
        BootInstant::from_nanos(ms * 1_000_000)
    }

    fn signal(number: i32) -> Event {
        Event::Signal { number, delivery: Delivery::Forward }
    }

    #[test]
    fn a_command_that_ends_by_itself_finishes_whatever_it_left_running() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        let exit = Exit::Code(3);
        assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(0)), Action::Finish(exit));
    }

    #[test]
    fn a_run_inside_that_uses_the_lock_is_waited_for_and_nothing_else() {
        let exit = Exit::Code(0);
        let ended = Event::Ended { exit, rest: Rest::UsesTheLock };
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        assert_eq!(supervisor.on(ended, at(0)), Action::Nothing);
        assert_eq!(supervisor.on(Event::UsersGone, at(9)), Action::Finish(exit));
        let mut supervisor = Supervisor::new(LeftBehind::Await, GRACE);
        assert_eq!(supervisor.on(ended, at(0)), Action::Nothing);
        assert_eq!(supervisor.on(Event::UsersGone, at(9)), Action::Nothing);
        assert_eq!(supervisor.on(Event::TreeGone, at(10)), Action::Finish(exit));
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        supervisor.on(ended, at(0));
        assert_eq!(supervisor.on(signal(libc::SIGTERM), at(1)), Action::TerminateTree);
        assert_eq!(supervisor.on(Event::UsersGone, at(9)), Action::Nothing);
    }

    #[test]
    fn a_signal_is_forwarded_each_time_it_comes() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        assert_eq!(supervisor.on(signal(libc::SIGUSR1), at(0)), Action::Forward(libc::SIGUSR1));
        assert_eq!(supervisor.on(signal(libc::SIGUSR1), at(1)), Action::Forward(libc::SIGUSR1));
    }

    #[test]
    fn what_an_interrupted_command_left_behind_is_stopped_before_the_end() {
        for delivery in [Delivery::Forward, Delivery::AlreadyDelivered] {
            let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
            supervisor.on(Event::Signal { number: libc::SIGINT, delivery }, at(0));
            let exit = Exit::Signal(libc::SIGINT);
            assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(10)), Action::TerminateTree);
            assert_eq!(supervisor.due(), Some(at(2010)));
            assert_eq!(supervisor.on(Event::Due, at(2010)), Action::KillTree);
            assert_eq!(supervisor.on(Event::TreeGone, at(2011)), Action::Finish(exit));
        }
    }

    #[test]
    fn what_is_awaited_holds_on_until_the_last_of_it_has_ended() {
        let mut supervisor = Supervisor::new(LeftBehind::Await, GRACE);
        let exit = Exit::Code(3);
        assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(0)), Action::Nothing);
        assert_eq!((supervisor.due(), supervisor.exit()), (None, Some(exit)));
        assert_eq!(supervisor.on(Event::TreeGone, at(9)), Action::Finish(exit));
    }

    #[test]
    fn whoever_interrupts_what_is_awaited_stops_it() {
        for delivery in [Delivery::Forward, Delivery::AlreadyDelivered] {
            let mut supervisor = Supervisor::new(LeftBehind::Await, GRACE);
            let exit = Exit::Code(0);
            supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(0));
            assert_eq!(supervisor.on(signal(libc::SIGWINCH), at(1)), Action::Forward(libc::SIGWINCH));
            let terminated = supervisor.on(Event::Signal { number: libc::SIGTERM, delivery }, at(5));
            assert_eq!((terminated, supervisor.due()), (Action::TerminateTree, Some(at(2005))));
            assert_eq!(supervisor.on(Event::TreeGone, at(6)), Action::Finish(exit));
        }
    }

    #[test]
    fn what_is_to_be_stopped_is_asked_first_and_the_status_stays_the_commands() {
        let mut supervisor = Supervisor::new(LeftBehind::Stop, GRACE);
        let exit = Exit::Code(0);
        assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(0)), Action::TerminateTree);
        assert_eq!(supervisor.on(Event::Due, at(2000)), Action::KillTree);
        assert_eq!(supervisor.on(Event::TreeGone, at(2001)), Action::Finish(exit));
    }

    #[test]
    fn a_command_that_leaves_nothing_behind_finishes_whatever_was_to_become_of_it() {
        for left_behind in [LeftBehind::Ignore, LeftBehind::Await, LeftBehind::Stop] {
            let mut supervisor = Supervisor::new(left_behind, GRACE);
            let exit = Exit::Signal(libc::SIGSEGV);
            assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Gone }, at(0)), Action::Finish(exit));
        }
    }

    #[test]
    fn a_window_change_does_not_count_as_an_interruption() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        supervisor.on(signal(libc::SIGWINCH), at(0));
        let exit = Exit::Code(0);
        assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(1)), Action::Finish(exit));
    }

    #[test]
    fn stopping_terminates_once_and_kills_when_the_grace_is_over() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        assert_eq!(supervisor.on(Event::Stop { grace: GRACE }, at(0)), Action::TerminateTree);
        assert_eq!(supervisor.on(Event::Stop { grace: GRACE }, at(100)), Action::Nothing);
        assert_eq!(supervisor.due(), Some(at(2000)));
        assert_eq!(supervisor.on(Event::Due, at(1999)), Action::Nothing);
        assert_eq!(supervisor.on(Event::Due, at(2000)), Action::KillTree);
    }

    #[test]
    fn a_stop_with_less_grace_brings_the_kill_forward_and_one_with_more_does_not_put_it_off() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        supervisor.on(Event::Stop { grace: GRACE }, at(0));
        supervisor.on(Event::Stop { grace: Duration::from_millis(500) }, at(100));
        assert_eq!(supervisor.due(), Some(at(600)));
        supervisor.on(Event::Stop { grace: GRACE * 10 }, at(200));
        assert_eq!(supervisor.due(), Some(at(600)));
    }

    #[test]
    fn a_stopped_command_is_not_finished_while_its_tree_lives() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        supervisor.on(Event::Stop { grace: GRACE }, at(0));
        let exit = Exit::Signal(libc::SIGTERM);
        assert_eq!(supervisor.on(Event::Ended { exit, rest: Rest::Alive }, at(1)), Action::Nothing);
        assert_eq!(supervisor.on(Event::TreeGone, at(2)), Action::Finish(exit));
    }

    #[test]
    fn a_kill_is_repeated_ever_more_slowly_until_the_tree_is_gone() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        assert_eq!(supervisor.on(Event::Kill, at(0)), Action::KillTree);
        let mut pauses = Vec::new();
        let mut now = at(0);
        for _ in 0..12 {
            let due = supervisor.due().expect("killing always has a next time");
            pauses.push(due.since(now));
            now = due;
            assert_eq!(supervisor.on(Event::Due, now), Action::KillTree);
        }
        assert!(pauses.is_sorted());
        assert_eq!(pauses[0], FIRST_REPEAT);
        assert_eq!(pauses[11], SLOWEST_REPEAT);
    }

    #[test]
    fn nothing_finishes_before_the_command_has_ended() {
        let mut supervisor = Supervisor::new(LeftBehind::Ignore, GRACE);
        supervisor.on(Event::Kill, at(0));
        assert_eq!(supervisor.on(Event::TreeGone, at(1)), Action::Nothing);
    }

    #[test]
    fn every_signal_but_the_ending_ones_leaves_the_verdict_alone() {
        for number in 1..=libc::SIGRTMAX() {
            let expected = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT].contains(&number);
            assert_eq!(asks_to_end(number), expected, "signal {number}");
        }
    }
}
