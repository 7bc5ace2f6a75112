//! Renews a lease until it is lost. The only place that compares a lease with the clock.
//!
//! An answer "yours" is worth its validity from before the question was sent; "not yours" ends it now; no answer is
//! unknown, and only time turns that into lost. The deadline is looked at before every renewal, so a process that was
//! stopped past its lease finds out before it asks.

use std::cell::{Cell, RefCell};
use std::io;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;

use super::backoff;
use super::pace::Pace;
use super::{BackendError, Lease, LockBackend, Renewal};
use crate::sys::boottime::{BootInstant, BootTimer, ClockSteps};

/// Why renewing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// [`Renewing::stop`] was called; no request is in flight.
    Stopped,
    /// No renewal has been answered in time: the lease ends in as long as the caller asked for notice.
    Unrenewed(Option<BackendError>),
    /// The backend says that it is not ours any more.
    Lost,
    /// The backend says that an operator wants it back.
    Revoked,
}

/// One thing that happened to a lease.
#[derive(Debug)]
pub enum Beat<'a> {
    Renewed,
    Failed(&'a BackendError),
}

/// A lease that is being renewed: what its renewer and its readers share.
#[derive(Debug)]
pub struct Renewing {
    lease: Lease,
    valid_until: Cell<Option<BootInstant>>,
    confirmed_at: Cell<BootInstant>,
    /// When to ask next.
    next: Cell<BootInstant>,
    stopping: Notify,
    /// Made for the first renewal, and kept: to close them takes time that whoever waits for the lock would wait.
    clocks: RefCell<Option<Clocks>>,
}

/// What a renewal goes by.
#[derive(Debug)]
struct Clocks {
    timer: BootTimer,
    steps: ClockSteps,
}

impl Clocks {
    fn new() -> io::Result<Self> {
        Ok(Self { timer: BootTimer::new()?, steps: ClockSteps::watch()? })
    }
}

impl Renewing {
    #[must_use]
    pub fn new(lease: Lease) -> Self {
        let next = lease.requested_at + lease.renew_every.unwrap_or_default();
        Self {
            valid_until: Cell::new(lease.valid_until),
            confirmed_at: Cell::new(lease.requested_at),
            next: Cell::new(next),
            stopping: Notify::new(),
            clocks: RefCell::default(),
            lease,
        }
    }

    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The deadline as last renewed; `None`: there is none.
    #[must_use]
    pub fn valid_until(&self) -> Option<BootInstant> {
        self.valid_until.get()
    }

    /// The instant before the last request that was answered "yours".
    #[must_use]
    pub fn confirmed_at(&self) -> BootInstant {
        self.confirmed_at.get()
    }

    /// How long the lease can still be believed.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        self.valid_until.get().map(BootInstant::remaining)
    }

    /// Whether less than half of the validity is left: too little to start a command on.
    #[must_use]
    pub fn is_half_spent(&self) -> bool {
        let whole = self.lease.valid_until.map_or(Duration::ZERO, |first| first.since(self.lease.requested_at));
        self.valid_until.get().is_some_and(|deadline| deadline.remaining() < whole / 2)
    }

    /// The lease with its deadline as last renewed.
    #[must_use]
    pub fn as_of_now(&self) -> Lease {
        Lease { valid_until: self.valid_until.get(), requested_at: self.confirmed_at.get(), ..self.lease.clone() }
    }

    /// Renews once, now; whether the answer was "yours".
    pub async fn renew_once(&self, backend: &dyn LockBackend) -> bool {
        let asked_at = BootInstant::now();
        match tokio::time::timeout(Pace::of(self.lease.ttl).request_limit, backend.renew(&self.lease)).await {
            Ok(Ok(Renewal::Renewed { valid_until })) => {
                self.confirm(asked_at, valid_until);
                !self.is_half_spent()
            }
            _ => false,
        }
    }

    /// Ends [`Renewing::keep_alive`] as soon as its request in flight has been answered.
    pub fn stop(&self) {
        self.stopping.notify_one();
    }

    /// Renews until the lease is lost, or ends within `notice`, or [`Renewing::stop`] is called; may be called again.
    ///
    /// Tells `beat` of every renewal. The deadline has moved when it says "renewed".
    ///
    /// # Errors
    /// When the process or the machine has no descriptor left.
    pub async fn keep_alive(
        &self,
        backend: &dyn LockBackend,
        notice: Duration,
        beat: &dyn Fn(Beat<'_>),
    ) -> io::Result<Ended> {
        if self.valid_until.get().is_none() || self.lease.renew_every.is_none() {
            return Ok(self.keep(backend).await);
        }
        if self.last_call(notice).has_passed() {
            return Ok(Ended::Unrenewed(None));
        }
        // Most commands end before anything is due.
        tokio::select! {
            biased;
            () = self.stopping.notified() => return Ok(Ended::Stopped),
            () = yield_now() => {}
        }
        let mut clocks = self.clocks.take().map_or_else(Clocks::new, Ok)?;
        let ended = self.renew_by(&mut clocks, backend, notice, beat).await;
        self.clocks.replace(Some(clocks));
        Ok(ended)
    }

    async fn renew_by(
        &self,
        Clocks { timer, steps }: &mut Clocks,
        backend: &dyn LockBackend,
        notice: Duration,
        beat: &dyn Fn(Beat<'_>),
    ) -> Ended {
        let pace = Pace::of(self.lease.ttl);
        let mut last_error = None;
        loop {
            let last_call = self.last_call(notice);
            if last_call.has_passed() {
                return Ended::Unrenewed(last_error);
            }
            tokio::select! {
                biased;
                () = timer.sleep_until(last_call.min(self.next.get())) => {}
                () = self.stopping.notified() => return Ended::Stopped,
                // Perhaps it is not ours any more.
                () = backend.touched(&self.lease) => self.next.set(BootInstant::now()),
                // A clock that was set: perhaps this machine was asleep, and its timers late.
                () = steps.next() => self.next.set(BootInstant::now()),
            }
            if last_call.has_passed() || !self.next.get().has_passed() {
                continue;
            }
            let asked_at = BootInstant::now();
            let answer = tokio::select! {
                biased;
                () = timer.sleep_until((asked_at + pace.request_limit).min(last_call)) => Err(no_answer(pace.request_limit)),
                answer = backend.renew(&self.lease) => answer,
            };
            match answer {
                Ok(Renewal::Renewed { valid_until }) => {
                    self.confirm(asked_at, valid_until);
                    last_error = None;
                    beat(Beat::Renewed);
                }
                Ok(Renewal::Revoked { valid_until }) => {
                    self.confirm(asked_at, valid_until);
                    return Ended::Revoked;
                }
                Ok(Renewal::Lost) => return Ended::Lost,
                Err(error) => {
                    self.next.set(BootInstant::now() + backoff::jittered(pace.pause.0, pace.pause.1));
                    beat(Beat::Failed(&error));
                    last_error = Some(error);
                }
            }
        }
    }

    /// The last instant at which a renewal still leaves `notice`.
    fn last_call(&self, notice: Duration) -> BootInstant {
        self.valid_until.get().expect("a lease that is renewed has a deadline") - notice
    }

    /// What needs no renewal is held until it is given up or asked back.
    async fn keep(&self, backend: &dyn LockBackend) -> Ended {
        loop {
            tokio::select! {
                biased;
                () = self.stopping.notified() => return Ended::Stopped,
                () = backend.touched(&self.lease) => {}
            }
            match backend.renew(&self.lease).await {
                Ok(Renewal::Revoked { .. }) => return Ended::Revoked,
                Ok(Renewal::Lost) => return Ended::Lost,
                // Nobody but the operator writes there, and whoever tells of it tells again.
                Ok(Renewal::Renewed { .. }) | Err(_) => {}
            }
        }
    }

    /// Takes the answer "yours" to a question asked at `asked_at`. The deadline moves forward, never back, and never
    /// after it has passed: a late answer extends nothing.
    fn confirm(&self, asked_at: BootInstant, valid_until: BootInstant) {
        let current = self.valid_until.get().expect("a lease that is renewed has a deadline");
        if current.has_passed() {
            return;
        }
        self.valid_until.set(Some(current.max(valid_until)));
        self.confirmed_at.set(asked_at);
        self.next.set(asked_at + self.lease.renew_every.unwrap_or_default());
    }
}

fn no_answer(limit: Duration) -> BackendError {
    BackendError::unavailable(format!("no answer within {}", humantime::format_duration(limit)))
}

#[cfg(test)]
mod tests;
