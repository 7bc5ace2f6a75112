//! One open file description of a lock file: what it locks, reads and writes. Breaks when a description is used by two
//! contenders at once, because the kernel never refuses a description what it has already.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::sys::uio::{pread, pwrite};

use super::directory::{self, Identity, io_errno};
use super::kept::Kept;
use super::locks::{self, EVERYTHING, GUARD, MAX_ENTRIES};
use super::records::{Current, ENTRY_LEN, Entry, RECORDS_LEN, Record, Role};
use super::vacancy::Notices;
use crate::lock::{BackendError, FIRST_CONTACT};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::lock_helper::LockHelper;
use crate::sys::ofd_lock::{self, Access, Attempt, ByteRange, Extent};

/// How often a reader that takes no lock looks again when it found no valid record. It takes two writes during one
/// read to make that happen, and each is followed by a longer critical section than a read takes.
const READ_ATTEMPTS: usize = 8;

/// An open lock file.
#[derive(Debug)]
pub(super) struct LockFile {
    file: OwnedFd,
    pub(super) identity: Identity,
    pub(super) path: PathBuf,
    /// The entry that is ours.
    entry: Cell<Option<i64>>,
    /// What the entry of a holder says of how others are kept out later.
    pub(super) kept: Cell<Kept>,
    pub(super) notices: Notices,
}

impl LockFile {
    pub(super) fn new(file: OwnedFd, identity: Identity, path: PathBuf) -> Self {
        Self { file, identity, path, entry: Cell::new(None), kept: Cell::default(), notices: Notices::default() }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Locks all of `range` or nothing, at once.
    pub(super) fn try_lock(&self, range: ByteRange) -> Result<Attempt, BackendError> {
        self.try_lock_for(Access::Write, range)
    }

    pub(super) fn try_lock_for(&self, access: Access, range: ByteRange) -> Result<Attempt, BackendError> {
        ofd_lock::try_lock(self.descriptor(), locks::bytes(range), access).map_err(|errno| self.failed(errno))
    }

    /// Locks `range`, waiting for as long as it takes. Dropped half-way: whatever was granted stays locked until
    /// [`unlock`](Self::unlock).
    pub(super) async fn lock(&self, range: ByteRange) -> Result<(), BackendError> {
        self.lock_for(Access::Write, range).await
    }

    pub(super) async fn lock_for(&self, access: Access, range: ByteRange) -> Result<(), BackendError> {
        lock_waiting(self.descriptor(), locks::bytes(range), access, &self.path).await
    }

    /// Asks for `range` like [`lock`](Self::lock) and returns when the kernel has the request: whoever asks later comes
    /// later. Blocks for the fraction of a millisecond that this takes.
    pub(super) fn queue(&self, range: ByteRange) -> Result<Queued<'_>, BackendError> {
        let request =
            Request { file: self.descriptor(), extent: locks::bytes(range), access: Access::Write, path: &self.path };
        let helper = request.begin(LockHelper::start_queued)?;
        Ok(Queued { request, helper })
    }

    /// Locks the guard, which nobody who runs keeps for longer than a few system calls. In a crowd one's turn may be long in
    /// coming all the same; that it comes is seen by what the others write.
    pub(super) async fn guard(&self) -> Result<Guarded<'_>, BackendError> {
        // Made first: a wait that is dropped at the instant of the grant unlocks it too.
        let guarded = Guarded(self);
        if self.try_lock(GUARD)? == Attempt::Locked {
            return Ok(guarded);
        }
        let mut patience = BootTimer::new().map_err(|error| self.failed(io_errno(&error)))?;
        let mut locking = pin!(self.lock(GUARD));
        let mut written = self.last_written()?;
        loop {
            tokio::select! {
                locked = &mut locking => return locked.map(|()| guarded),
                () = patience.sleep_until(BootInstant::now() + FIRST_CONTACT) => {}
            }
            let before = std::mem::replace(&mut written, self.last_written()?);
            if before == written {
                return Err(BackendError::unavailable(format!(
                    "somebody has kept the records of {} locked for {}; is a dlock stopped there?",
                    self.path.display(),
                    humantime::format_duration(FIRST_CONTACT)
                )));
            }
        }
    }

    /// When anything was last written into the file, as its file system counts.
    fn last_written(&self) -> Result<(i64, i64), BackendError> {
        let status = fstat(self.descriptor()).map_err(|errno| self.failed(errno))?;
        Ok((status.st_mtime, status.st_mtime_nsec))
    }

    /// The guard that an uncontended acquisition locked with everything else.
    pub(super) fn guarded(&self) -> Guarded<'_> {
        Guarded(self)
    }

    pub(super) fn unlock(&self, range: ByteRange) -> Result<(), BackendError> {
        ofd_lock::unlock(self.descriptor(), locks::bytes(range)).map_err(|errno| self.failed(errno))
    }

    /// Unlocks whatever this description has locked.
    pub(super) fn unlock_everything(&self) -> Result<(), BackendError> {
        self.entry.set(None);
        self.kept.take();
        self.unlock(EVERYTHING)
    }

    /// Whether anybody else has locked a byte that an exclusive holder needs.
    pub(super) fn owned_by_another(&self) -> Result<bool, BackendError> {
        locks::owned_by_another(self.descriptor()).map_err(|errno| self.failed(errno))
    }

    /// Reads the records with the guard held.
    pub(super) fn read(&self) -> Result<Current, BackendError> {
        let mut bytes = [0; RECORDS_LEN];
        let len = self.read_at(&mut bytes, 0)?;
        Current::read(&bytes[..len]).map_err(|_| directory::corrupt(&self.path))
    }

    /// Reads the records while others may write them.
    pub(super) fn read_unguarded(&self) -> Result<Record, BackendError> {
        let mut last = self.read();
        for _ in 1..READ_ATTEMPTS {
            if last.is_ok() {
                break;
            }
            last = self.read();
        }
        last.map(|current| current.record)
    }

    /// Writes `record` with the guard held; when it fails, the record before stands.
    pub(super) fn write(&self, current: &mut Current, record: Record) -> Result<(), BackendError> {
        let (bytes, at) = current.replace(record);
        self.write_at(&bytes, at)
    }

    /// Writes `record` as the only one, with the guard held, whatever stood there.
    pub(super) fn write_anew(&self, record: Record) -> Result<(), BackendError> {
        self.write_at(&Current::alone(record), 0)
    }

    /// Puts `entry` into the table, with the guard held, and returns how many others wait there.
    ///
    /// It only shows us to `status`: no room, no entry.
    pub(super) fn enter(&self, entry: &Entry, leased: impl Fn(&Entry) -> bool) -> Result<usize, BackendError> {
        let Some(index) = self.own_entry(leased)? else {
            return Ok(usize::try_from(MAX_ENTRIES).unwrap_or(usize::MAX));
        };
        // What stood there before is of somebody who is gone, and must not seem to be alive.
        if self.write_entry(index, entry).is_err() {
            self.leave_table()?;
        }
        let waiting = self.entries(|_| false)?;
        Ok(waiting.iter().filter(|(_, other)| other.role == Role::Waiter).count())
    }

    /// Writes `entry` in the place of our own, or in a new one, with the guard held: the grant depends on it.
    pub(super) fn enter_surely(&self, entry: &Entry, leased: impl Fn(&Entry) -> bool) -> Result<(), BackendError> {
        match self.own_entry(leased)? {
            Some(index) => self.write_entry(index, entry),
            None => Err(BackendError::unavailable(format!("{} has no room for another holder", self.path.display()))),
        }
    }

    /// The place of our entry, locked by us: the first that nobody has and no lease keeps. `None`: the table is full.
    fn own_entry(&self, leased: impl Fn(&Entry) -> bool) -> Result<Option<i64>, BackendError> {
        if let Some(index) = self.entry.get() {
            return Ok(Some(index));
        }
        for index in 0..MAX_ENTRIES {
            if self.try_lock(locks::entry(index))? == Attempt::Busy {
                continue;
            }
            if self.read_entry(index)?.is_some_and(|entry| leased(&entry)) {
                self.unlock(locks::entry(index))?;
                continue;
            }
            self.entry.set(Some(index));
            return Ok(Some(index));
        }
        Ok(None)
    }

    /// Our entry as it is written now.
    pub(super) fn own_written_entry(&self) -> Result<Option<Entry>, BackendError> {
        self.entry.get().map_or(Ok(None), |index| self.read_entry(index))
    }

    pub(super) fn is_entered(&self) -> bool {
        self.entry.get().is_some()
    }

    /// Our own entry, as written.
    pub(super) fn own(&self) -> Result<Option<(i64, Entry)>, BackendError> {
        let Some(index) = self.entry.get() else { return Ok(None) };
        Ok(self.read_entry(index)?.map(|entry| (index, entry)))
    }

    /// Holders that have died and are to keep others out: nobody has locked their entries.
    pub(super) fn dead(&self, leased: impl Fn(&Entry) -> bool) -> Result<Vec<(i64, Entry)>, BackendError> {
        let live = self.live_entries()?;
        let mut entries = self.entries(leased)?;
        entries.retain(|(index, entry)| {
            entry.delay().is_some() && self.entry.get() != Some(*index) && live.binary_search(index).is_err()
        });
        Ok(entries)
    }

    /// Takes our entry out of the table.
    pub(super) fn leave_table(&self) -> Result<(), BackendError> {
        match self.entry.take() {
            Some(index) => self.unlock(locks::entry(index)),
            None => Ok(()),
        }
    }

    /// The entries that others keep alive, by lock or by lease, with their places.
    pub(super) fn entries(&self, leased: impl Fn(&Entry) -> bool) -> Result<Vec<(i64, Entry)>, BackendError> {
        let live = self.live_entries()?;
        let mut entries = Vec::new();
        for index in 0..self.table_len()? {
            let Some(entry) = self.read_entry(index)? else { continue };
            if live.binary_search(&index).is_ok() || leased(&entry) {
                entries.push((index, entry));
            }
        }
        Ok(entries)
    }

    pub(super) fn write_entry(&self, index: i64, entry: &Entry) -> Result<(), BackendError> {
        self.write_at(&entry.to_bytes(), entry_offset(index))
    }

    /// The bytes of slots that others have locked.
    pub(super) fn used_slots(&self) -> Result<Vec<i64>, BackendError> {
        locks::used_slots(self.descriptor()).map_err(|errno| self.failed(errno))
    }

    fn read_entry(&self, index: i64) -> Result<Option<Entry>, BackendError> {
        let mut bytes = [0; ENTRY_LEN];
        let len = self.read_at(&mut bytes, entry_offset(index))?;
        Ok(Entry::read(&bytes[..len]))
    }

    fn live_entries(&self) -> Result<Vec<i64>, BackendError> {
        locks::live_entries(self.descriptor(), self.table_len()?).map_err(|errno| self.failed(errno))
    }

    /// How many entries the file has room for at present.
    fn table_len(&self) -> Result<i64, BackendError> {
        let size = fstat(&self.file).map_err(|errno| self.failed(errno))?.st_size;
        let (records, entry) = (offset(RECORDS_LEN), offset(ENTRY_LEN));
        Ok(((size - records).max(0) + entry - 1) / entry)
    }

    fn read_at(&self, bytes: &mut [u8], at: i64) -> Result<usize, BackendError> {
        pread(&self.file, bytes, at).map_err(|errno| self.failed(errno))
    }

    fn write_at(&self, bytes: &[u8], at: impl TryInto<i64>) -> Result<(), BackendError> {
        let at = at.try_into().unwrap_or(i64::MAX);
        match pwrite(&self.file, bytes, at).map_err(|errno| self.failed(errno))? {
            written if written == bytes.len() => Ok(()),
            _ => Err(self.failed(Errno::ENOSPC)),
        }
    }

    fn failed(&self, errno: Errno) -> BackendError {
        directory::failed(&self.path, errno)
    }
}

/// The records guard, locked; dropped, it is unlocked.
pub(super) struct Guarded<'a>(&'a LockFile);

impl Guarded<'_> {
    /// Leaves the unlocking to the call that unlocks more than the guard.
    pub(super) fn unlocked_with_the_rest(self) {
        std::mem::forget(self);
    }
}

impl Drop for Guarded<'_> {
    fn drop(&mut self) {
        // Unlocking one byte at the end of a range needs no memory, so it does not fail.
        self.0.unlock(GUARD).ok();
    }
}

/// Locks `extent`: at once where that is possible, else by a child that waits for it.
pub(super) async fn lock_waiting(
    file: BorrowedFd<'_>,
    extent: Extent,
    access: Access,
    path: &Path,
) -> Result<(), BackendError> {
    let request = Request { file, extent, access, path };
    let helper = request.begin(LockHelper::start)?;
    request.finish(helper).await
}

/// A lock that is waited for.
struct Request<'a> {
    file: BorrowedFd<'a>,
    extent: Extent,
    access: Access,
    path: &'a Path,
}

/// A request that stands in the kernel's queue. Dropped: it does not any more.
pub(super) struct Queued<'a> {
    request: Request<'a>,
    /// `None`: it was granted at once.
    helper: Option<LockHelper>,
}

impl Queued<'_> {
    pub(super) fn is_granted(&self) -> bool {
        self.helper.is_none()
    }

    /// Waits for the grant.
    pub(super) async fn granted(self) -> Result<(), BackendError> {
        self.request.finish(self.helper).await
    }
}

impl Request<'_> {
    /// `None`: it is granted.
    fn begin(
        &self,
        start: fn(BorrowedFd<'_>, Extent, Access) -> io::Result<LockHelper>,
    ) -> Result<Option<LockHelper>, BackendError> {
        if ofd_lock::try_lock(self.file, self.extent, self.access).map_err(|errno| self.failed(errno))?
            == Attempt::Locked
        {
            return Ok(None);
        }
        let helper = start(self.file, self.extent, self.access).map_err(|error| {
            BackendError::system(format!("no process can be started to wait for {}: {error}", self.path.display()))
        })?;
        Ok(Some(helper))
    }

    async fn finish(&self, mut helper: Option<LockHelper>) -> Result<(), BackendError> {
        while let Some(waiting) = helper {
            helper = match waiting.granted().await {
                // Somebody killed it, or reaped it before us: whether the lock is ours is seen by asking for it again.
                Err(Errno::EINTR | Errno::ECHILD) => self.begin(LockHelper::start)?,
                result => return result.map_err(|errno| self.failed(errno)),
            };
        }
        Ok(())
    }

    fn failed(&self, errno: Errno) -> BackendError {
        directory::failed(self.path, errno)
    }
}

/// How long ago `boot_ns` was; nothing when it lies ahead.
pub(super) fn elapsed(boot_ns: u64, now: BootInstant) -> Option<Duration> {
    let then = BootInstant::from_nanos(boot_ns);
    (then <= now).then(|| now.since(then))
}

fn entry_offset(index: i64) -> i64 {
    offset(RECORDS_LEN) + index * offset(ENTRY_LEN)
}

fn offset(len: usize) -> i64 {
    i64::try_from(len).expect("lengths of slots are small")
}
