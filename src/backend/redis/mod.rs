//! Locks on one Redis server. What breaks it: a server that forgets (restart without persistence, eviction, flush,
//! fail-over, a stepped clock), which is why its answers are worth no more than their lease, and a request that is carried
//! out after its undoing.

mod contender;
mod dial;
mod ear;
mod endpoint;
mod examination;
mod failure;
mod granting;
mod layout;
pub mod masters;
mod names;
mod node;
mod parting;
pub mod quorum;
mod raising;
mod reading;
mod reply;
mod revoking;
pub mod script;
mod stream;
mod together;
mod topology;
mod value;
mod waiting;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;

pub use endpoint::{Address, Endpoint, InvalidUrl, Secret, Transport};
pub use layout::{Layout, LayoutBackend};
pub use topology::{ClusterUrl, Service, Topology};

use self::contender::Contender;
use self::ear::Ear;
use self::failure::Failure;
use self::names::Names;
use self::reply::{Answer, Held, Renewed, Set};
use self::script::{ACQUIRE, ACQUIRE_BESIDE_OTHERS, ACQUIRE_FREE, PROLONG, WAIT, deletion, eval, millis};
use self::topology::Route;
use self::value::LockValue;
use self::waiting::{Waiting, contention, place};
use crate::backend::tls::Tls;
use crate::lock::pace::Pace;
use crate::lock::validity::of_server_lease;
use crate::lock::{
    Acquired, BackendError, Claim, FIRST_CONTACT, FencingToken, Finding, HolderEntry, KeyPattern, Lease, LeaseKind,
    LockBackend, LockKey, LockStatus, Manner, Mode, Namespace, OwnerToken, Parting, Patience, Progress, Prolonged,
    Release, Renewal, Revocation, Together, Ttl,
};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::seeded::seeded;

/// What a one-shot is granted until its grant has been learnt of: a lease that nobody knows of ends this soon.
const UNCONFIRMED_ONE_SHOT: Duration = Duration::from_secs(10);

/// Renewals per lease: two may fail before the third would be too late.
const RENEWALS_PER_LEASE: u32 = 3;

/// Which server or servers, and which part of them.
#[derive(Debug, Clone)]
pub struct Config {
    pub topology: Topology,
    pub namespace: Namespace,
    /// For servers that are reached by TLS.
    pub tls: Tls,
    /// How many replicas have to have a grant before it counts.
    pub wait_replicas: u32,
}

/// Locks as strings on one server, with a queue beside each; `docs/protocol.md` has every byte.
pub struct RedisBackend {
    route: Box<dyn Route>,
    namespace: Namespace,
    wait_replicas: u32,
    /// Claims of which a request may still be on its way: their release leaves word that it comes too late.
    on_their_way: RefCell<HashSet<(LockKey, OwnerToken)>>,
    /// Claims whose release may have been carried out without our learning of it.
    maybe_released: RefCell<HashSet<(LockKey, OwnerToken)>>,
    /// Claims that were granted to one holder alone and leave nothing behind, with their release where it is prepared.
    held_alone: RefCell<HashMap<(LockKey, OwnerToken), Option<Cmd>>>,
    /// Claims that were granted after a wait: others wait behind them, most of the time.
    waited_for: RefCell<HashSet<(LockKey, OwnerToken)>>,
    /// Of waits that are over: to hang up costs as much as a request, and the command need not wait for it.
    laid_aside: RefCell<Vec<(Ear, BootTimer)>>,
}

impl RedisBackend {
    /// Nothing is sent before the first request.
    ///
    /// # Errors
    /// None at present; what a URL can get wrong, [`Endpoint::parse`] has refused.
    pub fn open(config: &Config) -> Result<Self, BackendError> {
        let Config { topology, namespace, tls, wait_replicas } = config.clone();
        Ok(Self {
            route: topology.route(&tls),
            namespace,
            wait_replicas,
            on_their_way: RefCell::default(),
            maybe_released: RefCell::default(),
            held_alone: RefCell::default(),
            waited_for: RefCell::default(),
            laid_aside: RefCell::default(),
        })
    }

    fn names(&self, key: &LockKey) -> Result<Names, BackendError> {
        let names = Names::of(&self.namespace, key)?;
        self.route.admit(&names.all())?;
        Ok(names)
    }

    /// Sends a request that may grant something to `claim`, where the contender listens if it waits. Never twice: only
    /// the caller knows whether to ask again.
    async fn contend(
        &self,
        claim: &Claim,
        names: &Names,
        ear: Option<&Ear>,
        request: &Cmd,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let asked = match ear {
            Some(ear) => self.route.ask_beside(ear, names.lock(), request, limit),
            None => self.route.ask(names.lock(), request, limit),
        };
        let reply = self.on_its_way(&[claim], asked).await?;
        reply::answer(&reply).ok_or_else(|| Failure::unanswered(unexpected(&*self.route)))
    }

    /// Asks what may grant something to `claims`, and remembers that for as long as there is no answer.
    async fn on_its_way(
        &self,
        claims: &[&Claim],
        asked: impl Future<Output = Result<redis::Value, Failure>>,
    ) -> Result<redis::Value, Failure> {
        let on_their_way = &self.on_their_way;
        let mut these: Vec<_> = claims.iter().map(|claim| (claim.key.clone(), claim.token.clone())).collect();
        // An earlier request without an answer stays on its way, whatever becomes of this one.
        these.retain(|this| on_their_way.borrow_mut().insert(this.clone()));
        let outcome = asked.await;
        if !matches!(outcome, Err(Failure { answered: false, .. })) {
            on_their_way.borrow_mut().retain(|this| !these.contains(this));
        }
        outcome
    }

    /// One run of `script`, which is wait.lua or its beginning; without an `ear` it never queues. `ticket`: see there. `seen`:
    /// owner tokens and generations, and until when their leases last.
    async fn look(
        &self,
        claim: &Claim,
        names: &Names,
        (script, ear): (&str, Option<&Ear>),
        ticket: &str,
        seen: &[(String, BootInstant)],
        limit: Duration,
    ) -> Result<Answer, Failure> {
        self.look_by(&glance(claim, names, (script, ear), ticket, seen), claim, names, ear, limit).await
    }

    /// One run of what [`glance`] has put together.
    async fn look_by(
        &self,
        request: &Cmd,
        claim: &Claim,
        names: &Names,
        ear: Option<&Ear>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let (stood_before, began) = (self.route.is_linked(names.lock()), BootInstant::now());
        match self.contend(claim, names, ear, request, limit).await {
            // Some servers end connections on which nothing was asked for a while.
            Err(Failure { answered: false, .. }) if stood_before && BootInstant::now().since(began) < limit => {
                self.contend(claim, names, ear, request, limit).await
            }
            outcome => outcome,
        }
    }
}

/// The request of [`RedisBackend::look`]. What it says of leases that were seen is said as of now: later it is too careful.
fn glance(
    claim: &Claim,
    names: &Names,
    (script, ear): (&str, Option<&Ear>),
    ticket: &str,
    seen: &[(String, BootInstant)],
) -> Cmd {
    let (place, prefix) = (millis(place(claim)), names.wake_prefix());
    let seen: Vec<(&str, String)> =
        seen.iter().map(|(token, over)| (token.as_str(), millis(over.remaining()))).collect();
    let contender = Contender::of(claim);
    let mut args = contender.args();
    args.extend([prefix.as_str(), ear.map_or("refuses", Ear::word), &place, ticket]);
    args.extend(seen.iter().flat_map(|(token, left)| [*token, left.as_str()]));
    eval(script, &names.all(), &args)
}

#[async_trait(?Send)]
impl LockBackend for RedisBackend {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        let names = self.names(&claim.key)?;
        self.laid_aside.take();
        let mut sent = BootInstant::now();
        let queues = matches!(claim.patience, Patience::Queue { .. }) && !claim.looks_first;
        let script = match claim.mode {
            Mode::Exclusive if queues => ACQUIRE_FREE,
            Mode::Exclusive => ACQUIRE,
            Mode::Shared | Mode::Slots(_) => ACQUIRE_BESIDE_OTHERS,
        };
        let request = eval(script, &names.all(), &Contender::of(claim).args());
        let mut answer =
            self.contend(claim, &names, None, &request, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        if answer == Answer::Awaited && claim.patience == Patience::Refuse {
            // Those who wait may all be dead.
            sent = BootInstant::now();
            answer = self
                .look(claim, &names, (WAIT, None), "", &[], FIRST_CONTACT)
                .await
                .map_err(|failure| failure.error)?;
        }
        match (answer, claim.patience) {
            (Answer::Granted { fence, now }, _) => {
                let lease = self.settled(claim, &names, (sent, fence, now), progress).await?;
                self.replicated(&names, lease).await
            }
            (Answer::Held(held), _) if masters_of(&held) != 1 => Err(other_masters(masters_of(&held))),
            (Answer::Held(held), Patience::Refuse) => Ok(Acquired::Held(contention(&held))),
            (Answer::Held(held), Patience::Queue { reconnect_for }) => {
                let waiting = Waiting::new(self, claim, &names, progress, reconnect_for)?;
                self.replicated(&names, waiting.until_granted(Some(held)).await?).await
            }
            (Answer::Awaited, Patience::Queue { reconnect_for }) => {
                let waiting = Waiting::new(self, claim, &names, progress, reconnect_for)?;
                self.replicated(&names, waiting.until_granted(None).await?).await
            }
            (Answer::OtherSlots(total), _) => Err(other_slots(total)),
            (Answer::Undone, _) => Err(BackendError::usage("this claim has been released already")),
            (Answer::Awaited | Answer::Vanished(_), _) => Err(unexpected(&*self.route)),
        }
    }

    async fn acquire_together(
        &self,
        claims: &[&Claim],
        progress: &dyn for<'key> Fn(&'key LockKey, Progress),
    ) -> Result<Together, BackendError> {
        self.take_together(claims, progress).await
    }

    fn settle(&self) {
        self.laid_aside.take();
        self.prepare_releases();
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError> {
        let names = self.names(&lease.key)?;
        let mut valid_until = BootInstant::now() + of_server_lease(lease.ttl);
        let renewed = self.raise(&names, lease, Pace::of(lease.ttl).request_limit).await?;
        if seeded!("deadline-from-the-reply") {
            valid_until = BootInstant::now() + of_server_lease(lease.ttl);
        }
        if seeded!("blind-to-a-loss") && renewed == Renewed::Lost {
            return Err(unexpected(&*self.route));
        }
        if seeded!("gives-back-before-it-stops") && matches!(renewed, Renewed::Revoked(_)) {
            self.release(&lease.key, &lease.token).await?;
        }
        if renewed != Renewed::Lost {
            self.confirm_replicas(&names, lease.ttl).await?;
        }
        Ok(match renewed {
            Renewed::Ours(_) => Renewal::Renewed { valid_until },
            Renewed::Revoked(_) => Renewal::Revoked { valid_until },
            Renewed::Lost => Renewal::Lost,
        })
    }

    async fn raise_fence(&self, lease: &Lease, fence: FencingToken) -> Result<Renewal, BackendError> {
        self.raise_fence_of(lease, fence).await
    }

    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        let names = self.names(key)?;
        let args = [token.secret(), &ttl.map(millis).unwrap_or_default(), &names.wake_prefix()];
        let request = eval(PROLONG, &names.all(), &args);
        let reply = self
            .route
            .ask_twice(names.lock(), &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map_err(|failure| failure.error)?;
        self.vouched(&names).await?;
        let set = reply::set(&reply).ok_or_else(|| unexpected(&*self.route))?;
        if let Set::Ttl(ttl, _) = set {
            self.confirm_replicas(&names, ttl).await?;
        }
        Ok(match set {
            Set::Ttl(ttl, now) => Prolonged::Set { ttl, expires_at: now.wall().map(|at| at + ttl) },
            Set::HeldByRun => Prolonged::HeldByRun,
            Set::NotOurs => Prolonged::NotHeld,
        })
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        self.part(key, token, Parting::Unused).await
    }

    async fn part(&self, key: &LockKey, token: &OwnerToken, parting: Parting) -> Result<Release, BackendError> {
        self.give_up(key, token, parting).await
    }

    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError> {
        let names = self.names(key)?;
        let revocation = revoking::revoke(&*self.route, &names, shown, manner, FIRST_CONTACT).await?;
        self.vouched(&names).await?;
        Ok(revocation)
    }

    async fn forget(&self, key: &LockKey) -> Result<(), BackendError> {
        let names = self.names(key)?;
        let request = deletion(&names.all());
        self.route
            .ask_twice(names.lock(), &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map(drop)
            .map_err(|failure| failure.error)
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        reading::status(&*self.route, &self.namespace, key).await
    }

    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        reading::list(&*self.route, &self.namespace, pattern).await
    }

    async fn examine(&self, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        examination::examine(&*self.route, &self.namespace, ttl, self.wait_replicas, None).await
    }

    async fn close(&self) {
        self.route.close();
    }
}

/// What is granted to a claim whose first request was sent at `sent`.
fn lease_of(claim: &Claim, sent: BootInstant, valid_until: BootInstant, fence: Option<FencingToken>) -> Lease {
    let ttl = claim.ttl.duration();
    Lease {
        key: claim.key.clone(),
        token: claim.token.clone(),
        ttl,
        fence,
        requested_at: sent,
        valid_until: Some(valid_until),
        renew_every: Some(ttl / RENEWALS_PER_LEASE),
        expires_at: None,
    }
}

fn first_expiry(claim: &Claim) -> Duration {
    match claim.kind {
        LeaseKind::Running => claim.ttl.duration(),
        LeaseKind::OneShot => claim.ttl.duration().min(UNCONFIRMED_ONE_SHOT),
    }
}

/// Every contender has to know how many may hold at once.
fn other_slots(total: u32) -> BackendError {
    BackendError::misconfigured(format!(
        "others use it with --slots {total}; give all the same number, or wait until nobody holds or awaits it"
    ))
}

/// How many masters the holder counts.
fn masters_of(held: &Held) -> u32 {
    match LockValue::parse(&held.value) {
        LockValue::Ours(record) => record.masters,
        LockValue::Foreign => 1,
    }
}

fn other_masters(number: u32) -> BackendError {
    BackendError::misconfigured(format!(
        "held by somebody who counts {number} masters, and only this one was named here; name the same everywhere"
    ))
}

fn unexpected(route: &dyn Route) -> BackendError {
    BackendError::unavailable(format!("{} gives an answer that makes no sense", route.masked()))
}
