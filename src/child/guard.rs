//! The guard: watches the deadline for a front that has stopped with its command.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getppid, setsid};

use super::channel::Channel;
use super::{Deadline, tree};
use crate::sys::boottime::Alarm;
use crate::sys::process::{self, Blocking, Forked, PidFd, Which};

/// Milliseconds between two walks over a tree that is being killed: a process that forked meanwhile is found then.
const KILL_PAUSE_MS: u8 = 20;

/// What the guard is called in `ps`.
const GUARD_NAME: &std::ffi::CStr = c"lock-guard";

/// A process that lives exactly as long as the front is stopped.
#[derive(Debug)]
pub(super) struct Guard(Pid);

impl Guard {
    /// # Errors
    /// When the system refuses a process or a descriptor.
    pub(super) fn start(
        keeper: Pid,
        deadline: Deadline,
        earlier_children: &[Pid],
        fronts_channel: &Channel,
    ) -> io::Result<Self> {
        let front = nix::unistd::getpid();
        match process::fork_single_threaded()? {
            Forked::Parent { child } => Ok(Self(child)),
            Forked::Child => {
                // Its own session: what stops the job must not stop its guard.
                setsid().ok();
                nix::sys::prctl::set_name(GUARD_NAME).ok();
                // The keeper takes the end of this channel for the front's death.
                process::close_copy(fronts_channel.as_fd());
                let watched = watch(front, keeper, deadline, earlier_children);
                process::exit_now(i32::from(watched.is_err()))
            }
        }
    }

    /// The front runs again and watches for itself.
    pub(super) fn dismiss(self) {
        if let Ok(guard) = PidFd::open(self.0) {
            guard.send(libc::SIGKILL).ok();
        }
        process::wait_child(Which::Pid(self.0), Blocking::Yes).ok();
    }
}

/// Returns when the front is dead: the keeper sees to the command then.
fn watch(front: Pid, keeper: Pid, deadline: Deadline, earlier_children: &[Pid]) -> nix::Result<()> {
    let front_process = PidFd::open(front)?;
    let alarm = Alarm::new()?;
    let mut pause = PollTimeout::NONE;
    // The front may have died before its handle was opened.
    while getppid() == front {
        if deadline.has_passed() {
            kill_all(front, keeper, earlier_children);
            pause = PollTimeout::from(KILL_PAUSE_MS);
            alarm.set(None);
        } else {
            alarm.set(deadline.get());
        }
        let mut sources =
            [PollFd::new(front_process.as_fd(), PollFlags::POLLIN), PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
        poll(&mut sources, pause)?;
    }
    Ok(())
}

/// Kills the keeper, which a renewal might still reach, and all of the command's tree; its stopped parent reaps later.
fn kill_all(front: Pid, keeper: Pid, earlier_children: &[Pid]) {
    if let Ok(process) = PidFd::open(keeper)
        && tree::is_below(keeper, front)
    {
        process.send(libc::SIGKILL).ok();
    }
    let spared: Vec<Pid> = earlier_children.iter().copied().chain([nix::unistd::getpid()]).collect();
    tree::signal_descendants(front, &spared, &[libc::SIGKILL]);
}
