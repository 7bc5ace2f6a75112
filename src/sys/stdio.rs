//! Standard input, output and error: found closed, full, or read by nobody, and none of that may surprise dlock.

use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::Mode;
use nix::unistd::write;

pub const STDIN: BorrowedFd<'static> = number(0);
pub const STDOUT: BorrowedFd<'static> = number(1);
pub const STDERR: BorrowedFd<'static> = number(2);

const fn number(descriptor: RawFd) -> BorrowedFd<'static> {
    // SAFETY: dlock never closes the standard descriptors; one that its parent had closed is occupied at the start of
    // `main`, and until then the kernel answers EBADF.
    #[expect(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(descriptor)
    }
}

/// Makes sure that no descriptor opened later becomes number 0, 1 or 2.
///
/// A descriptor found closed is taken by `/dev/null`, opened the wrong way round so that using it still fails with
/// `EBADF`, and closed again by exec: the command finds it as dlock did.
pub fn occupy_closed() {
    for (standard, unusable) in [(STDIN, OFlag::O_WRONLY), (STDOUT, OFlag::O_RDONLY), (STDERR, OFlag::O_RDONLY)] {
        if fcntl(standard, FcntlArg::F_GETFD) != Err(Errno::EBADF) {
            continue;
        }
        // The lowest free number is this one: those below it are occupied already.
        if let Ok(occupied) = open("/dev/null", unusable | OFlag::O_CLOEXEC, Mode::empty()) {
            // Stays open for the life of the process.
            let _ = occupied.into_raw_fd();
        }
    }
}

/// Whether a write of up to `PIPE_BUF` (4096) bytes would be taken at once and by somebody.
#[must_use]
pub fn takes_a_line_now(descriptor: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(descriptor, PollFlags::POLLOUT)];
    let answered = poll(&mut asked, PollTimeout::ZERO);
    // A pipe that nobody reads, or a terminal that is gone, says so beside POLLOUT.
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    let events = asked[0].revents().unwrap_or(PollFlags::empty());
    answered == Ok(1) && events.contains(PollFlags::POLLOUT) && !events.intersects(gone)
}

/// Writes all of `bytes`, in one call where the kernel takes them at once. A pipe that nobody reads is an error here,
/// not the end of the process.
///
/// # Errors
/// When not everything was written.
pub fn write_all(descriptor: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    // Held back and swallowed rather than ignored: the disposition is the command's inheritance.
    let before = broken_pipe().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let written = write_each(descriptor, bytes);
    if written == Err(Errno::EPIPE)
        && !before.contains(Signal::SIGPIPE)
        && let Ok(pending) = SignalFd::with_flags(&broken_pipe(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    {
        while let Ok(Some(_)) = pending.read_signal() {}
    }
    before.thread_set_mask()?;
    Ok(written?)
}

fn write_each(descriptor: BorrowedFd<'_>, mut bytes: &[u8]) -> nix::Result<()> {
    while !bytes.is_empty() {
        match write(descriptor, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EINTR) => {}
            // Somebody who shares this terminal or pipe with us made it non-blocking.
            Err(Errno::EAGAIN) => {
                poll(&mut [PollFd::new(descriptor, PollFlags::POLLOUT)], PollTimeout::NONE).ok();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn broken_pipe() -> SigSet {
    SigSet::from(Signal::SIGPIPE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::pipe;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error_and_no_signal() {
        let (reader, writer) = pipe().expect("two descriptors");
        drop(reader);
        assert!(!takes_a_line_now(writer.as_fd()));
        let error = write_all(writer.as_fd(), b"word").expect_err("nobody reads");
        assert_eq!(error.raw_os_error(), Some(Errno::EPIPE as i32));
        // A pending SIGPIPE would have ended the test at the unblocking; the mask is what it was.
        let mask = SigSet::thread_get_mask().expect("own mask");
        assert!(!mask.contains(Signal::SIGPIPE));
    }

    #[test]
    fn a_full_pipe_takes_no_line_now() {
        let (reader, writer) = pipe().expect("two descriptors");
        assert!(takes_a_line_now(writer.as_fd()));
        fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("own descriptor");
        while write(&writer, &[b'x'; 4096]).is_ok() {}
        assert!(!takes_a_line_now(writer.as_fd()));
        drop(reader);
    }

    #[test]
    fn what_was_written_arrives_whole() {
        let (reader, writer) = pipe().expect("two descriptors");
        write_all(writer.as_fd(), b"a token").expect("room in the pipe");
        drop(writer);
        let mut read = String::new();
        std::fs::File::from(reader).read_to_string(&mut read).expect("UTF-8");
        assert_eq!(read, "a token");
    }
}
