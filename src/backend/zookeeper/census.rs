//! Who holds and who waits. Nothing is written, except for the leader's clock where it takes that to say when a lease ends.

use std::time::Duration;

use zookeeper_client::{Client, Error, Stat};

use super::node::{Node, Record, time_of_day};
use super::place;
use super::queue::{Entry, Queue};
use super::{ZooKeeperBackend, expiry, failure, lease, reading};
use crate::lock::{BackendError, HolderEntry, KeyPattern, LockKey, LockState, LockStatus, Mode, Phase, WaiterEntry};

pub(super) async fn status(backend: &ZooKeeperBackend, key: &LockKey) -> Result<LockStatus, BackendError> {
    let explained = |error: Error| failure::explained(&backend.ensemble, "report the status", &error);
    let directory = backend.layout.directory(key)?;
    let client = backend.any_session().await?.client()?;
    let queue = match client.list_children(&directory).await {
        Ok(children) => Queue::of(backend.family, children),
        Err(Error::NoNode) => return Ok(LockStatus::free(key.clone())),
        Err(error) => return Err(explained(error)),
    };
    let nodes = place::read_paths(&client, &paths_of(&directory, &queue)).await.map_err(explained)?;
    let contenders = with_modes(&queue, nodes.into_iter());
    let now = now(backend, &client, &contenders).await;
    Ok(described(backend, key.clone(), contenders, now))
}

pub(super) async fn list(backend: &ZooKeeperBackend, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
    let explained = |error: Error| failure::explained(&backend.ensemble, "list the keys", &error);
    let client = backend.any_session().await?.client()?;
    let top = backend.layout.top();
    let named: Vec<String> = match client.list_children(if top.is_empty() { "/" } else { &top }).await {
        Ok(names) => names,
        Err(Error::NoNode) => return Ok(Vec::new()),
        Err(error) => return Err(explained(error)),
    };
    let mut level: Vec<String> =
        named.into_iter().filter(|name| !backend.layout.is_no_key(name)).map(|name| format!("{top}/{name}")).collect();
    let mut found = Vec::new();
    // One level in a namespace; without one, keys are paths, and whatever is no lock may hold locks below.
    while !level.is_empty() {
        let mut below = Vec::new();
        let lists = reading::children(backend, &client, &level).await.map_err(explained)?;
        for (directory, children) in level.into_iter().zip(lists) {
            let Some(children) = children else { continue };
            if backend.layout.keys_are_paths() && Queue::of(backend.family, children.clone()).stranger().is_some() {
                below.extend(children.iter().map(|name| format!("{directory}/{name}")));
            } else if !children.is_empty() {
                found.push((directory, children));
            }
        }
        level = below;
    }
    // Every contender of every key in one stream of reads.
    let queues: Vec<(String, Queue)> =
        found.into_iter().map(|(directory, children)| (directory, Queue::of(backend.family, children))).collect();
    let paths: Vec<String> = queues.iter().flat_map(|(directory, queue)| paths_of(directory, queue)).collect();
    let mut nodes = reading::nodes(backend, &client, &paths).await.map_err(explained)?.into_iter();
    let (mut statuses, mut clock) = (Vec::new(), None);
    for (directory, queue) in queues {
        let contenders = with_modes(&queue, nodes.by_ref().take(queue.entries().len()));
        let Some(key) = key_of(backend, &directory, &contenders) else { continue };
        if pattern.matches(&key) && !contenders.is_empty() {
            clock = match clock {
                Some(clock) => Some(clock),
                None => now(backend, &client, &contenders).await,
            };
            statuses.push(described(backend, key, contenders, clock));
        }
    }
    statuses.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(statuses)
}

/// The leader's clock, where a lease by that clock is to be shown. It is nobody's lock, and whoever may not write it learns the rest.
async fn now(backend: &ZooKeeperBackend, client: &Client, contenders: &[(Node, Mode)]) -> Option<Stat> {
    if !contenders.iter().any(|(node, _)| node.timed().is_some()) {
        return None;
    }
    lease::leaders_clock(backend, client).await.ok()
}

/// The time from a stamp of transaction `zxid` to the clock, if one leader made both.
fn age(zxid: i64, stamped_ms: i64, clock: Option<Stat>) -> Option<Duration> {
    let clock = clock.filter(|clock| expiry::epoch(clock.mzxid) == expiry::epoch(zxid))?;
    Some(Duration::from_millis(u64::try_from(clock.mtime.saturating_sub(stamped_ms)).unwrap_or(0)))
}

fn paths_of(directory: &str, queue: &Queue) -> Vec<String> {
    queue.entries().iter().map(|entry| format!("{directory}/{}", entry.name)).collect()
}

/// Those that were there when they were read, in the order of the queue.
fn with_modes(queue: &Queue, nodes: impl Iterator<Item = Option<Node>>) -> Vec<(Node, Mode)> {
    queue.entries().iter().zip(nodes).filter_map(|(entry, node)| Some((node?, entry.mode))).collect()
}

/// The key that a directory is of; a name that was cut does not tell, but its contenders do.
fn key_of(backend: &ZooKeeperBackend, directory: &str, contenders: &[(Node, Mode)]) -> Option<LockKey> {
    if backend.layout.keys_are_paths() {
        return LockKey::new(directory).ok();
    }
    let name = directory.rsplit('/').next().unwrap_or_default();
    LockKey::decode(name).or_else(|| {
        let told = contenders.iter().filter_map(|(node, _)| node.record.as_ref()?.key());
        told.into_iter().find(|key| key.encoded() == name)
    })
}

fn described(
    backend: &ZooKeeperBackend,
    key: LockKey,
    contenders: Vec<(Node, Mode)>,
    clock: Option<Stat>,
) -> LockStatus {
    let entries: Vec<Entry> =
        contenders.iter().map(|(node, mode)| Entry { name: node.name.clone(), mode: *mode }).collect();
    let holding = Queue::holding(&entries);
    let Some(&(_, mode)) = contenders.first() else { return LockStatus::free(key) };
    let mut status = LockStatus { state: LockState::Held(mode), ..LockStatus::free(key) };
    for (index, (node, mode)) in contenders.into_iter().enumerate() {
        if index < holding {
            status.holders.push(holder_entry(backend, &node, mode, clock));
        } else {
            status.waiters.push(WaiterEntry {
                id: node.id(),
                holder: node.holder(),
                since: node.stat.and_then(|stat| time_of_day(stat.ctime)),
                waited_for: node.stat.and_then(|stat| age(stat.czxid, stat.ctime, clock)),
                position: index - holding + 1,
                mode,
            });
        }
    }
    status.fence = status.holders.iter().filter_map(|holder| holder.fence).max();
    status
}

fn holder_entry(backend: &ZooKeeperBackend, node: &Node, mode: Mode, clock: Option<Stat>) -> HolderEntry {
    let passed = node.timed().and_then(|_| age(node.stat?.mzxid, node.stat?.mtime, clock));
    let left_of = |length: fn(&Record) -> Duration| Some(length(node.timed()?).saturating_sub(passed?));
    let phase = match (node.phase(), left_of(Record::ttl), left_of(Record::kept_for)) {
        (Phase::OneShot, Some(Duration::ZERO), Some(left)) if !left.is_zero() => Phase::LockDelay,
        (phase, ..) => phase,
    };
    HolderEntry {
        id: node.id(),
        holder: node.holder(),
        since: node.granted_ms().and_then(time_of_day),
        held_for: held_for(node, clock),
        ttl: node.record.as_ref().map(Record::ttl),
        remaining: left_of(Record::kept_for),
        phase,
        fence: (mode == Mode::Exclusive && phase != Phase::Foreign)
            .then(|| node.fence().and_then(|own| backend.fence(own)))
            .flatten(),
    }
}

/// A contender that had waited was granted under the leader of its last change; the others were when they came.
fn held_for(node: &Node, clock: Option<Stat>) -> Option<Duration> {
    let stat = node.stat?;
    age(stat.mzxid, node.granted_ms()?, clock)
        .filter(|_| node.fence().is_some_and(|fence| expiry::epoch(stat.mzxid) == expiry::epoch(fence.0.cast_signed())))
}
