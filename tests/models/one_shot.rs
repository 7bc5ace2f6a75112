//! ZooKeeper: leases that outlive their session. The shipped judgement among leaders whose clocks differ, renewals,
//! replacements and contenders that act on what they read some time ago.

use std::time::Duration;

use dlock::backend::zookeeper::expiry::{Judgement, Stamp, age_at_birth, judge};
use dlock::lock::validity::of_server_lease;
use stateright::{Model, Property};

use super::exploring::{breaks, holds, size};

/// A lease is over after two steps of everybody's clock.
const TTL_MS: i64 = 3000;
const STEP_MS: i64 = 1510;
/// By how much the second leader's clock is ahead of the first one's, and the third one's behind it.
const LEADERS: [i64; 3] = [0, 1_000_000, -1_000_000];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    None,
    /// Deletes whatever stands there.
    NoVersion,
    /// Compares the clocks of two leaders.
    OneClockForAll,
    /// A replacement begins at version 0 again.
    BornYoung,
    /// What another leader stamped is left alone.
    NeverAnew,
}

#[derive(Debug)]
struct Lease {
    contenders: usize,
    renewals: u8,
    replacements: u8,
    elections: u8,
    steps: u8,
    losses: u8,
    flaw: Flaw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    version: i32,
    written: (i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    /// True time.
    now: i64,
    leader: usize,
    /// The transactions of this leader so far.
    changes: i64,
    node: Option<Node>,
    /// Until when the holder believes, by true time.
    believes_until: i64,
    /// A renewal that has been sent: when, under which version, and whether it replaces the node.
    renewing: Option<(i64, i32, bool)>,
    contenders: Vec<Contender>,
    left: (u8, u8, u8, u8, u8),
    /// A lease was removed while its holder believed in it.
    taken_early: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Contender {
    Looking,
    /// It has read the node, and has the leader's clock yet to ask for.
    Read(Node),
    /// It has decided to remove it, or to start it anew.
    Decided(Node, Decision),
    /// It looks again at this instant.
    Sleeping(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Decision {
    Remove,
    StartAnew,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Read(usize),
    AskForTheClock(usize),
    Act(usize),
    SendRenewal,
    SendReplacement,
    CarryOutRenewal,
    /// Carried out, and the answer is lost.
    CarryOutUnheard,
    Elect,
    Pass,
}

impl State {
    fn stamp(&mut self) -> (i64, i64) {
        self.changes += 1;
        (i64::try_from(self.leader).expect("few") << 32 | self.changes, self.now + LEADERS[self.leader])
    }
}

fn stamp((zxid, time_ms): (i64, i64)) -> Stamp {
    Stamp { zxid, time_ms }
}

fn believed_ms() -> i64 {
    let ttl = Duration::from_millis(TTL_MS.cast_unsigned());
    i64::try_from(of_server_lease(ttl).as_millis()).expect("seconds")
}

impl Lease {
    fn of(flaw: Flaw) -> Self {
        Self { contenders: 1, renewals: 1, replacements: 1, elections: 1, steps: 4 + size(), losses: 1, flaw }
    }

    fn judge(&self, node: Node, now: (i64, i64)) -> Judgement {
        let kept_for = Duration::from_millis(TTL_MS.cast_unsigned());
        let mut written = stamp(node.written);
        if self.flaw == Flaw::OneClockForAll {
            written.zxid = now.0;
        }
        judge(written, stamp(now), kept_for)
    }

    fn carry_out(&self, state: &mut State) -> bool {
        let Some((_, version, replaces)) = state.renewing else { return false };
        if state.node.is_none_or(|node| node.version != version) {
            return false;
        }
        let born = if self.flaw == Flaw::BornYoung { 0 } else { age_at_birth(Some(version)) };
        let version = if replaces { born } else { version + 1 };
        state.node = Some(Node { version, written: state.stamp() });
        true
    }

    /// One contender alone gets the lease out of the way, once nobody renews it.
    fn ends(&self, state: &State) -> bool {
        let mut at = state.clone();
        at.left = (0, 0, 0, 0, u8::MAX);
        at.renewing = None;
        for _ in 0..40 {
            if at.node.is_none() {
                return true;
            }
            let step = match at.contenders[0] {
                Contender::Looking => Action::Read(0),
                Contender::Read(_) => Action::AskForTheClock(0),
                Contender::Decided(..) => Action::Act(0),
                Contender::Sleeping(until) if until <= at.now => Action::Read(0),
                Contender::Sleeping(_) => Action::Pass,
            };
            at = self.next_state(&at, step).expect("every step goes on");
        }
        false
    }
}

impl Model for Lease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut first = State {
            now: 10_000_000,
            leader: 0,
            changes: 0,
            node: None,
            believes_until: 10_000_000 + believed_ms(),
            renewing: None,
            contenders: vec![Contender::Looking; self.contenders],
            left: (self.renewals, self.replacements, self.elections, self.losses, self.steps),
            taken_early: false,
        };
        let written = first.stamp();
        first.node = Some(Node { version: 0, written });
        vec![first]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (who, contender) in state.contenders.iter().enumerate() {
            match contender {
                Contender::Looking => actions.push(Action::Read(who)),
                Contender::Read(_) => actions.push(Action::AskForTheClock(who)),
                Contender::Decided(..) => actions.push(Action::Act(who)),
                Contender::Sleeping(until) if *until <= state.now => actions.push(Action::Read(who)),
                Contender::Sleeping(_) => {}
            }
        }
        let (renewals, replacements, elections, losses, steps) = state.left;
        let may_renew = state.renewing.is_none() && state.node.is_some();
        let mut offer = |possible: bool, action| actions.extend(possible.then_some(action));
        offer(may_renew && renewals > 0, Action::SendRenewal);
        offer(may_renew && replacements > 0, Action::SendReplacement);
        offer(state.renewing.is_some(), Action::CarryOutRenewal);
        offer(state.renewing.is_some() && losses > 0, Action::CarryOutUnheard);
        offer(elections > 0, Action::Elect);
        offer(steps > 0, Action::Pass);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Read(who) => state.contenders[who] = state.node.map_or(Contender::Looking, Contender::Read),
            Action::AskForTheClock(who) => {
                let Contender::Read(node) = state.contenders[who] else { return None };
                let now = state.stamp();
                state.contenders[who] = match self.judge(node, now) {
                    Judgement::EndsIn(left) => {
                        let left = i64::try_from(left.as_millis()).expect("seconds");
                        Contender::Sleeping(state.now + left + 2)
                    }
                    Judgement::Anew if self.flaw == Flaw::NeverAnew => Contender::Sleeping(state.now + TTL_MS),
                    Judgement::Anew => Contender::Decided(node, Decision::StartAnew),
                    Judgement::Ended => Contender::Decided(node, Decision::Remove),
                };
            }
            Action::Act(who) => {
                let Contender::Decided(read, decision) = state.contenders[who] else { return None };
                state.contenders[who] = Contender::Looking;
                let is_same = state.node.is_some_and(|node| node.version == read.version);
                match decision {
                    Decision::StartAnew if is_same => {
                        let written = state.stamp();
                        state.node = Some(Node { version: read.version + 1, written });
                        state.contenders[who] = Contender::Sleeping(state.now + TTL_MS + 2);
                    }
                    Decision::Remove if is_same || self.flaw == Flaw::NoVersion => {
                        state.taken_early |= state.node.is_some() && state.now < state.believes_until;
                        state.node = None;
                    }
                    Decision::StartAnew | Decision::Remove => {}
                }
            }
            Action::SendRenewal => {
                state.left.0 -= 1;
                state.renewing = Some((state.now, state.node?.version, false));
            }
            Action::SendReplacement => {
                state.left.1 -= 1;
                state.renewing = Some((state.now, state.node?.version, true));
            }
            Action::CarryOutRenewal => {
                let (sent, ..) = state.renewing?;
                if self.carry_out(&mut state) {
                    state.believes_until = state.believes_until.max(sent + believed_ms());
                }
                state.renewing = None;
            }
            Action::CarryOutUnheard => {
                state.left.3 -= 1;
                self.carry_out(&mut state);
                state.renewing = None;
            }
            Action::Elect => {
                state.left.2 -= 1;
                (state.leader, state.changes) = (state.leader + 1, 0);
            }
            Action::Pass => {
                state.left.4 -= 1;
                state.now += STEP_MS;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nobody takes a lease that is believed in", |_, state: &State| !state.taken_early),
            Property::always("a lease that nobody renews ends", Self::ends),
            Property::sometimes("a lease ends under a later leader", |_, state: &State| {
                state.node.is_none() && state.leader > 0
            }),
            Property::sometimes("a renewal is in time", |_, state: &State| {
                state.believes_until > 10_000_000 + believed_ms() && state.node.is_some()
            }),
        ]
    }
}

#[test]
fn renewals_replacements_elections_and_whoever_waits() {
    holds("one-shot: one waits", Lease::of(Flaw::None));
}

#[test]
fn two_who_wait_for_one_lease() {
    holds(
        "one-shot: two wait",
        Lease { contenders: 2, steps: 3 + size(), replacements: 0, losses: 0, ..Lease::of(Flaw::None) },
    );
}

#[test]
fn a_removal_that_names_no_version_takes_a_renewed_lease() {
    breaks("one-shot", "nobody takes a lease that is believed in", Lease::of(Flaw::NoVersion));
}

#[test]
fn two_leaders_clocks_compared_take_a_lease_too_early() {
    breaks("one-shot", "nobody takes a lease that is believed in", Lease::of(Flaw::OneClockForAll));
}

#[test]
fn a_replacement_that_begins_at_version_zero_is_taken_for_what_it_replaced() {
    breaks("one-shot", "nobody takes a lease that is believed in", Lease::of(Flaw::BornYoung));
}

#[test]
fn a_lease_that_never_starts_anew_never_ends() {
    breaks("one-shot", "a lease that nobody renews ends", Lease::of(Flaw::NeverAnew));
}
