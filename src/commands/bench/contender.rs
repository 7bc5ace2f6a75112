//! The life of a contender: a process of its own, so that what is measured between two of them is what two runs would see.

use std::cell::RefCell;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Plan;
use super::wire::{Order, Share, Wire, Word};
use crate::backend;
use crate::commands::event_loop;
use crate::lock::{Acquired, BackendError, LockBackend, Mode, OwnerToken, Progress, Release};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::process::exit_now;

/// How long giving up may take once nobody gives orders any more; what is left then is removed by the janitor.
const LEAVING: Duration = Duration::from_secs(1);

/// Obeys until the measuring process is gone.
pub(super) fn live(orders: UnixStream, plan: &Plan<'_>) -> ! {
    let runtime = event_loop();
    let lived = runtime.and_then(|runtime| runtime.block_on(obey(orders, plan)));
    exit_now(i32::from(lived.is_err()))
}

async fn obey(orders: UnixStream, plan: &Plan<'_>) -> io::Result<()> {
    let mut wire = Wire::new(orders)?;
    let Some(mut order) = wire.receive().await? else { return Ok(()) };
    let backend = match backend::open(&plan.deployment.target) {
        Ok(backend) => backend,
        Err(error) => return wire.send(&Word::Failed(error.into())).await,
    };
    let contender = Contender { plan, backend: &*backend, token: RefCell::default() };
    loop {
        let word = contender.answer(order, &mut wire).await?;
        let Some(word) = word else { break };
        wire.send(&word).await?;
        match wire.receive().await? {
            Some(next) => order = next,
            None => break,
        }
    }
    timeout(LEAVING, contender.leave()).await.ok();
    timeout(LEAVING, backend.close()).await.ok();
    Ok(())
}

struct Contender<'a> {
    plan: &'a Plan<'a>,
    backend: &'a dyn LockBackend,
    /// Of what is held, or may be.
    token: RefCell<Option<OwnerToken>>,
}

impl Contender<'_> {
    /// `None`: nobody waits for an answer any more.
    async fn answer(&self, order: Order, wire: &mut Wire) -> io::Result<Option<Word>> {
        let waits = Notify::new();
        let mut told = false;
        let mut work = std::pin::pin!(self.perform(order, &waits));
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Some(done.unwrap_or_else(|error| Word::Failed(error.into())))),
                () = waits.notified(), if !told => {
                    told = true;
                    if matches!(order, Order::Acquire(_)) {
                        wire.send(&Word::Waiting).await?;
                    }
                }
                // No order comes before this one has been answered.
                _ = wire.receive::<Order>() => return Ok(None),
            }
        }
    }

    async fn perform(&self, order: Order, waits: &Notify) -> Result<Word, BackendError> {
        let asked = self.plan.settings.mode;
        match order {
            Order::WarmUp => {
                self.acquire(asked, waits).await?;
                self.release().await?;
                Ok(Word::WarmedUp)
            }
            Order::Acquire(share) => {
                let mode = match share {
                    Share::WithNobody => Mode::Exclusive,
                    Share::AsAsked => asked,
                };
                self.acquire(mode, waits).await?;
                Ok(Word::Granted { at: BootInstant::now().as_nanos() })
            }
            Order::Release => {
                let began = BootInstant::now().as_nanos();
                self.release().await?;
                Ok(Word::Released { began })
            }
            Order::Contend { from, until } => {
                let window = (BootInstant::from_nanos(from), BootInstant::from_nanos(until));
                Ok(Word::Contended { waits: self.contend(window, waits).await? })
            }
        }
    }

    async fn acquire(&self, mode: Mode, waits: &Notify) -> Result<(), BackendError> {
        let claim = self.plan.claim(mode);
        self.token.replace(Some(claim.token.clone()));
        let progress = |news: Progress| {
            if matches!(news, Progress::Waiting(_)) {
                waits.notify_one();
            }
        };
        match self.backend.acquire(&claim, &progress).await? {
            Acquired::Granted(_) => Ok(()),
            Acquired::Held(_) | Acquired::Lost => {
                Err(BackendError::unavailable("the lock was lost while it was taken"))
            }
        }
    }

    async fn release(&self) -> Result<(), BackendError> {
        let token = self.token.borrow().clone();
        let Some(token) = token else { return Ok(()) };
        let released = self.backend.release(&self.plan.key, &token).await?;
        self.token.take();
        match released {
            Release::Released => Ok(()),
            Release::NotHeld => Err(BackendError::unavailable("the lock was lost while it was held")),
        }
    }

    /// How long each turn within the window was waited for.
    async fn contend(
        &self,
        (from, until): (BootInstant, BootInstant),
        waits: &Notify,
    ) -> Result<Vec<u64>, BackendError> {
        let no_timer = |error: io::Error| BackendError::system(error.to_string());
        BootTimer::new().map_err(no_timer)?.sleep_until(from).await;
        let mut taken = Vec::new();
        while !until.has_passed() {
            let began = BootInstant::now();
            // The last turns come when those before them are over; not all of a crowd without a queue may see theirs.
            let mut patience = BootTimer::new().map_err(no_timer)?;
            tokio::select! {
                biased;
                acquired = self.acquire(self.plan.settings.mode, waits) => acquired?,
                () = patience.sleep_until(until + until.since(from)) => {
                    self.leave().await;
                    break;
                }
            }
            let granted = BootInstant::now();
            if granted <= until {
                taken.push(granted.as_nanos() - began.as_nanos());
            }
            self.release().await?;
        }
        Ok(taken)
    }

    async fn leave(&self) {
        let token = self.token.take();
        if let Some(token) = token {
            self.backend.release(&self.plan.key, &token).await.ok();
        }
    }
}
