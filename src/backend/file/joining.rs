//! Holding a key beside others of the same mode. Breaks when somebody passes the turnstile without having it, or counts
//! holders while others can still come in.

use std::time::Duration;

use super::kept::Kept;
use super::lock_file::LockFile;
use super::locks::{HEAD, MAX_SLOTS, OWNERSHIP, SLOTS, slot};
use super::records::{Current, Entry, Record, Role, Sharing, WrittenPhase};
use super::vacancy::{Change, slot_or_change};
use super::waiting::{Attempting, Outcome};
use crate::lock::{
    Acquired, BackendError, Contention, FIRST_CONTACT, Lease, LeaseKind, LockState, Mode, Patience, Progress,
};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::ofd_lock::{Access, Attempt};

/// How long a contender that is not to wait lets another one pass the turnstile before it looks whether that waits there.
const PASSAGE: Duration = Duration::from_millis(5);

/// What the records say to a contender that has the turnstile, and the kernel's word that nobody of another mode runs.
enum Joined {
    Granted(Lease),
    /// By leases of another mode.
    HeldUntil(BootInstant, Contention),
    /// All slots are taken: these by processes, the others by leases, of which the first ends then.
    Full(Vec<i64>, Option<BootInstant>),
    Replaced,
}

impl Attempting<'_> {
    /// Takes part until it is settled, like `reach`, for a holder that is not alone.
    pub(super) async fn reach_beside(&self, file: &LockFile) -> Result<Outcome, BackendError> {
        self.check_total()?;
        if let Some(contention) = self.pass_turnstile(file).await? {
            return Ok(Outcome::Settled(Acquired::Held(contention)));
        }
        if !self.try_shut_out(file)? {
            if self.claim.patience == Patience::Refuse {
                return Ok(Outcome::Settled(Acquired::Held(self.seen(file, None)?)));
            }
            if !file.is_entered() {
                self.show(file).await?;
            }
            self.shut_out(file).await?;
        }
        let mut change: Option<Change> = None;
        loop {
            let guard = file.guard().await?;
            let (used, until, contention) = match self.join(file)? {
                Joined::Granted(lease) => {
                    guard.unlocked_with_the_rest();
                    return Ok(Outcome::Settled(Acquired::Granted(lease)));
                }
                Joined::Replaced => return Ok(Outcome::Replaced),
                Joined::HeldUntil(until, contention) => (Vec::new(), Some(until), contention),
                Joined::Full(used, until) => (used, until, self.seen(file, None)?),
            };
            if self.claim.patience == Patience::Refuse {
                return Ok(Outcome::Settled(Acquired::Held(contention)));
            }
            // Made while nobody else can write, after the last look and our own last write: misses nothing.
            if !file.is_entered() {
                file.enter(&self.entry(), self.backend.leases()?)?;
            }
            let change = match &mut change {
                Some(change) => change,
                None => change.insert(Change::watch(file)?),
            };
            drop(guard);
            (self.progress)(Progress::Waiting(Contention { ahead: Some(0), ..contention }));
            slot_or_change(file, &used, change, until).await?;
            if !used.is_empty() {
                // Nobody else comes in meanwhile, and with what we have locked we could not count.
                file.unlock(SLOTS)?;
            }
        }
    }

    fn check_total(&self) -> Result<(), BackendError> {
        match self.claim.mode {
            Mode::Slots(total) if i64::from(total) > MAX_SLOTS => Err(BackendError::usage(format!(
                "the file backend counts at most {MAX_SLOTS} slots, not {total}; give a smaller number, or use -b redis"
            ))),
            _ => Ok(()),
        }
    }

    /// Becomes the head of the queue; an answer is a refusal.
    async fn pass_turnstile(&self, file: &LockFile) -> Result<Option<Contention>, BackendError> {
        if file.try_lock(HEAD)? == Attempt::Locked {
            return Ok(None);
        }
        if self.claim.patience == Patience::Refuse {
            return self.await_passage(file).await;
        }
        self.reach_the_head(file).await?;
        Ok(None)
    }

    /// Whoever has the turnstile may wait there, or just be passing: only the first is a reason to refuse.
    async fn await_passage(&self, file: &LockFile) -> Result<Option<Contention>, BackendError> {
        let timer = BootTimer::new()
            .map_err(|error| BackendError::system(format!("no timer for the turnstile is to be had: {error}")));
        let mut timer = timer?;
        let give_up = BootInstant::now() + FIRST_CONTACT;
        let mut was_refused = false;
        loop {
            let guard = file.guard().await?;
            let current = file.read()?;
            self.check_same_slots(file, &current)?;
            let mut status = self.backend.describe(&self.claim.key, file)?;
            // What the kernel shows then belongs to whoever is passing.
            if current.record.phase == WrittenPhase::Free {
                status.state = LockState::Free;
            }
            let is_refused = status.would_refuse(self.claim.mode);
            // Twice: the record may be of a dead holder, whom the one that passes is about to replace.
            if is_refused && was_refused || give_up.has_passed() {
                return self.seen(file, None).map(Some);
            }
            was_refused = is_refused;
            drop(guard);
            tokio::select! {
                locked = file.lock(HEAD) => return locked.map(|()| None),
                () = timer.sleep_until(BootInstant::now() + PASSAGE) => {}
            }
        }
    }

    /// Shows us in the queue, whose head we are.
    async fn show(&self, file: &LockFile) -> Result<(), BackendError> {
        let contention = {
            let _guard = file.guard().await?;
            self.check_same_slots(file, &file.read()?)?;
            let ahead = file.enter(&self.entry(), self.backend.leases()?)?;
            self.seen(file, Some(ahead))?
        };
        (self.progress)(Progress::Waiting(contention));
        Ok(())
    }

    /// Locks what holders of other modes have. Needs the turnstile: that nobody else locks it half-way.
    fn try_shut_out(&self, file: &LockFile) -> Result<bool, BackendError> {
        Ok(match self.claim.mode {
            Mode::Slots(_) => file.try_lock(OWNERSHIP)? == Attempt::Locked,
            Mode::Shared | Mode::Exclusive => {
                file.try_lock(SLOTS)? == Attempt::Locked
                    && file.try_lock_for(Access::Read, OWNERSHIP)? == Attempt::Locked
            }
        })
    }

    async fn shut_out(&self, file: &LockFile) -> Result<(), BackendError> {
        if let Mode::Slots(_) = self.claim.mode {
            return file.lock(OWNERSHIP).await;
        }
        file.lock(SLOTS).await?;
        file.lock_for(Access::Read, OWNERSHIP).await
    }

    /// Reads the records and, if they allow it, writes us down. Needs the turnstile, what `shut_out` locks, and the guard.
    fn join(&self, file: &LockFile) -> Result<Joined, BackendError> {
        if self.is_replaced(file)? {
            return Ok(Joined::Replaced);
        }
        let mut current = file.read()?;
        self.backend.bury(file, &mut current)?;
        self.check_same_slots(file, &current)?;
        let sharing = Sharing::of(self.claim.mode);
        let is_alike = current.record.phase == WrittenPhase::Group && current.record.sharing == sharing;
        if !is_alike && let Some((until, contention)) = self.kept_out(file, &mut current)? {
            return Ok(Joined::HeldUntil(until, contention));
        }
        if let Mode::Slots(total) = self.claim.mode {
            let used = file.used_slots()?;
            let ends = self.backend.lease_ends(file)?;
            if used.len() + ends.len() >= usize::try_from(total).unwrap_or(usize::MAX) {
                return Ok(Joined::Full(used, ends.into_iter().min()));
            }
            self.take_slot(file, total, &used)?;
        }
        self.write_down(file, &mut current, sharing).map(Joined::Granted)
    }

    /// A lease needs none: it is counted by its entry.
    fn take_slot(&self, file: &LockFile, total: u32, used: &[i64]) -> Result<(), BackendError> {
        if self.claim.kind == LeaseKind::OneShot {
            return Ok(());
        }
        for index in (0..i64::from(total)).filter(|index| used.binary_search(index).is_err()) {
            if file.try_lock(slot(index))? == Attempt::Locked {
                return Ok(());
            }
        }
        Err(BackendError::unavailable(format!(
            "somebody took a slot of {} without passing the turnstile; is another program locking there?",
            file.path.display()
        )))
    }

    /// Writes the group and our entry in it.
    fn write_down(&self, file: &LockFile, current: &mut Current, sharing: Sharing) -> Result<Lease, BackendError> {
        let end = self.lease_end()?;
        let before = current.record.clone();
        let ends = self.backend.lease_ends(file)?;
        let last = ends.into_iter().chain(end.as_ref().map(|end| end.at)).max();
        let kept = self.kept();
        let is_alike = before.phase == WrittenPhase::Group && before.sharing == sharing;
        let theirs = before.lock_delay_ms.filter(|_| is_alike);
        // That of a lease is part of its end.
        let ours = kept.lock_delay_ms.filter(|_| end.is_none());
        let delay = theirs.into_iter().chain(ours).max().map(Duration::from_millis);
        let group = Record { key_hex: self.whole_key(), ..self.backend.group(&before, sharing, last, delay)? };
        // Before the entry: a lease must never outlast what keeps others out.
        if group != before {
            file.write(current, group)?;
        }
        let entry = Entry {
            role: Role::Holder,
            id: None,
            token: Some(self.claim.token.secret().to_owned()),
            phase: if end.is_some() { WrittenPhase::OneShot } else { WrittenPhase::Running },
            boot: match &end {
                Some(end) => Some(end.boot_id.clone()),
                None if kept == Kept::default() => None,
                None => Some(self.backend.boot_id()?.to_owned()),
            },
            hold_until_boot_ns: kept.hold_until_boot_ns,
            lock_delay_ms: kept.lock_delay_ms,
            ttl_ms: end.as_ref().map(|end| end.ttl_ms),
            asked_ttl_ms: end.as_ref().map(|end| end.ttl_ms),
            end_boot_ns: end.as_ref().map(|end| end.at.as_nanos()),
            ..self.entry()
        };
        let written = file.enter_surely(&entry, self.backend.leases()?);
        match (written, &end) {
            // The kernel keeps a running holder's place; the entry only shows it.
            (Err(_), None) if kept == Kept::default() => file.leave_table()?,
            (Err(failure), _) => {
                file.write(current, before)?;
                return Err(failure);
            }
            (Ok(()), _) => {}
        }
        file.kept.set(kept);
        Ok(self.lease(None, end.as_ref()))
    }

    /// Everybody who holds or waits has to count alike. Needs the guard.
    pub(super) fn check_same_slots(&self, file: &LockFile, current: &Current) -> Result<(), BackendError> {
        let Mode::Slots(total) = self.claim.mode else { return Ok(()) };
        let record = &current.record;
        let others = file.entries(self.backend.leases()?)?;
        let mut totals: Vec<Mode> = Vec::new();
        let used = file.used_slots()?.len();
        // All of them at once belong to a contender of another mode that is passing.
        let is_held = others.iter().any(|(_, entry)| entry.role == Role::Holder)
            || used > 0 && i64::try_from(used).is_ok_and(|used| used < MAX_SLOTS);
        if record.phase == WrittenPhase::Group && is_held {
            totals.push(record.sharing.mode());
        }
        // Once in the queue we are the measure of those who come after us.
        if !file.is_entered() {
            let waiting = others.iter().filter(|(_, entry)| entry.role == Role::Waiter);
            totals.extend(waiting.map(|(_, entry)| entry.sharing.mode()));
        }
        let other = totals.into_iter().find_map(|mode| match mode {
            Mode::Slots(other) if other != total => Some(other),
            _ => None,
        });
        match other {
            None => Ok(()),
            Some(other) => Err(BackendError::misconfigured(format!(
                "others use it with --slots {other}; give all the same number, or wait until nobody holds or awaits it"
            ))),
        }
    }
}
