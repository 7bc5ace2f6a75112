//! ZooKeeper: the queue of a directory's children. The shipped order, and whom to watch, among sessions that expire, creates
//! whose answer is lost, and lists that lag behind.

mod flaws;

use std::collections::BTreeSet;

use dlock::backend::zookeeper::Family;
use dlock::backend::zookeeper::queue::{Queue, must_go};
use dlock::lock::Mode;
use stateright::{Model, Property};
use uuid::Uuid;

use super::exploring::Passable;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Sorted by the whole name.
    OrderOfNames,
    /// A watch is set on what may be gone.
    WatchesWhatIsGone,
    /// Of two nodes of one label both stay.
    KeepsGhosts,
    /// Believes in a turn without a committed write.
    BelievesTheList,
    /// The same label for every session, and whoever created a node of it.
    OneLabelForAll,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Budget {
    /// Answers to a create that are lost.
    losses: u8,
    expiries: u8,
    crashes: u8,
    /// Sessions given up by a contender that reaches nobody, which the servers keep for a while.
    abandoned: u8,
}

#[derive(Debug)]
struct Directory {
    modes: Vec<Mode>,
    budget: Budget,
    flaw: Flaw,
    passable: Passable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// Names and whose session they hang on.
    nodes: Vec<(String, u8)>,
    next: u32,
    /// Those that the servers have not ended.
    sessions: BTreeSet<u8>,
    opened: u8,
    contenders: Vec<Contender>,
    left: Budget,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Contender {
    stage: Stage,
    session: u8,
    label: String,
    name: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
enum Stage {
    #[default]
    Idle,
    Creating,
    Looking,
    /// It has listed, and sets watches on these.
    SettingWatches(Vec<String>),
    /// Until one of these goes.
    Watching(Vec<String>),
    /// By the list it is its turn.
    Turn,
    Holding,
    /// Its deadline has passed before the servers could end its session.
    Doubting,
    Done,
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Start(usize),
    Create(usize, Heard),
    Look(usize),
    SetWatches(usize),
    Take(usize),
    Doubt(usize),
    Release(usize),
    Expire(u8),
    Abandon(usize),
    Crash(usize),
}

/// What becomes of a request to create.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Answer,
    /// Carried out; the list that is asked for instead shows it.
    InTheList,
    /// Carried out; the list is that of a server that lags behind.
    NotYet,
    /// Never carried out.
    Never,
}

impl Directory {
    fn of(modes: &[Mode], budget: Budget) -> Self {
        Self { modes: modes.to_vec(), budget, flaw: Flaw::None, passable: Passable::default() }
    }

    fn open(&self, state: &mut State, who: usize) {
        state.opened += 1;
        state.sessions.insert(state.opened);
        let round = if self.flaw == Flaw::OneLabelForAll { 0 } else { state.opened };
        // Whoever comes later sorts first, as GUIDs may.
        let guid = Uuid::from_u128(u128::MAX - ((who as u128) << 8) - u128::from(round));
        let label = Family::Dlock.label(guid, self.modes[who]).expect("dlock has every mode");
        state.contenders[who] =
            Contender { stage: Stage::Creating, session: state.opened, label, ..Contender::default() };
    }

    fn queue(&self, state: &State) -> Queue {
        Queue::of(Family::Dlock, state.nodes.iter().map(|(name, _)| name.clone()).collect())
    }

    fn look(&self, state: &mut State, who: usize) {
        let queue = self.queue(state);
        let me = state.contenders[who].clone();
        let mut mine: Vec<String> = queue.created_as(&me.label).into_iter().map(str::to_owned).collect();
        if mine.is_empty() {
            // Somebody removed it.
            return self.open(state, who);
        }
        let own = mine.remove(0);
        if self.flaw != Flaw::KeepsGhosts {
            mine.iter().for_each(|ghost| state.remove(ghost));
        }
        let is_ours = state.nodes.iter().any(|(name, session)| *name == own && *session == me.session);
        if !is_ours && self.flaw != Flaw::OneLabelForAll {
            return self.open(state, who);
        }
        let mut entries = queue.entries().to_vec();
        if self.flaw == Flaw::OrderOfNames {
            entries.sort_by(|one, other| one.name.cmp(&other.name));
        }
        let position = entries.iter().position(|entry| entry.name == own).expect("it was found in this list");
        let ahead = &entries[..position];
        let watched: Vec<String> =
            must_go(ahead, self.modes[who]).into_iter().map(|at| ahead[at].name.clone()).collect();
        let contender = &mut state.contenders[who];
        contender.name = Some(own);
        contender.stage = if watched.is_empty() { Stage::Turn } else { Stage::SettingWatches(watched) };
    }

    fn proceed(&self, state: &State) -> Option<State> {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let goes_on = |action: &&Action| {
            matches!(
                action,
                Action::Create(_, Heard::Answer)
                    | Action::Look(_)
                    | Action::SetWatches(_)
                    | Action::Take(_)
                    | Action::Release(_)
            )
        };
        let dead = state.contenders.iter().filter(|contender| contender.stage == Stage::Dead);
        let to_end = dead.map(|contender| contender.session).find(|session| state.sessions.contains(session));
        let abandoned =
            state.sessions.iter().copied().find(|session| !state.contenders.iter().any(|c| c.session == *session));
        match actions.iter().find(goes_on) {
            Some(action) => self.next_state(state, *action),
            None => to_end.or(abandoned).and_then(|session| self.next_state(state, Action::Expire(session))),
        }
    }

    /// Left alone, everybody who waits is served, and no node stays.
    fn gets_through(&self, state: &State) -> bool {
        let is_good = |at: &State| {
            let is_over = |contender: &Contender| matches!(contender.stage, Stage::Idle | Stage::Done | Stage::Dead);
            at.nodes.is_empty() && at.contenders.iter().all(is_over)
        };
        let state = State { left: Budget::default(), ..state.clone() };
        self.passable.leads_to(state, |at| self.proceed(at), is_good)
    }
}

impl State {
    fn remove(&mut self, name: &str) {
        self.nodes.retain(|(node, _)| node != name);
        self.tell_watchers();
    }

    fn tell_watchers(&mut self) {
        let nodes = &self.nodes;
        for contender in &mut self.contenders {
            if let Stage::Watching(names) = &contender.stage {
                // A watch on what was gone before it was set never fires; the flawed variant has such.
                let is_there = |name: &String| name.starts_with('!') || nodes.iter().any(|(node, _)| node == name);
                if !names.iter().all(is_there) {
                    contender.stage = Stage::Looking;
                }
            }
        }
    }

    fn is_open(&self, who: usize) -> bool {
        self.sessions.contains(&self.contenders[who].session)
    }
}

impl Model for Directory {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let contenders = vec![Contender::default(); self.modes.len()];
        vec![State { nodes: Vec::new(), next: 0, sessions: BTreeSet::new(), opened: 0, contenders, left: self.budget }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, contender) in state.contenders.iter().enumerate() {
            let lossy = state.left.losses > 0;
            match &contender.stage {
                Stage::Idle => actions.push(Action::Start(who)),
                Stage::Creating => {
                    actions.push(Action::Create(who, Heard::Answer));
                    let lost = [Heard::InTheList, Heard::NotYet, Heard::Never].map(|heard| Action::Create(who, heard));
                    actions.extend(lost.into_iter().filter(|_| lossy));
                }
                Stage::Looking => actions.push(Action::Look(who)),
                Stage::SettingWatches(_) => actions.push(Action::SetWatches(who)),
                Stage::Turn => actions.push(Action::Take(who)),
                Stage::Holding => actions.extend([Action::Release(who), Action::Doubt(who)]),
                Stage::Doubting => actions.push(Action::Release(who)),
                Stage::Watching(_) | Stage::Done | Stage::Dead => {}
            }
            let is_waiting = matches!(
                contender.stage,
                Stage::Creating | Stage::Looking | Stage::SettingWatches(_) | Stage::Watching(_) | Stage::Turn
            );
            actions.extend((is_waiting && state.left.abandoned > 0).then_some(Action::Abandon(who)));
            let is_alive = is_waiting || matches!(contender.stage, Stage::Holding | Stage::Doubting);
            actions.extend((is_alive && state.left.crashes > 0).then_some(Action::Crash(who)));
        }
        for session in &state.sessions {
            // Whoever believes in its lease has been heard of so lately that no server ends its session.
            let believed = state.contenders.iter().any(|c| c.session == *session && c.stage == Stage::Holding);
            actions.extend((!believed && state.left.expiries > 0).then_some(Action::Expire(*session)));
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Start(who) => self.open(&mut state, who),
            Action::Create(who, _) if !state.is_open(who) => self.open(&mut state, who),
            Action::Create(who, heard) => {
                state.left.losses -= u8::from(heard != Heard::Answer);
                let contender = &mut state.contenders[who];
                if heard != Heard::Never {
                    let name = format!("{}{:010}", contender.label, state.next);
                    state.next += 1;
                    state.nodes.push((name, contender.session));
                }
                if matches!(heard, Heard::Answer | Heard::InTheList) {
                    contender.stage = Stage::Looking;
                }
            }
            Action::Look(who) | Action::SetWatches(who) | Action::Take(who)
                if !state.is_open(who) && self.flaw != Flaw::OneLabelForAll && self.flaw != Flaw::BelievesTheList =>
            {
                self.open(&mut state, who);
            }
            Action::Look(who) => self.look(&mut state, who),
            Action::SetWatches(who) => {
                let Stage::SettingWatches(names) = state.contenders[who].stage.clone() else { return None };
                let is_there = |name: &String| state.nodes.iter().any(|(node, _)| node == name);
                let all_there = names.iter().all(is_there);
                let contender = &mut state.contenders[who];
                contender.stage = match self.flaw {
                    _ if all_there => Stage::Watching(names),
                    Flaw::WatchesWhatIsGone => Stage::Watching(names.iter().map(|name| format!("!{name}")).collect()),
                    _ => Stage::Looking,
                };
            }
            Action::Take(who) => {
                let contender = &state.contenders[who];
                let is_there = state.nodes.iter().any(|(name, _)| Some(name) == contender.name.as_ref());
                if is_there || (self.flaw == Flaw::BelievesTheList) {
                    state.contenders[who].stage = Stage::Holding;
                } else {
                    self.open(&mut state, who);
                }
            }
            Action::Doubt(who) => state.contenders[who].stage = Stage::Doubting,
            Action::Release(who) => {
                let name = state.contenders[who].name.clone()?;
                // The session stays: other keys may hang on it.
                state.contenders[who].stage = Stage::Done;
                state.remove(&name);
            }
            Action::Expire(session) => {
                state.left.expiries = state.left.expiries.saturating_sub(1);
                state.sessions.remove(&session);
                state.nodes.retain(|(_, owner)| *owner != session);
                state.tell_watchers();
            }
            Action::Abandon(who) => {
                state.left.abandoned -= 1;
                self.open(&mut state, who);
            }
            Action::Crash(who) => {
                state.left.crashes -= 1;
                state.contenders[who].stage = Stage::Dead;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one believing holder", |model: &Self, state: &State| {
                let holding = (0..state.contenders.len()).filter(|who| state.contenders[*who].stage == Stage::Holding);
                let modes: Vec<Mode> = holding.map(|who| model.modes[who]).collect();
                let room = match modes.first() {
                    Some(Mode::Exclusive) => 1,
                    Some(Mode::Slots(total)) => *total as usize,
                    Some(Mode::Shared) | None => usize::MAX,
                };
                modes.len() <= room && modes.iter().all(|mode| Some(mode) == modes.first())
            }),
            Property::always("everybody gets through and leaves nothing", Self::gets_through),
            Property::sometimes("somebody watches while another holds", |_, state: &State| {
                let mut stages = state.contenders.iter().map(|contender| &contender.stage);
                stages.clone().any(|stage| matches!(stage, Stage::Watching(_)))
                    && stages.any(|stage| *stage == Stage::Holding)
            }),
            Property::sometimes("all are done", |_, state: &State| {
                state.contenders.iter().all(|contender| contender.stage == Stage::Done)
            }),
        ]
    }
}
