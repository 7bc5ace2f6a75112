//! Redis and ZooKeeper together: held while both are, lost with either. What breaks it: a contender that asks them in
//! another order, and one that asks only one of them (which excludes those who ask both, but not those who ask the other).

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join;

use crate::lock::several::{Outcome, Wanted, acquire_all};
use crate::lock::{
    Acquired, BackendError, Claim, Finding, HolderEntry, KeyPattern, Lease, LockBackend, LockKey, LockState,
    LockStatus, Manner, OwnerToken, Parting, Progress, Prolonged, Release, Renewal, Revocation, Ttl,
};
use crate::sys::boottime::BootInstant;

/// A renewal that comes this much of its pace too early is not too early: the other lease has set the pace.
const NEARLY_DUE: f64 = 0.9;

/// Redis first: it refuses fast and has the holder's data. ZooKeeper decides.
pub(super) struct Both {
    redis: Box<dyn LockBackend>,
    zookeeper: Box<dyn LockBackend>,
    fences: Fences,
    claims: RefCell<HashMap<(LockKey, OwnerToken), Rc<Claimed>>>,
}

/// Whose fencing tokens count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fences {
    /// Those who lock on Redis alone know no others.
    OfRedis,
    /// Nobody locks on Redis alone any more, and some lock in ZooKeeper alone: the higher of the two, which Redis is told.
    AboveZooKeepers,
}

/// What has become of a claim of ours.
#[derive(Default)]
struct Claimed {
    /// How many of the two may have heard of it.
    begun: Cell<usize>,
    leases: OnceCell<[Kept; 2]>,
    /// Which of the two have let it go.
    released: [Cell<bool>; 2],
}

/// One of the two leases.
struct Kept {
    lease: Lease,
    valid_until: Cell<Option<BootInstant>>,
    confirmed_at: Cell<BootInstant>,
    /// Somebody else has touched it since.
    touched: Cell<bool>,
}

impl Kept {
    fn new(lease: Lease) -> Self {
        let (valid_until, confirmed_at) = (Cell::new(lease.valid_until), Cell::new(lease.requested_at));
        Self { lease, valid_until, confirmed_at, touched: Cell::new(false) }
    }

    fn is_due(&self) -> bool {
        let pace = self.lease.renew_every.unwrap_or_default();
        self.touched.get() || BootInstant::now().since(self.confirmed_at.get()) >= pace.mul_f64(NEARLY_DUE)
    }

    /// Renews it, unless that has been done lately.
    async fn renew(&self, backend: &dyn LockBackend) -> Result<Kind, BackendError> {
        if !self.is_due() {
            return Ok(Kind::Ours);
        }
        let asked_at = BootInstant::now();
        let (kind, valid_until) = match backend.renew(&self.lease).await? {
            Renewal::Renewed { valid_until } => (Kind::Ours, valid_until),
            Renewal::Revoked { valid_until } => (Kind::Revoked, valid_until),
            Renewal::Lost => return Ok(Kind::Lost),
        };
        self.valid_until.set(Some(valid_until));
        self.confirmed_at.set(asked_at);
        self.touched.set(false);
        Ok(kind)
    }

    /// Completes when somebody else has touched it, so that the next renewal asks in any case.
    async fn touched(&self, backend: &dyn LockBackend) {
        backend.touched(&self.lease).await;
        self.touched.set(true);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Ours,
    Revoked,
    Lost,
}

impl Both {
    pub(super) fn new(redis: Box<dyn LockBackend>, zookeeper: Box<dyn LockBackend>, fences: Fences) -> Self {
        Self { redis, zookeeper, fences, claims: RefCell::default() }
    }

    fn claimed(&self, key: &LockKey, token: &OwnerToken) -> Rc<Claimed> {
        let mut claims = self.claims.borrow_mut();
        Rc::clone(claims.entry((key.clone(), token.clone())).or_default())
    }

    /// Lets go of what may be held of it: of what was never asked for there is nothing.
    async fn let_go(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        begun: usize,
        parting: Parting,
    ) -> Result<Release, BackendError> {
        let claimed = self.claimed(key, token);
        let one = async |index: usize, backend: &dyn LockBackend| {
            if claimed.released[index].get() {
                return Ok(Release::Released);
            }
            if index >= begun {
                return Ok(Release::NotHeld);
            }
            let released = backend.part(key, token, parting).await;
            claimed.released[index].set(released == Ok(Release::Released));
            released
        };
        let (redis, zookeeper) = join(one(0, &*self.redis), one(1, &*self.zookeeper)).await;
        Ok(match (redis?, zookeeper?) {
            (Release::Released, Release::Released) => Release::Released,
            // Half a lock is none.
            _ => Release::NotHeld,
        })
    }
}

#[async_trait(?Send)]
impl LockBackend for Both {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        let wanted =
            [&*self.redis, &*self.zookeeper].map(|backend| Wanted { backend, claim: claim.clone(), most_ahead: None });
        let claimed = self.claimed(&claim.key, &claim.token);
        let tell = |_: &LockKey, news| progress(news);
        match acquire_all(&wanted, &claimed.begun, &tell).await.map_err(|(_, error)| error)? {
            Outcome::Granted(holding) => {
                let leases = holding.leases();
                let [mut redis, zookeeper] =
                    <[Lease; 2]>::try_from(leases).expect("two were wanted, and all or none are granted");
                if self.fences == Fences::AboveZooKeepers
                    && let Some(fence) = zookeeper.fence.filter(|fence| Some(*fence) > redis.fence)
                {
                    if self.redis.raise_fence(&redis, fence).await? == Renewal::Lost {
                        return Ok(Acquired::Lost);
                    }
                    redis.fence = Some(fence);
                }
                let lease = together(&redis, &zookeeper);
                claimed.leases.set([Kept::new(redis), Kept::new(zookeeper)]).ok();
                Ok(Acquired::Granted(lease))
            }
            Outcome::Held(_, contention) => {
                // What refused has forgotten us by itself.
                self.let_go(&claim.key, &claim.token, claimed.begun.get() - 1, Parting::Unused).await?;
                Ok(Acquired::Held(contention))
            }
            Outcome::Lost(_) | Outcome::Crowded(..) => Ok(Acquired::Lost),
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError> {
        let claimed = self.claimed(&lease.key, &lease.token);
        let Some([redis, zookeeper]) = claimed.leases.get() else { return Ok(Renewal::Lost) };
        let (one, other) = join(redis.renew(&*self.redis), zookeeper.renew(&*self.zookeeper)).await;
        if matches!(one, Ok(Kind::Lost)) || matches!(other, Ok(Kind::Lost)) {
            return Ok(Renewal::Lost);
        }
        let kind = one?.max(other?);
        let earliest = [redis, zookeeper].into_iter().filter_map(|kept| kept.valid_until.get()).min();
        let Some(valid_until) = earliest else { return Ok(Renewal::Lost) };
        Ok(match kind {
            Kind::Ours => Renewal::Renewed { valid_until },
            Kind::Revoked => Renewal::Revoked { valid_until },
            Kind::Lost => Renewal::Lost,
        })
    }

    async fn touched(&self, lease: &Lease) {
        let claimed = self.claimed(&lease.key, &lease.token);
        match claimed.leases.get() {
            Some([redis, zookeeper]) => {
                tokio::select! {
                    () = redis.touched(&*self.redis) => {}
                    () = zookeeper.touched(&*self.zookeeper) => {}
                }
            }
            None => std::future::pending().await,
        }
    }

    fn settle(&self) {
        self.redis.settle();
        self.zookeeper.settle();
    }

    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        let (one, other) = join(self.redis.prolong(key, token, ttl), self.zookeeper.prolong(key, token, ttl)).await;
        Ok(match (one?, other?) {
            (Prolonged::NotHeld, _) | (_, Prolonged::NotHeld) => Prolonged::NotHeld,
            (Prolonged::HeldByRun, _) | (_, Prolonged::HeldByRun) => Prolonged::HeldByRun,
            (Prolonged::Set { ttl, expires_at }, Prolonged::Set { ttl: other, expires_at: other_end }) => {
                Prolonged::Set { ttl: ttl.min(other), expires_at: expires_at.into_iter().chain(other_end).min() }
            }
        })
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        self.part(key, token, Parting::Unused).await
    }

    async fn part(&self, key: &LockKey, token: &OwnerToken, parting: Parting) -> Result<Release, BackendError> {
        let begun = self.claims.borrow().get(&(key.clone(), token.clone())).map(|claimed| claimed.begun.get());
        // Of another process' making: both.
        self.let_go(key, token, begun.unwrap_or(2), parting).await
    }

    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError> {
        // The token is Redis', and so is its fence.
        let there = HolderEntry { fence: None, ..shown.clone() };
        let (redis, zookeeper) =
            join(self.redis.revoke(key, shown, manner), self.zookeeper.revoke(key, &there, manner)).await;
        // Half a lock may be all that is left of it: of two answers the one that did more.
        Ok(redis?.max(zookeeper?))
    }

    async fn forget(&self, key: &LockKey) -> Result<(), BackendError> {
        let (redis, zookeeper) = join(self.redis.forget(key), self.zookeeper.forget(key)).await;
        redis.and(zookeeper)
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        let (redis, zookeeper) = join(self.redis.status(key), self.zookeeper.status(key)).await;
        Ok(merged(redis?, zookeeper?))
    }

    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        let (redis, zookeeper) = join(self.redis.list(pattern), self.zookeeper.list(pattern)).await;
        let mut keys: BTreeMap<LockKey, [Option<LockStatus>; 2]> = BTreeMap::new();
        for (index, list) in [redis?, zookeeper?].into_iter().enumerate() {
            for status in list {
                let both = keys.entry(status.key.clone()).or_default();
                both[index] = Some(status);
            }
        }
        let merged = keys.into_iter().map(|(key, [redis, zookeeper])| {
            let free = || LockStatus::free(key.clone());
            merged(redis.unwrap_or_else(free), zookeeper.unwrap_or_else(free))
        });
        Ok(merged.collect())
    }

    async fn examine(&self, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        // One after the other: neither is to slow the other's round trips down.
        let mut findings = self.redis.examine(ttl).await?;
        findings.extend(self.zookeeper.examine(ttl).await?);
        Ok(findings)
    }

    async fn close(&self) {
        join(self.redis.close(), self.zookeeper.close()).await;
    }
}

/// The two leases as one: over with the first, and with the fencing token that Redis keeps.
fn together(redis: &Lease, zookeeper: &Lease) -> Lease {
    fn first<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
        one.into_iter().chain(other).min()
    }
    Lease {
        key: redis.key.clone(),
        token: redis.token.clone(),
        ttl: redis.ttl.min(zookeeper.ttl),
        fence: redis.fence,
        requested_at: redis.requested_at.min(zookeeper.requested_at),
        valid_until: first(redis.valid_until, zookeeper.valid_until),
        renew_every: first(redis.renew_every, zookeeper.renew_every),
        expires_at: first(redis.expires_at, zookeeper.expires_at),
    }
}

/// What the two say of one key: whoever holds one of them keeps everybody else out.
fn merged(redis: LockStatus, zookeeper: LockStatus) -> LockStatus {
    let mut merged = LockStatus::free(redis.key.clone());
    merged.state = if redis.state == LockState::Free { zookeeper.state } else { redis.state };
    let knows = |status: &LockStatus, id: &str| {
        status.holders.iter().any(|holder| holder.id == id) || status.waiters.iter().any(|waiter| waiter.id == id)
    };
    for (status, other, name) in [(&redis, &zookeeper, "Redis"), (&zookeeper, &redis, "ZooKeeper")] {
        for holder in status.holders.iter().filter(|holder| !knows(other, &holder.id)) {
            merged.differences.push(format!("{} holds it on {name} alone", holder.id));
        }
    }
    // Who has Redis and waits for ZooKeeper does not hold the lock.
    let waits = |holder: &HolderEntry| zookeeper.waiters.iter().any(|waiter| waiter.id == holder.id);
    for holder in redis.holders.into_iter().filter(|holder| !waits(holder)) {
        let there = zookeeper.holders.iter().find(|there| there.id == holder.id);
        merged.holders.push(HolderEntry {
            ttl: holder.ttl.into_iter().chain(there.and_then(|there| there.ttl)).min(),
            remaining: holder.remaining.into_iter().chain(there.and_then(|there| there.remaining)).min(),
            ..holder
        });
    }
    for holder in zookeeper.holders {
        if !merged.holders.iter().any(|known| known.id == holder.id) {
            merged.holders.push(holder);
        }
    }
    // Who waits there comes before who still waits for Redis.
    for waiter in zookeeper.waiters.into_iter().chain(redis.waiters) {
        let is_known = merged.holders.iter().any(|holder| holder.id == waiter.id)
            || merged.waiters.iter().any(|known| known.id == waiter.id);
        if !is_known {
            merged.waiters.push(waiter);
        }
    }
    for (index, waiter) in merged.waiters.iter_mut().enumerate() {
        waiter.position = index + 1;
    }
    merged.fence = redis.fence;
    merged.differences.extend(redis.differences.into_iter().chain(zookeeper.differences));
    merged
}
