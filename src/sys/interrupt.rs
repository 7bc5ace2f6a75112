//! Signals that end a one-shot: received as events, and died of in the end.

use std::io;

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, raise, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::readiness::Readiness;

/// What a terminal, a service manager or a person sends to end a program.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// The ending signals of this process, held back and delivered as events from here on.
#[derive(Debug)]
pub struct Interrupts(Readiness<SignalFd>);

impl Interrupts {
    /// Those that were inherited as ignored stay so (`nohup`).
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn watch() -> io::Result<Self> {
        let watched: SigSet = ENDING.into_iter().filter(|signal| !is_ignored(*signal)).collect();
        watched.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let received = SignalFd::with_flags(&watched, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Readiness::new(received).map(Self)
    }

    /// Completes with the next signal's number. May be dropped and called again.
    pub async fn next(&self) -> i32 {
        loop {
            match self
                .0
                .readable(|signals| signals.read_signal().and_then(|read| read.ok_or(nix::errno::Errno::EAGAIN)))
                .await
            {
                Ok(read) => return i32::try_from(read.ssi_signo).expect("signal numbers end at 64"),
                // Nothing that a caller could do about it, and the wait has other ends.
                Err(_) => std::future::pending().await,
            }
        }
    }
}

/// Ends the process by `signal`, so that its parent sees what it would see of a program that never caught it.
pub fn die_of(signal: i32) -> ! {
    // The core would be dlock's, and say nothing about what the signal was meant for.
    nix::sys::prctl::set_dumpable(false).ok();
    if let Ok(signal) = Signal::try_from(signal) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours.
        #[expect(unsafe_code)]
        let restored = unsafe { sigaction(signal, &default) };
        if restored.is_ok() {
            raise(signal).ok();
            SigSet::from(signal).thread_swap_mask(SigmaskHow::SIG_UNBLOCK).ok();
        }
    }
    // The first process of a PID namespace does not die of its own signals; a shell would show this number.
    std::process::exit(128 + signal)
}

fn is_ignored(signal: Signal) -> bool {
    let mut current = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: a null action only asks, and the answer is read only when the kernel has filled it in.
    #[expect(unsafe_code)]
    unsafe {
        libc::sigaction(signal as libc::c_int, std::ptr::null(), current.as_mut_ptr()) == 0
            && current.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_held_back_arrives_as_an_event() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let interrupts = Interrupts::watch().expect("a descriptor");
            raise(Signal::SIGHUP).expect("own process");
            assert_eq!(interrupts.next().await, libc::SIGHUP);
        });
    }
}
