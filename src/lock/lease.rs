//! What a contender asks for, what it gets, and for how long it may believe that.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::{BackendError, FencingToken, Holder, LockKey, OwnerToken};
use crate::sys::boottime::BootInstant;

/// How holders of one key share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One holder.
    Exclusive,
    /// Many readers.
    Shared,
    /// At most this many holders.
    Slots(u32),
}

/// As it is stored and handed to nested calls: `exclusive`, `shared`, `slots:N`.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exclusive => f.write_str("exclusive"),
            Self::Shared => f.write_str("shared"),
            Self::Slots(total) => write!(f, "slots:{total}"),
        }
    }
}

/// The text is no mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a mode is exclusive, shared or slots:N")]
pub struct InvalidMode;

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        match text {
            "exclusive" => Ok(Self::Exclusive),
            "shared" => Ok(Self::Shared),
            _ => {
                let total = text.strip_prefix("slots:").and_then(|total| total.parse().ok());
                total.filter(|total| *total > 0).map(Self::Slots).ok_or(InvalidMode)
            }
        }
    }
}

/// How long a lease lasts without a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// The user named it: granted exactly so, or refused.
    Exactly(Duration),
    /// Nobody named one: a backend may grant another.
    Default(Duration),
}

impl Ttl {
    #[must_use]
    pub fn duration(self) -> Duration {
        match self {
            Self::Exactly(ttl) | Self::Default(ttl) => ttl,
        }
    }
}

/// Who keeps the lease after the grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseKind {
    /// A process that renews it while its command runs; a crash frees it within the TTL.
    Running,
    /// Nobody: it outlives the process that took it, and ends with its TTL, a renewal or a release.
    OneShot,
}

/// For how long others are kept out beyond what the holder itself makes use of. Zero: no longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// The lock stays taken for so long from its grant on, also when its holder is done before.
    pub hold_at_least: Duration,
    /// Nobody gets the lock for so long after the lease of a holder that did not give it up in good order.
    pub lock_delay: Duration,
}

impl Retention {
    /// For how long others are still kept out when a holder since `granted_at` parts with its lock now.
    #[must_use]
    pub fn stays(self, parting: Parting, granted_at: BootInstant) -> Duration {
        let minimum = (granted_at + self.hold_at_least).remaining();
        let minimum = if parting.keeps_the_minimum() { minimum } else { Duration::ZERO };
        minimum.max(if parting.delays() { self.lock_delay } else { Duration::ZERO })
    }
}

/// Why a holder parts with its lock, which decides how much of its retention is left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// It was not made use of, or somebody wants it: free at once.
    Unused,
    /// What it was taken for is over: it stays taken for the minimum time.
    Done,
    /// The same, brought about by the death of one of dlock's processes: for the lock delay, too.
    Orphaned,
    /// It was stopped for a lost lease: for the lock delay alone.
    Lost,
}

impl Parting {
    /// Whether [`Retention::hold_at_least`] counts.
    #[must_use]
    pub fn keeps_the_minimum(self) -> bool {
        matches!(self, Self::Done | Self::Orphaned)
    }

    /// Whether [`Retention::lock_delay`] counts.
    #[must_use]
    pub fn delays(self) -> bool {
        matches!(self, Self::Orphaned | Self::Lost)
    }
}

/// What a contender does when the lock is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Leaves at once, and leaves nothing in others' way.
    Refuse,
    /// Joins the queue. A connection lost while waiting is sought again for this long, each time.
    Queue { reconnect_for: Duration },
}

/// One contender's request for one key.
#[derive(Debug, Clone)]
pub struct Claim {
    pub key: LockKey,
    /// Fresh for this claim.
    pub token: OwnerToken,
    pub holder: Holder,
    pub ttl: Ttl,
    pub kind: LeaseKind,
    pub patience: Patience,
    /// It is to be told who is in the way before it queues: whoever goes because too many wait is not one of them.
    pub looks_first: bool,
    pub mode: Mode,
    pub retention: Retention,
}

/// How a claim ended.
#[derive(Debug)]
pub enum Acquired {
    Granted(Lease),
    /// Held by somebody else, and the claim was not to wait.
    Held(Contention),
    /// A part of it had been granted, and was lost while the rest was awaited. Another claim may begin anew.
    Lost,
}

/// How claims ended that were to be granted at a stroke.
#[derive(Debug)]
pub enum Together {
    /// All of them, in their order.
    Granted(Vec<Lease>),
    /// None. Each may be acquired by itself.
    Apart,
    /// Something is wrong with one of them, and some may be granted. To acquire each by itself tells which; all are to be
    /// released then.
    Unclear,
}

/// What a waiting contender has learnt.
#[derive(Debug, Clone)]
pub enum Progress {
    Waiting(Contention),
    /// The connection is lost and being sought again.
    Disconnected(BackendError),
}

/// Whom a contender waits for, as last seen. Everything is `None` where the backend does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contention {
    /// One of several holders is the one that has held for longest.
    pub holder: Option<Holder>,
    /// How many hold beside it.
    pub others: usize,
    /// When the holder got the lock, by the server's clock.
    pub since: Option<SystemTime>,
    /// How long the holder has had it, by the server's clock alone.
    pub held_for: Option<Duration>,
    /// Waiters that come before us.
    pub ahead: Option<usize>,
}

impl Progress {
    /// The same news, told `later`: a holder has had the lock for so much longer by then.
    #[must_use]
    pub fn aged(&self, later: Duration) -> Self {
        match self {
            Self::Waiting(contention) => {
                let held_for = contention.held_for.map(|held| held.saturating_add(later));
                Self::Waiting(Contention { held_for, ..contention.clone() })
            }
            Self::Disconnected(error) => Self::Disconnected(error.clone()),
        }
    }
}

/// A grant, believed until its deadline and no longer.
#[derive(Debug, Clone)]
pub struct Lease {
    pub key: LockKey,
    pub token: OwnerToken,
    /// As granted.
    pub ttl: Duration,
    /// Only for exclusive grants.
    pub fence: Option<FencingToken>,
    /// The instant before the request that was answered "yours" was sent.
    pub requested_at: BootInstant,
    /// The instant up to which the backend keeps everybody else out, already shortened by the backend's margin and
    /// counted from before the request was sent. `None`: for as long as this process lives (a kernel lock).
    pub valid_until: Option<BootInstant>,
    /// Time from one renewal to the next. `None`: it needs none.
    pub renew_every: Option<Duration>,
    /// When a one-shot lease ends, by the server's clock.
    pub expires_at: Option<SystemTime>,
}

/// The answer to a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Still ours, now until here.
    Renewed { valid_until: BootInstant },
    /// Still ours, and an operator wants it back.
    Revoked { valid_until: BootInstant },
    /// Not ours any more: it may be somebody else's already.
    Lost,
}

/// The answer to `renew` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prolonged {
    /// The lease now lasts this long from now.
    Set {
        ttl: Duration,
        expires_at: Option<SystemTime>,
    },
    /// A running command holds it with a longer lease of its own; nothing was shortened.
    HeldByRun,
    NotHeld,
}

/// The answer to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    Released,
    /// The token holds nothing (any more); a place in the queue, if there was one, is gone.
    NotHeld,
}
