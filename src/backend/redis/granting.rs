//! From the server's "yours" to a lease that counts. What breaks it: a one-shot that has to be raised to its length, a server
//! that does not decide any more, replicas that lag behind.

use std::time::Duration;

use super::names::Names;
use super::reply::Renewed;
use super::script::millis;
use super::value::ServerTime;
use super::waiting::Waiting;
use super::{RedisBackend, first_expiry, lease_of, unexpected};
use crate::lock::validity::of_server_lease;
use crate::lock::{
    Acquired, BackendError, Claim, FIRST_CONTACT, FencingToken, Lease, LeaseKind, Mode, Patience, Progress, Retention,
};
use crate::sys::boottime::BootInstant;
use crate::sys::seeded::seeded;

impl RedisBackend {
    /// Makes a lease of a grant whose request was sent at `sent`.
    pub(super) async fn granted(
        &self,
        claim: &Claim,
        names: &Names,
        sent: BootInstant,
        fence: u64,
        now: ServerTime,
    ) -> Result<Lease, BackendError> {
        if claim.mode == Mode::Exclusive && claim.retention == Retention::default() {
            self.held_alone.borrow_mut().insert((claim.key.clone(), claim.token.clone()), None);
        }
        let ttl = claim.ttl.duration();
        let fence = Some(fence).filter(|number| *number > 0).map(FencingToken);
        let mut lease = lease_of(claim, sent, sent + of_server_lease(first_expiry(claim)), fence);
        if claim.kind == LeaseKind::OneShot {
            let mut granted_at = now;
            if first_expiry(claim) < ttl {
                lease.requested_at = BootInstant::now();
                match self.raise(names, &lease, FIRST_CONTACT).await? {
                    Renewed::Ours(now) | Renewed::Revoked(now) => granted_at = now,
                    Renewed::Lost => {
                        return Err(BackendError::unavailable(format!(
                            "{} forgot the lease as soon as it was granted",
                            self.route.masked()
                        )));
                    }
                }
                lease.valid_until = Some(lease.requested_at + of_server_lease(ttl));
            }
            lease.expires_at = granted_at.wall().map(|at| at + ttl);
        }
        self.vouched(names).await?;
        Ok(lease)
    }

    /// The same, and where the grant turns out to count for nothing, another one.
    pub(super) async fn settled(
        &self,
        claim: &Claim,
        names: &Names,
        (sent, fence, now): (BootInstant, u64, ServerTime),
        progress: &dyn Fn(Progress),
    ) -> Result<Lease, BackendError> {
        match (self.granted(claim, names, sent, fence, now).await, claim.patience) {
            // By a server that does not decide any more, perhaps: it is asked again, or the one that does.
            (Err(error), Patience::Queue { reconnect_for }) if error.may_pass() => {
                Waiting::new(self, claim, names, progress, reconnect_for)?.until_granted(None).await
            }
            (lease, _) => lease,
        }
    }

    /// Whether what was answered last counts: last of all, as an answer may have been long on its way.
    pub(super) async fn vouched(&self, names: &Names) -> Result<(), BackendError> {
        self.route.vouch(names.lock(), FIRST_CONTACT).await.map_err(|failure| failure.error)
    }

    /// The lease, once enough replicas have it. Otherwise the caller releases it.
    pub(super) async fn replicated(&self, names: &Names, lease: Lease) -> Result<Acquired, BackendError> {
        self.confirm_replicas(names, lease.ttl).await?;
        Ok(Acquired::Granted(lease))
    }

    /// Waits, once and not for long, until the replicas have what was written last on this connection.
    pub(super) async fn confirm_replicas(&self, names: &Names, ttl: Duration) -> Result<(), BackendError> {
        if self.wait_replicas == 0 || seeded!("asks-no-replica") {
            return Ok(());
        }
        let url = self.route.masked();
        // On another connection it would be answered for somebody else's writes.
        if !self.route.is_linked(names.lock()) {
            return Err(BackendError::unavailable(format!(
                "{url} closed the connection before its replicas confirmed"
            )));
        }
        // Half of what a renewal may take in all.
        let limit = (ttl / 20).min(Duration::from_secs(1));
        let wanted = self.wait_replicas;
        let mut request = redis::cmd("WAIT");
        request.arg(wanted).arg(millis(limit));
        match self.route.ask_same(names.lock(), &request, limit + limit / 2).await.map_err(|failure| failure.error)? {
            redis::Value::Int(count) if count >= i64::from(wanted) => Ok(()),
            redis::Value::Int(count) => Err(BackendError::unavailable(format!(
                "{count} of the {wanted} replicas that --wait-replicas asks for confirmed it to {url} within {}",
                humantime::format_duration(limit)
            ))),
            _ => Err(unexpected(&*self.route)),
        }
    }
}
