//! What is said to an operator who takes a lock from its holder.

use std::time::Duration;

use crate::error::phrase::{Quoted, Rough, Since, Who};
use crate::lock::{HolderEntry, LockKey, LockStatus, Manner, Phase};

/// More than these are only counted.
const MOST_NAMED: usize = 8;

/// Who it is that would lose the lock.
#[must_use]
pub fn shown(key: &LockKey, entry: &HolderEntry) -> String {
    let known = [
        match (entry.held_for, entry.since) {
            (Some(held), _) => format!("for {}", Rough(held)),
            (None, Some(since)) => Since(since).to_string(),
            (None, None) => String::new(),
        },
        entry.remaining.map(|left| format!("lease {}", Rough(left))).unwrap_or_default(),
        format!("id {}", entry.id),
    ];
    let known: Vec<String> = known.into_iter().filter(|part| !part.is_empty()).collect();
    let how = match entry.phase {
        Phase::Running => "held by",
        Phase::OneShot => "taken by",
        Phase::HeldAtLeast => "kept for a minimum time by",
        Phase::LockDelay => "kept for a lock delay after",
        Phase::Revoked => "asked back already from",
        Phase::Foreign => "held by another program:",
    };
    format!("{} is {how} {}, {}", Quoted(key.as_str()), Who(&entry.holder), known.join(", "))
}

/// What is asked for a "yes" to.
#[must_use]
pub fn question(key: &LockKey, phase: Phase, manner: Manner) -> String {
    let key = Quoted(key.as_str());
    match (phase, manner) {
        (Phase::Running | Phase::Revoked, Manner::Asking) => format!("stop its command and take {key} back?"),
        (Phase::Running | Phase::Revoked, Manner::AtOnce) => {
            format!("free {key} at once, though its command may still run for a while?")
        }
        (Phase::OneShot | Phase::Foreign, _) => format!("nobody can be asked to give it up; free {key} at once?"),
        (Phase::HeldAtLeast | Phase::LockDelay, _) => format!("free {key} at once?"),
    }
}

/// What there is to say of records that nobody can read; `reason` tells where.
#[must_use]
pub fn unreadable(key: &LockKey, reason: &str) -> String {
    format!("{}: {reason}; a one-shot lease in it is forgotten then", Quoted(key.as_str()))
}

pub const REWRITE: &str = "rewrite it?";

#[must_use]
pub fn rewritten(key: &LockKey) -> String {
    format!("rewrote the records of {}", Quoted(key.as_str()))
}

#[must_use]
pub fn nobody_holds(key: &LockKey) -> String {
    format!("nobody holds {}, so there is nothing to take back", Quoted(key.as_str()))
}

/// The mark stands; what happens now takes time.
#[must_use]
pub fn asked(key: &LockKey, entry: &HolderEntry) -> String {
    format!(
        "asked {} to stop its command and give {} back; it stays taken until then, or until its lease has run out",
        Who(&entry.holder),
        Quoted(key.as_str())
    )
}

/// Once a minute while it has not.
#[must_use]
pub fn not_yet(key: &LockKey, entry: &HolderEntry, waited: Duration) -> String {
    format!("{} still holds {}, {} after it was asked", Who(&entry.holder), Quoted(key.as_str()), Rough(waited))
}

#[must_use]
pub fn unanswered(reason: &str) -> String {
    format!("{reason}; looking again")
}

/// How the holder went, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    GaveUp,
    RanOut,
    Unknown,
}

#[must_use]
pub fn gone(key: &LockKey, entry: &HolderEntry, departure: Departure, waited: Duration) -> String {
    let (key, who, waited) = (Quoted(key.as_str()), Who(&entry.holder), Rough(waited));
    match departure {
        Departure::GaveUp => format!("{who} gave {key} back after {waited}"),
        Departure::RanOut => format!("the lease of {who} on {key} ran out after {waited}"),
        Departure::Unknown => format!("{who} does not hold {key} any more, after {waited}"),
    }
}

/// The holder was taken out without being asked.
#[must_use]
pub fn freed(key: &LockKey, entry: &HolderEntry) -> String {
    let key = Quoted(key.as_str());
    match entry.phase {
        Phase::Running | Phase::Revoked => {
            let until = match entry.ttl.or(entry.remaining) {
                Some(left) => format!("for up to {}", Rough(left)),
                None => "until it notices".to_owned(),
            };
            format!(
                "freed {key}; the command of {} may run on {until}, beside the command of whoever gets the lock now",
                Who(&entry.holder)
            )
        }
        Phase::OneShot => {
            format!("freed {key}; nobody can be asked to stop what runs under a one-shot lease, and it may still run")
        }
        Phase::Foreign => {
            format!("freed {key}; the program that held it cannot be asked to stop, and may still count on it")
        }
        Phase::HeldAtLeast | Phase::LockDelay => format!("freed {key}; nothing ran under it any more"),
    }
}

/// Whom the lock would have to be taken from instead.
#[must_use]
pub fn held_by_others(status: &LockStatus) -> String {
    let others: Vec<String> = named(status);
    if others.is_empty() {
        return "whoever holds it has left no word about itself".to_owned();
    }
    format!("it is held by {}", others.join(", "))
}

/// Why one of several has to be named.
#[must_use]
pub fn which_one(status: &LockStatus) -> String {
    format!(
        "{} is held by {} at once; say which with --id: {}",
        Quoted(status.key.as_str()),
        status.holders.len(),
        named(status).join(", ")
    )
}

fn named(status: &LockStatus) -> Vec<String> {
    let name = |entry: &HolderEntry| format!("{} (id {})", Who(&entry.holder), entry.id);
    let mut named: Vec<String> = status.holders.iter().take(MOST_NAMED).map(name).collect();
    if status.holders.len() > MOST_NAMED {
        named.push(format!("and {} more", status.holders.len() - MOST_NAMED));
    }
    named
}
