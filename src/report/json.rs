//! What scripts read: `status`, `list` and `acquire` as JSON. Fields are only ever added.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::error::phrase::{is_hidden, is_on_the_calendar};
use crate::lock::{FencingToken, HolderEntry, Lease, LockState, LockStatus, Mode, Phase, WaiterEntry};
use crate::settings::Deployment;

/// The statuses as one array on one line.
#[must_use]
pub fn statuses(statuses: &[LockStatus], deployment: &Deployment) -> String {
    let keys: Vec<_> = statuses.iter().map(|status| Key::of(status, deployment)).collect();
    line(&keys)
}

/// What `acquire` got, at least one lease, as one object on one line.
#[must_use]
pub fn acquired(leases: &[Lease], deployment: &Deployment) -> String {
    let first = &leases[0];
    line(&Acquired {
        backend: deployment.backend.to_string(),
        namespace: deployment.namespace.as_str(),
        token: first.token.secret(),
        ttl_ms: whole_ms(leases.iter().map(|lease| lease.ttl).min().unwrap_or_default()),
        expires_at: leases.iter().filter_map(|lease| lease.expires_at).min().and_then(rfc3339),
        keys: leases
            .iter()
            .map(|lease| AcquiredKey { key: lease.key.as_str(), fence: lease.fence.map(number) })
            .collect(),
    })
}

/// The value on one line, nothing in it that a terminal would obey.
pub(super) fn line(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings, numbers and lists always serialise");
    let mut line = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        // Only strings can hold one. JSON allows the higher ones as they are, and a terminal would obey them.
        if is_hidden(character) {
            let mut units = [0; 2];
            line.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

#[derive(Serialize)]
struct Acquired<'a> {
    backend: String,
    namespace: &'a str,
    token: &'a str,
    ttl_ms: u64,
    expires_at: Option<String>,
    keys: Vec<AcquiredKey<'a>>,
}

#[derive(Serialize)]
struct AcquiredKey<'a> {
    key: &'a str,
    fence: Option<u64>,
}

#[derive(Serialize)]
struct Key<'a> {
    key: &'a str,
    backend: String,
    namespace: &'a str,
    layout: &'static str,
    state: &'static str,
    mode: Option<&'static str>,
    slots: Option<Slots>,
    fence: Option<u64>,
    holders: Vec<Holder<'a>>,
    waiters: Vec<Waiter<'a>>,
}

#[derive(Serialize)]
struct Slots {
    total: u32,
    used: usize,
}

#[derive(Serialize)]
struct Holder<'a> {
    id: &'a str,
    host: Option<&'a str>,
    pid: Option<u32>,
    user: Option<&'a str>,
    command: Option<&'a str>,
    label: Option<&'a str>,
    since: Option<String>,
    ttl_ms: Option<u64>,
    remaining_ms: Option<u64>,
    phase: &'static str,
    /// How many runs are nested in this one; no backend tells yet.
    nested: Option<u32>,
    fence: Option<u64>,
}

#[derive(Serialize)]
struct Waiter<'a> {
    id: &'a str,
    host: Option<&'a str>,
    pid: Option<u32>,
    user: Option<&'a str>,
    command: Option<&'a str>,
    label: Option<&'a str>,
    since: Option<String>,
    position: usize,
    mode: &'static str,
}

impl<'a> Key<'a> {
    fn of(status: &'a LockStatus, deployment: &'a Deployment) -> Self {
        let mode = match status.state {
            LockState::Free => None,
            LockState::Held(mode) => Some(mode),
        };
        let slots = match mode {
            Some(Mode::Slots(total)) => Some(Slots { total, used: status.holders.len() }),
            Some(Mode::Exclusive | Mode::Shared) | None => None,
        };
        Self {
            key: status.key.as_str(),
            backend: deployment.backend.to_string(),
            namespace: deployment.namespace.as_str(),
            layout: deployment.layout,
            state: if mode.is_some() { "held" } else { "free" },
            mode: mode.map(mode_name),
            slots,
            fence: status.fence.map(number),
            holders: status.holders.iter().map(Holder::of).collect(),
            waiters: status.waiters.iter().map(Waiter::of).collect(),
        }
    }
}

impl<'a> Holder<'a> {
    fn of(entry: &'a HolderEntry) -> Self {
        Self {
            id: &entry.id,
            host: entry.holder.host.as_deref(),
            pid: entry.holder.pid,
            user: entry.holder.user.as_deref(),
            command: entry.holder.command.as_deref(),
            label: entry.holder.label.as_deref(),
            since: entry.since.and_then(rfc3339),
            ttl_ms: entry.ttl.map(whole_ms),
            remaining_ms: entry.remaining.map(whole_ms),
            phase: match entry.phase {
                Phase::Running => "running",
                Phase::OneShot => "one-shot",
                Phase::HeldAtLeast => "held-at-least",
                Phase::LockDelay => "lock-delay",
                Phase::Revoked => "revoked",
                Phase::Foreign => "foreign",
            },
            nested: None,
            fence: entry.fence.map(number),
        }
    }
}

impl<'a> Waiter<'a> {
    fn of(entry: &'a WaiterEntry) -> Self {
        Self {
            id: &entry.id,
            host: entry.holder.host.as_deref(),
            pid: entry.holder.pid,
            user: entry.holder.user.as_deref(),
            command: entry.holder.command.as_deref(),
            label: entry.holder.label.as_deref(),
            since: entry.since.and_then(rfc3339),
            position: entry.position,
            mode: mode_name(entry.mode),
        }
    }
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Exclusive => "exclusive",
        Mode::Shared => "shared",
        Mode::Slots(_) => "slots",
    }
}

fn number(fence: FencingToken) -> u64 {
    fence.0
}

pub(super) fn whole_ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// In UTC, with milliseconds; a time that no calendar has is as good as unknown.
pub(super) fn rfc3339(time: SystemTime) -> Option<String> {
    is_on_the_calendar(time).then(|| humantime::format_rfc3339_millis(time).to_string())
}

#[cfg(test)]
mod tests;
