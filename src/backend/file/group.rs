//! The holders of a shared lock or of slots, as written. Breaks when the record ends before a lease of one of them does,
//! because whoever wants the key alone reads only the record.

use std::time::Duration;

use super::FileBackend;
use super::kept::Kept;
use super::lease::{LeaseEnd, millis};
use super::lock_file::LockFile;
use super::records::{Current, Entry, Record, Role, Sharing, WrittenPhase};
use crate::lock::{BackendError, OwnerToken, Parting};
use crate::sys::boottime::BootInstant;

impl FileBackend {
    /// When each of the leases in the table ends.
    pub(super) fn lease_ends(&self, file: &LockFile) -> Result<Vec<BootInstant>, BackendError> {
        let leased = self.leases()?;
        let entries = file.entries(&leased)?;
        let leases = entries.iter().filter(|(_, entry)| entry.role == Role::Holder && leased(entry));
        Ok(leases.filter_map(|(_, entry)| entry.end_boot_ns.map(BootInstant::from_nanos)).collect())
    }

    /// The longest lock delay of those who run.
    pub(super) fn longest_delay(&self, file: &LockFile) -> Result<Option<Duration>, BackendError> {
        let entries = file.entries(self.leases()?)?;
        Ok(entries.iter().filter_map(|(_, entry)| entry.delay()).max())
    }

    /// The record of a group whose last lease ends at `last`, and in which somebody may die with this lock delay.
    pub(super) fn group(
        &self,
        before: &Record,
        sharing: Sharing,
        last: Option<BootInstant>,
        delay: Option<Duration>,
    ) -> Result<Record, BackendError> {
        let depends_on_boot = last.is_some() || delay.is_some();
        Ok(Record {
            phase: WrittenPhase::Group,
            sharing,
            boot: depends_on_boot.then(|| self.boot_id().map(str::to_owned)).transpose()?,
            end_boot_ns: last.map(BootInstant::as_nanos),
            lock_delay_ms: delay.map(millis),
            ..before.free()
        })
    }

    /// Writes the record anew after one of the group has left or changed its lease; that wakes the head of the queue. Needs
    /// the guard.
    pub(super) fn regroup(&self, file: &LockFile, current: &mut Current) -> Result<(), BackendError> {
        let (last, delay) = (self.lease_ends(file)?.into_iter().max(), self.delay_of(file, &current.record)?);
        let record = if last.is_none() && delay.is_none() && !file.owned_by_another()? {
            current.record.free()
        } else {
            self.group(&current.record, current.record.sharing.clone(), last, delay)?
        };
        file.write(current, record)
    }

    /// As [`FileBackend::longest_delay`], where the record says that there is any.
    fn delay_of(&self, file: &LockFile, record: &Record) -> Result<Option<Duration>, BackendError> {
        if record.lock_delay_ms.is_none() { Ok(None) } else { self.longest_delay(file) }
    }

    /// Writes down for those of the group who have died until when they keep others out, from now on. Needs the guard.
    pub(super) fn bury(&self, file: &LockFile, current: &mut Current) -> Result<(), BackendError> {
        if current.record.phase != WrittenPhase::Group || current.record.lock_delay_ms.is_none() {
            return Ok(());
        }
        let now = self.now()?;
        if current.record.boot.as_deref() != Some(now.boot_id.as_str()) {
            return Ok(());
        }
        for (index, entry) in file.dead(self.leases()?)? {
            let until = now.boottime + entry.delay().unwrap_or_default();
            self.leave_member(file, current, (index, &entry), (WrittenPhase::LockDelay, until))?;
        }
        Ok(())
    }

    /// One of the group is gone and keeps others out until then.
    fn leave_member(
        &self,
        file: &LockFile,
        current: &mut Current,
        (index, entry): (i64, &Entry),
        (phase, until): (WrittenPhase, BootInstant),
    ) -> Result<(), BackendError> {
        self.outlast(file, current, until)?;
        file.write_entry(index, &entry.left(phase, until))?;
        self.regroup(file, current)
    }

    /// First whatever ends later: a crash between the two writes only keeps others out for longer.
    fn outlast(&self, file: &LockFile, current: &mut Current, end: BootInstant) -> Result<(), BackendError> {
        if current.record.end().is_some_and(|last| last >= end) {
            return Ok(());
        }
        let delay = current.record.lock_delay_ms.map(Duration::from_millis);
        let longer = self.group(&current.record, current.record.sharing.clone(), Some(end), delay)?;
        file.write(current, longer)
    }

    /// Takes ourselves out of the group, but for what is left to wait for. Needs the guard.
    pub(super) fn leave_group(
        &self,
        file: &LockFile,
        current: &mut Current,
        parting: Parting,
    ) -> Result<(), BackendError> {
        let kept = file.kept.get();
        if kept == Kept::default() {
            return self.regroup(file, current);
        }
        let Some((index, entry)) = file.own()? else { return self.regroup(file, current) };
        match kept.left_by(parting, BootInstant::now()) {
            Some(left) => self.leave_member(file, current, (index, &entry), left),
            None => self.remove_member(file, current, index),
        }
    }

    /// The entry of the one in the group who has `token`. Needs the guard.
    pub(super) fn member(
        &self,
        file: &LockFile,
        record: &Record,
        token: &OwnerToken,
    ) -> Result<Option<(i64, Entry)>, BackendError> {
        if record.phase != WrittenPhase::Group {
            return Ok(None);
        }
        let mut entries = file.entries(self.leases()?)?.into_iter();
        Ok(entries.find(|(_, entry)| entry.role == Role::Holder && entry.token.as_deref() == Some(token.secret())))
    }

    /// Sets the lease of one of the group.
    pub(super) fn set_member(
        &self,
        file: &LockFile,
        current: &mut Current,
        (index, entry): (i64, Entry),
        end: &LeaseEnd,
    ) -> Result<(), BackendError> {
        self.outlast(file, current, end.at)?;
        let renewed = Entry { ttl_ms: Some(end.ttl_ms), end_boot_ns: Some(end.at.as_nanos()), ..entry };
        file.write_entry(index, &renewed)?;
        self.regroup(file, current)
    }

    /// Takes a lease out of the group.
    pub(super) fn remove_member(&self, file: &LockFile, current: &mut Current, index: i64) -> Result<(), BackendError> {
        file.write_entry(index, &Entry::default())?;
        self.regroup(file, current)
    }
}
