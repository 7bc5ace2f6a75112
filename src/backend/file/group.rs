//! The holders of a shared lock or of slots, as written. Breaks when the record ends before a lease of one of them does,
//! because whoever wants the key alone reads only the record.

use super::FileBackend;
use super::lease::LeaseEnd;
use super::lock_file::LockFile;
use super::records::{Current, Entry, Record, Role, Sharing, WrittenPhase};
use crate::lock::{BackendError, OwnerToken};
use crate::sys::boottime::BootInstant;

impl FileBackend {
    /// When each of the leases in the table ends.
    pub(super) fn lease_ends(&self, file: &LockFile) -> Result<Vec<BootInstant>, BackendError> {
        let leased = self.leases()?;
        let entries = file.entries(&leased)?;
        let leases = entries.iter().filter(|(_, entry)| entry.role == Role::Holder && leased(entry));
        Ok(leases.filter_map(|(_, entry)| entry.end_boot_ns.map(BootInstant::from_nanos)).collect())
    }

    /// The record of a group whose last lease ends at `last`.
    pub(super) fn group(
        &self,
        before: &Record,
        sharing: Sharing,
        last: Option<BootInstant>,
    ) -> Result<Record, BackendError> {
        Ok(Record {
            phase: WrittenPhase::Group,
            sharing,
            boot: last.map(|_| self.boot_id().map(str::to_owned)).transpose()?,
            end_boot_ns: last.map(BootInstant::as_nanos),
            ..before.free()
        })
    }

    /// Writes the record anew after one of the group has left or changed its lease; that wakes the head of the queue. Needs
    /// the guard.
    pub(super) fn regroup(&self, file: &LockFile, current: &mut Current) -> Result<(), BackendError> {
        let last = self.lease_ends(file)?.into_iter().max();
        let record = if last.is_none() && !file.owned_by_another()? {
            current.record.free()
        } else {
            self.group(&current.record, current.record.sharing.clone(), last)?
        };
        file.write(current, record)
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
        // First whatever ends later: a crash between the two writes only keeps others out for longer.
        if current.record.end().is_none_or(|last| last < end.at) {
            let longer = self.group(&current.record, current.record.sharing.clone(), Some(end.at))?;
            file.write(current, longer)?;
        }
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
