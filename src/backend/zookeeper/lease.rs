//! Leases that outlive their session: an ephemeral converted in place, and judged by one leader's clock.

use std::time::Duration;

use zookeeper_client::{Client, CreateMode, Error, MultiWriteError, Stat};

use super::contender::{Contest, Trouble, Turn};
use super::entry::{self, Crowd};
use super::expiry::{self, Judgement, Stamp, age_at_birth};
use super::heartbeat::Existence;
use super::node::{Node, Record, time_of_day};
use super::place::{self, Found, Place};
use super::watching::Watches;
use super::{AclPolicy, ZooKeeperBackend, failure};
use crate::lock::{BackendError, Lease, LockKey, Mode, OwnerToken, Prolonged, validity};
use crate::sys::boottime::BootInstant;

/// A longer lease is first granted so much, and raised once the reply has come: a grant that nobody learnt of ends soon.
const FIRST_GRANT: Duration = Duration::from_secs(10);

/// Added to twice the lease: the server looks for old TTL nodes once a minute, and late.
const BACKSTOP: Duration = Duration::from_secs(120);

/// The longest TTL of a node: 40 bits of milliseconds.
const LONGEST_NODE_TTL: Duration = Duration::from_millis(0xff_ffff_ffff);

/// The server stamps whole milliseconds, and a lease has ended only when more than it has passed.
const RESOLUTION: Duration = Duration::from_millis(2);

/// What contenders ahead mean to one that would like to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Somebody went, or was removed.
    Changed,
    /// The first of their leases ends at this instant, if nobody renews it.
    At(BootInstant),
    /// None of them ends by time alone, as far as it is for us to see to.
    Never,
}

impl Expiry {
    /// What comes first.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Changed, _) | (_, Self::Changed) => Self::Changed,
            (Self::At(one), Self::At(other)) => Self::At(one.min(other)),
            (Self::Never, other) => other,
            (one, Self::Never) => one,
        }
    }
}

/// Until when a lease by the leader's clock can be believed.
pub(super) fn valid_until(sent: BootInstant, ttl: Duration) -> BootInstant {
    sent + validity::of_server_lease(ttl)
}

/// Our turn has come: makes the place permanent for as long as the lease lasts.
pub(super) async fn take(contest: &Contest<'_>, client: &Client, place: &Place) -> Result<Turn, Trouble> {
    let (Some(path), Some(won)) = (place.path(), place.stat()) else { return Ok(Turn::Gone) };
    let ttl = contest.claim.ttl.duration();
    let fence = match contest.claim.mode {
        Mode::Exclusive => Some(contest.backend.granted_fence(won.czxid)?),
        Mode::Shared | Mode::Slots(_) => None,
    };
    let record = contest.record(place).one_shot(&won, ttl.min(FIRST_GRANT), ttl);
    let mut requested_at = BootInstant::now();
    let stored =
        match replace(client, contest.backend.acl(), &path, None, &record, ttl + contest.claim.retention.lock_delay)
            .await
        {
            Ok(stored) => stored,
            Err(Error::NoNode) => return Ok(Turn::Gone),
            Err(error) if failure::leaves_the_outcome_open(&error) => {
                // The name is known: look. The request waits for the connection.
                let (data, stat) = match client.get_data(&path).await {
                    Ok(there) => there,
                    Err(Error::NoNode) => return Ok(Turn::Gone),
                    Err(error) => return Err(error.into()),
                };
                let node = Node::new("", data, stat);
                match node.timed().filter(|stored| stored.is_owned_by(&contest.claim.token)) {
                    Some(stored) => stored.clone(),
                    None => return Ok(Turn::Again),
                }
            }
            Err(error) => return Err(error.into()),
        };
    place.made_persistent();
    let stamped = if ttl > FIRST_GRANT {
        requested_at = BootInstant::now();
        client.set_data(&path, &stored.with_ttl(ttl).to_bytes(), None).await
    } else {
        // The reply to a create inside a multi has no stamps before 3.8.2.
        client.check_stat(&path).await.and_then(|stat| stat.ok_or(Error::NoNode))
    };
    let stat = match stamped {
        Ok(stat) => stat,
        Err(Error::NoNode) => return Ok(Turn::Gone),
        Err(error) => return Err(error.into()),
    };
    Ok(Turn::Granted(Lease {
        key: contest.claim.key.clone(),
        token: contest.claim.token.clone(),
        ttl,
        fence,
        requested_at,
        valid_until: Some(valid_until(requested_at, ttl)),
        renew_every: Some(ttl / 3),
        expires_at: end_of(&stat, ttl),
    }))
}

/// Removes the leases in the way that have ended, as far as nobody nearer to them sees to it.
pub(super) async fn expire(
    backend: &ZooKeeperBackend,
    client: &Client,
    directory: &str,
    crowd: &Crowd<'_>,
    watches: &mut Watches,
) -> Result<Expiry, Trouble> {
    let mut expiry = Expiry::Never;
    let &[nearest] = &crowd.must_go[..] else {
        // Any of several may make room, by time too; nobody else waits for just these.
        let names: Vec<&str> = crowd.in_the_way().into_iter().filter(|name| !watches.is_without_lease(name)).collect();
        let nodes = place::read(client, directory, &names).await?;
        if nodes.len() < names.len() {
            return Ok(Expiry::Changed);
        }
        for node in nodes {
            if node.timed().is_none() {
                watches.found_without_lease(&node.name);
                continue;
            }
            expiry = expiry.or(judge(backend, client, directory, &node).await?);
            if expiry == Expiry::Changed {
                break;
            }
        }
        return Ok(expiry);
    };
    let mut behind_a_stranger = false;
    for (index, entry) in crowd.ahead[..=nearest].iter().enumerate().rev() {
        let Some(node) = place::read(client, directory, &[&entry.name]).await?.pop() else {
            return Ok(Expiry::Changed);
        };
        if node.timed().is_some() {
            expiry = expiry.or(judge(backend, client, directory, &node).await?);
            if expiry == Expiry::Changed {
                break;
            }
        } else if node.record.is_some() {
            // Whoever stands between would not notice that it becomes a lease, which takes another node of its name.
            if behind_a_stranger && !watches.is_on(&entry.name) {
                let existence = watches.also_on(client, directory, &entry.name).await?;
                let now = place::read(client, directory, &[&entry.name]).await?.pop();
                if existence == Existence::Gone || now.is_none_or(|now| now.timed().is_some()) {
                    return Ok(Expiry::Changed);
                }
            }
            if index == nearest || index >= crowd.holders {
                // It lives, and is looked past when it goes; if it waits, it sees to those ahead of itself meanwhile.
                break;
            }
        } else {
            // It is not ours and knows nothing of leases.
            behind_a_stranger = true;
        }
    }
    Ok(expiry)
}

/// When the lease of a node ends; one that has ended is removed.
async fn judge(backend: &ZooKeeperBackend, client: &Client, directory: &str, node: &Node) -> Result<Expiry, Trouble> {
    let (Some(record), Some(stat)) = (node.timed(), node.stat) else { return Ok(Expiry::Never) };
    let path = format!("{directory}/{}", node.name);
    let asked_at = BootInstant::now();
    let clock = leaders_clock(backend, client).await?;
    let kept_for = record.kept_for();
    let judgement = match expiry::judge(Stamp::of(&stat), Stamp::of(&clock), kept_for) {
        // The lease starts anew under this leader.
        Judgement::Anew => match client.set_data(&path, &node.data, node.version()).await {
            Ok(_) => return Ok(Expiry::At(asked_at + kept_for + RESOLUTION)),
            Err(Error::NoNode | Error::BadVersion) => return Ok(Expiry::Changed),
            // Another user's, who alone may write to it: it starts anew for us, who have to remember that.
            Err(Error::NoAuth) => expiry::since(backend.first_sight(&path, stat.mzxid, &clock), clock.mtime, kept_for),
            Err(error) => return Err(error.into()),
        },
        judged => judged,
    };
    if let Judgement::EndsIn(left) = judgement {
        return Ok(Expiry::At(asked_at + left + RESOLUTION));
    }
    // Under the version that was judged: a renewal in between wins.
    match client.delete(&path, node.version()).await {
        Ok(()) | Err(Error::NoNode | Error::BadVersion) => Ok(Expiry::Changed),
        Err(error) => Err(error.into()),
    }
}

/// The stamps of a write that does nothing else.
pub(super) async fn leaders_clock(backend: &ZooKeeperBackend, client: &Client) -> Result<Stat, Trouble> {
    let path = backend.layout.clock();
    loop {
        match client.set_data(&path, b"", None).await {
            Ok(stat) => return Ok(stat),
            Err(Error::NoNode) => {}
            Err(error) => return Err(error.into()),
        }
        match client.create(&path, b"", &CreateMode::Persistent.with_acls(backend.acl().of_common_ground())).await {
            Ok((stat, _)) => return Ok(stat),
            Err(Error::NodeExists) => {}
            Err(Error::NoNode) if backend.layout.top().is_empty() => {
                return Err(failure::no_chroot(&backend.ensemble).into());
            }
            Err(Error::NoNode) => entry::make_directory(backend, client, &backend.layout.top()).await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sets a one-shot lease to `ttl` from now.
///
/// # Errors
/// When the outcome is unknown.
pub(super) async fn prolong(
    backend: &ZooKeeperBackend,
    key: &LockKey,
    token: &OwnerToken,
    ttl: Option<Duration>,
) -> Result<Prolonged, BackendError> {
    let explained = |error: Error| failure::explained(&backend.ensemble, "renew the lease", &error);
    let directory = backend.layout.directory(key)?;
    let client = backend.any_session().await?.client()?;
    loop {
        let Some(Found { node, holds }) =
            place::find(&client, backend.family, &directory, token).await.map_err(explained)?
        else {
            return Ok(Prolonged::NotHeld);
        };
        let Some(record) = node.timed() else {
            return Ok(if holds { Prolonged::HeldByRun } else { Prolonged::NotHeld });
        };
        let ttl = ttl.unwrap_or_else(|| record.asked());
        let renewed = record.with_ttl(ttl);
        let path = format!("{directory}/{}", node.name);
        let kept_for = renewed.kept_for();
        let stamped = if record.node_ttl().is_some_and(|node_ttl| outgrows(node_ttl, kept_for)) {
            match replace(&client, backend.acl(), &path, node.version(), &renewed, kept_for).await {
                Ok(_) => client.check_stat(&path).await.and_then(|stat| stat.ok_or(Error::NoNode)),
                Err(error) => Err(error),
            }
        } else {
            client.set_data(&path, &renewed.to_bytes(), node.version()).await
        };
        match stamped {
            Ok(stat) => return Ok(Prolonged::Set { ttl, expires_at: end_of(&stat, ttl) }),
            // It has changed since it was read.
            Err(Error::BadVersion | Error::NoNode) => {}
            Err(error) => return Err(explained(error)),
        }
    }
}

/// Whether a node that the server keeps for `kept_for` would go before a lease of `ttl` has had its backstop.
fn outgrows(kept_for: Duration, ttl: Duration) -> bool {
    ttl > kept_for.saturating_sub(BACKSTOP) / 2 && kept_for < LONGEST_NODE_TTL
}

/// In one step: deletes the node and creates the same name, persistent, so that the place in the queue stays taken.
/// Returns what was stored.
pub(super) async fn replace(
    client: &Client,
    acl: AclPolicy,
    path: &str,
    version: Option<i32>,
    record: &Record,
    ttl: Duration,
) -> Result<Record, Error> {
    let swap = |node_ttl: Option<Duration>| {
        let persistent = CreateMode::Persistent.with_acls(acl.of_contenders());
        let options = if let Some(ttl) = node_ttl { persistent.with_ttl(ttl) } else { persistent };
        let stored = record.in_node_of(node_ttl);
        let mut swap = client.new_multi_writer();
        swap.add_delete(path, version)?;
        swap.add_create(path, &stored.to_bytes(), &options)?;
        for left in (0..age_at_birth(version)).rev() {
            let data = if left == 0 { stored.to_bytes() } else { Vec::new() };
            swap.add_set_data(path, &data, None)?;
        }
        Ok::<_, Error>((swap.commit(), stored))
    };
    let (swapped, stored) = swap(Some((ttl * 2 + BACKSTOP).min(LONGEST_NODE_TTL)))?;
    match swapped.await {
        Ok(_) => return Ok(stored),
        // A server without extended types; nothing of the multi was done.
        Err(MultiWriteError::OperationFailed { source: Error::Unimplemented, .. }) => {}
        Err(error) => return Err(failure::of_multi(error)),
    }
    let (swapped, stored) = swap(None)?;
    swapped.await.map(|_| stored).map_err(failure::of_multi)
}

fn end_of(stat: &Stat, ttl: Duration) -> Option<std::time::SystemTime> {
    time_of_day(stat.mtime)?.checked_add(ttl)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_replaced_when_a_lease_would_outgrow_its_backstop() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert!(!outgrows(minutes(4), minutes(1)));
        assert!(outgrows(minutes(4), minutes(1) + Duration::from_millis(1)));
        assert!(!outgrows(LONGEST_NODE_TTL, minutes(60 * 24 * 366 * 40)), "it cannot live longer");
    }
}
