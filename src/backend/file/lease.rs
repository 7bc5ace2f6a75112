//! Renewing and releasing by token. Breaks when a lease is measured by a clock that stands still or jumps, or by that
//! of another boot.

use std::time::{Duration, SystemTime};

use super::FileBackend;
use super::directory::Missing;
use super::lock_file::LockFile;
use super::records::{Entry, Now, Record, WrittenPhase};
use crate::lock::{BackendError, LockKey, OwnerToken, Parting, Prolonged, Release};
use crate::sys::boottime::BootInstant;

/// When a one-shot lease ends, as it is written.
pub(super) struct LeaseEnd {
    /// For others: with the lock delay.
    pub(super) at: BootInstant,
    /// For whoever has the token.
    pub(super) believed: BootInstant,
    pub(super) boot_id: String,
    pub(super) ttl_ms: u64,
}

impl LeaseEnd {
    pub(super) fn after(ttl: Duration, lock_delay: Duration, now: Now) -> Self {
        let believed = now.boottime + ttl;
        Self { at: believed + lock_delay, believed, boot_id: now.boot_id, ttl_ms: millis(ttl) }
    }
}

/// `end` by the wall clock as it is now.
pub(super) fn expires_at(end: BootInstant) -> SystemTime {
    SystemTime::now() + end.remaining()
}

/// What a token is good for.
enum Ownership {
    /// A one-shot lease that has not ended.
    Lease,
    /// The same, of one among several; where it is written.
    Member(i64, Box<Entry>),
    /// A living dlock process, with this number if it is known, has the kernel's lock.
    Process(Option<u32>),
    Nothing,
}

impl FileBackend {
    /// Sets a one-shot lease to `ttl` from now.
    pub(super) async fn set_lease(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        if self.contenders.granted(key, token).is_some() {
            return Ok(Prolonged::HeldByRun);
        }
        let Some(file) = self.open_unused(key)? else { return Ok(Prolonged::NotHeld) };
        let _guard = file.guard().await?;
        let mut current = file.read()?;
        let ownership = self.ownership(&file, &current.record, token)?;
        let (asked_ttl_ms, delay_ms) = match &ownership {
            Ownership::Nothing => return Ok(Prolonged::NotHeld),
            Ownership::Process(_) => return Ok(Prolonged::HeldByRun),
            Ownership::Lease => (current.record.asked_ttl_ms.or(current.record.ttl_ms), current.record.lock_delay_ms),
            Ownership::Member(_, entry) => (entry.asked_ttl_ms.or(entry.ttl_ms), entry.lock_delay_ms),
        };
        let ttl = ttl.or(asked_ttl_ms.map(Duration::from_millis)).unwrap_or_default();
        let end = LeaseEnd::after(ttl, Duration::from_millis(delay_ms.unwrap_or_default()), self.now()?);
        if let Ownership::Member(index, entry) = ownership {
            self.set_member(&file, &mut current, (index, *entry), &end)?;
        } else {
            let renewed =
                Record { ttl_ms: Some(end.ttl_ms), end_boot_ns: Some(end.at.as_nanos()), ..current.record.clone() };
            file.write(&mut current, renewed)?;
        }
        Ok(Prolonged::Set { ttl, expires_at: Some(expires_at(end.believed)) })
    }

    /// Releases what `token` holds, be it our own lock or a lease that any process may release.
    pub(super) async fn give_up(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        parting: Parting,
    ) -> Result<Release, BackendError> {
        if let Some(contender) = self.contenders.granted(key, token) {
            let left = self.leave(&contender.file, token, parting).await;
            // The record of a holder that is gone means nothing, so the lock is released whether or not it can be cleared;
            // but not before others have been told to keep out.
            if contender.file.kept.get().left_by(parting, BootInstant::now()).is_some() {
                left?;
            }
            contender.file.unlock_everything()?;
            contender.leave();
            self.asked_back.borrow_mut().remove(token);
            return Ok(Release::Released);
        }
        let Some(file) = self.open_unused(key)? else { return Ok(Release::NotHeld) };
        let _guard = file.guard().await?;
        let mut current = file.read()?;
        match self.ownership(&file, &current.record, token)? {
            Ownership::Nothing => Ok(Release::NotHeld),
            Ownership::Process(pid) => Err(BackendError::usage(format!(
                "the kernel keeps this lock for the dlock run that has it{}; end that, and the lock is free",
                pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
            ))),
            Ownership::Lease => {
                let released = current.record.left_by(Parting::Done, &self.now()?);
                file.write(&mut current, released)?;
                Ok(Release::Released)
            }
            Ownership::Member(index, _) => {
                self.remove_member(&file, &mut current, index)?;
                Ok(Release::Released)
            }
        }
    }

    /// Takes our own record out, but for what is left to wait for.
    async fn leave(&self, file: &LockFile, token: &OwnerToken, parting: Parting) -> Result<(), BackendError> {
        let guard = file.guard().await?;
        let mut current = file.read()?;
        if current.record.token.as_deref() == Some(token.secret()) {
            let left = match current.record.depends_on_boot() {
                true => current.record.left_by(parting, &self.now()?),
                false => current.record.free(),
            };
            file.write(&mut current, left)?;
        } else if current.record.phase == WrittenPhase::Group {
            self.leave_group(file, &mut current, parting)?;
        }
        guard.unlocked_with_the_rest();
        Ok(())
    }

    /// A description that takes part in nothing.
    pub(super) fn open_unused(&self, key: &LockKey) -> Result<Option<LockFile>, BackendError> {
        let Some(place) = self.place()? else { return Ok(None) };
        let name = key.encoded();
        let Some((file, identity)) = place.open_file(&name, Missing::Leave)? else { return Ok(None) };
        Ok(Some(LockFile::new(file, identity, place.path.join(name))))
    }

    fn ownership(&self, file: &LockFile, record: &Record, token: &OwnerToken) -> Result<Ownership, BackendError> {
        if let Some((index, entry)) = self.member(file, record, token)? {
            return Ok(match entry.phase {
                WrittenPhase::OneShot if self.leases()?(&entry) => Ownership::Member(index, Box::new(entry)),
                WrittenPhase::OneShot | WrittenPhase::HeldAtLeast | WrittenPhase::LockDelay => Ownership::Nothing,
                _ => Ownership::Process(entry.holder.pid),
            });
        }
        if record.token.as_deref() != Some(token.secret()) {
            return Ok(Ownership::Nothing);
        }
        Ok(match record.phase {
            WrittenPhase::OneShot if self.stands(record)? => Ownership::Lease,
            WrittenPhase::Running | WrittenPhase::Revoked | WrittenPhase::Unknown if file.owned_by_another()? => {
                Ownership::Process(record.holder.pid)
            }
            _ => Ownership::Nothing,
        })
    }
}

pub(super) fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
