//! The guard: watches the deadline for a front that has stopped with its command.

use std::io;
use std::os::fd::AsFd;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpid, getppid, pipe2, read, setsid, write};

use super::channel::Channel;
use super::{Deadline, tree};
use crate::sys::boottime::Alarm;
use crate::sys::process::{self, Blocking, Forked, PidFd, Which};

/// Milliseconds between two walks over a tree that is being killed (a process that forked meanwhile is found then), and
/// between two calls to wake up.
const KILL_PAUSE_MS: u8 = 20;

/// What the guard is called in `ps`.
const GUARD_NAME: &std::ffi::CStr = c"lock-guard";

/// A process that lives exactly as long as the front is stopped.
#[derive(Debug)]
pub(super) struct Guard(Pid);

impl Guard {
    /// Returns when the guard is on watch.
    ///
    /// # Errors
    /// When the system refuses a process or a descriptor, to the guard as well.
    pub(super) fn start(
        keeper: Pid,
        deadline: Deadline,
        earlier_children: &[Pid],
        fronts_channel: &Channel,
    ) -> io::Result<Self> {
        let front = getpid();
        let (hears, tells) = pipe2(OFlag::O_CLOEXEC)?;
        match process::fork_single_threaded()? {
            Forked::Parent { child } => {
                drop(tells);
                let guard = Self(child);
                // The end of the pipe without a word is the guard's own end.
                match read(&hears, &mut [0]) {
                    Ok(1) => Ok(guard),
                    Ok(_) => Err(io::Error::other("the guard could not watch")),
                    Err(errno) => Err(errno.into()),
                }
                .inspect_err(|_| Self(child).dismiss())
            }
            Forked::Child => {
                drop(hears);
                // Its own session: what stops the job must not stop its guard.
                setsid().ok();
                nix::sys::prctl::set_name(GUARD_NAME).ok();
                // The keeper takes the end of this channel for the front's death, and a pipe's other end the end of
                // what was inherited for the command's.
                process::close_copy(fronts_channel.as_fd());
                process::close_inherited_descriptors().ok();
                let watched = Watch::begin(front, keeper, deadline).and_then(|watch| {
                    write(&tells, &[1])?;
                    drop(tells);
                    watch.until_the_front_is_dead(earlier_children)
                });
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

/// What the guard looks at.
struct Watch {
    front: Pid,
    front_process: PidFd,
    keeper_process: PidFd,
    deadline: Deadline,
    alarm: Alarm,
}

impl Watch {
    fn begin(front: Pid, keeper: Pid, deadline: Deadline) -> nix::Result<Self> {
        Ok(Self {
            front,
            front_process: PidFd::open(front)?,
            // Its number is its own until the front reaps it, which waits for this.
            keeper_process: PidFd::open(keeper)?,
            deadline,
            alarm: Alarm::new()?,
        })
    }

    /// The keeper sees to the command then.
    fn until_the_front_is_dead(&self, earlier_children: &[Pid]) -> nix::Result<()> {
        let mut keeper_is_dead = false;
        // The front may have died before its handle was opened.
        while getppid() == self.front {
            let mut pause = PollTimeout::NONE;
            if self.deadline.has_passed() {
                self.keeper_process.send(libc::SIGKILL).ok();
                let spared: Vec<Pid> = earlier_children.iter().copied().chain([getpid()]).collect();
                tree::kill_descendants(self.front, &spared);
                self.alarm.set(None);
            } else {
                self.alarm.set(self.deadline.get());
            }
            if self.deadline.has_passed() || keeper_is_dead {
                // It is over. What the shell takes for the job ends as the command would have: it does not stay stopped.
                // Again until it does: it may be on its way into the stop.
                self.front_process.send(libc::SIGCONT).ok();
                pause = PollTimeout::from(KILL_PAUSE_MS);
            }
            let mut sources = vec![
                PollFd::new(self.front_process.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.alarm.as_fd(), PollFlags::POLLIN),
            ];
            if !keeper_is_dead {
                sources.push(PollFd::new(self.keeper_process.as_fd(), PollFlags::POLLIN));
            }
            poll(&mut sources, pause)?;
            keeper_is_dead |= sources.get(2).is_some_and(|keeper| keeper.any() == Some(true));
        }
        Ok(())
    }
}
