//! Making more of a lock that is held: a later end, a higher fencing token. What breaks it: a lock that has become somebody
//! else's since the last look.

use std::time::Duration;

use super::names::Names;
use super::reply::{self, Renewed};
use super::script::{FENCE, RENEW, eval, millis};
use super::{RedisBackend, unexpected};
use crate::lock::pace::Pace;
use crate::lock::validity::of_server_lease;
use crate::lock::{BackendError, FencingToken, Lease, Renewal};
use crate::sys::boottime::BootInstant;

/// How long a fence is kept after the lease it was given to, where the server's clock would make a lower one.
const ABOVE_THE_CLOCK: Duration = Duration::from_secs(366 * 24 * 3600);

/// Scripts count in doubles, whose whole numbers end at 2^53.
const HIGHEST: u64 = (1 << 53) - 1;

impl RedisBackend {
    pub(super) async fn raise(&self, names: &Names, lease: &Lease, limit: Duration) -> Result<Renewed, BackendError> {
        // A script with one name is carried out also while the slot moves to another node.
        let mut keys = vec![names.lock().to_owned()];
        if lease.fence.is_none() {
            keys.extend([names.side("holders"), names.side("receipts")]);
        }
        let request = eval(RENEW, &keys, &[lease.token.secret(), &millis(lease.ttl)]);
        let asked = self.route.ask_vouched(names.lock(), &request, limit);
        let reply = asked.await.map_err(|failure| failure.error)?;
        reply::renewed(&reply).ok_or_else(|| unexpected(&*self.route))
    }

    /// Gives the holder `fence` in place of its own, and all later ones a higher one.
    pub(super) async fn raise_fence_of(&self, lease: &Lease, fence: FencingToken) -> Result<Renewal, BackendError> {
        if fence.0 > HIGHEST {
            return Err(BackendError::misconfigured(format!(
                "the fencing token {} is beyond what Redis can count to ({HIGHEST}); give a lower --fence-floor",
                fence.0
            )));
        }
        let names = self.names(&lease.key)?;
        let valid_until = lease.valid_until.unwrap_or_else(|| BootInstant::now() + of_server_lease(lease.ttl));
        let request = eval(
            FENCE,
            &[names.lock().to_owned(), names.side("fence")],
            &[lease.token.secret(), &fence.0.to_string(), &millis(ABOVE_THE_CLOCK + lease.ttl)],
        );
        let asked = self.route.ask_vouched(names.lock(), &request, Pace::of(lease.ttl).request_limit);
        let recorded = match asked.await.map_err(|failure| failure.error)? {
            redis::Value::Int(1) => Renewal::Renewed { valid_until },
            redis::Value::Int(0) => Renewal::Lost,
            _ => return Err(unexpected(&*self.route)),
        };
        self.confirm_replicas(&names, lease.ttl).await?;
        Ok(recorded)
    }
}
