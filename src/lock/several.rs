//! Several locks as one: all or none, and lost with the first that is lost.
//!
//! Where nobody is in the way and the backend can, they are taken at a stroke. Otherwise one after the other in the order
//! given, which has to be the same for everybody, so that two contenders never wait for each other. What has been taken is
//! kept alive while the next one is awaited.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::keep_alive::{Beat, Ended, Renewing};
use super::{Acquired, BackendError, Claim, Contention, Lease, LockBackend, LockKey, Progress, Together};
use crate::sys::boottime::BootInstant;

/// One of the locks that are wanted together, and the place where it lives.
pub struct Wanted<'a> {
    pub backend: &'a dyn LockBackend,
    pub claim: Claim,
    /// Not to be awaited behind so many others.
    pub most_ahead: Option<usize>,
}

/// How contending for all of them ended. Whatever it is but a grant, every claim that was begun has to be released.
pub enum Outcome<'a> {
    Granted(Holding<'a>),
    /// This one is held by somebody else, and the claim was not to wait: it alone need not be released.
    Held(LockKey, Contention),
    /// This one is awaited by so many already; the queue was not joined.
    Crowded(LockKey, Contention, usize),
    /// This one had been taken, and was lost while another was awaited.
    Lost(LockKey),
}

/// Takes all of `wanted`, or ends with the first that cannot be had. `begun` counts the claims of which the backends may
/// have heard, also when this future is dropped.
///
/// # Errors
/// As [`LockBackend::acquire`], for the key named.
pub async fn acquire_all<'a>(
    wanted: &[Wanted<'a>],
    begun: &Cell<usize>,
    progress: &dyn Fn(&LockKey, Progress),
) -> Result<Outcome<'a>, (LockKey, BackendError)> {
    if let Some(holding) = take_together(wanted, begun, progress).await? {
        return Ok(Outcome::Granted(holding));
    }
    let mut holding = Holding::default();
    for (number, Wanted { backend, claim, most_ahead }) in (1..).zip(wanted) {
        if let Some(most) = most_ahead {
            // Whoever only looks is in nobody's way.
            let status = backend.status(&claim.key).await.map_err(|error| (claim.key.clone(), error))?;
            if status.waiters.len() >= *most && status.would_refuse(claim.mode) {
                return Ok(Outcome::Crowded(claim.key.clone(), status.contention(), status.waiters.len()));
            }
        }
        begun.set(begun.get().max(number));
        let tell = |news| progress(&claim.key, news);
        let acquired = {
            let mut acquiring = backend.acquire(claim, &tell);
            let mut keeping = pin!(holding.keep_alive(Duration::ZERO, &|_, _| {}));
            let acquired = tokio::select! {
                biased;
                acquired = &mut acquiring => acquired,
                ended = &mut keeping, if !holding.parts.is_empty() => return Ok(Outcome::Lost(ended.key)),
            };
            if !holding.parts.is_empty() {
                holding.stop();
                let ended = keeping.await;
                if !matches!(ended.why, Ok(Ended::Stopped)) {
                    return Ok(Outcome::Lost(ended.key));
                }
            }
            acquired
        };
        match acquired.map_err(|error| (claim.key.clone(), error))? {
            Acquired::Granted(lease) => holding.parts.push(Part::new(*backend, lease)),
            Acquired::Lost => return Ok(Outcome::Lost(claim.key.clone())),
            Acquired::Held(contention) => return Ok(Outcome::Held(claim.key.clone(), contention)),
        }
    }
    Ok(Outcome::Granted(holding))
}

/// `None`: not all are taken. As far as some may be, the claims are begun.
async fn take_together<'a>(
    wanted: &[Wanted<'a>],
    begun: &Cell<usize>,
    progress: &dyn Fn(&LockKey, Progress),
) -> Result<Option<Holding<'a>>, (LockKey, BackendError)> {
    let [first, others @ ..] = wanted else { return Ok(None) };
    if others.is_empty() || others.iter().any(|other| !std::ptr::addr_eq(other.backend, first.backend)) {
        return Ok(None);
    }
    let claims: Vec<&Claim> = wanted.iter().map(|one| &one.claim).collect();
    begun.set(wanted.len());
    let ended = first.backend.acquire_together(&claims, progress).await;
    Ok(match ended.map_err(|error| (first.claim.key.clone(), error))? {
        Together::Granted(leases) => {
            let parts = leases.into_iter().map(|lease| Part::new(first.backend, lease)).collect();
            Some(Holding { parts })
        }
        Together::Apart => {
            begun.set(0);
            None
        }
        Together::Unclear => None,
    })
}

/// Leases that are held together, in the order in which they were taken.
#[derive(Default)]
pub struct Holding<'a> {
    parts: Vec<Part<'a>>,
}

/// One of them.
pub struct Part<'a> {
    pub backend: &'a dyn LockBackend,
    pub renewing: Renewing,
    /// Nothing can be believed of it any more.
    is_over: Cell<bool>,
}

/// Which lease ended, and why.
#[derive(Debug)]
pub struct EndedLease {
    pub key: LockKey,
    /// # Errors
    /// When the process or the machine has no descriptor left.
    pub why: io::Result<Ended>,
}

impl<'a> Part<'a> {
    fn new(backend: &'a dyn LockBackend, lease: Lease) -> Self {
        Self { backend, renewing: Renewing::new(lease), is_over: Cell::new(false) }
    }

    #[must_use]
    pub fn key(&self) -> &LockKey {
        &self.renewing.lease().key
    }

    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }
}

impl<'a> Holding<'a> {
    #[must_use]
    pub fn parts(&self) -> &[Part<'a>] {
        &self.parts
    }

    /// The part that is the lock of `key`; `None`: it is none of those that were wanted.
    #[must_use]
    pub fn part(&self, key: &LockKey) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| part.key() == key)
    }

    /// The leases as last renewed.
    #[must_use]
    pub fn leases(&self) -> Vec<Lease> {
        self.parts.iter().map(|part| part.renewing.as_of_now()).collect()
    }

    /// The shortest of their TTLs; `None`: nothing is held.
    #[must_use]
    pub fn ttl(&self) -> Option<Duration> {
        self.parts.iter().map(|part| part.renewing.lease().ttl).min()
    }

    /// The earliest deadline of those that are still believed; `None`: there is none.
    #[must_use]
    pub fn valid_until(&self) -> Option<BootInstant> {
        self.believed().filter_map(|part| part.renewing.valid_until()).min()
    }

    /// For how long all that are still believed can be.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.valid_until().map(BootInstant::remaining)
    }

    /// From now on `key` is believed to be lost; the others are kept.
    pub fn forsake(&self, key: &LockKey) {
        self.parts.iter().filter(|part| part.key() == key).for_each(|part| part.is_over.set(true));
    }

    /// Whether none is left that can be believed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.believed().next().is_none()
    }

    /// Whether one of them is too old to start a command on, even when it has been asked once more.
    pub async fn is_stale(&self) -> bool {
        for part in &self.parts {
            if part.renewing.is_half_spent() && !part.renewing.renew_once(part.backend).await {
                return true;
            }
        }
        false
    }

    /// Ends [`Holding::keep_alive`] as soon as no request is in flight.
    pub fn stop(&self) {
        self.believed().for_each(|part| part.renewing.stop());
    }

    /// Renews all that are believed until one of them ends, as [`Renewing::keep_alive`]; may be called again.
    pub async fn keep_alive(&self, notice: Duration, beat: &dyn Fn(&Part<'a>, Beat<'_>)) -> EndedLease {
        let mut renewals: FuturesUnordered<_> = self
            .believed()
            .map(|part| async move {
                let why = part.renewing.keep_alive(part.backend, notice, &|news| beat(part, news)).await;
                EndedLease { key: part.key().clone(), why }
            })
            .collect();
        let mut last = None;
        while let Some(ended) = renewals.next().await {
            if !matches!(ended.why, Ok(Ended::Stopped)) {
                return ended;
            }
            last = Some(ended);
        }
        match last {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }

    fn believed(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter().filter(|part| !part.is_over())
    }
}
