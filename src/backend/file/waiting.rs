//! Taking the lock and standing in line for it. Breaks when a grant is believed that the records forbid, or when a wait that
//! was given up is granted afterwards.

use super::FileBackend;
use super::directory::{Missing, NamespaceDir};
use super::kept::Kept;
use super::lease::{LeaseEnd, expires_at};
use super::lock_file::{LockFile, elapsed};
use super::locks::{EXCLUSIVE, GUARD, HEAD, HEAD_AND_GUARD, OWNERSHIP, PLACE, SLOTS, UNCONTENDED};
use super::records::{Current, Entry, Record, Role, Sharing, Standing, WrittenPhase, key_hex, next_fence, wall_time};
use super::vacancy::Change;
use crate::lock::{
    Acquired, BackendError, Claim, Contention, FencingToken, Lease, LeaseKind, LockKey, Mode, Patience, Progress,
};
use crate::sys::boottime::BootInstant;
use crate::sys::ofd_lock::Attempt;

/// Renewals per one-shot lease, while it is kept for somebody who still waits for another lock.
const RENEWALS_PER_LEASE: u32 = 3;

/// What the records say to a contender to whom the kernel has given everything.
enum Decision {
    Granted(Lease),
    HeldUntil(BootInstant, Contention),
    /// The file is not the one that has the name now.
    Replaced,
}

/// How one description fared.
pub(super) enum Outcome {
    Settled(Acquired),
    Replaced,
}

impl FileBackend {
    pub(super) async fn take(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        let requested_at = BootInstant::now();
        let name = claim.key.encoded();
        loop {
            let place = self.made_place()?;
            let attempt = Attempting { backend: self, place, name: &name, claim, requested_at, progress };
            if let Outcome::Settled(acquired) = attempt.contend().await? {
                return Ok(acquired);
            }
        }
    }
}

/// Opens the key's file, making it if need be.
fn open(place: &NamespaceDir, name: &str) -> Result<LockFile, BackendError> {
    let (file, identity) = place.open_file(name, Missing::Make)?.expect("a missing file was to be made");
    Ok(LockFile::new(file, identity, place.path.join(name)))
}

/// One claim at one file.
pub(super) struct Attempting<'a> {
    pub(super) backend: &'a FileBackend,
    place: &'a NamespaceDir,
    name: &'a str,
    pub(super) claim: &'a Claim,
    requested_at: BootInstant,
    pub(super) progress: &'a dyn Fn(Progress),
}

impl Attempting<'_> {
    async fn contend(&self) -> Result<Outcome, BackendError> {
        // Whatever is on the way out, and whoever drops us: one call undoes every lock, a grant of this instant too.
        let undo = |file: &LockFile| {
            file.unlock_everything().ok();
        };
        let opened = || open(self.place, self.name);
        let turn = self.backend.contenders.enter(&self.claim.key, &self.claim.token, opened, undo)?;
        let outcome = match self.claim.mode {
            Mode::Exclusive => self.reach(turn.file()).await?,
            Mode::Shared | Mode::Slots(_) => self.reach_beside(turn.file()).await?,
        };
        match &outcome {
            Outcome::Settled(Acquired::Granted(_)) if self.claim.kind == LeaseKind::Running => {
                self.keep_place(turn.file())?;
                turn.keep();
            }
            // The records keep a one-shot lease, nobody the rest.
            Outcome::Settled(_) => {}
            Outcome::Replaced => turn.retire(),
        }
        Ok(outcome)
    }

    /// Unlocks what only a contender needs.
    fn keep_place(&self, file: &LockFile) -> Result<(), BackendError> {
        match self.claim.mode {
            Mode::Exclusive => {
                file.unlock(HEAD_AND_GUARD)?;
                file.leave_table()
            }
            Mode::Shared => {
                file.unlock(SLOTS)?;
                file.unlock(HEAD_AND_GUARD)
            }
            Mode::Slots(_) => file.unlock(OWNERSHIP.through(GUARD)),
        }
    }

    /// Takes part until it is settled. Whatever was locked for that still is, the guard too after a grant.
    async fn reach(&self, file: &LockFile) -> Result<Outcome, BackendError> {
        let mut guard = if file.try_lock(UNCONTENDED)? == Attempt::Locked {
            file.guarded()
        } else {
            if file.try_lock(PLACE)? == Attempt::Busy {
                match self.claim.patience {
                    Patience::Refuse => return Ok(Outcome::Settled(Acquired::Held(self.seen(file, None)?))),
                    Patience::Queue { .. } => self.stand_in_line(file).await?,
                }
            }
            file.guard().await?
        };
        let mut change: Option<Change> = None;
        loop {
            let (until, contention) = match self.decide(file)? {
                Decision::Granted(lease) => {
                    guard.unlocked_with_the_rest();
                    return Ok(Outcome::Settled(Acquired::Granted(lease)));
                }
                Decision::Replaced => return Ok(Outcome::Replaced),
                Decision::HeldUntil(until, contention) => (until, contention),
            };
            if self.claim.patience == Patience::Refuse {
                return Ok(Outcome::Settled(Acquired::Held(contention)));
            }
            // Made while nobody else can write, after the last look and our own last write: misses nothing.
            let change = match &mut change {
                Some(change) => change,
                None => {
                    // Whoever stood in line has an entry already.
                    if !file.is_entered() {
                        file.enter(&self.entry(), self.backend.leases()?)?;
                    }
                    change.insert(Change::watch(file)?)
                }
            };
            drop(guard);
            (self.progress)(Progress::Waiting(Contention { ahead: Some(0), ..contention }));
            change.next_or(until).await;
            guard = file.guard().await?;
        }
    }

    /// Waits in the kernel's queue: first to be its head, then for the holder to go.
    async fn stand_in_line(&self, file: &LockFile) -> Result<(), BackendError> {
        self.reach_the_head(file).await?;
        file.lock(EXCLUSIVE).await
    }

    /// Waits for the turnstile, in the same order in which the table has the contenders: while one enters there and in the
    /// kernel's queue, no other one can.
    pub(super) async fn reach_the_head(&self, file: &LockFile) -> Result<(), BackendError> {
        let (contention, turn) = {
            let _guard = file.guard().await?;
            self.check_same_slots(file, &file.read()?)?;
            let ahead = file.enter(&self.entry(), self.backend.leases()?)?;
            (self.seen(file, Some(ahead))?, file.queue(HEAD)?)
        };
        (self.progress)(Progress::Waiting(contention));
        if turn.is_granted() {
            return Ok(());
        }
        turn.granted().await?;
        (self.progress)(Progress::Waiting(self.seen(file, Some(0))?));
        Ok(())
    }

    /// Reads the records and, if they allow it, writes ours. Needs everything and the guard.
    fn decide(&self, file: &LockFile) -> Result<Decision, BackendError> {
        if self.is_replaced(file)? {
            return Ok(Decision::Replaced);
        }
        let mut current = file.read()?;
        if let Some((until, contention)) = self.kept_out(file, &mut current)? {
            return Ok(Decision::HeldUntil(until, contention));
        }
        let fence = next_fence(current.record.fence, self.backend.wall_us());
        let end = self.lease_end()?;
        let kept = self.kept();
        file.write(&mut current, self.record(fence, end.as_ref(), kept)?)?;
        file.kept.set(kept);
        Ok(Decision::Granted(self.lease(Some(FencingToken(fence)), end.as_ref())))
    }

    /// Until when the records keep us out, and who it is; what a dead holder asked for is written before.
    pub(super) fn kept_out(
        &self,
        file: &LockFile,
        current: &mut Current,
    ) -> Result<Option<(BootInstant, Contention)>, BackendError> {
        if !current.record.depends_on_boot() {
            return Ok(None);
        }
        self.backend.bury(file, current)?;
        let now = self.backend.now()?;
        let until = match current.record.standing(&now.boot_id, now.boottime) {
            Standing::Kernel => return Ok(None),
            Standing::Until(end) => end,
            Standing::Delayed(delay) => {
                let until = now.boottime + delay;
                let delayed = current.record.delayed(until);
                file.write(current, delayed)?;
                until
            }
        };
        Ok(Some((until, self.contention(file, &current.record, now.boottime)?)))
    }

    /// When the lease that we ask for would end, from now.
    pub(super) fn lease_end(&self) -> Result<Option<LeaseEnd>, BackendError> {
        match self.claim.kind {
            LeaseKind::Running => Ok(None),
            LeaseKind::OneShot => {
                let (ttl, delay) = (self.claim.ttl.duration(), self.claim.retention.lock_delay);
                Ok(Some(LeaseEnd::after(ttl, delay, self.backend.now()?)))
            }
        }
    }

    pub(super) fn lease(&self, fence: Option<FencingToken>, end: Option<&LeaseEnd>) -> Lease {
        Lease {
            key: self.claim.key.clone(),
            token: self.claim.token.clone(),
            ttl: self.claim.ttl.duration(),
            fence,
            requested_at: self.requested_at,
            valid_until: end.map(|end| end.believed),
            renew_every: end.map(|_| self.claim.ttl.duration() / RENEWALS_PER_LEASE),
            expires_at: end.map(|end| expires_at(end.believed)),
        }
    }

    pub(super) fn is_replaced(&self, file: &LockFile) -> Result<bool, BackendError> {
        self.place.is_current(self.name, file.identity).map(|is_current| !is_current)
    }

    pub(super) fn whole_key(&self) -> Option<String> {
        whole_key(&self.claim.key, self.name)
    }

    /// How a lock that is granted now is to stay taken later.
    pub(super) fn kept(&self) -> Kept {
        Kept::of(self.claim.retention, BootInstant::now())
    }

    fn record(&self, fence: u64, end: Option<&LeaseEnd>, kept: Kept) -> Result<Record, BackendError> {
        let depends_on_boot = kept != Kept::default();
        let lease = Record {
            fence,
            phase: WrittenPhase::Running,
            token: Some(self.claim.token.secret().to_owned()),
            holder: self.claim.holder.clone(),
            since_us: Some(self.backend.wall_us()),
            since_boot_ns: Some(BootInstant::now().as_nanos()),
            boot: depends_on_boot.then(|| self.backend.boot_id().map(str::to_owned)).transpose()?,
            hold_until_boot_ns: kept.hold_until_boot_ns,
            lock_delay_ms: kept.lock_delay_ms,
            key_hex: self.whole_key(),
            ..Record::default()
        };
        Ok(match end {
            None => lease,
            Some(end) => Record {
                phase: WrittenPhase::OneShot,
                boot: Some(end.boot_id.clone()),
                ttl_ms: Some(end.ttl_ms),
                asked_ttl_ms: Some(end.ttl_ms),
                end_boot_ns: Some(end.at.as_nanos()),
                ..lease
            },
        })
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            role: Role::Waiter,
            sharing: Sharing::of(self.claim.mode),
            id: Some(self.claim.token.id()),
            holder: self.claim.holder.clone(),
            since_us: Some(self.backend.wall_us()),
            since_boot_ns: Some(BootInstant::now().as_nanos()),
            ..Entry::default()
        }
    }

    /// Who holds it, as far as the records tell while somebody may be writing them.
    pub(super) fn seen(&self, file: &LockFile, ahead: Option<usize>) -> Result<Contention, BackendError> {
        let record = file.read_unguarded()?;
        Ok(Contention { ahead, ..self.contention(file, &record, BootInstant::now())? })
    }

    fn contention(&self, file: &LockFile, record: &Record, now: BootInstant) -> Result<Contention, BackendError> {
        let (holder, since_us, since_boot_ns, others) = match record.phase {
            WrittenPhase::Free => return Ok(Contention::default()),
            WrittenPhase::Group => {
                let mut members = file.entries(self.backend.leases()?)?;
                members.retain(|(_, entry)| entry.role == Role::Holder);
                let others = members.len().saturating_sub(1);
                let first = members.into_iter().min_by_key(|(_, entry)| entry.since_boot_ns);
                let Some((_, entry)) = first else { return Ok(Contention::default()) };
                (entry.holder, entry.since_us, entry.since_boot_ns, others)
            }
            _ => (record.holder.clone(), record.since_us, record.since_boot_ns, 0),
        };
        Ok(Contention {
            holder: Some(holder),
            others,
            since: since_us.map(wall_time),
            held_for: since_boot_ns.and_then(|then| elapsed(then, now)),
            ahead: None,
        })
    }
}

/// `None` where the file's name tells it.
pub(super) fn whole_key(key: &LockKey, name: &str) -> Option<String> {
    LockKey::decode(name).is_none().then(|| key_hex(key))
}
