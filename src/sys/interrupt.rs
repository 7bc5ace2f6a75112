//! The signals that end a one-shot or concern a program on a terminal, received as events.

use std::io;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::readiness::Readiness;
use super::signals::is_ignored;

/// What a terminal, a service manager or a person sends to end a program.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Some signals to this process, held back and delivered as events from here on.
#[derive(Debug)]
pub struct Interrupts(Readiness<SignalFd>);

impl Interrupts {
    /// Those that end a program, but for those that were inherited as ignored (`nohup`).
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn watch() -> io::Result<Self> {
        Self::of(&ENDING)
    }

    /// Those of a program that draws on a window: its size, and its coming back to the foreground.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub fn of_a_window() -> io::Result<Self> {
        Self::of(&[Signal::SIGWINCH, Signal::SIGCONT])
    }

    /// Those of a program that has taken the whole window: all that end it, stop it or change the window.
    ///
    /// # Errors
    /// As for [`watch`](Self::watch).
    pub fn of_a_whole_window() -> io::Result<Self> {
        let [first, second, third] = ENDING;
        Self::of(&[first, second, third, Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGTSTP])
    }

    fn of(signals: &[Signal]) -> io::Result<Self> {
        let watched: SigSet = signals.iter().copied().filter(|signal| !is_ignored(*signal as i32)).collect();
        watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let received = SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Readiness::new(received).map(Self)
    }

    /// Completes with the next signal's number. May be dropped and called again.
    pub async fn next(&self) -> i32 {
        loop {
            match self.0.readable(|signals| signals.read_signal().and_then(|read| read.ok_or(Errno::EAGAIN))).await {
                Ok(read) => return i32::try_from(read.ssi_signo).expect("signal numbers end at 64"),
                // Nothing that a caller could do about it, and the wait has other ends.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    #[test]
    fn a_signal_held_back_arrives_as_an_event() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // Not HUP: under nohup it is ignored.
            let interrupts = Interrupts::watch().expect("a descriptor");
            raise(Signal::SIGTERM).expect("own process");
            assert_eq!(interrupts.next().await, libc::SIGTERM);
        });
    }
}
