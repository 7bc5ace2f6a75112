//! Waits for a kernel lock in a child process, because a thread that blocks in the kernel cannot be called back.
//!
//! The child shares our open file description, so what it is granted is ours. Killing and reaping it ends the wait;
//! closing the descriptor would not wake it, and the lock might come after nobody wanted it any more.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::thread;
use std::time::{Duration, Instant};

use libc::{c_int, c_uint, pid_t};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, pipe2};

use super::ofd_lock::{Access, Extent, lock_blocking};
use super::readiness::Readiness;
use super::stat::Stat;

/// How long a child is watched on its way into the kernel's queue, which takes it a fraction of a millisecond.
const ON_ITS_WAY: Duration = Duration::from_millis(20);

/// A child that blocks until it is granted a lock. Dropped: the wait is over, and so is the child.
#[derive(Debug)]
pub struct LockHelper {
    /// Names the child even after somebody else reaped it.
    pidfd: Readiness<OwnedFd>,
    child: Pid,
}

impl LockHelper {
    /// Starts to wait for a lock on `extent` of `file`.
    ///
    /// # Errors
    /// When there is no process or descriptor to be had.
    pub fn start(file: BorrowedFd<'_>, extent: Extent, access: Access) -> io::Result<Self> {
        let child = fork_blocked(file, extent, access)?;
        let pidfd = match pidfd_open(child) {
            Ok(pidfd) => pidfd,
            Err(errno) => {
                abandon(child);
                return Err(errno.into());
            }
        };
        match Readiness::new(pidfd) {
            Ok(pidfd) => Ok(Self { pidfd, child: Pid::from_raw(child) }),
            Err(error) => {
                abandon(child);
                Err(error)
            }
        }
    }

    /// The same, and returns when the request stands in the kernel's queue or has been granted, so that whoever asks from now
    /// on comes after it. Blocks for as long as the child takes to get there, and 20 ms at most: of one that is slower (the
    /// machine is, or somebody has stopped it) the place is not known.
    ///
    /// # Errors
    /// When there is no process or descriptor to be had.
    pub fn start_queued(file: BorrowedFd<'_>, extent: Extent, access: Access) -> io::Result<Self> {
        // The child closes its end as the last thing before it asks the kernel.
        let (on_its_way, childs_end) = pipe2(OFlag::O_CLOEXEC)?;
        let helper = Self::start(file, extent, access)?;
        drop(childs_end);
        let until = Instant::now() + ON_ITS_WAY;
        let limit = PollTimeout::try_from(ON_ITS_WAY).unwrap_or(PollTimeout::ZERO);
        poll(&mut [PollFd::new(on_its_way.as_fd(), PollFlags::POLLIN)], limit).ok();
        // From there to where it sleeps it is a few instructions, and the kernel tells nobody when it does.
        while helper.is_on_its_way() && Instant::now() < until {
            thread::yield_now();
        }
        Ok(helper)
    }

    fn is_on_its_way(&self) -> bool {
        Stat::of(self.child).is_some_and(|stat| !matches!(stat.state, 'S' | 'Z'))
    }

    /// Completes when the lock is granted. May be dropped and called again until it has completed.
    ///
    /// # Errors
    /// What the kernel answered instead of the lock; `EINTR` when the child was killed.
    pub async fn granted(&self) -> nix::Result<()> {
        let end = self.pidfd.readable(|pidfd| reap(pidfd, WaitPidFlag::WNOHANG)).await?;
        match end {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::EINTR),
        }
    }
}

impl Drop for LockHelper {
    fn drop(&mut self) {
        let pidfd = self.pidfd.get_ref();
        // Already reaped, here or by whoever reaps everything that falls to this process: nothing is left to kill.
        if pidfd_kill(pidfd).is_ok() {
            while reap(pidfd, WaitPidFlag::empty()) == Err(Errno::EINTR) {}
        }
    }
}

fn reap(pidfd: &OwnedFd, flags: WaitPidFlag) -> nix::Result<WaitStatus> {
    match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED | flags)? {
        WaitStatus::StillAlive => Err(Errno::EAGAIN),
        end => Ok(end),
    }
}

/// Forks a child that ends with 0 when it has the lock, with the error number when it cannot get it.
fn fork_blocked(file: BorrowedFd<'_>, extent: Extent, access: Access) -> io::Result<pid_t> {
    // SAFETY: getpid cannot fail and touches nothing.
    #[expect(unsafe_code)]
    let parent = unsafe { libc::getpid() };
    // SAFETY: the child calls nothing but async-signal-safe functions (`child_waits`) and leaves with _exit, so it does
    // not matter what other threads of a test program held at this moment.
    #[expect(unsafe_code)]
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => child_waits(parent, file, extent, access),
        child => Ok(child),
    }
}

/// The child's whole life.
fn child_waits(parent: pid_t, file: BorrowedFd<'_>, extent: Extent, access: Access) -> ! {
    // SAFETY: plain system calls on values that live on this stack; no memory is allocated, nothing is unwound.
    #[expect(unsafe_code)]
    unsafe {
        // A contender that is killed must not leave somebody behind who is granted the lock for it.
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 || libc::getppid() != parent {
            libc::_exit(libc::ECHILD);
        }
        // Another end of a pipe must see our parent's end go when our parent goes.
        close_all_but(file.as_raw_fd());
    }
    let status = loop {
        match lock_blocking(file, extent, access) {
            Ok(()) => break 0,
            Err(Errno::EINTR) => {}
            Err(errno) => break errno as c_int,
        }
    };
    // SAFETY: ends the process without running anything that belongs to the parent.
    #[expect(unsafe_code)]
    unsafe {
        libc::_exit(status)
    }
}

fn close_all_but(kept: RawFd) {
    let Ok(kept) = c_uint::try_from(kept) else { return };
    // SAFETY: only called in the child, which uses no descriptor but `kept`. A kernel before 5.9 lacks the call; then
    // the descriptors stay until the parent's death kills the child.
    #[expect(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_close_range, kept + 1, c_uint::MAX, 0);
        if kept > 0 {
            libc::syscall(libc::SYS_close_range, 0, kept - 1, 0);
        }
    }
}

fn pidfd_open(child: pid_t) -> nix::Result<OwnedFd> {
    // PIDFD_NONBLOCK would make the last waitid return at once instead of waiting.
    // SAFETY: takes no pointers; the child is ours and not reaped yet, so the number means it.
    #[expect(unsafe_code)]
    let descriptor = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) })?;
    let descriptor = RawFd::try_from(descriptor).expect("descriptors are small numbers");
    // SAFETY: the kernel has just made this descriptor, close-on-exec, for us alone.
    #[expect(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn pidfd_kill(pidfd: &OwnedFd) -> nix::Result<()> {
    // SAFETY: no siginfo is passed, and the descriptor is open.
    #[expect(unsafe_code)]
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::SIGKILL,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(result).map(drop)
}

/// Ends a child that could not be watched.
fn abandon(child: pid_t) {
    let pid = nix::unistd::Pid::from_raw(child);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).ok();
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED) == Err(Errno::EINTR) {}
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::sys::ofd_lock::{ByteRange, try_lock, unlock};

    const BYTE: Extent = Extent::Bytes(ByteRange::byte(0));

    /// How many requests the kernel has queued for locks of `file`.
    fn queued(file: &File) -> usize {
        let inode = format!(":{} ", file.metadata().expect("it is open").ino());
        let locks = fs::read_to_string("/proc/locks").expect("/proc is mounted");
        locks.lines().filter(|line| line.contains("->") && line.contains(&inode)).count()
    }

    #[tokio::test]
    async fn whoever_has_reached_the_queue_comes_before_whoever_asks_then() {
        let place = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
        let opened = || File::options().read(true).write(true).open(place.path()).expect("it is there");
        let holder = opened();
        try_lock(holder.as_fd(), BYTE, Access::Write).expect("nobody has it");
        let files: Vec<File> = (0..50).map(|_| opened()).collect();
        let mut helpers = Vec::new();
        for (before, file) in files.iter().enumerate() {
            helpers.push(LockHelper::start_queued(file.as_fd(), BYTE, Access::Write).expect("there are processes"));
            assert_eq!(queued(file), before + 1);
        }
        unlock(holder.as_fd(), BYTE).expect("it is ours");
        for (file, helper) in files.iter().zip(helpers) {
            helper.granted().await.expect("its turn has come");
            unlock(file.as_fd(), BYTE).expect("it is ours");
        }
    }

    #[tokio::test]
    async fn whoever_is_granted_at_once_is_not_waited_for() {
        let file = tempfile::tempfile().expect("the temporary directory takes files");
        let helper = LockHelper::start_queued(file.as_fd(), BYTE, Access::Write).expect("there are processes");
        helper.granted().await.expect("nobody has it");
    }
}
