//! The terminal's modes, put back where dlock has ended a program that had changed them: a shell does that only for a job
//! that a signal has killed, and dlock ends with a status of its own.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::signal::killpg;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

use crate::sys::stdio::{STDERR, STDIN};

/// The terminal that this process leads in the foreground, with the modes that it had.
#[derive(Debug)]
pub struct Terminal(Option<(OwnedFd, Termios)>);

impl Terminal {
    /// Of standard input or error; nothing where neither is a terminal, or the job is in the background.
    #[must_use]
    pub fn remember() -> Self {
        let modes = [STDIN, STDERR].into_iter().find_map(|descriptor| {
            let modes = tcgetattr(descriptor).ok()?;
            // Those that were inherited are closed once the command runs.
            Some((descriptor.try_clone_to_owned().ok()?, modes))
        });
        Self(modes.filter(|(terminal, _)| tcgetpgrp(terminal) == Ok(getpgrp())))
    }

    /// Puts the modes back, unless somebody else has the terminal by now.
    pub fn restore(&self) {
        let Some((terminal, modes)) = &self.0 else { return };
        // A command may have died in the foreground in a group of its own.
        let is_ours =
            tcgetpgrp(terminal).is_ok_and(|group| group == getpgrp() || killpg(group, None) == Err(Errno::ESRCH));
        if is_ours {
            // At once: what is still to be shown may never be taken, on a terminal that somebody has held up.
            tcsetattr(terminal.as_fd(), SetArg::TCSANOW, modes).ok();
        }
    }
}
