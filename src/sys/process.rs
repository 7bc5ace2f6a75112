//! Processes: fork, wait, and signals that cannot hit a stranger who got a recycled pid.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::{Pid, Uid};

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forked {
    Parent { child: Pid },
    Child,
}

/// Forks a process that has one thread.
///
/// # Errors
/// When the system refuses another process (`EAGAIN`, `ENOMEM`).
///
/// # Panics
/// When there is a second thread: the child would have half of a program.
pub fn fork_single_threaded() -> nix::Result<Forked> {
    debug_assert_eq!(std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count), 1, "fork before any thread");
    // SAFETY: there is no other thread, so no lock is held by one and the child may go on like the parent.
    #[expect(unsafe_code)]
    let forked = unsafe { nix::unistd::fork() }?;
    Ok(match forked {
        nix::unistd::ForkResult::Parent { child } => Forked::Parent { child },
        nix::unistd::ForkResult::Child => Forked::Child,
    })
}

/// Ends this process at once: no destructors, no buffers flushed. For processes forked off a larger one.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit only ends the process.
    #[expect(unsafe_code)]
    unsafe {
        libc::_exit(status)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    Code(i32),
    /// By this signal, real-time ones included.
    Signal(i32),
}

/// What a wait reports of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Ended(Exit),
    Stopped(i32),
    Continued,
}

/// Which children a wait looks at.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    Any,
    Pid(Pid),
}

/// Whether a wait blocks until something happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocking {
    Yes,
    No,
}

/// The next change of a child, reaped if it ended. `Ok(None)`: nothing has changed yet (only with [`Blocking::No`]).
///
/// # Errors
/// `ECHILD` when there is no such child (any more).
pub fn wait_child(which: Which, blocking: Blocking) -> nix::Result<Option<(Pid, Change)>> {
    wait_raw(which, blocking, libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED)
}

/// Whether this process has any child, ended or not. Reaps nothing.
pub fn has_children() -> bool {
    wait_raw(Which::Any, Blocking::No, libc::WEXITED | libc::WNOWAIT) != Err(Errno::ECHILD)
}

/// Whether [`wait_child`] would tell of a change of this child. Reaps nothing, and leaves the change to be told.
pub fn has_changed(child: Pid) -> bool {
    let any = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED | libc::WNOWAIT;
    !matches!(wait_raw(Which::Pid(child), Blocking::No, any), Ok(None))
}

/// Whether `pid` neither catches nor ignores `signal`; not known: no.
pub fn leaves_to_the_system(pid: Pid, signal: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    ["SigIgn:", "SigCgt:"].iter().all(|name| {
        let signals = status.lines().find_map(|line| line.strip_prefix(name));
        let signals = signals.and_then(|signals| u64::from_str_radix(signals.trim(), 16).ok());
        signals.is_some_and(|signals| signals >> (signal - 1) & 1 == 0)
    })
}

// `nix::sys::wait` cannot name real-time signals, and fails on a child that one of them ended.
fn wait_raw(which: Which, blocking: Blocking, flags: i32) -> nix::Result<Option<(Pid, Change)>> {
    let (id_type, id) = match which {
        Which::Any => (libc::P_ALL, 0),
        Which::Pid(pid) => (libc::P_PID, libc::id_t::try_from(pid.as_raw()).map_err(|_| Errno::ECHILD)?),
    };
    let flags = if blocking == Blocking::No { flags | libc::WNOHANG } else { flags };
    loop {
        // SAFETY: all-zero is a valid siginfo_t, and waitid writes nothing else; the union fields read below are those
        // that waitid fills in for SIGCHLD.
        #[expect(unsafe_code)]
        let (answer, pid, code, status) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let answer = libc::waitid(id_type, id, &raw mut info, flags);
            (answer, info.si_pid(), info.si_code, info.si_status())
        };
        match Errno::result(answer) {
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
            Ok(_) if pid == 0 => return Ok(None),
            Ok(_) => {}
        }
        let change = match code {
            libc::CLD_EXITED => Change::Ended(Exit::Code(status)),
            libc::CLD_KILLED | libc::CLD_DUMPED => Change::Ended(Exit::Signal(status)),
            libc::CLD_CONTINUED => Change::Continued,
            _ => Change::Stopped(status),
        };
        return Ok(Some((Pid::from_raw(pid), change)));
    }
}

/// A handle on one process that never refers to another one, also when the pid is used again.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// # Errors
    /// `ESRCH` when there is no such process.
    pub fn open(pid: Pid) -> nix::Result<Self> {
        // SAFETY: pidfd_open takes no pointers; the descriptor it returns is new and ours.
        #[expect(unsafe_code)]
        let fd = unsafe {
            let fd = Errno::result(libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0))?;
            OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor fits an int"))
        };
        Ok(Self(fd))
    }

    /// Sends any signal by number, real-time ones included.
    ///
    /// # Errors
    /// `ESRCH` when the process has been reaped, `EPERM` when it may not be signalled.
    pub fn send(&self, signal: i32) -> nix::Result<()> {
        // SAFETY: a null siginfo asks the kernel to fill in what kill(2) would.
        #[expect(unsafe_code)]
        let sent = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                signal,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        Errno::result(sent).map(drop)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The effective user of `pid`, as `/proc` shows it; root's, too, where the process may not be read. `None`: it is gone.
#[must_use]
pub fn owner(pid: Pid) -> Option<Uid> {
    nix::sys::stat::stat(format!("/proc/{pid}").as_str()).ok().map(|stat| Uid::from_raw(stat.st_uid))
}

/// From now on no core file of this process is written, and no other process of its user may read its memory or the
/// environment that it was started with. What it executes begins anew.
pub fn close_memory() {
    // The kernel refuses no such wish.
    nix::sys::prctl::set_dumpable(false).ok();
}

/// Closes this process's copy of a descriptor whose owner lives on in the process that it was forked from.
pub fn close_copy(descriptor: BorrowedFd<'_>) {
    // SAFETY: the caller is a fork that ends without running destructors, so nobody uses or closes the number again.
    #[expect(unsafe_code)]
    unsafe {
        libc::close(descriptor.as_raw_fd());
    }
}

/// Closes every descriptor that an `exec` would hand on, but standard error: those that this process inherited.
///
/// Our own are all close-on-exec. A pipe's other end must see the command's view of it, not ours as well.
///
/// # Errors
/// When `/proc` cannot be read; nothing is closed then.
pub fn close_inherited_descriptors() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for fd in open {
        if fd == libc::STDERR_FILENO {
            continue;
        }
        // SAFETY: fcntl and close take any number; a descriptor without close-on-exec is none that this program
        // opened, so no owner of ours is left with a closed one.
        #[expect(unsafe_code)]
        unsafe {
            let flags = libc::fcntl(fd, libc::F_GETFD);
            if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
                libc::close(fd);
            }
        }
    }
    Ok(())
}
