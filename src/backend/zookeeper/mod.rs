//! Locks in ZooKeeper. What breaks it: a session that expires unnoticed (the deadline is ours, from committed writes
//! alone), a lost reply to a create (found again by its GUID, or undone by closing the session), and a directory
//! shared with another family of recipes (refused).

mod access;
mod census;
mod contact;
mod contender;
mod endpoint;
mod entry;
mod examination;
pub mod expiry;
mod failure;
mod family;
mod forgetting;
mod heartbeat;
mod lease;
mod node;
mod opening;
mod path;
mod place;
mod proofs;
pub mod queue;
mod reading;
mod revoking;
mod roster;
mod session;
mod tombstone;
mod tunnel;
mod watching;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;
use zookeeper_client::Stat;

pub use access::{Access, AclPolicy, Credentials, InvalidCredentials};
pub use endpoint::{ConnectString, InvalidConnectString, Server, Transport};
pub use family::Family;

use crate::lock::{
    Acquired, BackendError, Claim, FIRST_CONTACT, FencingToken, Finding, HolderEntry, KeyPattern, Lease, LockBackend,
    LockKey, LockStatus, Manner, Namespace, OwnerToken, Parting, Progress, Prolonged, Release, Renewal, Revocation,
    Ttl,
};
use crate::sys::boottime::BootInstant;
use access::Approach;
use heartbeat::Pulse;
use path::Layout;
use place::{Place, Removal};
use session::{Session, Terms};

/// The session timeout where no lease depends on it: long enough for an election, short enough to be forgotten soon
/// when this process is killed.
const ASIDE: Terms = Terms { ttl: Ttl::Default(Duration::from_secs(10)), lock_delay: Duration::ZERO };

/// Where to lock.
#[derive(Debug, Clone)]
pub struct Config {
    pub servers: ConnectString,
    pub namespace: Namespace,
    pub access: Access,
    pub family: Family,
    /// Added to every fencing token.
    pub fence_floor: u64,
}

/// The locks of one namespace of one ensemble.
pub struct ZooKeeperBackend {
    ensemble: ConnectString,
    approach: Approach,
    layout: Layout,
    family: Family,
    fence_floor: u64,
    /// Each with the terms that were asked for: keys that are held together share a session, and its heartbeats.
    sessions: RefCell<Vec<(Terms, Rc<Session>)>>,
    /// What this backend has begun and not yet undone; `None` while nothing that could stay has been sent.
    places: RefCell<HashMap<Contender, Option<Rc<Place>>>>,
    /// Other users' leases of another leader's time, by path.
    seen: RefCell<HashMap<String, FirstSight>>,
    /// The servers know no reads of many nodes in one request.
    reads_singly: Cell<bool>,
}

/// When a node, as it was then, was seen for the first time under one leader.
#[derive(Debug, Clone, Copy)]
struct FirstSight {
    mzxid: i64,
    clock: Stat,
}

type Contender = (LockKey, OwnerToken);

impl ZooKeeperBackend {
    /// Sends nothing; the first request connects.
    ///
    /// # Errors
    /// When the namespace cannot be one of ours.
    pub fn open(config: &Config) -> Result<Self, BackendError> {
        Ok(Self {
            ensemble: config.servers.clone(),
            approach: Approach::new(&config.access),
            layout: Layout::new(&config.namespace)?,
            family: config.family,
            fence_floor: config.fence_floor,
            sessions: RefCell::default(),
            places: RefCell::default(),
            seen: RefCell::default(),
            reads_singly: Cell::new(false),
        })
    }

    /// A live session on these terms; it is opened, at `until` at the latest, when there is none.
    async fn session(&self, terms: Terms, until: BootInstant) -> Result<Rc<Session>, BackendError> {
        self.sessions.borrow_mut().retain(|(_, open)| !open.is_over());
        let alive = self.sessions.borrow().iter().find(|(asked, _)| *asked == terms).cloned();
        if let Some((_, session)) = alive {
            return Ok(session);
        }
        let session = Rc::new(Session::open(&self.ensemble, &self.approach, terms, until).await?);
        self.sessions.borrow_mut().push((terms, Rc::clone(&session)));
        Ok(session)
    }

    /// Any session that answers: for requests that no lease depends on.
    async fn any_session(&self) -> Result<Rc<Session>, BackendError> {
        let connected = self.sessions.borrow().iter().find(|(_, open)| open.is_connected()).cloned();
        match connected {
            Some((_, session)) => Ok(session),
            None => self.session(ASIDE, BootInstant::now() + FIRST_CONTACT).await,
        }
    }

    /// Bounds a conversation that nobody else bounds.
    async fn in_time<T>(
        &self,
        verb: &str,
        conversation: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        timeout(FIRST_CONTACT, conversation).await.unwrap_or_else(|_| Err(failure::no_answer(&self.ensemble, verb)))
    }

    /// What others may do with what we create.
    fn acl(&self) -> AclPolicy {
        self.approach.access.acl
    }

    /// The fencing token that a node's own number makes; `None`: it is beyond what those who check it can keep.
    fn fence(&self, czxid: FencingToken) -> Option<FencingToken> {
        czxid.0.checked_add(self.fence_floor).filter(|sum| i64::try_from(*sum).is_ok()).map(FencingToken)
    }

    /// The same for an exclusive grant to the node of this number.
    fn granted_fence(&self, czxid: i64) -> Result<FencingToken, BackendError> {
        self.fence(FencingToken(czxid.cast_unsigned())).ok_or_else(|| {
            BackendError::misconfigured(format!(
                "the fencing token {czxid} and --fence-floor {} make more than 63 bits; give a lower floor",
                self.fence_floor
            ))
        })
    }

    /// When the node at `path`, as of `mzxid`, was first seen by the clock of the leader of now.
    fn first_sight(&self, path: &str, mzxid: i64, clock: &Stat) -> i64 {
        let now = FirstSight { mzxid, clock: *clock };
        let mut seen = self.seen.borrow_mut();
        let first = seen.entry(path.to_owned()).or_insert(now);
        if first.mzxid != mzxid || expiry::epoch(first.clock.mzxid) != expiry::epoch(clock.mzxid) {
            *first = now;
        }
        first.clock.mtime
    }

    fn place(&self, key: &LockKey, token: &OwnerToken) -> Option<Option<Rc<Place>>> {
        self.places.borrow().get(&(key.clone(), token.clone())).cloned()
    }

    fn remember(&self, key: &LockKey, token: &OwnerToken, place: Option<Rc<Place>>) {
        self.places.borrow_mut().insert((key.clone(), token.clone()), place);
    }

    fn forget_place(&self, key: &LockKey, token: &OwnerToken) {
        self.places.borrow_mut().remove(&(key.clone(), token.clone()));
    }

    /// Whether something hangs on this session that is not about to go.
    fn is_in_use(&self, session: &Rc<Session>) -> bool {
        let places = self.places.borrow();
        places.values().flatten().any(|place| Rc::ptr_eq(place.session(), session) && !place.is_leaving())
    }

    /// Whether another key hangs on this session too.
    fn is_shared(&self, session: &Rc<Session>) -> bool {
        let places = self.places.borrow();
        places.values().flatten().filter(|place| Rc::ptr_eq(place.session(), session)).count() > 1
    }
}

#[async_trait(?Send)]
impl LockBackend for ZooKeeperBackend {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        contender::acquire(self, claim, progress).await
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError> {
        let Some(Some(place)) = self.place(&lease.key, &lease.token) else { return Ok(Renewal::Lost) };
        if place.outlives_its_session() {
            let sent = BootInstant::now();
            return Ok(match self.prolong(&lease.key, &lease.token, Some(lease.ttl)).await? {
                Prolonged::Set { ttl, .. } => Renewal::Renewed { valid_until: lease::valid_until(sent, ttl) },
                Prolonged::HeldByRun | Prolonged::NotHeld => Renewal::Lost,
            });
        }
        let Some(path) = place.path() else { return Ok(Renewal::Lost) };
        // Both requests are on their way before the first answer. Not earlier than with the first heartbeat: most
        // locks are held for less, and need no watch.
        let (answer, ()) = tokio::join!(place.session().beat(&path), place.be_watched(&path));
        match answer {
            Ok(Pulse::There(sent)) => {
                place.session().has_heard(&path, sent);
                let valid_until = place.session().valid_until();
                Ok(if place.is_asked_back() {
                    Renewal::Revoked { valid_until }
                } else {
                    Renewal::Renewed { valid_until }
                })
            }
            Ok(Pulse::Gone) => Ok(Renewal::Lost),
            Err(error) => Err(failure::explained(&self.ensemble, "renew the lease", &error)),
        }
    }

    async fn touched(&self, lease: &Lease) {
        match self.place(&lease.key, &lease.token) {
            Some(Some(place)) => place.touched().await,
            _ => std::future::pending().await,
        }
    }

    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        self.in_time("renew the lease", lease::prolong(self, key, token, ttl)).await
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        self.part(key, token, Parting::Unused).await
    }

    async fn part(&self, key: &LockKey, token: &OwnerToken, parting: Parting) -> Result<Release, BackendError> {
        let place = match self.place(key, token) {
            // Not of this backend's making.
            None => return self.in_time("release", place::release_by_token(self, key, token)).await,
            // Nothing was ever sent that could stay behind; above all, an unreachable server is not sought again.
            Some(None) => {
                self.forget_place(key, token);
                return Ok(Release::NotHeld);
            }
            Some(Some(place)) => place,
        };
        if place.session().was_let_go() {
            // An earlier try has not heard what became of it.
            let released = self.in_time("release", place::release_by_token(self, key, token)).await?;
            self.forget_place(key, token);
            return Ok(released);
        }
        place.leaves();
        let removal = self.in_time("release", tombstone::part(self, &place, token, parting)).await;
        match removal {
            Ok(Removal::Removed) if place.was_granted() => {
                self.forget_place(key, token);
                return Ok(Release::Released);
            }
            // That a session is over which was let go is no sign that the lock was not ours; and a tombstone is looked for by
            // the next try.
            Err(error)
                if !place.session().is_over() || place.session().was_let_go() || place.left_by(parting).is_some() =>
            {
                return Err(error);
            }
            _ => {}
        }
        // It never held, or its session has taken it along; only what no longer hung on a session may be left.
        if place.may_outlive_its_session() {
            let released = self.in_time("release", place::release_by_token(self, key, token)).await?;
            self.forget_place(key, token);
            return Ok(released);
        }
        self.forget_place(key, token);
        Ok(Release::NotHeld)
    }

    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError> {
        self.in_time("take the lock back", revoking::revoke(self, key, shown, manner)).await
    }

    async fn forget(&self, key: &LockKey) -> Result<(), BackendError> {
        self.in_time("remove a key's node", forgetting::forget(self, key)).await
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        self.in_time("report the status", census::status(self, key)).await
    }

    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        census::list(self, pattern).await
    }

    async fn examine(&self, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        examination::examine(self, ttl).await
    }

    async fn close(&self) {
        let sessions = self.sessions.take();
        for (_, session) in sessions {
            session.close().await;
        }
        timeout(session::CLOSING, self.approach.left_alone()).await.ok();
        self.places.borrow_mut().clear();
    }
}
