//! Locks that an operator wants back, and records that nobody can read. Breaks when the mark is written for another than
//! the one that was shown, so he is looked for again under the guard; and when a mark comes before the watch for it.

use std::time::Duration;

use nix::sys::stat::fstat;
use nix::unistd::{Uid, geteuid};

use super::FileBackend;
use super::listing::public_id;
use super::lock_file::LockFile;
use super::records::{Current, Entry, Record, Role, WrittenPhase};
use super::vacancy::Change;
use super::waiting::whole_key;
use crate::lock::{BackendError, Holder, HolderEntry, LockKey, Manner, OwnerToken, Revocation};
use crate::sys::boottime::BootInstant;
use crate::sys::users;

/// Commands that are over by then need no watch, whose end makes the end of the process up to 20 ms late.
const WATCHED_AFTER: Duration = Duration::from_secs(1);

impl FileBackend {
    pub(super) async fn take_back(
        &self,
        key: &LockKey,
        shown: &HolderEntry,
        manner: Manner,
    ) -> Result<Revocation, BackendError> {
        if self.is_plain() {
            return Err(BackendError::usage(format!(
                "the kernel tells nobody which program has the file locked, and nobody can ask it: find it with \
                 \"fuser -v {}\" or lslocks, and end it",
                key.as_str().escape_debug()
            )));
        }
        let Some(file) = self.open_unused(key)? else { return Ok(Revocation::Changed) };
        let _guard = file.guard().await?;
        let mut current = file.read()?;
        let status = self.describe(key, &file)?;
        let Some(holder) = status.holders.iter().find(|holder| holder.is_same_as(shown)) else {
            return Ok(Revocation::Changed);
        };
        check_user(&holder.holder)?;
        if current.record.phase == WrittenPhase::Group {
            return self.take_back_one(&file, &mut current, holder, manner);
        }
        let record = current.record.clone();
        let is_lease =
            matches!(record.phase, WrittenPhase::OneShot | WrittenPhase::HeldAtLeast | WrittenPhase::LockDelay);
        if is_lease || !file.owned_by_another()? {
            file.write(&mut current, record.free())?;
            return Ok(Revocation::Freed);
        }
        refuse_at_once(manner, &record.holder)?;
        if record.phase != WrittenPhase::Revoked {
            file.write(&mut current, Record { phase: WrittenPhase::Revoked, ..record })?;
        }
        Ok(Revocation::Asked)
    }

    fn take_back_one(
        &self,
        file: &LockFile,
        current: &mut Current,
        holder: &HolderEntry,
        manner: Manner,
    ) -> Result<Revocation, BackendError> {
        let mut entries = file.entries(self.leases()?)?.into_iter();
        let is_it = |entry: &Entry| entry.role == Role::Holder && public_id(entry.token.as_deref()) == holder.id;
        let Some((index, entry)) = entries.find(|(_, entry)| is_it(entry)) else { return Ok(Revocation::Changed) };
        if entry.end_boot_ns.is_some() {
            self.remove_member(file, current, index)?;
            return Ok(Revocation::Freed);
        }
        refuse_at_once(manner, &entry.holder)?;
        if entry.phase != WrittenPhase::Revoked {
            file.write_entry(index, &Entry { phase: WrittenPhase::Revoked, ..entry })?;
        }
        Ok(Revocation::Asked)
    }

    /// Completes when the mark is seen that asks the lock of `file` back from `token`: once.
    pub(super) async fn until_asked_back(&self, file: &LockFile, token: &OwnerToken) {
        if !self.asked_back.borrow().contains(token) {
            tokio::time::sleep(WATCHED_AFTER).await;
            // Before the first look: nothing is written in between.
            if let Ok(mut change) = Change::watch(file) {
                while !self.is_asked_back(file, token).unwrap_or(false) {
                    change.next_or(BootInstant::from_nanos(u64::MAX)).await;
                }
                self.asked_back.borrow_mut().insert(token.clone());
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Whether an operator has asked for what `token` holds with `file`.
    pub(super) fn is_asked_back(&self, file: &LockFile, token: &OwnerToken) -> Result<bool, BackendError> {
        let record = file.read_unguarded()?;
        let is_marked =
            |phase, written: Option<&str>| phase == WrittenPhase::Revoked && written == Some(token.secret());
        if record.phase != WrittenPhase::Group {
            return Ok(is_marked(record.phase, record.token.as_deref()));
        }
        Ok(file.own_written_entry()?.is_some_and(|entry| is_marked(entry.phase, entry.token.as_deref())))
    }

    /// Writes a record where there is none that can be read.
    pub(super) async fn rewrite(&self, key: &LockKey) -> Result<(), BackendError> {
        let Some(file) = self.open_unused(key)? else { return Ok(()) };
        let owner = fstat(file.descriptor()).map(|stat| Uid::from_raw(stat.st_uid));
        if !geteuid().is_root() && owner.is_ok_and(|owner| owner != geteuid()) {
            return Err(BackendError::denied(format!("only the owner of {} or root may", file.path.display())));
        }
        let _guard = file.guard().await?;
        if file.read().is_ok() {
            return Ok(());
        }
        // Whoever runs keeps its lock, and is nobody in particular; the lease of a one-shot is what is lost.
        let phase = if file.owned_by_another()? { WrittenPhase::Running } else { WrittenPhase::Free };
        let key_hex = whole_key(key, &key.encoded());
        file.write_anew(Record { fence: self.wall_us(), phase, key_hex, ..Record::default() })
    }
}

fn check_user(holder: &Holder) -> Result<(), BackendError> {
    let ours = users::name();
    match &holder.user {
        _ if geteuid().is_root() => Ok(()),
        Some(theirs) if *theirs == ours => Ok(()),
        theirs => Err(BackendError::denied(format!(
            "user {} holds it, and you are {ours}: only the same user or root may take it back",
            theirs.as_deref().unwrap_or("unknown").escape_debug()
        ))),
    }
}

/// Nobody but the kernel can give a lock of a process to somebody else.
fn refuse_at_once(manner: Manner, holder: &Holder) -> Result<(), BackendError> {
    if manner == Manner::Asking {
        return Ok(());
    }
    let who = holder.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    Err(BackendError::usage(format!(
        "the kernel keeps it for the dlock run that has it{who} for as long as that lives: leave --now out and it is \
         stopped with its command, or kill it"
    )))
}
