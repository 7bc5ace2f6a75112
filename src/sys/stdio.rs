//! Standard input, output and error: found closed, full, or read by nobody, and none of that may surprise dlock.

use std::io::{self, IsTerminal};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{Mode, SFlag, fstat, makedev};
use nix::unistd::write;

use super::signals::change_mask;

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

/// Our own way to standard error where that one may block: what says whether a write waits belongs to the open file,
/// which we share with the command and must not change.
static UNBLOCKED_STDERR: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// Writes `bytes`, up to `PIPE_BUF` (4096) of them, to standard error if somebody takes them at once; otherwise they are
/// lost. Never blocks.
pub fn write_to_stderr_at_once(bytes: &[u8]) {
    // There is nowhere left to complain to.
    without_broken_pipe(|| write_at_once(STDERR, &UNBLOCKED_STDERR, bytes)).ok();
}

fn write_at_once(shared: BorrowedFd<'_>, unblocked: &OnceLock<Option<OwnedFd>>, bytes: &[u8]) -> nix::Result<usize> {
    match Sort::of(shared)? {
        Sort::Socket => send(shared.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL),
        // Through the shared one: it has the offset, or appends.
        Sort::NeverWaits => write(shared, bytes),
        Sort::MayWait => match unblocked.get_or_init(|| reopen(shared).ok()) {
            Some(own) => write(own, bytes),
            // No longer ours to open (another user's terminal after su): asking first leaves only a race with others.
            None if takes_a_line_now(shared) => write(shared, bytes),
            None => Err(Errno::EAGAIN),
        },
    }
}

/// What a descriptor leads to, by what a write to it may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Socket,
    /// A pipe or terminal: for its reader.
    MayWait,
    /// A file or another device.
    NeverWaits,
}

impl Sort {
    fn of(descriptor: BorrowedFd<'_>) -> nix::Result<Self> {
        let kind = SFlag::from_bits_truncate(fstat(descriptor)?.st_mode) & SFlag::S_IFMT;
        Ok(match kind {
            SFlag::S_IFSOCK => Self::Socket,
            SFlag::S_IFIFO => Self::MayWait,
            SFlag::S_IFCHR if descriptor.is_terminal() => Self::MayWait,
            _ => Self::NeverWaits,
        })
    }
}

/// Another open file of the same pipe or terminal, whose writes fail where they would have to wait.
fn reopen(descriptor: BorrowedFd<'_>) -> nix::Result<OwnedFd> {
    // A multiplexer's side of a terminal: opening that one makes a new terminal.
    if fstat(descriptor)?.st_rdev == makedev(5, 2) {
        return Err(Errno::ENXIO);
    }
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    open(path.as_str(), OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Whether a write of up to `PIPE_BUF` (4096) bytes would be taken at once and by somebody.
fn takes_a_line_now(descriptor: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::new(descriptor, PollFlags::POLLOUT)];
    let answered = poll(&mut asked, PollTimeout::ZERO);
    // A pipe that nobody reads, or a terminal that is gone, says so beside POLLOUT.
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    let events = asked[0].revents().unwrap_or(PollFlags::empty());
    answered == Ok(1) && events.contains(PollFlags::POLLOUT) && !events.intersects(gone)
}

/// Whether what is written to standard output can reach nobody any more: the pipe has no reader, the terminal has gone.
#[must_use]
pub fn stdout_is_for_nobody() -> bool {
    let mut asked = [PollFd::new(STDOUT, PollFlags::empty())];
    let answered = poll(&mut asked, PollTimeout::ZERO);
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    answered == Ok(1) && asked[0].revents().is_some_and(|events| events.intersects(gone))
}

/// Writes all of `bytes`, in one call where the kernel takes them at once. A pipe that nobody reads is an error here,
/// not the end of the process.
///
/// # Errors
/// When not everything was written.
pub fn write_all(descriptor: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
    Ok(without_broken_pipe(|| write_each(descriptor, bytes))?)
}

/// Keeps the SIGPIPE of `attempt` from this process: its error tells enough.
fn without_broken_pipe<T>(attempt: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    // Held back and swallowed rather than ignored: the disposition is the command's inheritance.
    let before = change_mask(SigmaskHow::SIG_BLOCK, &broken_pipe());
    let attempted = attempt();
    if attempted.as_ref().is_err_and(|&error| error == Errno::EPIPE)
        && !before.contains(Signal::SIGPIPE)
        && let Ok(pending) = SignalFd::with_flags(&broken_pipe(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
    {
        while let Ok(Some(_)) = pending.read_signal() {}
    }
    change_mask(SigmaskHow::SIG_SETMASK, &before);
    attempted
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
    use std::os::fd::{AsFd, OwnedFd};

    /// Closes the reading end. What another test forks just then has it as well, for as long as it lives.
    fn leave(reader: OwnedFd, writer: &OwnedFd) {
        drop(reader);
        let mut broken = [PollFd::new(writer.as_fd(), PollFlags::empty())];
        assert_eq!(poll(&mut broken, PollTimeout::from(20_000_u16)), Ok(1), "somebody goes on reading");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_an_error_and_no_signal() {
        let (reader, writer) = pipe().expect("two descriptors");
        leave(reader, &writer);
        assert!(!takes_a_line_now(writer.as_fd()));
        let error = write_all(writer.as_fd(), b"word").expect_err("nobody reads");
        assert_eq!(error.raw_os_error(), Some(Errno::EPIPE as i32));
        // A pending SIGPIPE would have ended the test at the unblocking; the mask is what it was.
        let mask = SigSet::thread_get_mask().expect("own mask");
        assert!(!mask.contains(Signal::SIGPIPE));
    }

    #[test]
    fn a_full_pipe_takes_no_line_and_its_shared_description_stays_a_waiting_one() {
        let (reader, writer) = pipe().expect("two descriptors");
        let unblocked = OnceLock::new();
        let line = [b'x'; 4096];
        let lines = std::iter::repeat_with(|| write_at_once(writer.as_fd(), &unblocked, &line));
        let taken = lines.take_while(|taken| *taken == Ok(line.len())).count();
        assert_eq!(taken, 16, "a pipe has room for 64 KiB");
        assert_eq!(write_at_once(writer.as_fd(), &unblocked, b"one more"), Err(Errno::EAGAIN));
        assert!(!takes_a_line_now(writer.as_fd()));
        let flags = fcntl(&writer, FcntlArg::F_GETFL).expect("it is open");
        assert!(!OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK));
        leave(reader, &writer);
        assert_eq!(without_broken_pipe(|| write_at_once(writer.as_fd(), &unblocked, b"word")), Err(Errno::EPIPE));
    }

    #[test]
    fn a_socket_that_nobody_reads_takes_no_line_in_the_end() {
        let (reader, writer) = std::os::unix::net::UnixStream::pair().expect("two descriptors");
        let unblocked = OnceLock::new();
        let lines = std::iter::repeat_with(|| write_at_once(writer.as_fd(), &unblocked, &[b'x'; 4096]));
        assert_eq!(lines.take(10_000).find_map(Result::err), Some(Errno::EAGAIN));
        drop(reader);
        assert!(unblocked.get().is_none(), "a socket is not opened again");
    }

    #[test]
    fn lines_for_a_file_go_where_its_other_writers_left_off() {
        let mut file = tempfile::tempfile().expect("the temporary directory takes files");
        std::io::Write::write_all(&mut file, b"before ").expect("there is room");
        assert_eq!(write_at_once(file.as_fd(), &OnceLock::new(), b"after"), Ok(5));
        let mut read = String::new();
        std::io::Seek::rewind(&mut file).expect("a file");
        file.read_to_string(&mut read).expect("UTF-8");
        assert_eq!(read, "before after");
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
