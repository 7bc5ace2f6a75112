//! Several masters as one lock: the shipped votes and scripts, masters that fail and come back, answers that are lost.

mod flaws;

use std::collections::BTreeSet;
use std::time::Duration;

use dlock::backend::redis::quorum::{Attempt, Quorum, Step, Vote, next_fence};
use dlock::backend::redis::script::{FENCE, RELEASE, TAKE};
use dlock::lock::validity::of_server_lease;
use dlock::sys::boottime::BootInstant;
use stateright::{Model, Property};

use super::exploring::Passable;
use super::keyspace::{Keyspace, Outcome, Reply, Run};

const NAMES: [&str; 7] = ["lock", "queue", "leases", "waiters", "receipts", "fence", "holders"];
const MASTERS: usize = 3;

const TTL_MS: u64 = 3000;
/// A lease is over after two steps of the clock.
const STEP_MS: u64 = 1510;
const START_MS: u64 = 1_000_000;

/// How far the masters' clocks are ahead of the slowest: far more than an attempt takes.
const AHEAD_US: [u64; MASTERS] = [0, 20_000_000, 7_000_000];

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Budget {
    /// Masters that stop and come back with what they had.
    crashes: u8,
    /// Requests or answers that do not come in time; a request may arrive later.
    losses: u8,
    steps: u8,
    /// Attempts that each contender makes.
    attempts: u8,
}

/// What a model leaves out, to show that it is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Fewer than more than half are enough.
    OneMasterIsEnough,
    /// The number is not recorded.
    NoSecondRound,
    /// The lease counts from the last answer.
    FromTheLastAnswer,
}

#[derive(Debug)]
struct Masters {
    contenders: usize,
    budget: Budget,
    flaw: Flaw,
    take: String,
    release: String,
    passable: Passable,
}

/// A master, whose token, and what it may yet carry out.
type Late = (usize, String, Request);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    masters: Vec<Keyspace>,
    down: BTreeSet<usize>,
    contenders: Vec<Contender>,
    late: BTreeSet<Late>,
    left: Budget,
    /// The highest number that anybody has held under.
    fence: u64,
    fence_fell: bool,
    /// Whom a master has told that its token holds nothing there any more.
    undone: BTreeSet<(usize, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Request {
    Take,
    Fence(u64),
    Release { undo: bool },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Phase {
    #[default]
    Idle,
    Canvassing,
    Recording {
        fence: u64,
    },
    Holding {
        until: u64,
    },
    /// What this attempt may have left is being taken back.
    Undoing,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Contender {
    phase: Phase,
    attempt: u8,
    votes: [Option<Ballot>; MASTERS],
    /// The master, when it was asked, and the number that it told.
    grants: Vec<(usize, u64, u64)>,
    recorded: BTreeSet<usize>,
    asked: Vec<(usize, Request, u64)>,
    on_their_way: BTreeSet<usize>,
    silent: BTreeSet<usize>,
}

/// [`Vote`] with the hash that a state needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Ballot {
    Granted,
    Refused,
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start(usize),
    Answer(usize, usize),
    /// Carried out, and nobody learns of it in time.
    AnswerLost(usize, usize),
    /// Not carried out in time.
    Delay(usize, usize),
    ServeLate(usize),
    Release(usize),
    Crash(usize),
    Restart(usize),
    Pass,
}

impl Contender {
    fn token(&self, who: usize) -> String {
        format!("{:032x}", (who + 1) * 16 + usize::from(self.attempt))
    }

    fn believes(&self, now: u64) -> bool {
        matches!(self.phase, Phase::Holding { until } if now < until)
    }

    fn ask(&mut self, masters: Vec<usize>, request: impl Fn(usize) -> Request, now: u64) {
        self.asked = masters.into_iter().map(|master| (master, request(master), now)).collect();
    }

    fn vote(&self) -> Attempt {
        let mut vote = Attempt::new(Quorum::of(MASTERS), |master| self.silent.contains(&master));
        for (master, ballot) in self.votes.iter().enumerate() {
            match ballot {
                Some(Ballot::Granted) => vote.record(master, Vote::Granted),
                Some(Ballot::Refused) => vote.record(master, Vote::Refused),
                Some(Ballot::Silent) => vote.record(master, Vote::Silent),
                None => {}
            }
        }
        vote
    }

    fn hear(&mut self, master: usize, (request, sent): (Request, u64), reply: &Reply) {
        self.silent.remove(&master);
        match (request, reply) {
            (Request::Take, Reply::List(parts)) => match parts.as_slice() {
                [Reply::Text(word), Reply::Int(fence), _] if word == "granted" => {
                    self.votes[master] = Some(Ballot::Granted);
                    self.grants.push((master, sent, u64::try_from(*fence).expect("a number")));
                }
                [Reply::Text(word), ..] if word == "held" => self.votes[master] = Some(Ballot::Refused),
                other => panic!("no answer to a request for a vote: {other:?}"),
            },
            (Request::Fence(_), Reply::Int(1)) => drop(self.recorded.insert(master)),
            (Request::Release { .. }, _) => drop(self.on_their_way.remove(&master)),
            _ => {}
        }
    }

    fn hear_nothing(&mut self, master: usize, request: Request) {
        self.silent.insert(master);
        if request == Request::Take {
            self.votes[master] = Some(Ballot::Silent);
            self.on_their_way.insert(master);
        }
    }
}

impl Masters {
    fn of(contenders: usize, budget: Budget) -> Self {
        let (take, release) = (TAKE.to_owned(), RELEASE.to_owned());
        Self { contenders, budget, flaw: Flaw::None, take, release, passable: Passable::default() }
    }

    /// Once nobody contends any more and a lease has passed, whoever comes next is granted the lock by all.
    fn can_be_had(&self, state: &State) -> bool {
        let servers = (state.now, state.masters.clone(), state.late.clone());
        let is_granted = |(now, masters, late): &(u64, Vec<Keyspace>, BTreeSet<Late>)| {
            let mut masters = masters.clone();
            for (master, token, request) in late {
                self.serve(&mut masters, *now, (*master, token), *request);
            }
            let later = now + 2 * TTL_MS;
            (0..MASTERS).all(|master| {
                masters[master].expire(later);
                let reply = self.serve(&mut masters, later, (master, &"f".repeat(32)), Request::Take);
                matches!(reply, Reply::List(parts) if parts.first() == Some(&Reply::Text("granted".into())))
            })
        };
        self.passable.leads_to(servers, |_| None, is_granted)
    }

    fn serve(&self, masters: &mut [Keyspace], now: u64, (master, token): (usize, &str), request: Request) -> Reply {
        let word = |text: &str| text.to_owned();
        let ttl = TTL_MS.to_string();
        let (script, keys, args): (&str, &[&str], Vec<String>) = match request {
            Request::Take => {
                let args = [token, &ttl, &ttl, "running", "{}", &MASTERS.to_string()].map(word);
                (&self.take, &NAMES, args.to_vec())
            }
            Request::Fence(fence) => {
                (FENCE, &["lock", "fence"], [token, &fence.to_string(), "90000000"].map(word).to_vec())
            }
            Request::Release { undo } => {
                let args = [token, "wake:", if undo { "undo" } else { "" }, "", ""].map(word);
                (&self.release, &NAMES, args.to_vec())
            }
        };
        let run = Run { now, ahead_us: AHEAD_US[master], channels: Vec::new() };
        let Outcome { reply, .. } = masters[master].eval(script, keys, args, run);
        reply
    }

    /// What a contender does when every master that it asked has answered or was given up.
    fn go_on(&self, state: &mut State, who: usize) {
        let now = state.now;
        let quorum = Quorum::of(MASTERS);
        let contender = &mut state.contenders[who];
        if !contender.asked.is_empty() {
            return;
        }
        match contender.phase {
            Phase::Canvassing => {
                let vote = contender.vote();
                let is_enough = self.flaw == Flaw::OneMasterIsEnough && !contender.grants.is_empty();
                match vote.next() {
                    Step::Ask(masters) if !is_enough => contender.ask(masters, |_| Request::Take, now),
                    Step::Refused | Step::Unreachable if !is_enough => self.undo(state, who),
                    Step::Won | Step::Ask(_) | Step::Refused | Step::Unreachable => {
                        let fence = next_fence(contender.grants.iter().map(|(_, _, fence)| *fence));
                        let masters: Vec<usize> = contender.grants.iter().map(|(master, ..)| *master).collect();
                        contender.phase = Phase::Recording { fence };
                        if self.flaw == Flaw::NoSecondRound {
                            contender.recorded = masters.into_iter().collect();
                            self.go_on(state, who);
                        } else {
                            contender.ask(masters, |_| Request::Fence(fence), now);
                        }
                    }
                }
            }
            Phase::Recording { fence } => {
                let believed = of_server_lease(Duration::from_millis(TTL_MS));
                let kept = contender.grants.iter().filter(|(master, ..)| contender.recorded.contains(master));
                let from = |sent: u64| if self.flaw == Flaw::FromTheLastAnswer { now } else { sent };
                let deadlines: Vec<BootInstant> =
                    kept.map(|(_, sent, _)| BootInstant::from_nanos(from(*sent) * 1_000_000) + believed).collect();
                let valid_until = match self.flaw {
                    Flaw::OneMasterIsEnough => deadlines.first().copied(),
                    _ => quorum.valid_until(deadlines),
                };
                match valid_until.map(|until| until.as_nanos() / 1_000_000).filter(|until| now < *until) {
                    Some(until) => {
                        contender.phase = Phase::Holding { until };
                        state.fence_fell |= fence <= state.fence;
                        state.fence = state.fence.max(fence);
                    }
                    None => self.undo(state, who),
                }
            }
            Phase::Undoing => {
                let again = contender.attempt + 1 < self.budget.attempts;
                let (attempt, silent) = (contender.attempt + 1, contender.silent.clone());
                *contender = Contender { attempt, silent, ..Contender::default() };
                if again {
                    contender.phase = Phase::Canvassing;
                    self.go_on(state, who);
                }
            }
            Phase::Idle | Phase::Holding { .. } => {}
        }
    }

    fn undo(&self, state: &mut State, who: usize) {
        let now = state.now;
        let contender = &mut state.contenders[who];
        let touched = contender.vote().touched();
        let on_their_way = contender.on_their_way.clone();
        contender.phase = Phase::Undoing;
        contender.ask(touched, |master| Request::Release { undo: on_their_way.contains(&master) }, now);
        self.go_on(state, who);
    }
}

impl Model for Masters {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: START_MS,
            masters: vec![Keyspace::default(); MASTERS],
            down: BTreeSet::new(),
            contenders: vec![Contender::default(); self.contenders],
            late: BTreeSet::new(),
            left: self.budget,
            fence: 0,
            fence_fell: false,
            undone: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let is_up = |master: usize| !state.down.contains(&master);
        for (who, contender) in state.contenders.iter().enumerate() {
            let is_next = who == 0 || state.contenders[who - 1] != Contender::default();
            if contender.phase == Phase::Idle && contender.attempt == 0 && is_next {
                actions.push(Action::Start(who));
            }
            for (at, (master, ..)) in contender.asked.iter().enumerate() {
                // A master that is down costs no more than its time.
                if is_up(*master) {
                    actions.push(Action::Answer(who, at));
                }
                if is_up(*master) && state.left.losses > 0 {
                    actions.push(Action::AnswerLost(who, at));
                }
                if !is_up(*master) || state.left.losses > 0 {
                    actions.push(Action::Delay(who, at));
                }
            }
            if matches!(contender.phase, Phase::Holding { .. }) {
                actions.push(Action::Release(who));
            }
        }
        let late = state.late.iter().enumerate().filter(|(_, (master, ..))| is_up(*master));
        actions.extend(late.map(|(at, _)| Action::ServeLate(at)));
        if state.left.crashes > 0 {
            actions.extend((0..MASTERS).filter(|master| is_up(*master)).map(Action::Crash));
        }
        actions.extend(state.down.iter().copied().map(Action::Restart));
        actions.extend((state.left.steps > 0).then_some(Action::Pass));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Start(who) => {
                state.contenders[who].phase = Phase::Canvassing;
                self.go_on(&mut state, who);
            }
            Action::Answer(who, at) | Action::AnswerLost(who, at) => {
                let token = state.contenders[who].token(who);
                let (master, request, sent) = state.contenders[who].asked.remove(at);
                let reply = self.serve(&mut state.masters, last.now, (master, &token), request);
                if matches!(action, Action::Answer(..)) {
                    state.contenders[who].hear(master, (request, sent), &reply);
                    if matches!(request, Request::Release { .. }) {
                        state.undone.insert((master, token));
                    }
                } else {
                    state.left.losses -= 1;
                    state.contenders[who].hear_nothing(master, request);
                }
                self.go_on(&mut state, who);
            }
            Action::Delay(who, at) => {
                let token = state.contenders[who].token(who);
                let (master, request, _) = state.contenders[who].asked.remove(at);
                if !state.down.contains(&master) {
                    state.left.losses -= 1;
                    state.late.insert((master, token, request));
                }
                state.contenders[who].hear_nothing(master, request);
                self.go_on(&mut state, who);
            }
            Action::ServeLate(at) => {
                let (master, token, request) = state.late.iter().nth(at)?.clone();
                state.late.remove(&(master, token.clone(), request));
                self.serve(&mut state.masters, last.now, (master, &token), request);
            }
            Action::Release(who) => {
                let now = state.now;
                let contender = &mut state.contenders[who];
                contender.phase = Phase::Undoing;
                let on_their_way = contender.on_their_way.clone();
                let everyone = (0..MASTERS).collect();
                contender.ask(everyone, |master| Request::Release { undo: on_their_way.contains(&master) }, now);
            }
            Action::Crash(master) => {
                state.left.crashes -= 1;
                state.down.insert(master);
            }
            Action::Restart(master) => {
                state.down.remove(&master);
            }
            Action::Pass => {
                state.left.steps -= 1;
                state.now += STEP_MS;
                state.masters.iter_mut().for_each(|master| master.expire(last.now + STEP_MS));
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("one believing holder", |_, state: &State| {
                state.contenders.iter().filter(|contender| contender.believes(state.now)).count() <= 1
            }),
            Property::always("fences rise in the order of the grants", |_, state: &State| !state.fence_fell),
            Property::always("what was undone stays undone", |_, state: &State| {
                state.undone.iter().all(|(master, token)| {
                    state.masters[*master].text("lock").is_none_or(|value| !value.starts_with(token.as_str()))
                })
            }),
            Property::always("nobody is kept out for ever", Self::can_be_had),
            Property::sometimes("two hold one after the other", |_, state: &State| {
                state.contenders.iter().any(|contender| contender.believes(state.now)) && state.undone.len() > 2
            }),
        ];
        if self.budget.crashes > 0 {
            properties.push(Property::sometimes("a majority grants without one master", |_, state: &State| {
                state.down.len() == 1 && state.contenders.iter().any(|contender| contender.believes(state.now))
            }));
        }
        if self.budget.losses > 0 {
            properties.push(Property::sometimes("the votes are split by losses", |_, state: &State| {
                let owner = |master: &Keyspace| master.text("lock").and_then(|value| Some(value.get(..32)?.to_owned()));
                state.masters.iter().filter_map(owner).collect::<BTreeSet<String>>().len() > 1
            }));
        }
        properties
    }
}
