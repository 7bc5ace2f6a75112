//! Redis: the queue and its hand-over. The shipped scripts run against a model of the server; contenders that crash, lose
//! answers, are late, deaf or too slow run against both.

mod contender;
mod flaws;

use std::collections::BTreeSet;

use dlock::backend::redis::script::{
    ACQUIRE_BESIDE_OTHERS, ACQUIRE_FREE, RELEASE, RELEASE_ALONE, RENEW, TAKE_OFFERED, WAIT,
};
use dlock::lock::Mode;
use stateright::{Model, Property};

use self::contender::{Client, InFlight, Request, Stage};
use super::exploring::Passable;
use super::keyspace::{Keyspace, Outcome, Reply, Run};

/// The scripts' keys.
const NAMES: [&str; 7] = ["lock", "queue", "leases", "waiters", "receipts", "fence", "holders"];

/// Prefix of the waiters' channels.
const WAKE: &str = "wake:";

/// A lease, of a waiter as well: both are three steps of the clock.
const TTL_MS: u64 = 3000;

/// A step of the clock: a third of a lease, and so much more that three of them are over when the lease is.
const STEP_MS: u64 = 1010;

/// When the clock of the server starts.
const START_MS: u64 = 1_000_000;

/// After which nothing may be left: a fence above the clock is kept for 366 days, and here the clock stands still between
/// two grants.
const LONG_AFTER_MS: u64 = 400 * 86_400_000;

/// What may go wrong in one history, and how far it goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Budget {
    /// Contenders that die and say nothing.
    crashes: u8,
    /// Requests or answers that are lost; a lost request may arrive at any later time.
    losses: u8,
    lost_hints: u8,
    flushes: u8,
    renewals: u8,
    /// Contenders that give a wait up.
    given_up: u8,
    /// Steps of the clock.
    steps: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Belief {
    /// From the instant before the request was sent.
    FromTheRequest,
    FromTheAnswer,
}

#[derive(Debug)]
struct Queue {
    modes: Vec<Mode>,
    budget: Budget,
    belief: Belief,
    acquire: String,
    acquire_beside_others: String,
    wait: String,
    take_offered: String,
    release_alone: String,
    release: String,
    renew: String,
    passable: Passable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    server: Keyspace,
    clients: Vec<Client>,
    /// Requests of those who have given up on an answer.
    late: BTreeSet<(usize, Request)>,
    left: Budget,
    /// The highest number that was ever granted.
    fence: u64,
    seen: Sightings,
}

/// What no later state shows any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Sightings {
    flushed: bool,
    /// A grant whose number was not above all before it.
    fence_fell: bool,
    /// Somebody ended a lease that was another's, or was told that it had prolonged one.
    trespassed: bool,
    /// A release left the lock free beside a waiter that listens.
    nobody_was_told: bool,
    /// Somebody was granted a lock that it had seen held, and whose holder still believes in it.
    witness_took: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start(usize),
    Serve(usize),
    Deliver(usize),
    /// The connection ends: with the request under way, or with its answer.
    Lose(usize),
    ServeLate(usize),
    Hear(usize),
    LoseHint(usize),
    Look(usize),
    GiveUp(usize),
    Renew(usize),
    Release(usize),
    Crash(usize),
    /// The server notices that a dead one's connection has ended.
    Forget(usize),
    Flush,
    Pass,
}

impl Queue {
    fn of(modes: &[Mode], budget: Budget) -> Self {
        Self {
            modes: modes.to_vec(),
            budget,
            belief: Belief::FromTheRequest,
            acquire: ACQUIRE_FREE.to_owned(),
            acquire_beside_others: ACQUIRE_BESIDE_OTHERS.to_owned(),
            wait: WAIT.to_owned(),
            take_offered: TAKE_OFFERED.to_owned(),
            release_alone: RELEASE_ALONE.to_owned(),
            release: RELEASE.to_owned(),
            renew: RENEW.to_owned(),
            passable: Passable::default(),
        }
    }

    fn call(&self, who: usize, request: &Request) -> (&str, &[&'static str], Vec<String>) {
        let mode = self.modes[who];
        let (me, ttl) = (token(who), TTL_MS.to_string());
        let mut contender = vec![me.clone(), ttl.clone(), ttl.clone(), "running".into(), "{}".into(), mode.to_string()];
        match request {
            Request::Acquire if mode == Mode::Exclusive => (&self.acquire, &NAMES, contender),
            Request::Acquire => (&self.acquire_beside_others, &NAMES, contender),
            Request::Look { ticket, seen } => {
                contender.extend([WAKE.to_owned(), "listens".into(), ttl, ticket.clone()]);
                contender.extend(seen.iter().flat_map(|(token, left)| [token.clone(), left.to_string()]));
                (&self.wait, &NAMES, contender)
            }
            Request::Take { seen } => {
                contender.extend([WAKE.to_owned(), "listens".into(), ttl, String::new()]);
                contender.extend(seen.iter().flat_map(|(token, left)| [token.clone(), left.to_string()]));
                (&self.take_offered, &NAMES, contender)
            }
            Request::Renew if mode == Mode::Exclusive => (&self.renew, &["lock"], vec![me, ttl]),
            Request::Renew => (&self.renew, &["lock", "holders", "receipts"], vec![me, ttl]),
            Request::ReleaseAlone => (&self.release_alone, &NAMES, vec![me, WAKE.to_owned()]),
            Request::Release { undo, again } => {
                let word = |said: bool, word: &str| if said { word.to_owned() } else { String::new() };
                let args = vec![me, WAKE.to_owned(), word(*undo, "undo"), word(*again, "again"), String::new()];
                (&self.release, &NAMES, args)
            }
        }
    }

    /// Carries out a request at the server.
    fn serve(&self, state: &mut State, who: usize, request: &Request) -> Reply {
        let (script, keys, args) = self.call(who, request);
        let listening = (0..state.clients.len()).filter(|&client| state.clients[client].listens).map(channel).collect();
        let run = Run { now: state.now, ahead_us: 0, channels: listening };
        let owner = state.owner().map(str::to_owned);
        let Outcome { reply, published, .. } = state.server.eval(script, keys, args, run);
        let robbed = (0..state.clients.len()).any(|other| {
            other != who
                && owner == Some(token(other))
                && state.owner() != Some(token(other).as_str())
                && state.clients[other].believes(state.now)
        });
        let is_told_so =
            *request == Request::Renew && matches!(&reply, Reply::List(parts) if parts[0] != Reply::Int(0));
        let renewed_anothers = is_told_so && self.modes[who] == Mode::Exclusive && owner != Some(token(who));
        state.seen.trespassed |= robbed || renewed_anothers;
        for (client, to) in state.clients.iter_mut().enumerate() {
            to.hint |= to.listens && to.stage != Stage::Dead && published.contains(&channel(client));
        }
        if let Some(fence) = granted(&reply) {
            state.seen.fence_fell |= self.modes[who] == Mode::Exclusive && fence <= state.fence;
            state.fence = state.fence.max(fence);
            if let Request::Look { seen, .. } | Request::Take { seen } = request {
                state.seen.witness_took |= (0..state.clients.len()).any(|other| {
                    other != who
                        && state.clients[other].believes(state.now)
                        && seen.iter().any(|(token, left)| *token == self::token(other) && *left > 0)
                });
            }
        }
        // Not one that came when the lease had ended by time: whoever is first looks then.
        if matches!(request, Request::ReleaseAlone | Request::Release { .. })
            && reply == Reply::Int(1)
            && state.server.text("lock").is_none()
        {
            let queued = state.server.members("queue");
            state.seen.nobody_was_told |= queued.iter().any(|(waiter, _)| state.is_within_call(waiter));
        }
        reply
    }

    /// What somebody does who is left alone with the others and in no hurry: answers arrive, holders release. `None`: all
    /// is over.
    fn proceed(&self, state: &State) -> Option<State> {
        let may = |action: &Action| match action {
            Action::ServeLate(_) | Action::Serve(_) | Action::Deliver(_) | Action::Hear(_) | Action::Release(_) => true,
            Action::Look(who) => state.clients[*who].request.is_none(),
            _ => false,
        };
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        if let Some(action) = actions.into_iter().find(may) {
            return self.next_state(state, action);
        }
        state.is_under_way().then(|| state.later())
    }

    /// Whether everybody who is alive gets through, and nothing is left that would keep anybody out.
    fn gets_through(&self, state: &State) -> bool {
        let state = State { left: Budget::default(), ..state.clone() };
        self.passable.leads_to(state, |at| self.proceed(at), State::has_been_left_clean)
    }
}

impl State {
    fn is_within_call(&self, waiter: &str) -> bool {
        let Some(client) = self.clients.iter().enumerate().find(|(who, _)| token(*who) == waiter) else { return false };
        let lease = self.server.members("leases").into_iter().find(|(name, _)| name == waiter);
        let mut words = lease.as_ref().map_or("", |(_, lease)| lease.as_str()).split(' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or_default();
        let (ends, offers) = (number(), number());
        client.1.listens && ends >= self.now && offers < 2
    }

    fn is_under_way(&self) -> bool {
        self.clients.iter().any(|client| !matches!(client.stage, Stage::Idle | Stage::Done | Stage::Dead))
    }

    fn later(&self) -> Self {
        let mut later = self.clone();
        later.now += STEP_MS;
        later.server.expire(later.now);
        later
    }

    /// Nobody contends any more: the lock is free once the leases of the dead are over, nobody but the dead is in the
    /// queue, and long after there is no key.
    fn has_been_left_clean(&self) -> bool {
        let mut server = self.server.clone();
        let dead: Vec<String> =
            (0..self.clients.len()).filter(|&who| self.clients[who].stage == Stage::Dead).map(token).collect();
        let in_line = ["queue", "leases", "waiters"].map(|key| server.members(key)).concat();
        server.expire(self.now + 2 * TTL_MS);
        let is_free = server.text("lock").is_none();
        server.expire(self.now + LONG_AFTER_MS);
        is_free && server.is_empty() && in_line.iter().all(|(waiter, _)| dead.contains(waiter))
    }

    fn owner(&self) -> Option<&str> {
        self.server.text("lock").and_then(|value| value.get(..32))
    }
}

impl Model for Queue {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: START_MS,
            server: Keyspace::default(),
            clients: vec![Client::default(); self.modes.len()],
            late: BTreeSet::new(),
            left: self.budget,
            fence: 0,
            seen: Sightings::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = state.left;
        actions.extend((0..state.late.len()).map(Action::ServeLate));
        for (who, client) in state.clients.iter().enumerate() {
            // Those of one mode are alike: they start in their order.
            let is_next =
                (0..who).all(|other| self.modes[other] != self.modes[who] || state.clients[other].stage != Stage::Idle);
            let asks = client.request.is_some();
            let answered = client.request.as_ref().is_some_and(|request| request.reply.is_some());
            let believes = client.believes(state.now);
            let mut offer = |possible: bool, action| actions.extend(possible.then_some(action));
            offer(client.stage == Stage::Idle && is_next, Action::Start(who));
            offer(asks && !answered, Action::Serve(who));
            offer(answered, Action::Deliver(who));
            offer(asks && left.losses > 0, Action::Lose(who));
            let waits = client.stage == Stage::Queued && !asks;
            offer(waits && client.hint, Action::Hear(who));
            offer(client.hint && left.lost_hints > 0, Action::LoseHint(who));
            offer(waits && client.wake_at <= state.now, Action::Look(who));
            offer(waits && left.given_up > 0, Action::GiveUp(who));
            let holds = client.stage == Stage::Holding && !asks;
            offer(holds && believes && left.renewals > 0, Action::Renew(who));
            offer(holds, Action::Release(who));
            let alive = !matches!(client.stage, Stage::Idle | Stage::Done | Stage::Dead);
            offer(alive && left.crashes > 0, Action::Crash(who));
            offer(
                client.stage == Stage::Dead && client.listens && left.crashes < self.budget.crashes,
                Action::Forget(who),
            );
        }
        actions.extend((left.flushes > 0 && !state.server.is_empty()).then_some(Action::Flush));
        actions.extend((left.steps > 0).then_some(Action::Pass));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let now = state.now;
        match action {
            Action::Start(who) => state.clients[who].ask(Request::Acquire, now),
            Action::Serve(who) => {
                let request = state.clients[who].request.as_ref()?.request.clone();
                let reply = self.serve(&mut state, who, &request);
                state.clients[who].request.as_mut()?.reply = Some(reply);
            }
            Action::Deliver(who) => {
                let InFlight { request, sent, reply } = state.clients[who].request.take()?;
                let sent = if self.belief == Belief::FromTheAnswer { now } else { sent };
                state.clients[who].hear(&request, sent, &reply?, now);
            }
            Action::Lose(who) => {
                state.left.losses -= 1;
                let InFlight { request, reply, .. } = state.clients[who].request.take()?;
                if reply.is_none() {
                    state.late.insert((who, request.clone()));
                }
                state.clients[who].hear_nothing(&request, now);
            }
            Action::ServeLate(at) => {
                let (who, request) = state.late.iter().nth(at)?.clone();
                state.late.remove(&(who, request.clone()));
                self.serve(&mut state, who, &request);
            }
            // What several may have at once is never offered in that way.
            Action::Hear(who) if self.modes[who] == Mode::Exclusive => state.clients[who].take(now),
            Action::Hear(who) | Action::Look(who) => state.clients[who].look(now),
            Action::LoseHint(who) => {
                state.left.lost_hints -= 1;
                state.clients[who].hint = false;
            }
            Action::GiveUp(who) => {
                state.left.given_up -= 1;
                state.clients[who].leave(now);
            }
            Action::Renew(who) => {
                state.left.renewals -= 1;
                state.clients[who].ask(Request::Renew, now);
            }
            Action::Release(who) => state.clients[who].leave(now),
            Action::Crash(who) => {
                state.left.crashes -= 1;
                if let Some(InFlight { request, reply: None, .. }) = state.clients[who].request.take() {
                    state.late.insert((who, request));
                }
                state.clients[who].die();
            }
            Action::Forget(who) => state.clients[who].listens = false,
            Action::Flush => {
                state.left.flushes -= 1;
                state.seen.flushed = true;
                state.server = Keyspace::default();
                // A server's clock goes on: nothing after a flush has the microsecond of something before it.
                state = state.later();
            }
            Action::Pass => {
                state.left.steps -= 1;
                state = state.later();
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one believing holder", |model: &Self, state: &State| {
                let believing: Vec<Mode> = (0..state.clients.len())
                    .filter(|&who| state.clients[who].believes(state.now))
                    .map(|who| model.modes[who])
                    .collect();
                state.seen.flushed || may_hold_together(&believing)
            }),
            Property::always("fences rise in the order of the grants", |_, state: &State| !state.seen.fence_fell),
            Property::always("nobody touches another's lease", |_, state: &State| !state.seen.trespassed),
            Property::always("a release tells the next", |_, state: &State| !state.seen.nobody_was_told),
            Property::always("a witness waits for the end of a lease that vanished", |_, state: &State| {
                !state.seen.witness_took
            }),
            Property::always("what was released stays released", |_, state: &State| {
                let over = |who: usize| state.clients[who].stage == Stage::Done;
                (0..state.clients.len()).all(|who| !over(who) || state.owner() != Some(token(who).as_str()))
            }),
            Property::always("everybody gets through and leaves nothing", Self::gets_through),
            Property::sometimes("somebody waits while another holds", |_, state: &State| {
                let stages: Vec<Stage> = state.clients.iter().map(|client| client.stage).collect();
                stages.contains(&Stage::Queued) && stages.contains(&Stage::Holding)
            }),
            Property::sometimes("all have held and are gone", |_, state: &State| {
                state.clients.iter().all(|client| client.stage == Stage::Done && client.held)
            }),
        ]
    }
}

fn may_hold_together(modes: &[Mode]) -> bool {
    match modes {
        [] | [_] => true,
        [Mode::Exclusive, ..] => false,
        [first, ..] => {
            let room = if let Mode::Slots(total) = first { *total as usize } else { usize::MAX };
            modes.iter().all(|mode| mode == first) && modes.len() <= room
        }
    }
}

/// The number that a reply grants, 0 beside others.
fn granted(reply: &Reply) -> Option<u64> {
    let Reply::List(parts) = reply else { return None };
    match parts.as_slice() {
        [Reply::Text(word), Reply::Int(fence), _] if word == "granted" => u64::try_from(*fence).ok(),
        _ => None,
    }
}

fn token(who: usize) -> String {
    format!("{:032x}", who + 10)
}

fn channel(who: usize) -> String {
    format!("{WAKE}{}", token(who))
}
