//! Locks in the layout of another library. What breaks it: as for dlock's own layout, and an application that deletes
//! what is not its own.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;

use super::super::contender::{kept_words, words};
use super::super::ear::Ear;
use super::super::examination;
use super::super::failure::Failure;
use super::super::reply::Renewed;
use super::super::script::{deletion, lean};
use super::super::topology::Route;
use super::super::value::ServerTime;
use super::super::{Config, RENEWALS_PER_LEASE, eval, first_expiry, millis, revoking, unexpected};
use super::reply::{self, Answer, Found, Set};
use super::waiting::Waiting;
use super::{Layout, Place};
use crate::lock::token::public_id;
use crate::lock::validity::of_server_lease;
use crate::lock::{
    Acquired, BackendError, Claim, FIRST_CONTACT, Finding, HolderEntry, KeyPattern, Lease, LeaseKind, LockBackend,
    LockKey, LockStatus, Manner, Namespace, OwnerToken, Parting, Patience, Progress, Prolonged, Release, Renewal,
    Revocation, Ttl,
};
use crate::sys::boottime::BootInstant;

const ACQUIRE: &str = lean!(include_str!("scripts/acquire.lua"));
const RENEW: &str = lean!(concat!(include_str!("scripts/record.lua"), include_str!("scripts/renew.lua")));
const PROLONG: &str = lean!(concat!(include_str!("scripts/record.lua"), include_str!("scripts/prolong.lua")));
const RELEASE: &str = lean!(concat!(include_str!("scripts/record.lua"), include_str!("scripts/release.lua")));
const REVOKE: &str = lean!(include_str!("scripts/revoke.lua"));
const STATUS: &str = lean!(include_str!("scripts/status.lua"));

/// Locks that an application's own library holds and awaits as well; exclusive only, without a fencing token, and
/// without a queue: the layouts have no place for them.
pub struct LayoutBackend {
    pub(super) route: Box<dyn Route>,
    layout: Layout,
    namespace: Namespace,
    /// Claims of which a request may still be on its way: their release leaves word that it comes too late.
    on_their_way: RefCell<HashSet<(LockKey, OwnerToken)>>,
    /// Claims whose release may have been carried out without our learning of it.
    maybe_released: RefCell<HashSet<(LockKey, OwnerToken)>>,
}

impl LayoutBackend {
    /// Nothing is sent before the first request.
    #[must_use]
    pub fn open(config: &Config, layout: Layout) -> Self {
        let Config { topology, namespace, tls, wait_replicas: _ } = config.clone();
        Self {
            route: topology.route(&tls),
            layout,
            namespace,
            on_their_way: RefCell::default(),
            maybe_released: RefCell::default(),
        }
    }

    fn place(&self, key: &LockKey) -> Result<Place, BackendError> {
        let place = Place::of(self.layout, &self.namespace, key)?;
        self.route.admit(&place.keys())?;
        Ok(place)
    }

    /// One try to take the lock, where the contender listens if it waits; a retry of the same claim, whatever became of the
    /// first, is harmless.
    pub(super) async fn attempt(
        &self,
        claim: &Claim,
        place: &Place,
        ear: Option<&Ear>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let owner = self.layout.owner(&claim.token);
        let phase = match claim.kind {
            LeaseKind::Running => "running",
            LeaseKind::OneShot => "one-shot",
        };
        let phase = format!("{phase} {}", millis(claim.ttl.duration()));
        let expiry = millis(first_expiry(claim) + claim.retention.lock_delay);
        let holder = words(claim.retention) + &claim.holder.to_json();
        let args = [owner.as_str(), &expiry, &phase, &holder];
        let request = eval(&self.layout.script(ACQUIRE), &place.keys(), &args);
        let this = (claim.key.clone(), claim.token.clone());
        // An earlier request without an answer stays on its way, whatever becomes of this one.
        let first = self.on_their_way.borrow_mut().insert(this.clone());
        let outcome = match ear {
            Some(ear) => self.route.ask_beside(ear, place.names.lock(), &request, limit).await,
            None => self.route.ask(place.names.lock(), &request, limit).await,
        };
        let answered = !matches!(outcome, Err(Failure { answered: false, .. }));
        if first && answered {
            self.on_their_way.borrow_mut().remove(&this);
        }
        reply::answer(&outcome?).ok_or_else(|| Failure::unanswered(unexpected(&*self.route)))
    }

    /// Makes a lease of a grant whose request was sent at `sent`.
    pub(super) async fn granted(
        &self,
        claim: &Claim,
        sent: BootInstant,
        now: ServerTime,
    ) -> Result<Lease, BackendError> {
        let ttl = claim.ttl.duration();
        let mut lease = Lease {
            key: claim.key.clone(),
            token: claim.token.clone(),
            ttl,
            fence: None,
            requested_at: sent,
            valid_until: Some(sent + of_server_lease(first_expiry(claim))),
            renew_every: Some(ttl / RENEWALS_PER_LEASE),
            expires_at: None,
        };
        if claim.kind == LeaseKind::OneShot {
            let mut granted_at = now;
            if first_expiry(claim) < ttl {
                lease.requested_at = BootInstant::now();
                granted_at = match self.raise(&lease).await? {
                    Renewed::Ours(now) | Renewed::Revoked(now) => now,
                    Renewed::Lost => {
                        let url = self.route.masked();
                        let sentence = format!("{url} forgot the lease as soon as it was granted");
                        return Err(BackendError::unavailable(sentence));
                    }
                };
                lease.valid_until = Some(lease.requested_at + of_server_lease(ttl));
            }
            lease.expires_at = granted_at.wall().map(|at| at + ttl);
        }
        self.vouched(&claim.key).await?;
        Ok(lease)
    }

    async fn raise(&self, lease: &Lease) -> Result<Renewed, BackendError> {
        let owner = self.layout.owner(&lease.token);
        let place = self.place(&lease.key)?;
        let keys = place.keys();
        let request = eval(&self.layout.script(RENEW), &keys, &[&owner, &millis(lease.ttl)]);
        let asked = self.route.ask_vouched(place.names.lock(), &request, FIRST_CONTACT);
        let reply = asked.await.map_err(|failure| failure.error)?;
        super::super::reply::renewed(&reply).ok_or_else(|| unexpected(&*self.route))
    }

    /// What is stored of one lock.
    async fn look(&self, place: &Place) -> Result<Value, BackendError> {
        let request = eval(&self.layout.script(STATUS), &place.keys(), &[""]);
        self.route
            .ask_twice(place.names.lock(), &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map_err(|failure| failure.error)
    }

    /// Whatever the library stores as the owner whom `shown` shows, if that is still the one.
    async fn owner_of(&self, place: &Place, shown: &HolderEntry) -> Result<Option<Vec<u8>>, BackendError> {
        match reply::found(&self.look(place).await?).ok_or_else(|| unexpected(&*self.route))? {
            Found::Nothing => Ok(None),
            Found::OwnedBy(owner) => {
                Ok(Some(owner).filter(|owner| public_id(&self.layout.secret_of(owner)) == shown.id))
            }
            Found::Other(kind) => Err(BackendError::misconfigured(format!(
                "what stands there is no lock of the layout {} but a {kind}; name the layout that it is of",
                self.layout.name()
            ))),
        }
    }

    /// Whether what was answered last counts: last of all, as an answer may have been long on its way.
    async fn vouched(&self, key: &LockKey) -> Result<(), BackendError> {
        let place = self.place(key)?;
        self.route.vouch(place.names.lock(), FIRST_CONTACT).await.map_err(|failure| failure.error)
    }
}

#[async_trait(?Send)]
impl LockBackend for LayoutBackend {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        let place = self.place(&claim.key)?;
        let sent = BootInstant::now();
        let answer = self.attempt(claim, &place, None, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        match (answer, claim.patience) {
            (Answer::Granted(now), patience) => match (self.granted(claim, sent, now).await, patience) {
                // By a server that does not decide any more, perhaps: it is asked again, or the one that does.
                (Err(error), Patience::Queue { reconnect_for }) if error.may_pass() => {
                    let waiting = Waiting::new(self, claim, &place, progress, reconnect_for)?;
                    waiting.until_granted(None).await.map(Acquired::Granted)
                }
                (lease, _) => lease.map(Acquired::Granted),
            },
            (Answer::Held(held), Patience::Refuse) => Ok(Acquired::Held(held.contention())),
            (Answer::Held(held), Patience::Queue { reconnect_for }) => {
                let waiting = Waiting::new(self, claim, &place, progress, reconnect_for)?;
                waiting.until_granted(Some(&held)).await.map(Acquired::Granted)
            }
            (Answer::Undone, _) => Err(BackendError::usage("this claim has been released already")),
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError> {
        let valid_until = BootInstant::now() + of_server_lease(lease.ttl);
        Ok(match self.raise(lease).await? {
            Renewed::Ours(_) => Renewal::Renewed { valid_until },
            Renewed::Revoked(_) => Renewal::Revoked { valid_until },
            Renewed::Lost => Renewal::Lost,
        })
    }

    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        let args = [self.layout.owner(token), ttl.map(millis).unwrap_or_default()];
        let place = self.place(key)?;
        let keys = place.keys();
        let request = eval(&self.layout.script(PROLONG), &keys, &args.each_ref().map(String::as_str));
        let reply = self
            .route
            .ask_twice(place.names.lock(), &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map_err(|failure| failure.error)?;
        self.vouched(key).await?;
        Ok(match reply::set(&reply).ok_or_else(|| unexpected(&*self.route))? {
            Set::Ttl(ttl, now) => Prolonged::Set { ttl, expires_at: now.wall().map(|at| at + ttl) },
            Set::HeldByRun => Prolonged::HeldByRun,
            Set::NotOurs => Prolonged::NotHeld,
            Set::TtlUnknown => {
                return Err(BackendError::usage("how long it was acquired for is not known any more; give --ttl"));
            }
        })
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        self.part(key, token, Parting::Unused).await
    }

    async fn part(&self, key: &LockKey, token: &OwnerToken, parting: Parting) -> Result<Release, BackendError> {
        let place = self.place(key)?;
        let this = (key.clone(), token.clone());
        let undo = if self.on_their_way.borrow().contains(&this) { "undo" } else { "" };
        let (owner, channel) = (self.layout.owner(token), place.channel().unwrap_or_default());
        let request = eval(&self.layout.script(RELEASE), &place.keys(), &[&owner, &channel, undo, kept_words(parting)]);
        // Until an answer says otherwise; also when the caller drops this future.
        let mut again = !self.maybe_released.borrow_mut().insert(this.clone());
        let stood_before = self.route.is_linked(place.names.lock());
        let mut outcome = self.route.ask(place.names.lock(), &request, FIRST_CONTACT).await;
        if stood_before && matches!(outcome, Err(Failure { answered: false, .. })) {
            again = true;
            outcome = self.route.ask(place.names.lock(), &request, FIRST_CONTACT).await;
        }
        let reply = outcome.map_err(|failure| failure.error)?;
        self.maybe_released.borrow_mut().remove(&this);
        self.on_their_way.borrow_mut().remove(&this);
        match reply {
            Value::Int(1) => Ok(Release::Released),
            // The layouts have no receipts: gone after a try of unknown outcome is as good as released by it.
            Value::Int(0) if again => Ok(Release::Released),
            Value::Int(0) => Ok(Release::NotHeld),
            _ => Err(unexpected(&*self.route)),
        }
    }

    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError> {
        let place = self.place(key)?;
        let Some(owner) = self.owner_of(&place, shown).await? else { return Ok(Revocation::Changed) };
        let mut request = eval(&self.layout.script(REVOKE), &place.keys(), &[]);
        request.arg(owner).arg(place.channel().unwrap_or_default());
        request.arg(if manner == Manner::AtOnce { "now" } else { "" });
        let reply = self
            .route
            .ask_twice(place.names.lock(), &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map_err(|failure| failure.error)?;
        self.vouched(key).await?;
        revoking::revocation(&reply).ok_or_else(|| unexpected(&*self.route))
    }

    async fn forget(&self, key: &LockKey) -> Result<(), BackendError> {
        let place = self.place(key)?;
        let request = deletion(&place.keys());
        self.route
            .ask_twice(place.names.lock(), &request, &|| request.clone(), FIRST_CONTACT)
            .await
            .map(drop)
            .map_err(|failure| failure.error)
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        let reply = self.look(&self.place(key)?).await?;
        reply::status(self.layout, key.clone(), &reply).ok_or_else(|| unexpected(&*self.route))
    }

    async fn list(&self, _: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        Err(BackendError::usage(format!(
            "locks of the layout {} cannot be told from other data; name the keys, as in dlock status KEY",
            self.layout.name()
        )))
    }

    async fn examine(&self, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        examination::examine(&*self.route, &self.namespace, ttl, 0, Some(self.layout)).await
    }

    async fn close(&self) {
        self.route.close();
    }
}
