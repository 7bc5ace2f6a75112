//! Files that are only locked, with flock(2), to share them with flock(1). Breaks when anything is written, or when the
//! path leads to another file for the other program.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::lock::{
    Acquired, BackendError, Claim, Contention, Holder, HolderEntry, Lease, LeaseKind, LockKey, LockState, LockStatus,
    Mode, OwnerToken, Patience, Phase, Progress, Release, token,
};
use crate::sys::boottime::BootInstant;
use crate::sys::ofd_lock::{self, Access, Attempt, Extent};

use super::FileBackend;
use super::directory::{failed, open_plain};
use super::lock_file::lock_waiting;

impl FileBackend {
    pub(super) async fn take_plain(
        &self,
        claim: &Claim,
        progress: &dyn Fn(Progress),
    ) -> Result<Acquired, BackendError> {
        if claim.kind == LeaseKind::OneShot {
            return Err(BackendError::usage(
                "with an empty namespace the file is only locked, never written, so no lease can be kept in it; name a namespace",
            ));
        }
        let access = match claim.mode {
            Mode::Exclusive => Access::Write,
            Mode::Shared => Access::Read,
            Mode::Slots(_) => {
                return Err(BackendError::usage(
                    "with an empty namespace the file is only locked, alone or shared, so nothing counts slots; name a namespace",
                ));
            }
        };
        let requested_at = BootInstant::now();
        let path = Path::new(claim.key.as_str());
        let undo = |file: &OwnedFd| {
            ofd_lock::unlock(file.as_fd(), Extent::WholeFile).ok();
        };
        let turn = self.plain.enter(&claim.key, &claim.token, || open_plain(claim.key.as_str()), undo)?;
        let file = turn.file().as_fd();
        if ofd_lock::try_lock(file, Extent::WholeFile, access).map_err(|errno| failed(path, errno))? == Attempt::Busy {
            let Patience::Queue { .. } = claim.patience else { return Ok(Acquired::Held(Contention::default())) };
            progress(Progress::Waiting(Contention::default()));
            lock_waiting(file, Extent::WholeFile, access, path).await?;
        }
        turn.keep();
        Ok(Acquired::Granted(Lease {
            key: claim.key.clone(),
            token: claim.token.clone(),
            ttl: claim.ttl.duration(),
            fence: None,
            requested_at,
            valid_until: None,
            renew_every: None,
            expires_at: None,
        }))
    }

    pub(super) fn give_up_plain(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        let Some(contender) = self.plain.granted(key, token) else { return Ok(Release::NotHeld) };
        ofd_lock::unlock(contender.file.as_fd(), Extent::WholeFile)
            .map_err(|errno| failed(Path::new(key.as_str()), errno))?;
        contender.leave();
        Ok(Release::Released)
    }

    /// Asks for the lock as other programs do, and gives up at once what it got: flock(2) has no question that takes
    /// nothing.
    pub(super) fn plain_status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        let failed = |errno| failed(Path::new(key.as_str()), errno);
        let file = open_plain(key.as_str())?;
        let try_lock = |access| ofd_lock::try_lock(file.as_fd(), Extent::WholeFile, access).map_err(failed);
        let mode = if try_lock(Access::Read)? == Attempt::Busy {
            Some(Mode::Exclusive)
        } else {
            let alone = try_lock(Access::Write)? == Attempt::Locked;
            (!alone).then_some(Mode::Shared)
        };
        ofd_lock::unlock(file.as_fd(), Extent::WholeFile).map_err(failed)?;
        let Some(mode) = mode else { return Ok(LockStatus::free(key.clone())) };
        let holder = HolderEntry {
            id: token::public_id(key.as_str().as_bytes()),
            holder: Holder::default(),
            since: None,
            held_for: None,
            ttl: None,
            remaining: None,
            phase: Phase::Foreign,
            fence: None,
        };
        Ok(LockStatus { state: LockState::Held(mode), holders: vec![holder], ..LockStatus::free(key.clone()) })
    }
}
