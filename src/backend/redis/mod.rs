//! Locks on one Redis server. What breaks it: a server that forgets (restart without persistence, eviction, flush,
//! fail-over, a stepped clock), which is why its answers are worth no more than their lease, and a request that is carried
//! out after its undoing.

mod ear;
mod endpoint;
mod failure;
mod layout;
mod names;
mod node;
mod reading;
mod reply;
mod value;
mod waiting;

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use redis::Cmd;

pub use endpoint::{Endpoint, InvalidUrl, Secret};
pub use layout::{Layout, LayoutBackend};

use self::failure::Failure;
use self::names::Names;
use self::node::Node;
use self::reply::{Answer, Renewed, Set};
use self::value::ServerTime;
use self::waiting::{Waiting, contention, place};
use crate::lock::validity::of_server_lease;
use crate::lock::{
    Acquired, BackendError, Claim, FIRST_CONTACT, FencingToken, KeyPattern, Lease, LeaseKind, LockBackend, LockKey,
    LockStatus, Namespace, OwnerToken, Patience, Progress, Prolonged, Release, Renewal,
};
use crate::sys::boottime::BootInstant;

const ACQUIRE: &str = concat!(include_str!("scripts/base.lua"), include_str!("scripts/acquire.lua"));
const WAIT: &str =
    concat!(include_str!("scripts/base.lua"), include_str!("scripts/queue.lua"), include_str!("scripts/wait.lua"));
const RELEASE: &str =
    concat!(include_str!("scripts/base.lua"), include_str!("scripts/queue.lua"), include_str!("scripts/release.lua"));
const RENEW: &str = include_str!("scripts/renew.lua");
const PROLONG: &str = include_str!("scripts/prolong.lua");

/// What a one-shot is granted until its grant has been learnt of: a lease that nobody knows of ends this soon.
const UNCONFIRMED_ONE_SHOT: Duration = Duration::from_secs(10);

/// Renewals per lease: two may fail before the third would be too late.
const RENEWALS_PER_LEASE: u32 = 3;

/// Which server, and which part of it.
#[derive(Debug, Clone)]
pub struct Config {
    pub endpoint: Endpoint,
    pub namespace: Namespace,
}

impl Config {
    /// The same with a password from a file or the environment, which goes before the URL's.
    #[must_use]
    pub fn with_password(mut self, password: Secret) -> Self {
        self.endpoint.password = Some(password);
        self
    }
}

/// Locks as strings on one server, with a queue beside each; `docs/protocol.md` has every byte.
pub struct RedisBackend {
    node: Node,
    namespace: Namespace,
    /// Claims of which a request may still be on its way: their release leaves word that it comes too late.
    on_their_way: RefCell<HashSet<(LockKey, OwnerToken)>>,
    /// Claims whose release may have been carried out without our learning of it.
    maybe_released: RefCell<HashSet<(LockKey, OwnerToken)>>,
}

impl RedisBackend {
    /// Nothing is sent before the first request.
    ///
    /// # Errors
    /// None at present; what a URL can get wrong, [`Endpoint::parse`] has refused.
    pub fn open(config: &Config) -> Result<Self, BackendError> {
        let Config { endpoint, namespace } = config.clone();
        Ok(Self {
            node: Node::new(endpoint),
            namespace,
            on_their_way: RefCell::default(),
            maybe_released: RefCell::default(),
        })
    }

    /// Sends a request that may grant something to `claim`. Never twice: only the caller knows whether to ask again.
    async fn contend(&self, claim: &Claim, request: &Cmd, limit: Duration) -> Result<Answer, Failure> {
        let this = (claim.key.clone(), claim.token.clone());
        // An earlier request without an answer stays on its way, whatever becomes of this one.
        let first = self.on_their_way.borrow_mut().insert(this.clone());
        let outcome = self.node.ask(request, limit).await;
        let answered = !matches!(outcome, Err(Failure { answered: false, .. }));
        if first && answered {
            self.on_their_way.borrow_mut().remove(&this);
        }
        reply::answer(&outcome?).ok_or_else(|| Failure::unanswered(unexpected(&self.node)))
    }

    /// One run of wait.lua. `ear`: see there. `seen`: owner tokens and until when their leases last.
    async fn look(
        &self,
        claim: &Claim,
        names: &Names,
        ear: &str,
        seen: &[(String, BootInstant)],
        limit: Duration,
    ) -> Result<Answer, BackendError> {
        let (place, prefix) = (millis(place(claim)), names.wake_prefix());
        let seen: Vec<(&str, String)> =
            seen.iter().map(|(token, over)| (token.as_str(), millis(over.remaining()))).collect();
        let contender = Contender::of(claim);
        let mut args = contender.args();
        args.extend([prefix.as_str(), ear, &place]);
        args.extend(seen.iter().flat_map(|(token, left)| [*token, left.as_str()]));
        let request = eval(WAIT, &names.all(), &args);
        let (stood_before, began) = (self.node.is_linked(), BootInstant::now());
        let outcome = match self.contend(claim, &request, limit).await {
            // Some servers end connections on which nothing was asked for a while.
            Err(Failure { answered: false, .. }) if stood_before && BootInstant::now().since(began) < limit => {
                self.contend(claim, &request, limit).await
            }
            outcome => outcome,
        };
        outcome.map_err(|failure| failure.error)
    }

    /// Makes a lease of a grant whose request was sent at `sent`.
    async fn granted(
        &self,
        claim: &Claim,
        sent: BootInstant,
        fence: u64,
        now: ServerTime,
    ) -> Result<Lease, BackendError> {
        let ttl = claim.ttl.duration();
        let mut lease = Lease {
            key: claim.key.clone(),
            token: claim.token.clone(),
            ttl,
            fence: Some(FencingToken(fence)),
            requested_at: sent,
            valid_until: Some(sent + of_server_lease(first_expiry(claim))),
            renew_every: Some(ttl / RENEWALS_PER_LEASE),
            expires_at: None,
        };
        if claim.kind == LeaseKind::OneShot {
            let mut granted_at = now;
            if first_expiry(claim) < ttl {
                lease.requested_at = BootInstant::now();
                match self.raise(&lease).await? {
                    Renewed::Ours(now) | Renewed::Revoked(now) => granted_at = now,
                    Renewed::Lost => {
                        return Err(BackendError::unavailable(format!(
                            "{} forgot the lease as soon as it was granted",
                            self.node.endpoint().masked()
                        )));
                    }
                }
                lease.valid_until = Some(lease.requested_at + of_server_lease(ttl));
            }
            lease.expires_at = granted_at.wall().map(|at| at + ttl);
        }
        Ok(lease)
    }

    async fn raise(&self, lease: &Lease) -> Result<Renewed, BackendError> {
        let names = Names::of(&self.namespace, &lease.key)?;
        let request = eval(RENEW, &[names.lock()], &[lease.token.secret(), &millis(lease.ttl)]);
        let reply = self.node.ask_twice(&request, &request, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        reply::renewed(&reply).ok_or_else(|| unexpected(&self.node))
    }
}

#[async_trait(?Send)]
impl LockBackend for RedisBackend {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        let names = Names::of(&self.namespace, &claim.key)?;
        let mut sent = BootInstant::now();
        let request = eval(ACQUIRE, &names.all(), &Contender::of(claim).args());
        let mut answer = self.contend(claim, &request, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        if answer == Answer::Awaited && claim.patience == Patience::Refuse {
            // Those who wait may all be dead.
            sent = BootInstant::now();
            answer = self.look(claim, &names, "refuses", &[], FIRST_CONTACT).await?;
        }
        match (answer, claim.patience) {
            (Answer::Granted { fence, now }, _) => self.granted(claim, sent, fence, now).await.map(Acquired::Granted),
            (Answer::Held(held), Patience::Refuse) => Ok(Acquired::Held(contention(&held))),
            (Answer::Held(held), Patience::Queue { reconnect_for }) => {
                let waiting = Waiting::new(self, claim, &names, progress, reconnect_for)?;
                waiting.until_granted(Some(held)).await.map(Acquired::Granted)
            }
            (Answer::Awaited, Patience::Queue { reconnect_for }) => {
                let waiting = Waiting::new(self, claim, &names, progress, reconnect_for)?;
                waiting.until_granted(None).await.map(Acquired::Granted)
            }
            (Answer::Undone, _) => Err(BackendError::usage("this claim has been released already")),
            (Answer::Awaited | Answer::Vanished(_), _) => Err(unexpected(&self.node)),
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
        let names = Names::of(&self.namespace, key)?;
        let keys = [names.lock().to_owned(), names.side("queue"), names.side("receipts")];
        let args = [token.secret(), &ttl.map(millis).unwrap_or_default(), &names.wake_prefix()];
        let request = eval(PROLONG, &keys, &args);
        let reply = self.node.ask_twice(&request, &request, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        Ok(match reply::set(&reply).ok_or_else(|| unexpected(&self.node))? {
            Set::Ttl(ttl, now) => Prolonged::Set { ttl, expires_at: now.wall().map(|at| at + ttl) },
            Set::HeldByRun => Prolonged::HeldByRun,
            Set::NotOurs => Prolonged::NotHeld,
        })
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        let names = Names::of(&self.namespace, key)?;
        let this = (key.clone(), token.clone());
        let undo = if self.on_their_way.borrow().contains(&this) { "undo" } else { "" };
        let request = |again| eval(RELEASE, &names.all(), &[token.secret(), &names.wake_prefix(), undo, again]);
        let again = request("again");
        // Until an answer says otherwise; also when the caller drops this future.
        let first_try = self.maybe_released.borrow_mut().insert(this.clone());
        let first = if first_try { request("") } else { again.clone() };
        let reply = self.node.ask_twice(&first, &again, FIRST_CONTACT).await.map_err(|failure| failure.error)?;
        self.maybe_released.borrow_mut().remove(&this);
        self.on_their_way.borrow_mut().remove(&this);
        match reply {
            redis::Value::Int(1) => Ok(Release::Released),
            redis::Value::Int(0) => Ok(Release::NotHeld),
            _ => Err(unexpected(&self.node)),
        }
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        reading::status(&self.node, &self.namespace, key).await
    }

    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        reading::list(&self.node, &self.namespace, pattern).await
    }

    async fn close(&self) {
        self.node.close().await;
    }
}

/// The first five ARGV of acquire.lua and wait.lua.
struct Contender<'a> {
    token: &'a str,
    ttl: String,
    first_expiry: String,
    phase: &'static str,
    holder: String,
}

impl<'a> Contender<'a> {
    fn of(claim: &'a Claim) -> Self {
        Self {
            token: claim.token.secret(),
            ttl: millis(claim.ttl.duration()),
            first_expiry: millis(first_expiry(claim)),
            phase: match claim.kind {
                LeaseKind::Running => "running",
                LeaseKind::OneShot => "one-shot",
            },
            holder: claim.holder.to_json(),
        }
    }

    fn args(&self) -> Vec<&str> {
        vec![self.token, &self.ttl, &self.first_expiry, self.phase, &self.holder]
    }
}

fn first_expiry(claim: &Claim) -> Duration {
    match claim.kind {
        LeaseKind::Running => claim.ttl.duration(),
        LeaseKind::OneShot => claim.ttl.duration().min(UNCONFIRMED_ONE_SHOT),
    }
}

/// Plain EVAL, always: it costs what EVALSHA costs, and no second request when the server has forgotten the script.
fn eval(script: &str, keys: &[impl AsRef<str>], args: &[&str]) -> Cmd {
    let mut request = redis::cmd("EVAL");
    request.arg(script).arg(keys.len());
    for key in keys {
        request.arg(key.as_ref());
    }
    request.arg(args);
    request
}

/// Whole milliseconds, above zero: an expiry of 0 would delete.
fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

fn unexpected(node: &Node) -> BackendError {
    BackendError::unavailable(format!("{} gives an answer that makes no sense", node.endpoint().masked()))
}
