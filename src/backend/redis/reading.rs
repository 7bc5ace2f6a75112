//! `status` and `list`: reads, and changes nothing. What breaks it: what others have written at these keys.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;

use super::names::{self, Found, Names};
use super::node::Node;
use super::reply::{self, Raw, RawValue};
use super::script::lean;
use super::topology::{Route, Slot};
use super::value::{LockValue, ServerTime, Sharer, Waiter};
use super::{eval, unexpected};
use crate::lock::token::public_id;
use crate::lock::{
    BackendError, FIRST_CONTACT, Holder, HolderEntry, KeyPattern, LockKey, LockState, LockStatus, Mode, Namespace,
    Phase, WaiterEntry,
};

const STATUS: &str = lean!(include_str!("scripts/status.lua"));

/// The most waiters and the most holders shown for one key: as many as dlock is built to serve.
const MOST_SHOWN: usize = 1000;

/// Keys that are read at once: some milliseconds of a server's time, which nobody else gets meanwhile.
const BATCH: usize = 500;

/// Names that one step of SCAN looks at: about a millisecond of the server's time.
const SCAN_STEP: usize = 1000;

pub(super) async fn status(
    route: &dyn Route,
    namespace: &Namespace,
    key: &LockKey,
) -> Result<LockStatus, BackendError> {
    let names = Names::of(namespace, key)?;
    route.admit(&stored(&names))?;
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
    // What cannot be a lock of ours, whoever wrote it, is left out.
    let usable = |key: LockKey| {
        let names = Names::of(namespace, &key).ok()?;
        route.admit(&stored(&names)).ok().map(|()| (key, names))
    };
    let keys: Vec<_> = found.into_iter().filter_map(usable).collect();
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

/// What is stored of one key.
pub(super) async fn raw(route: &dyn Route, names: &Names, limit: Duration) -> Result<Raw, BackendError> {
    let request = eval(STATUS, &stored(names), &[&MOST_SHOWN.to_string()]);
    let answer =
        route.ask_twice(names.lock(), &request, &|| request.clone(), limit).await.map_err(|failure| failure.error)?;
    let one = reply::statuses(&answer).and_then(|(_, raws)| raws.into_iter().next());
    one.ok_or_else(|| unexpected(route))
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
        let answer = Node::ask_twice(node, &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map_err(|failure| failure.error)?;
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

/// KEYS of status.lua for one key.
fn stored(names: &Names) -> [String; 5] {
    let side = |name| names.side(name);
    [names.lock().to_owned(), side("queue"), side("leases"), side("waiters"), side("holders")]
}

/// One script for each slot, all on their way at once; the answers stand in the order of the keys.
async fn read(route: &dyn Route, keys: &[(LockKey, Names)]) -> Result<Vec<LockStatus>, BackendError> {
    let mut slots: BTreeMap<Slot, Vec<usize>> = BTreeMap::new();
    for (at, (_, names)) in keys.iter().enumerate() {
        slots.entry(route.slot(names.lock())).or_default().push(at);
    }
    let mut read: Vec<(usize, LockStatus)> = Vec::with_capacity(keys.len());
    for part in join_all(slots.values().map(|members| read_slot(route, keys, members))).await {
        read.extend(part?);
    }
    read.sort_by_key(|(at, _)| *at);
    Ok(read.into_iter().map(|(_, status)| status).collect())
}

/// Those of `keys` that are `members` of one slot.
async fn read_slot(
    route: &dyn Route,
    keys: &[(LockKey, Names)],
    members: &[usize],
) -> Result<Vec<(usize, LockStatus)>, BackendError> {
    let names: Vec<String> = members.iter().flat_map(|at| stored(&keys[*at].1)).collect();
    let Some(lock) = names.first() else { return Ok(Vec::new()) };
    let request = eval(STATUS, &names, &[&MOST_SHOWN.to_string()]);
    let answer =
        route.ask_twice(lock, &request, &|| request.clone(), FIRST_CONTACT).await.map_err(|failure| failure.error)?;
    let (now, raws) = reply::statuses(&answer).ok_or_else(|| unexpected(route))?;
    if raws.len() != members.len() {
        return Err(unexpected(route));
    }
    Ok(members.iter().zip(raws).map(|(at, raw)| (*at, shown(keys[*at].0.clone(), now, &raw))).collect())
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
