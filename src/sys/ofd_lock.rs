//! Kernel locks that belong to an open file description: byte ranges (`F_OFD_SETLK`), and whole files (`flock`).
//!
//! Both stay while any process has the description open, whoever closes what; classic `fcntl` locks would vanish as soon
//! as this process closed any descriptor of the file.

use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_short};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Bytes of a file, whether or not it is that long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    pub start: i64,
    pub len: i64,
}

impl ByteRange {
    #[must_use]
    pub const fn byte(at: i64) -> Self {
        Self { start: at, len: 1 }
    }

    /// From the first byte of `self` to the last one of `last`.
    #[must_use]
    pub const fn through(self, last: Self) -> Self {
        Self { start: self.start, len: last.start + last.len - self.start }
    }

    fn request(self, kind: c_int) -> libc::flock {
        libc::flock {
            l_type: c_short::try_from(kind).expect("lock types are small numbers"),
            l_whence: c_short::try_from(libc::SEEK_SET).expect("SEEK_SET is 0"),
            l_start: self.start,
            l_len: self.len,
            // The kernel refuses any other pid for locks of a description.
            l_pid: 0,
        }
    }
}

/// What is locked of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    Bytes(ByteRange),
    /// With flock(2), which does not see byte ranges and is not seen by them.
    WholeFile,
}

/// Whether others may lock the same beside us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Beside whoever asks for the same.
    Read,
    /// Alone.
    Write,
}

impl Access {
    fn of_range(self) -> c_int {
        match self {
            Self::Read => libc::F_RDLCK,
            Self::Write => libc::F_WRLCK,
        }
    }

    fn of_whole_file(self) -> c_int {
        match self {
            Self::Read => libc::LOCK_SH,
            Self::Write => libc::LOCK_EX,
        }
    }
}

/// Whether a lock was to be had at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Locked,
    Busy,
}

/// Locks `extent`, all of it or nothing, without waiting.
///
/// # Errors
/// When the kernel refuses, e.g. `ENOLCK`.
pub fn try_lock(file: BorrowedFd<'_>, extent: Extent, access: Access) -> nix::Result<Attempt> {
    attempt(match extent {
        Extent::Bytes(range) => fcntl(file, FcntlArg::F_OFD_SETLK(&range.request(access.of_range()))).map(drop),
        Extent::WholeFile => flock(file, access.of_whole_file() | libc::LOCK_NB),
    })
}

/// Locks `extent` and blocks until it is granted: for a process that does nothing else.
/// Async-signal-safe.
///
/// # Errors
/// When the kernel refuses, or a signal handler ran (`EINTR`).
pub fn lock_blocking(file: BorrowedFd<'_>, extent: Extent, access: Access) -> nix::Result<()> {
    match extent {
        Extent::Bytes(range) => fcntl(file, FcntlArg::F_OFD_SETLKW(&range.request(access.of_range()))).map(drop),
        Extent::WholeFile => flock(file, access.of_whole_file()),
    }
}

/// Unlocks whatever this description has locked of `extent`.
///
/// # Errors
/// When the kernel refuses: splitting a range may need memory.
pub fn unlock(file: BorrowedFd<'_>, extent: Extent) -> nix::Result<()> {
    match extent {
        Extent::Bytes(range) => fcntl(file, FcntlArg::F_OFD_SETLK(&range.request(libc::F_UNLCK))).map(drop),
        Extent::WholeFile => flock(file, libc::LOCK_UN),
    }
}

/// Some range within `range` that another description has locked; which one, when there are several, is the kernel's
/// choice. `None`: a write lock on all of `range` would have been granted.
///
/// # Errors
/// When the kernel refuses.
pub fn locked_by_another(file: BorrowedFd<'_>, range: ByteRange) -> nix::Result<Option<ByteRange>> {
    let mut answer = range.request(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut answer))?;
    if c_int::from(answer.l_type) == libc::F_UNLCK {
        return Ok(None);
    }
    // Length 0 means "to the end of whatever can be addressed".
    let len = if answer.l_len == 0 { i64::MAX - answer.l_start } else { answer.l_len };
    Ok(Some(ByteRange { start: answer.l_start, len }))
}

fn attempt(result: nix::Result<()>) -> nix::Result<Attempt> {
    match result {
        Ok(()) => Ok(Attempt::Locked),
        // POSIX lets fcntl say either.
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(Attempt::Busy),
        Err(errno) => Err(errno),
    }
}

/// `nix` only offers flock(2) with an owner that unlocks when dropped; ours must outlive that.
fn flock(file: BorrowedFd<'_>, operation: c_int) -> nix::Result<()> {
    // SAFETY: flock takes no pointers, and the descriptor is open for as long as it is borrowed.
    #[expect(unsafe_code)]
    let result = unsafe { libc::flock(file.as_raw_fd(), operation) };
    Errno::result(result).map(drop)
}
