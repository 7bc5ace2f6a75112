//! The guard: watches the deadline for a front that has stopped with its command.

use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpid, getppid, setsid};

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
                // The keeper takes the end of this channel for the front's death, and a pipe's other end the end of
                // what was inherited for the command's.
                process::close_copy(fronts_channel.as_fd());
                process::close_inherited_descriptors().ok();
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
    // Its number is its own until the front, which is stopped, reaps it.
    let keeper_process = PidFd::open(keeper)?;
    let alarm = Alarm::new()?;
    let mut keeper_is_dead = false;
    // The front may have died before its handle was opened.
    while getppid() == front {
        let mut pause = PollTimeout::NONE;
        if deadline.has_passed() {
            keeper_process.send(libc::SIGKILL).ok();
            let spared: Vec<Pid> = earlier_children.iter().copied().chain([getpid()]).collect();
            tree::kill_descendants(front, &spared);
            pause = PollTimeout::from(KILL_PAUSE_MS);
            alarm.set(None);
        } else {
            alarm.set(deadline.get());
        }
        if deadline.has_passed() || keeper_is_dead {
            // It is over. What the shell takes for the job ends as the command would have: it does not stay stopped.
            front_process.send(libc::SIGCONT).ok();
        }
        let mut sources =
            vec![PollFd::new(front_process.as_fd(), PollFlags::POLLIN), PollFd::new(alarm.as_fd(), PollFlags::POLLIN)];
        if !keeper_is_dead {
            sources.push(PollFd::new(keeper_process.as_fd(), PollFlags::POLLIN));
        }
        poll(&mut sources, pause)?;
        keeper_is_dead |= sources.get(2).is_some_and(|keeper| keeper.any() == Some(true));
    }
    Ok(())
}
