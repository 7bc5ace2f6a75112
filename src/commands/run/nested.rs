//! A run inside a run: locks that are held above are used, not taken; and whoever holds them waits for their users.
//!
//! Both meet in a file: who uses the lock has it locked together with others, the holder locks it alone before it gives
//! the lock up. The kernel forgets a user with its process.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};

use crate::backend::file;
use crate::child::supervisor::Rest;
use crate::child::{self, tree};
use crate::error::phrase::{OsReason, Quoted};
use crate::error::{Attempt, Error};
use crate::lock::several::Holding;
use crate::lock::{
    BackendError, FencingToken, HolderEntry, Keys, Lease, LockBackend, LockKey, LockStatus, OwnerToken, Phase,
};
use crate::settings::{BackendName, Contest, HeldAbove, RunSettings, Wait};
use crate::sys::ofd_lock::{self, Access, Attempt as Locking, Extent};

/// Names in the file backend's directory that begin so are no namespaces.
const GUARD_PREFIX: &str = "%held-";

/// A key of ours that a run above holds.
pub(super) struct Nested {
    pub(super) key: LockKey,
    pub(super) token: OwnerToken,
    pub(super) fence: Option<FencingToken>,
    /// Keeps the holder waiting for us.
    guard: OwnedFd,
}

impl Nested {
    pub(super) fn guard(&self) -> BorrowedFd<'_> {
        self.guard.as_fd()
    }
}

/// Finds out which of the keys are held above.
///
/// # Errors
/// When one of them was, and is no more; when it is held in a weaker mode; when that cannot be found out.
pub(super) async fn nested(backend: &dyn LockBackend, settings: &RunSettings) -> Result<Vec<Nested>, Error> {
    let mut nested = Vec::new();
    for key in settings.keys.as_slice() {
        // The innermost knows best.
        let above = settings.above.iter().rev().find(|above| above.key == key.encoded());
        // Nobody renews what a dead run has left, nor waits for us.
        let Some(above) = above.filter(|above| lives(above)) else { continue };
        // First on the list of those who are waited for, then the question: so the holder cannot leave in between.
        let guard = join(&above.guard, key)?;
        let status = backend.status(key).await;
        let status = status.map_err(|error| Error::backend(Attempt::Acquire(key.clone()), error))?;
        match (guard, holder(&status, above, settings)) {
            (_, Some(_)) if !above.covers(settings.mode) => {
                return Err(Error::usage(format!(
                    "{} is held above as {}, which does not cover {}: take it in that mode outside",
                    Quoted(key.as_str()),
                    above.mode,
                    settings.mode
                )));
            }
            (Some(guard), Some(holder)) => {
                nested.push(Nested { key: key.clone(), token: above.token.clone(), fence: holder.fence, guard });
            }
            _ => {
                let reason = "the run above does not hold it any more".to_owned();
                return Err(Error::Lost { keys: key.clone().into(), reason });
            }
        }
    }
    Ok(nested)
}

/// Refuses to wait for a key that sorts before one held above: somebody could be waiting the other way round.
///
/// # Errors
/// When nothing bounds the wait.
pub(in crate::commands) fn check_order(keys: &[&LockKey], above: &[HeldAbove], contest: Contest) -> Result<(), Error> {
    if contest.wait != Wait::Forever {
        return Ok(());
    }
    for above in above.iter().filter(|above| lives(above)) {
        let Some(held) = above.whole_key() else { continue };
        if let Some(key) = keys.iter().find(|key| ***key < held) {
            return Err(Error::usage(format!(
                "{} sorts before {}, which is held above: two such commands could wait for each other for ever; \
                 give -n or -w, or take both at once outside",
                Quoted(key.as_str()),
                Quoted(held.as_str())
            )));
        }
    }
    Ok(())
}

fn holder<'a>(status: &'a LockStatus, above: &HeldAbove, settings: &RunSettings) -> Option<&'a HolderEntry> {
    // A file that is only locked tells nobody's token.
    let is_anonymous = settings.deployment.backend == BackendName::File && settings.deployment.namespace.is_empty();
    let is_it =
        |holder: &&HolderEntry| holder.id == above.token.id() || (is_anonymous && holder.phase == Phase::Foreign);
    // What keeps others out longer than its holder needs it is nobody's to use.
    let is_left = |holder: &&HolderEntry| matches!(holder.phase, Phase::HeldAtLeast | Phase::LockDelay);
    status.holders.iter().find(|holder| is_it(holder) && !is_left(holder))
}

fn lives(above: &HeldAbove) -> bool {
    tree::name_of(Pid::from_raw(above.keeper)).is_some_and(|name| name.as_bytes() == child::KEEPER_NAME.to_bytes())
}

/// `None`: the holder is about to give the lock up, and lets nobody in.
fn join(guard: &Path, key: &LockKey) -> Result<Option<OwnedFd>, Error> {
    let refused = |error: &std::io::Error| {
        let sentence = format!(
            "the run above is told of us by {}, and that cannot be opened: {}; run both as the same user",
            guard.display(),
            OsReason(error)
        );
        Error::backend(Attempt::Acquire(key.clone()), BackendError::denied(sentence))
    };
    let directory = guard.parent().unwrap_or(Path::new("/"));
    if !directory.exists() {
        file::made_default_directory().map_err(|error| Error::backend(Attempt::Acquire(key.clone()), error))?;
    }
    let opened = open(guard, Missing::Make).map_err(|error| refused(&error))?;
    // The holder has to be able to open what root made inside its run.
    if let Ok(owner) = fs::metadata(directory) {
        fchown(&opened, Some(owner.uid()), None).ok();
    }
    match ofd_lock::try_lock(opened.as_fd(), WHOLE, Access::Read) {
        Ok(Locking::Locked) => Ok(Some(opened)),
        Ok(Locking::Busy) => Ok(None),
        Err(errno) => Err(refused(&errno.into())),
    }
}

const WHOLE: Extent = Extent::Bytes(ofd_lock::ByteRange::byte(0));

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Leave,
}

fn open(guard: &Path, missing: Missing) -> std::io::Result<OwnedFd> {
    let mut options = fs::File::options();
    options.read(true).write(true).create(missing == Missing::Make).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(guard).map(OwnedFd::from)
}

/// The runs below us that use what we hold.
pub(super) struct Users {
    /// `None`: we hold nothing ourselves.
    guard: Option<PathBuf>,
    /// Locked by us alone: nobody uses the lock, and nobody will.
    closed: Option<OwnedFd>,
    /// There was no file when nobody was left to make one.
    never_came: bool,
}

impl Users {
    pub(super) fn of(holding: &Holding<'_>) -> Self {
        let token = holding.parts().first().map(|part| &part.renewing.lease().token);
        let guard = token.map(|token| {
            let digest = hex::encode(Sha256::digest(token.secret()));
            file::default_directory().join(format!("{GUARD_PREFIX}{digest}"))
        });
        Self { guard, closed: None, never_came: false }
    }

    /// The lines of what we hold, for the environment of the command.
    pub(super) fn held(&self, holding: &Holding<'_>, settings: &RunSettings) -> Vec<String> {
        let Some(guard) = &self.guard else { return Vec::new() };
        let line = |lease: &Lease| {
            let held = HeldAbove {
                key: lease.key.encoded(),
                mode: settings.mode,
                token: lease.token.clone(),
                keeper: nix::unistd::getpid().as_raw(),
                guard: guard.clone(),
            };
            held.line(&settings.deployment)
        };
        holding.parts().iter().map(|part| line(part.renewing.lease())).collect()
    }

    /// Whether the lock is being used. Once it is not, nobody else gets in.
    pub(super) fn are_there(&mut self, rest: Rest) -> bool {
        let Some(guard) = self.guard.as_ref().filter(|_| self.closed.is_none()) else { return false };
        // While something of the command lives it may still begin to use the lock; the door is closed before it can.
        let missing = if rest == Rest::Gone { Missing::Leave } else { Missing::Make };
        if missing == Missing::Make && file::made_default_directory().is_err() {
            return false;
        }
        let Ok(file) = open(guard, missing) else {
            self.never_came = rest == Rest::Gone;
            return false;
        };
        match ofd_lock::try_lock(file.as_fd(), WHOLE, Access::Write) {
            Ok(Locking::Busy) => true,
            Ok(Locking::Locked) => {
                self.closed = Some(file);
                false
            }
            Err(_) => false,
        }
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        // After a loss nobody has looked yet, and nobody is there.
        if !self.never_came {
            self.are_there(Rest::Gone);
        }
        if let (Some(guard), Some(_)) = (&self.guard, &self.closed) {
            fs::remove_file(guard).ok();
        }
    }
}

/// The keys that are not nested, in the order in which they are taken.
pub(super) fn not_nested<'a>(keys: &'a Keys, nested: &[Nested]) -> Vec<&'a LockKey> {
    keys.in_order().into_iter().filter(|key| !nested.iter().any(|nested| nested.key == **key)).collect()
}
