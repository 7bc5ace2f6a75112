//! Front, keeper and command: the shipped supervisor among everything that can happen to the three, in every order.

mod flaws;

use std::time::Duration;

use dlock::child::supervisor::{Action as Wanted, Delivery, Event, LeftBehind, Rest, Supervisor, asks_to_end};
use dlock::sys::boottime::BootInstant;
use dlock::sys::process::Exit;
use stateright::{Model, Property};

/// Steps of the clock; the lease is one of so many, and what is asked to end gets so long.
const STEP: Duration = Duration::from_millis(500);
const LEASE_STEPS: u64 = 2;
const GRACE_STEPS: u32 = 1;

/// How a command ends that was asked to, killed, or left alone.
const ASKED: Exit = Exit::Signal(libc::SIGTERM);
const KILLED: Exit = Exit::Signal(libc::SIGKILL);
const ITSELF: Exit = Exit::Code(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// The rest of a tree that was stopped is not waited for.
    ForgetsTheTree,
    /// The keeper goes on when its front is gone.
    IgnoresTheFront,
    /// The front looks at the keeper alone.
    IgnoresTheDeadline,
    /// A stop that comes while another one is on its way begins its grace anew.
    GraceBeginsAnew,
    /// The kill comes once.
    KillsOnce,
}

#[derive(Debug)]
struct Job {
    left_behind: LeftBehind,
    flaw: Flaw,
    /// How long this goes on.
    steps: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Process {
    Alive,
    /// Ended, and its parent has not heard of it.
    Ended(Exit),
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    step: u64,
    front: Process,
    keeper: Process,
    /// The keeper has been stopped, by somebody who meant no good.
    keeper_stopped: bool,
    supervisor: Supervisor,
    command: Process,
    /// Something that the command started; it ends by KILL alone.
    other: Process,
    /// A command that was asked to end takes its time.
    asked: bool,
    /// When the lease was renewed last.
    renewed: u64,
    /// It is not ours any more, and the keeper knows.
    lost: bool,
    stopping: bool,
    killing: bool,
    front_died_at: Option<u64>,
    /// The front was told how it ended.
    front_knows: Option<Exit>,
    /// Statuses that the shell has been given.
    statuses: u8,
    /// The lock was given up at a step.
    released: bool,
    /// Somebody was asked to stop it, and by when it has to be dead.
    dead_by: Option<u64>,
    seen: Sightings,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Sightings {
    /// The lock was given up while something of a stopped tree, or the command, lived.
    released_too_early: bool,
    /// An event that asked for something came to nothing.
    ignored: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    CommandEnds,
    OtherEnds,
    /// The keeper hears of the command's end.
    KeeperReaps,
    /// The last of the tree is gone, and the keeper hears of it.
    TreeGone,
    KeeperLooksAtTheClock,
    KeeperHearsTheFront,
    Signal(i32),
    /// `--max-runtime` is over, or an operator wants the lock back.
    AskedToStop,
    Renew,
    FindsItLost,
    FrontDies,
    KeeperDies,
    KeeperIsStopped,
    FrontHearsTheEnd,
    FrontKillsAll,
    Pass,
}

fn at(step: u64) -> BootInstant {
    BootInstant::from_nanos(step * u64::try_from(STEP.as_nanos()).expect("half a second"))
}

impl State {
    fn deadline(&self) -> u64 {
        self.renewed + LEASE_STEPS
    }

    fn tree_lives(&self) -> bool {
        self.command == Process::Alive || self.other == Process::Alive
    }

    fn keeper_runs(&self) -> bool {
        self.keeper == Process::Alive && !self.keeper_stopped
    }

    fn kill_tree(&mut self) {
        for process in [&mut self.command, &mut self.other] {
            if *process == Process::Alive {
                *process = Process::Ended(KILLED);
            }
        }
    }
}

impl Job {
    fn of(left_behind: LeftBehind) -> Self {
        Self { left_behind, flaw: Flaw::None, steps: 4 }
    }

    /// Hands the supervisor an event, and does what it wants.
    fn tell(&self, state: &mut State, event: Event) {
        let before = state.supervisor.clone();
        let wanted = match (self.flaw, event) {
            (Flaw::ForgetsTheTree, Event::Ended { exit, .. }) => {
                state.supervisor.on(event, at(state.step));
                Wanted::Finish(exit)
            }
            (Flaw::GraceBeginsAnew, Event::Stop { .. }) if before.due().is_some() => {
                state.supervisor = Supervisor::new(self.left_behind, STEP * GRACE_STEPS);
                state.supervisor.on(event, at(state.step));
                Wanted::Nothing
            }
            (Flaw::KillsOnce, Event::Due) if state.killing => Wanted::Nothing,
            _ => state.supervisor.on(event, at(state.step)),
        };
        let stops = matches!(event, Event::Stop { .. } | Event::Kill);
        // Whoever is told to stop it has it stopped from then on, whatever came before.
        if stops && state.supervisor.due().is_none() {
            state.seen.ignored = Some("a stop");
        }
        if event == Event::Kill && wanted != Wanted::KillTree {
            state.seen.ignored = Some("a kill");
        }
        if event == Event::TreeGone && state.supervisor.exit().is_some() && !matches!(wanted, Wanted::Finish(_)) {
            state.seen.ignored = Some("the end of the tree");
        }
        if let Event::Signal { number, delivery: Delivery::Forward } = event
            && wanted != Wanted::Forward(number)
            && state.supervisor.due().is_none()
        {
            state.seen.ignored = Some("a signal");
        }
        let was_due = before.due().is_some_and(|due| due <= at(state.step));
        if event == Event::Due && was_due && wanted != Wanted::KillTree {
            state.seen.ignored = Some("an alarm");
        }
        state.stopping |= matches!(wanted, Wanted::TerminateTree | Wanted::KillTree);
        state.killing |= wanted == Wanted::KillTree;
        match wanted {
            Wanted::Nothing => {}
            Wanted::Forward(number) => state.asked |= asks_to_end(number),
            Wanted::TerminateTree => state.asked = true,
            Wanted::KillTree => state.kill_tree(),
            Wanted::Finish(exit) => self.finish(state, exit),
        }
    }

    /// The keeper gives the lock up and tells the front.
    fn finish(&self, state: &mut State, exit: Exit) {
        let must_be_gone = state.stopping || self.left_behind != LeftBehind::Ignore;
        state.seen.released_too_early |=
            state.command == Process::Alive || (must_be_gone && state.other == Process::Alive);
        state.released = true;
        state.keeper = Process::Ended(exit);
        state.front_knows = Some(exit);
    }

    fn grace(&self, state: &State) -> Duration {
        let left = state.deadline().saturating_sub(state.step + 1);
        STEP * GRACE_STEPS.min(u32::try_from(left).expect("a few steps"))
    }

    /// Nobody but a stopped process lets its own hour pass: what is due happens before the clock goes on.
    fn is_due(&self, state: &State) -> bool {
        let keeper = state.keeper_runs();
        let alarm = keeper && state.supervisor.due().is_some_and(|due| due <= at(state.step));
        let hears_of_the_front = keeper && self.must_hear_of_the_front(state);
        let loses = keeper && (state.lost || state.step >= state.deadline()) && !state.killing;
        let front = state.front == Process::Alive && state.statuses == 0;
        alarm || hears_of_the_front || loses || (front && (state.front_knows.is_some() || self.front_must_kill(state)))
    }

    fn must_hear_of_the_front(&self, state: &State) -> bool {
        state.front != Process::Alive && !state.stopping && self.flaw != Flaw::IgnoresTheFront
    }

    fn front_must_kill(&self, state: &State) -> bool {
        let deadline_passed = state.step >= state.deadline() && self.flaw != Flaw::IgnoresTheDeadline;
        let keeper_died = state.keeper == Process::Gone;
        state.statuses == 0 && state.front_knows.is_none() && (deadline_passed || keeper_died)
    }
}

impl Model for Job {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            step: 1,
            front: Process::Alive,
            keeper: Process::Alive,
            keeper_stopped: false,
            supervisor: Supervisor::new(self.left_behind, STEP * GRACE_STEPS),
            command: Process::Alive,
            other: Process::Alive,
            asked: false,
            renewed: 1,
            lost: false,
            stopping: false,
            killing: false,
            front_died_at: None,
            front_knows: None,
            statuses: 0,
            released: false,
            dead_by: None,
            seen: Sightings::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let keeper = state.keeper_runs();
        let front = state.front == Process::Alive && state.statuses == 0;
        let reaped = state.command == Process::Gone;
        let believed = !state.lost && state.step < state.deadline();
        let mut offer = |possible: bool, action| actions.extend(possible.then_some(action));
        offer(state.command == Process::Alive, Action::CommandEnds);
        offer(state.other == Process::Alive, Action::OtherEnds);
        offer(keeper && matches!(state.command, Process::Ended(_)), Action::KeeperReaps);
        offer(keeper && reaped && state.other != Process::Alive, Action::TreeGone);
        offer(keeper && state.supervisor.due().is_some_and(|due| due <= at(state.step)), Action::KeeperLooksAtTheClock);
        offer(keeper && self.must_hear_of_the_front(state), Action::KeeperHearsTheFront);
        for number in [libc::SIGTERM, libc::SIGWINCH] {
            offer(keeper && front && !state.asked, Action::Signal(number));
        }
        offer(keeper && believed, Action::AskedToStop);
        offer(keeper && believed && state.renewed < state.step, Action::Renew);
        offer(keeper && !state.killing, Action::FindsItLost);
        offer(front, Action::FrontDies);
        offer(state.keeper == Process::Alive, Action::KeeperDies);
        offer(keeper, Action::KeeperIsStopped);
        offer(front && state.front_knows.is_some(), Action::FrontHearsTheEnd);
        offer(front && self.front_must_kill(state), Action::FrontKillsAll);
        offer(state.step < self.steps && !self.is_due(state), Action::Pass);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::CommandEnds => state.command = Process::Ended(if state.asked { ASKED } else { ITSELF }),
            Action::OtherEnds => state.other = Process::Gone,
            Action::KeeperReaps => {
                let Process::Ended(exit) = state.command else { return None };
                state.command = Process::Gone;
                let rest = if state.other == Process::Alive { Rest::Alive } else { Rest::Gone };
                self.tell(&mut state, Event::Ended { exit, rest });
            }
            Action::TreeGone => self.tell(&mut state, Event::TreeGone),
            Action::KeeperLooksAtTheClock => self.tell(&mut state, Event::Due),
            Action::KeeperHearsTheFront => {
                let grace = self.grace(&state);
                self.tell(&mut state, Event::Stop { grace });
            }
            Action::Signal(number) => {
                self.tell(&mut state, Event::Signal { number, delivery: Delivery::Forward });
            }
            Action::AskedToStop => {
                let grace = self.grace(&state);
                let by = state.step + u64::from(GRACE_STEPS);
                state.dead_by = Some(state.dead_by.map_or(by, |earlier| earlier.min(by)));
                self.tell(&mut state, Event::Stop { grace });
            }
            Action::Renew => state.renewed = state.step,
            Action::FindsItLost => {
                state.lost = true;
                self.tell(&mut state, Event::Kill);
            }
            Action::FrontDies => {
                state.front = Process::Gone;
                state.front_died_at = Some(state.step);
            }
            // Its command dies with it, or is killed by the front to whom its tree falls.
            Action::KeeperDies => state.keeper = Process::Gone,
            Action::KeeperIsStopped => state.keeper_stopped = true,
            Action::FrontHearsTheEnd => {
                state.keeper = Process::Gone;
                state.statuses += 1;
            }
            Action::FrontKillsAll => {
                state.keeper = Process::Gone;
                state.kill_tree();
                (state.command, state.other) = (Process::Gone, Process::Gone);
                state.statuses += 1;
            }
            Action::Pass => state.step += 1,
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing is released while it lives", |_, state: &State| !state.seen.released_too_early),
            Property::always("no event that asks for something is ignored", |_, state: &State| {
                state.seen.ignored.is_none()
            }),
            Property::always("one status", |_, state: &State| {
                let alone = state.front == Process::Alive && !state.keeper_runs();
                let silent = alone && state.step > state.deadline() && state.statuses == 0;
                state.statuses <= 1 && !silent
            }),
            Property::always("dead by the deadline while the front lives", |_, state: &State| {
                let over = state.step > state.deadline();
                !(over && state.front == Process::Alive && !state.released && state.tree_lives())
            }),
            Property::always("dead soon after the front", |_, state: &State| {
                let by = state.front_died_at.map(|at| (at + u64::from(GRACE_STEPS)).min(state.deadline()));
                !(by.is_some_and(|by| state.step > by) && state.keeper_runs() && state.tree_lives())
            }),
            Property::always("whoever is asked to end is dead in time", |_, state: &State| {
                let late = state.dead_by.is_some_and(|by| state.step > by);
                !(late && state.keeper_runs() && state.front == Process::Alive && state.tree_lives())
            }),
            Property::sometimes("a command ends as it wants", |_, state: &State| {
                state.statuses == 1 && state.front_knows == Some(ITSELF)
            }),
            Property::sometimes("a command ends as it was asked to", |_, state: &State| {
                state.statuses == 1 && state.front_knows == Some(ASKED)
            }),
            Property::sometimes("a command is killed", |_, state: &State| state.front_knows == Some(KILLED)),
            Property::sometimes("the front has the last word", |_, state: &State| {
                state.statuses == 1 && state.front_knows.is_none()
            }),
        ]
    }
}
