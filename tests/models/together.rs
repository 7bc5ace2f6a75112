//! Redis: several locks of one owner at a stroke, or none. Beside those who want several there are some who want one of them;
//! requests and answers are lost, holders die, leases end.

mod flaws;

use std::collections::BTreeSet;
use std::time::Duration;

use dlock::backend::redis::script::{ACQUIRE_TOGETHER, RELEASE};
use dlock::lock::validity::of_server_lease;
use stateright::{Model, Property};

use super::exploring::Passable;
use super::keyspace::{Keyspace, Reply, Run};

/// The scripts' keys of each lock.
const NAMES: [[&str; 7]; 2] = [
    ["lock-a", "queue-a", "leases-a", "waiters-a", "receipts-a", "fence-a", "holders-a"],
    ["lock-b", "queue-b", "leases-b", "waiters-b", "receipts-b", "fence-b", "holders-b"],
];

const TTL_MS: u64 = 3000;

/// A step of the clock: half a lease, and so much more that two of them are over when the lease is.
const STEP_MS: u64 = 1510;

const START_MS: u64 = 1_000_000;

/// After which nothing may be left, fences included.
const LONG_AFTER_MS: u64 = 400 * 86_400_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Budget {
    crashes: u8,
    /// Requests or answers that are lost; a lost request may arrive at any later time.
    losses: u8,
    steps: u8,
}

#[derive(Debug)]
struct Together {
    /// Which of the locks each contender wants, in the order of the keys.
    wants: Vec<&'static [usize]>,
    budget: Budget,
    acquire: String,
    /// Whoever gives up tells the server that something of its own may still be on its way.
    warns_of_what_is_on_its_way: bool,
    passable: Passable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Request {
    Acquire,
    Release { lock: usize, undo: bool },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    Idle,
    Asking,
    Holding,
    /// Gives this many of its locks back, the last one first.
    Leaving {
        left: usize,
    },
    Done,
    Dead,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct InFlight {
    request: Request,
    sent: u64,
    reply: Option<Reply>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Client {
    stage: Stage,
    request: Option<InFlight>,
    valid_until: u64,
    held: bool,
    was_refused: bool,
    /// What it asked for may still be carried out.
    on_its_way: bool,
    /// It has given something back.
    gave_back: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    now: u64,
    server: Keyspace,
    clients: Vec<Client>,
    late: BTreeSet<(usize, Request)>,
    left: Budget,
    seen: Sightings,
}

/// What no later state shows any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Sightings {
    /// Something was taken, and not all.
    torn: bool,
    /// Something was granted to who had given something back.
    raised_the_dead: bool,
    /// A number was granted that was not above all before it of its lock.
    fence_fell: bool,
    fences: [u64; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start(usize),
    Serve(usize),
    Deliver(usize),
    Lose(usize),
    ServeLate(usize),
    Release(usize),
    Crash(usize),
    Pass,
}

impl Client {
    fn believes(&self, now: u64) -> bool {
        self.stage == Stage::Holding && now < self.valid_until
    }

    fn ask(&mut self, request: Request, now: u64) {
        self.request = Some(InFlight { request, sent: now, reply: None });
    }

    /// Gives back the first `left` of `wants`.
    fn leave(&mut self, wants: &[usize], left: usize, now: u64) {
        match left.checked_sub(1) {
            Some(last) => {
                self.stage = Stage::Leaving { left };
                self.ask(Request::Release { lock: wants[last], undo: self.on_its_way }, now);
            }
            // Whatever it asked before is over: nothing of it is left to tell states apart by.
            None => {
                let Self { held, was_refused, .. } = *self;
                *self = Self { stage: Stage::Done, held, was_refused, ..Self::default() };
            }
        }
    }
}

impl Together {
    fn of(wants: &[&'static [usize]], budget: Budget) -> Self {
        Self {
            wants: wants.to_vec(),
            budget,
            acquire: ACQUIRE_TOGETHER.to_owned(),
            warns_of_what_is_on_its_way: true,
            passable: Passable::default(),
        }
    }

    fn serve(&self, state: &mut State, who: usize, request: &Request) -> Reply {
        let run = Run { now: state.now, ..Run::default() };
        let (me, ttl) = (token(who), TTL_MS.to_string());
        match request {
            Request::Acquire => {
                let wants = self.wants[who];
                let names: Vec<&str> = wants.iter().flat_map(|&lock| NAMES[lock]).collect();
                let before = state.server.clone();
                let args = vec![me.clone(), ttl.clone(), ttl, "running".into(), "{}".into(), "exclusive".into()];
                let reply = state.server.eval(&self.acquire, &names, args, run).reply;
                match granted(&reply) {
                    Some(fences) => {
                        state.seen.torn |= wants.iter().any(|&lock| state.owner(lock) != Some(&me));
                        state.seen.raised_the_dead |= state.clients[who].gave_back;
                        for (&lock, fence) in wants.iter().zip(fences) {
                            state.seen.fence_fell |= fence <= state.seen.fences[lock];
                            state.seen.fences[lock] = fence;
                        }
                    }
                    None => state.seen.torn |= state.server != before,
                }
                reply
            }
            Request::Release { lock, undo } => {
                let undo = if *undo { "undo".to_owned() } else { String::new() };
                let args = vec![me, "wake:".into(), undo, String::new(), String::new()];
                state.clients[who].gave_back = true;
                state.server.eval(RELEASE, &NAMES[*lock], args, run).reply
            }
        }
    }

    fn hear(&self, client: &mut Client, who: usize, sent: u64, reply: &Reply, now: u64) {
        let wants = self.wants[who];
        match client.stage {
            Stage::Leaving { left } => client.leave(wants, left - 1, now),
            _ if granted(reply).is_some() => {
                client.stage = Stage::Holding;
                client.held = true;
                client.valid_until = sent + believed_ms();
            }
            // One after the other from there on, which is what the model of the queue is about.
            _ => {
                client.was_refused = true;
                client.leave(wants, 0, now);
            }
        }
    }

    /// What somebody does who is in no hurry: answers arrive, holders release, time goes on. `None`: all is over.
    fn proceed(&self, state: &State) -> Option<State> {
        let may = |action: &Action| {
            matches!(action, Action::ServeLate(_) | Action::Serve(_) | Action::Deliver(_) | Action::Release(_))
        };
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        self.next_state(state, actions.into_iter().find(may)?)
    }

    fn gets_through(&self, state: &State) -> bool {
        let state = State { left: Budget::default(), ..state.clone() };
        self.passable.leads_to(state, |at| self.proceed(at), |at| self.has_been_left_clean(at))
    }

    /// Of those who live nothing stands in anybody's way, of the dead nothing for longer than a lease, and in the end there
    /// is no key.
    fn has_been_left_clean(&self, state: &State) -> bool {
        let dead = |owner: &str| {
            (0..state.clients.len()).any(|who| state.clients[who].stage == Stage::Dead && token(who) == owner)
        };
        let in_nobodys_way = (0..NAMES.len()).all(|lock| state.owner(lock).is_none_or(dead));
        let mut server = state.server.clone();
        server.expire(state.now + TTL_MS + 1);
        let is_free = NAMES.iter().all(|names| server.text(names[0]).is_none());
        server.expire(state.now + LONG_AFTER_MS);
        in_nobodys_way && is_free && server.is_empty()
    }
}

impl State {
    fn owner(&self, lock: usize) -> Option<&str> {
        self.server.text(NAMES[lock][0]).and_then(|value| value.get(..32))
    }
}

impl Model for Together {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: START_MS,
            server: Keyspace::default(),
            clients: vec![Client::default(); self.wants.len()],
            late: BTreeSet::new(),
            left: self.budget,
            seen: Sightings::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.extend((0..state.late.len()).map(Action::ServeLate));
        for (who, client) in state.clients.iter().enumerate() {
            let asks = client.request.is_some();
            let answered = client.request.as_ref().is_some_and(|request| request.reply.is_some());
            let mut offer = |possible: bool, action| actions.extend(possible.then_some(action));
            offer(client.stage == Stage::Idle, Action::Start(who));
            offer(asks && !answered, Action::Serve(who));
            offer(answered, Action::Deliver(who));
            offer(asks && state.left.losses > 0, Action::Lose(who));
            offer(client.stage == Stage::Holding, Action::Release(who));
            let alive = !matches!(client.stage, Stage::Idle | Stage::Done | Stage::Dead);
            offer(alive && state.left.crashes > 0, Action::Crash(who));
        }
        actions.extend((state.left.steps > 0).then_some(Action::Pass));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        let now = state.now;
        match action {
            Action::Start(who) => {
                state.clients[who].stage = Stage::Asking;
                state.clients[who].ask(Request::Acquire, now);
            }
            Action::Serve(who) => {
                let request = state.clients[who].request.as_ref()?.request.clone();
                let reply = self.serve(&mut state, who, &request);
                state.clients[who].request.as_mut()?.reply = Some(reply);
            }
            Action::Deliver(who) => {
                let InFlight { sent, reply, .. } = state.clients[who].request.take()?;
                self.hear(&mut state.clients[who], who, sent, &reply?, now);
            }
            Action::Lose(who) => {
                state.left.losses -= 1;
                let InFlight { request, reply, .. } = state.clients[who].request.take()?;
                let client = &mut state.clients[who];
                client.on_its_way |= request == Request::Acquire && self.warns_of_what_is_on_its_way;
                if reply.is_none() {
                    state.late.insert((who, request));
                }
                let left = if let Stage::Leaving { left } = client.stage { left } else { self.wants[who].len() };
                client.leave(self.wants[who], left, now);
            }
            Action::ServeLate(at) => {
                let (who, request) = state.late.iter().nth(at)?.clone();
                state.late.remove(&(who, request.clone()));
                self.serve(&mut state, who, &request);
            }
            Action::Release(who) => state.clients[who].leave(self.wants[who], self.wants[who].len(), now),
            Action::Crash(who) => {
                state.left.crashes -= 1;
                let client = &mut state.clients[who];
                if let Some(InFlight { request, reply: None, .. }) = client.request.take() {
                    state.late.insert((who, request));
                }
                let Client { held, was_refused, gave_back, .. } = *client;
                *client = Client { stage: Stage::Dead, held, was_refused, gave_back, ..Client::default() };
            }
            Action::Pass => {
                state.left.steps -= 1;
                state.now += STEP_MS;
                state.server.expire(state.now);
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one believing holder of each lock", |model: &Self, state: &State| {
                (0..NAMES.len()).all(|lock| {
                    let believes =
                        |who: &usize| model.wants[*who].contains(&lock) && state.clients[*who].believes(state.now);
                    (0..state.clients.len()).filter(believes).count() <= 1
                })
            }),
            Property::always("all or none", |_, state: &State| !state.seen.torn),
            Property::always("nothing for who has given something back", |_, state: &State| {
                !state.seen.raised_the_dead
            }),
            Property::always("fences rise", |_, state: &State| !state.seen.fence_fell),
            Property::always("everybody gets through and leaves nothing", Self::gets_through),
            Property::sometimes("one holds while another is refused", |_, state: &State| {
                state.clients.iter().any(|client| client.was_refused)
                    && state.clients.iter().any(|client| client.stage == Stage::Holding)
            }),
            Property::sometimes("all have held", |_, state: &State| state.clients.iter().all(|client| client.held)),
        ]
    }
}

/// The numbers that a reply grants.
fn granted(reply: &Reply) -> Option<Vec<u64>> {
    let Reply::List(parts) = reply else { return None };
    match parts.as_slice() {
        [Reply::Text(word), Reply::Int(_), fences @ ..] if word == "granted" => {
            let number = |fence: &Reply| if let Reply::Int(fence) = fence { u64::try_from(*fence).ok() } else { None };
            fences.iter().map(number).collect()
        }
        _ => None,
    }
}

fn token(who: usize) -> String {
    format!("{:032x}", who + 10)
}

fn believed_ms() -> u64 {
    u64::try_from(of_server_lease(Duration::from_millis(TTL_MS)).as_millis()).expect("a few seconds")
}
