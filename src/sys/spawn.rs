//! Starting the command exactly as if it had been started directly, but tied to its parent's life.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::boottime::BootInstant;
use super::shared_page::SharedWord;
use super::signals::Inherited;

/// The error of a command that was not started because its deadline had passed between fork and exec.
pub const TOO_LATE: Errno = Errno::ETIME;

/// Starts `command` with the signal mask and dispositions in `inherited`; it dies when this process dies.
///
/// The thread that calls this must live as long as the command may: the kernel takes its end for the parent's.
///
/// # Errors
/// What fork or exec fail with; [`TOO_LATE`] when `deadline` (nanoseconds of CLOCK_BOOTTIME) had passed.
pub fn spawn_tied_to_this_thread(command: &mut Command, inherited: Inherited, deadline: SharedWord) -> io::Result<Pid> {
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only async-signal-safe calls are made (prctl, getppid, clock_gettime, signal,
    // sigprocmask) and nothing allocates.
    #[expect(unsafe_code)]
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            // The parent may have died before the line above: then nobody will ever send that signal.
            if nix::unistd::getppid() != parent {
                return Err(Errno::ECHILD.into());
            }
            if BootInstant::from_nanos(deadline.load()).has_passed() {
                return Err(TOO_LATE.into());
            }
            inherited.restore();
            Ok(())
        });
    }
    let child = command.spawn()?;
    Ok(Pid::from_raw(i32::try_from(child.id()).expect("a pid fits an int")))
}
