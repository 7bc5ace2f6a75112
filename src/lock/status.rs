//! What `status` and `list` know of a key. Times come from one server's clock; unknown facts are `None`.

use std::time::{Duration, SystemTime};

use super::{Contention, FencingToken, Holder, LockKey, Mode};

/// Everything known of one key.
#[derive(Debug, Clone)]
pub struct LockStatus {
    pub key: LockKey,
    pub state: LockState,
    /// The highest fencing token among the holders.
    pub fence: Option<FencingToken>,
    pub holders: Vec<HolderEntry>,
    /// In the order in which they will be served, as far as the backend knows it.
    pub waiters: Vec<WaiterEntry>,
    /// What single servers say otherwise, each a part of a sentence, where a majority of them decides.
    pub differences: Vec<String>,
}

/// Whether anybody holds the key, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockState {
    Free,
    Held(Mode),
}

/// One holder.
#[derive(Debug, Clone)]
pub struct HolderEntry {
    /// A short digest of the owner token.
    pub id: String,
    pub holder: Holder,
    pub since: Option<SystemTime>,
    /// How long it has had the lock, by the server's clock alone.
    pub held_for: Option<Duration>,
    pub ttl: Option<Duration>,
    pub remaining: Option<Duration>,
    pub phase: Phase,
    pub fence: Option<FencingToken>,
}

/// What keeps a holder's lease alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A command runs under it.
    Running,
    OneShot,
    /// Its command has ended; the lock stays taken for a minimum time.
    HeldAtLeast,
    /// Its holder is gone; others are kept out a little longer.
    LockDelay,
    /// An operator wants it back; its command is being stopped.
    Revoked,
    /// Another program's lock.
    Foreign,
}

/// One waiter.
#[derive(Debug, Clone)]
pub struct WaiterEntry {
    pub id: String,
    pub holder: Holder,
    pub since: Option<SystemTime>,
    /// How long it has waited, by the server's clock alone.
    pub waited_for: Option<Duration>,
    /// 1 is next.
    pub position: usize,
    pub mode: Mode,
}

impl LockStatus {
    /// A key that nobody holds or awaits.
    #[must_use]
    pub fn free(key: LockKey) -> Self {
        Self {
            key,
            state: LockState::Free,
            fence: None,
            holders: Vec::new(),
            waiters: Vec::new(),
            differences: Vec::new(),
        }
    }

    /// Whom a contender that came now would wait for.
    #[must_use]
    pub fn contention(&self) -> Contention {
        let first = self.holders.first();
        Contention {
            holder: first.map(|first| first.holder.clone()),
            others: self.holders.len().saturating_sub(1),
            since: first.and_then(|first| first.since),
            held_for: first.and_then(|first| first.held_for),
            ahead: Some(self.waiters.len()),
        }
    }

    /// Whether both tell of the same people in the same roles: times are not looked at, because they run, and some
    /// backends work them out anew from a clock for each answer.
    #[must_use]
    pub fn tells_the_same_as(&self, other: &Self) -> bool {
        self.key == other.key
            && self.state == other.state
            && self.differences == other.differences
            && self.holders.len() == other.holders.len()
            && self.holders.iter().zip(&other.holders).all(|(one, other)| {
                (&one.id, &one.holder, one.phase, one.fence) == (&other.id, &other.holder, other.phase, other.fence)
            })
            && self.waiters.len() == other.waiters.len()
            && self.waiters.iter().zip(&other.waiters).all(|(one, other)| {
                (&one.id, &one.holder, one.position, one.mode) == (&other.id, &other.holder, other.position, other.mode)
            })
    }

    /// Whether somebody stands in the way of a contender of this mode that does not wait.
    #[must_use]
    pub fn would_refuse(&self, mode: Mode) -> bool {
        let fits = match self.state {
            LockState::Free => true,
            LockState::Held(held) => held == mode && mode != Mode::Exclusive,
        };
        let room = match mode {
            Mode::Exclusive => self.waiters.is_empty(),
            Mode::Shared => true,
            Mode::Slots(total) => {
                self.holders.len() + self.waiters.len() < usize::try_from(total).unwrap_or(usize::MAX)
            }
        };
        !fits || !room || self.waiters.iter().any(|waiter| waiter.mode != mode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(held: Option<Mode>, holders: usize, waiting: &[Mode]) -> LockStatus {
        let holder = HolderEntry {
            id: String::new(),
            holder: Holder::default(),
            since: None,
            held_for: None,
            ttl: None,
            remaining: None,
            phase: Phase::Running,
            fence: None,
        };
        let waiter = |mode: &Mode| WaiterEntry {
            id: String::new(),
            holder: Holder::default(),
            since: None,
            waited_for: None,
            position: 1,
            mode: *mode,
        };
        LockStatus {
            state: held.map_or(LockState::Free, LockState::Held),
            holders: vec![holder; holders],
            waiters: waiting.iter().map(waiter).collect(),
            ..LockStatus::free(LockKey::new("job").expect("a key"))
        }
    }

    #[test]
    fn another_person_or_role_is_a_change_and_a_later_time_is_none() {
        let before = status(Some(Mode::Exclusive), 1, &[Mode::Exclusive]);
        let mut later = before.clone();
        later.holders[0].held_for = Some(std::time::Duration::from_secs(5));
        later.holders[0].remaining = Some(std::time::Duration::from_secs(5));
        later.waiters[0].waited_for = Some(std::time::Duration::from_secs(5));
        assert!(later.tells_the_same_as(&before));
        let changes: [fn(&mut LockStatus); 6] = [
            |status| status.state = LockState::Held(Mode::Shared),
            |status| status.holders[0].id = "another".into(),
            |status| status.holders[0].phase = Phase::Revoked,
            |status| status.holders[0].fence = Some(FencingToken(7)),
            |status| status.waiters[0].position = 2,
            |status| status.waiters.clear(),
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut changed = before.clone();
            change(&mut changed);
            assert!(!changed.tells_the_same_as(&before), "change {number}");
        }
    }

    #[test]
    fn who_holds_and_who_waits_decide_for_each_mode_whether_it_would_be_refused() {
        use Mode::{Exclusive, Shared, Slots};
        for (held, holders, waiting, refused) in [
            (None, 0, &[][..], [false, false, false]),
            (Some(Exclusive), 1, &[], [true, true, true]),
            (Some(Shared), 2, &[], [true, false, true]),
            (Some(Shared), 2, &[Exclusive], [true, true, true]),
            (Some(Shared), 2, &[Shared], [true, false, true]),
            (Some(Slots(3)), 2, &[], [true, true, false]),
            (Some(Slots(3)), 3, &[], [true, true, true]),
            (Some(Slots(3)), 2, &[Slots(3)], [true, true, true]),
            (Some(Slots(2)), 1, &[], [true, true, true]),
            (None, 0, &[Exclusive], [true, true, true]),
        ] {
            let status = status(held, holders, waiting);
            let told = [Exclusive, Shared, Slots(3)].map(|mode| status.would_refuse(mode));
            assert_eq!(told, refused, "{held:?} {holders} {waiting:?}");
        }
    }
}
