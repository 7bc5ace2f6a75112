//! What `status` and `list` know of a key. Times come from one server's clock; unknown facts are `None`.

use std::time::{Duration, SystemTime};

use super::{FencingToken, Holder, LockKey, Mode};

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
        Self { key, state: LockState::Free, fence: None, holders: Vec::new(), waiters: Vec::new() }
    }
}
