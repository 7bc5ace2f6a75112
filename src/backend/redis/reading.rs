//! `status` and `list`: reads, and changes nothing. What breaks it: what others have written at these keys.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::names::{self, Found, Names};
use super::node::Node;
use super::reply::{self, Raw, RawValue};
use super::topology::Route;
use super::value::{LockValue, ServerTime, Sharer, Waiter};
use super::{eval, unexpected};
use crate::lock::token::public_id;
use crate::lock::{
    BackendError, FIRST_CONTACT, Holder, HolderEntry, KeyPattern, LockKey, LockState, LockStatus, Mode, Namespace,
    Phase, WaiterEntry,
};

const STATUS: &str = include_str!("scripts/status.lua");

/// The most waiters and the most holders shown for one key: as many as dlock is built to serve.
const MOST_SHOWN: usize = 1000;

/// Keys that one script reads: some milliseconds of the server's time, which nobody else gets meanwhile.
const BATCH: usize = 500;

/// Names that one step of SCAN looks at: about a millisecond of the server's time.
const SCAN_STEP: usize = 1000;

pub(super) async fn status(
    route: &dyn Route,
    namespace: &Namespace,
    key: &LockKey,
) -> Result<LockStatus, BackendError> {
    let names = Names::of(namespace, key)?;
    let one = read(route, &[(key.clone(), names)]).await?;
    one.into_iter().next().ok_or_else(|| unexpected(route))
}

pub(super) async fn list(
    route: &dyn Route,
    namespace: &Namespace,
    pattern: &KeyPattern,
) -> Result<Vec<LockStatus>, BackendError> {
    let mut found = BTreeSet::new();
    for server in route.servers(FIRST_CONTACT).await.map_err(|failure| failure.error)? {
        found.extend(scan(&server, namespace, pattern).await?);
    }
    let keys: Vec<_> =
        found.into_iter().filter_map(|key| Names::of(namespace, &key).ok().map(|names| (key, names))).collect();
    let mut all = Vec::with_capacity(keys.len());
    for batch in keys.chunks(BATCH) {
        let read = read(route, batch).await?;
        all.extend(read.into_iter().filter(|status| {
            let taken = status.state != LockState::Free || !status.waiters.is_empty();
            // Without a namespace any other key of the database looks like a foreign lock.
            let foreign = status.holders.iter().all(|holder| holder.phase == Phase::Foreign);
            taken && !(namespace.is_empty() && foreign && status.waiters.is_empty())
        }));
    }
    Ok(all)
}

async fn scan(node: &Rc<Node>, namespace: &Namespace, pattern: &KeyPattern) -> Result<BTreeSet<LockKey>, BackendError> {
    let mut keys = BTreeSet::new();
    let mut cursor = b"0".to_vec();
    loop {
        let mut request = redis::cmd("SCAN");
        request.arg(&cursor);
        if let Some(glob) = names::scan_pattern(namespace) {
            request.arg("MATCH").arg(glob);
        }
        request.arg("COUNT").arg(SCAN_STEP);
        let answer = Node::ask_twice(node, &request, &request, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        let (next, found) = reply::scanned(&answer).ok_or_else(|| unexpected(node))?;
        for name in found {
            if let Some(Found::Lock(key) | Found::Beside(key)) = names::found(namespace, name)
                && pattern.matches(&key)
            {
                keys.insert(key);
            }
        }
        if next == b"0" {
            return Ok(keys);
        }
        cursor = next;
    }
}

async fn read(route: &dyn Route, keys: &[(LockKey, Names)]) -> Result<Vec<LockStatus>, BackendError> {
    let stored: Vec<String> = keys
        .iter()
        .flat_map(|(_, names)| {
            let side = |name| names.side(name);
            [names.lock().to_owned(), side("queue"), side("leases"), side("waiters"), side("holders")]
        })
        .collect();
    let Some((_, first)) = keys.first() else { return Ok(Vec::new()) };
    let request = eval(STATUS, &stored, &[&MOST_SHOWN.to_string()]);
    let answer =
        route.ask_twice(first.lock(), &request, &request, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
    let (now, raws) = reply::statuses(&answer).ok_or_else(|| unexpected(route))?;
    if raws.len() != keys.len() {
        return Err(unexpected(route));
    }
    Ok(keys.iter().zip(raws).map(|((key, _), raw)| shown(key.clone(), now, &raw)).collect())
}

/// One key as `status` shows it.
fn shown(key: LockKey, now: ServerTime, raw: &Raw) -> LockStatus {
    let mut status = LockStatus::free(key);
    let mut holding_waiter: &[u8] = b"";
    match &raw.value {
        // Sharers without their marker: which of the two modes is not known any more.
        RawValue::Absent if !raw.sharers.is_empty() => status.state = LockState::Held(Mode::Shared),
        RawValue::Absent => {}
        RawValue::Text(text) => match LockValue::parse(text) {
            LockValue::Ours(record) if record.token.as_bytes() == raw.generation => {
                if !raw.sharers.is_empty() {
                    status.state = LockState::Held(record.mode);
                }
            }
            LockValue::Ours(record) => {
                status.state = LockState::Held(record.mode);
                holding_waiter = &text[..record.token.len()];
                status.holders.push(record.entry(now, raw.left));
            }
            LockValue::Foreign => {
                status.state = LockState::Held(Mode::Exclusive);
                status.holders.push(foreign(public_id(text), raw.left));
            }
        },
        RawValue::Other(kind) => {
            status.state = LockState::Held(Mode::Exclusive);
            status.holders.push(foreign(public_id(kind), raw.left));
        }
    }
    status.fence = status.holders.first().and_then(|holder| holder.fence);
    let mut sharers: Vec<_> = raw.sharers.iter().map(|[token, entry]| Sharer::shown(token, entry, now)).collect();
    sharers.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
    status.holders.extend(sharers);
    let has_turn = |token: &Vec<u8>| token == holding_waiter || raw.sharers.iter().any(|[holder, _]| holder == token);
    // A waiter that was offered the lock keeps its ticket until it has confirmed.
    let waiting = raw.waiters.iter().filter(|[token, lease, _]| !has_turn(token) && lives(lease, now));
    status.waiters = waiting
        .enumerate()
        .map(|(before, [token, _, entry])| {
            let waiter = Waiter::parse(entry);
            WaiterEntry {
                id: public_id(token),
                since: waiter.as_ref().and_then(|waiter| waiter.since.wall()),
                waited_for: waiter.as_ref().map(|waiter| now.since(waiter.since)),
                position: before + 1,
                mode: waiter.as_ref().map_or(Mode::Exclusive, |waiter| waiter.mode),
                holder: waiter.map(|waiter| waiter.holder).unwrap_or_default(),
            }
        })
        .collect();
    status
}

/// Whether a waiter's lease, `<end ms> …`, has not ended. One that cannot be read is shown.
fn lives(lease: &[u8], now: ServerTime) -> bool {
    let digits = lease.split(|byte| *byte == b' ').next().and_then(|word| std::str::from_utf8(word).ok());
    match digits.and_then(|digits| digits.parse::<u64>().ok()) {
        Some(end) => ServerTime::from_micros(end.saturating_mul(1000)) >= now,
        None => !lease.is_empty(),
    }
}

fn foreign(id: String, remaining: Option<Duration>) -> HolderEntry {
    HolderEntry {
        id,
        holder: Holder::default(),
        since: None,
        held_for: None,
        ttl: None,
        remaining,
        phase: Phase::Foreign,
        fence: None,
    }
}
