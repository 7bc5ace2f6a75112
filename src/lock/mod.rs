//! The vocabulary of locking and the contract that every backend keeps.
//!
//! Nothing here knows a server, a process or the command line.

pub mod backoff;
pub mod error;
pub mod finding;
pub mod holder;
pub mod keep_alive;
pub mod key;
pub mod lease;
pub mod pace;
pub mod revocation;
pub mod several;
pub mod status;
pub mod token;
pub mod validity;

use async_trait::async_trait;

pub use error::{BackendError, ErrorKind};
pub use finding::{Finding, Grade};
pub use holder::Holder;
pub use key::{KeyPattern, Keys, LockKey, Namespace};
pub use lease::{
    Acquired, Claim, Contention, Lease, LeaseKind, Mode, Parting, Patience, Progress, Prolonged, Release, Renewal,
    Retention, Together, Ttl,
};
pub use revocation::{Manner, Revocation};
pub use status::{HolderEntry, LockState, LockStatus, Phase, WaiterEntry};
pub use token::{FencingToken, OwnerToken};

/// How long connecting for the first time may take in all, whatever the number of servers and addresses.
pub const FIRST_CONTACT: std::time::Duration = std::time::Duration::from_secs(5);

/// A year and a day: longer than any job, short of every integer that a backend counts milliseconds in.
pub const LONGEST_TTL: std::time::Duration = std::time::Duration::from_secs(366 * 24 * 3600);

/// A place where locks live.
///
/// The owner token exists before the first request, so `release(key, token)` undoes every outcome of `acquire`: a
/// grant, a refusal, a lost reply, and a future that was dropped half-way. Callers always end with it.
///
/// An `Err` from any method means "unknown": the request may have been carried out.
#[async_trait(?Send)]
pub trait LockBackend {
    /// Takes the lock, or says who has it.
    ///
    /// With [`Patience::Queue`] this waits for as long as it is polled, and tells `progress` whom it waits for
    /// whenever that changes. The future may be dropped at any point; `release` then takes the contender out of the
    /// queue. First contact is bounded by [`FIRST_CONTACT`].
    ///
    /// # Errors
    /// When the backend cannot be reached or refuses service, and waiting on would not help.
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError>;

    /// Takes the locks of all `claims`, which are one owner's and of different keys, at a stroke where nobody has or awaits
    /// any of them and the backend can do that.
    ///
    /// Waits for nobody but servers that come back, of which it tells `progress`. May be dropped at any point; each claim
    /// is to be released then, as after an error.
    ///
    /// # Errors
    /// When no answer came: some of them may have been taken.
    async fn acquire_together(
        &self,
        _claims: &[&Claim],
        _progress: &dyn for<'key> Fn(&'key LockKey, Progress),
    ) -> Result<Together, BackendError> {
        Ok(Together::Apart)
    }

    /// Asks the backend to go on believing in `lease`. One attempt; the caller bounds it in time.
    ///
    /// # Errors
    /// When no answer came: the lease may or may not have been renewed.
    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError>;

    /// Completes when somebody else has touched the lock as it stands for `lease`: what that means is for `renew` to
    /// find out. Never completes where the backend is not told. May be dropped and called again.
    async fn touched(&self, _lease: &Lease) {
        std::future::pending::<()>().await;
    }

    /// Does what is better done while the command runs than before it or after it: closes what waiting has left open, and
    /// prepares the release. Nothing hangs on it.
    fn settle(&self) {}

    /// Has an exclusive holder be known by `fence`, which is higher than its own, and every later one by a higher one yet.
    ///
    /// # Errors
    /// When the outcome is unknown, or the backend cannot do it.
    async fn raise_fence(&self, _lease: &Lease, _fence: FencingToken) -> Result<Renewal, BackendError> {
        Err(BackendError::usage("these fencing tokens cannot be raised"))
    }

    /// Sets a one-shot lease to `ttl` from now (`None`: what it was acquired with); a lease that a running command
    /// holds is only ever prolonged.
    ///
    /// # Errors
    /// When the outcome is unknown, or the backend grants no such lease.
    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<std::time::Duration>,
    ) -> Result<Prolonged, BackendError>;

    /// Gives the lock up if `token` holds it, and leaves the queue if it waits there. Idempotent.
    ///
    /// # Errors
    /// When the outcome is unknown.
    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError>;

    /// Takes the lock from the holder that `status` has shown as `shown`, and from nobody else. Idempotent.
    ///
    /// # Errors
    /// When the outcome is unknown, or the backend cannot do it.
    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError>;

    /// Makes what is stored of `key` readable again where it was [`ErrorKind::Corrupt`]. Whom the backend knows to hold
    /// it without reading that goes on holding it.
    ///
    /// # Errors
    /// When it cannot be written, or nothing can be corrupt.
    async fn mend(&self, _key: &LockKey) -> Result<(), BackendError> {
        Err(BackendError::usage("there is nothing to rewrite"))
    }

    /// Gives the lock up as [`LockBackend::release`] does, and leaves it taken for as long as the retention that it was
    /// claimed with says of this `parting`. The token owns nothing afterwards. Idempotent.
    ///
    /// # Errors
    /// When the outcome is unknown.
    async fn part(&self, key: &LockKey, token: &OwnerToken, _: Parting) -> Result<Release, BackendError> {
        self.release(key, token).await
    }

    /// Removes all that is stored of `key`, whoever holds it, as if there had never been such a key. For a key that nobody
    /// but the caller can know of, and when nothing of the caller's contends for it any more: of any other key it would
    /// take the lock away, and its fencing tokens back.
    ///
    /// # Errors
    /// When the outcome is unknown, or something may not be removed.
    async fn forget(&self, key: &LockKey) -> Result<(), BackendError>;

    /// Reports who holds `key` and who waits for it. Read-only.
    ///
    /// # Errors
    /// When the question could not be answered.
    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError>;

    /// Reports every held or awaited key of the namespace that matches, sorted by key. Read-only.
    ///
    /// # Errors
    /// When the question could not be answered.
    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError>;

    /// Looks at what the locks stand on, and judges it for leases of `ttl`. Writes nothing but a key of its own, which it
    /// deletes again.
    ///
    /// # Errors
    /// When nothing can be asked at all.
    async fn examine(&self, _ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        Ok(Vec::new())
    }

    /// Ends the conversation with the backend: closes the session or connection and waits until that is done.
    /// Nothing may be asked afterwards.
    async fn close(&self);

    /// The descriptors that keep the granted locks for as long as any process has them open (the kernel's file locks);
    /// none where locks do not live in descriptors.
    fn descriptors(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        Vec::new()
    }
}
