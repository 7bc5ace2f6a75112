//! A pipe that nothing is ever written to: its end tells that the process which held the other one is dead.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getpid, pipe2};

/// The end of the process whose death is to be noticed. It must have no copies.
#[derive(Debug)]
pub struct Lifeline(#[expect(dead_code, reason = "it is held, and that is all")] OwnedFd);

/// The other end.
#[derive(Debug)]
pub struct LifelineWatch(OwnedFd);

/// # Errors
/// When the process or the machine has no descriptor left.
pub fn pair() -> nix::Result<(Lifeline, LifelineWatch)> {
    let (watch, held) = pipe2(OFlag::O_CLOEXEC)?;
    Ok((Lifeline(held), LifelineWatch(watch)))
}

impl LifelineWatch {
    /// From now on the kernel kills the calling process when the other one dies. The end of every copy of this end ends
    /// that: an exec here, and a drop where else it is open. Safe between fork and exec.
    ///
    /// A parent-death signal looks alike, but comes from the parent alone and outlives an exec.
    ///
    /// # Errors
    /// `ECHILD` when the other process is dead already.
    pub fn kills_this_process(&self) -> nix::Result<()> {
        let descriptor = self.0.as_raw_fd();
        // SAFETY: numbers are all that these calls take and change nothing but the pipe.
        #[expect(unsafe_code)]
        unsafe {
            Errno::result(libc::fcntl(descriptor, libc::F_SETOWN, getpid().as_raw()))?;
            Errno::result(libc::fcntl(descriptor, F_SETSIG, libc::SIGKILL))?;
            Errno::result(libc::fcntl(descriptor, libc::F_SETFL, libc::O_ASYNC))?;
        }
        // It may have died before the line above: then nobody will ever send that signal.
        let mut ends = [PollFd::new(self.0.as_fd(), PollFlags::empty())];
        match poll(&mut ends, PollTimeout::ZERO)? {
            0 => Ok(()),
            _ => Err(Errno::ECHILD),
        }
    }
}

/// `<fcntl.h>` of Linux, on every architecture.
const F_SETSIG: libc::c_int = 10;
