//! Signals by number, real-time ones included, which `nix` cannot name.

use std::str::FromStr;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

/// The signals and dispositions that this process started with: what the command must start with too.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    mask: SigSet,
    child_ignored: bool,
    pipe_ignored: bool,
}

/// Blocks every signal, and returns what was inherited with the set that is now blocked, for a signalfd.
///
/// A blocked signal reaches a signalfd even when it is ignored, and `nohup` counts on its being ignored: whoever reads one
/// asks [`is_ignored`] then, rather than this for all 62 of them at every start. SIGCHLD loses an inherited "ignored": the
/// kernel would throw our children's statuses away. Those of the processor may be sent by anybody, too (a service manager's
/// watchdog sends ABRT); a real fault ends a program that blocks its signal all the same.
pub fn take_over() -> (Inherited, SigSet) {
    let inherited_child = is_ignored(libc::SIGCHLD);
    if inherited_child {
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    }
    // The C library keeps its own two out of it, and the kernel KILL and STOP.
    let wanted = SigSet::all();
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&wanted), Some(&mut before)).expect("a valid set is always accepted");
    let inherited = Inherited { mask: before, child_ignored: inherited_child, pipe_ignored: is_ignored(libc::SIGPIPE) };
    (inherited, wanted)
}

impl Inherited {
    /// Gives this process back what it started with. Async-signal-safe: for the moment between fork and exec.
    pub fn restore(&self) {
        if self.child_ignored {
            set_disposition(libc::SIGCHLD, libc::SIG_IGN);
        }
        // std resets SIGPIPE to its default in every child it starts, whatever it was before.
        set_disposition(libc::SIGPIPE, if self.pipe_ignored { libc::SIG_IGN } else { libc::SIG_DFL });
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None).expect("a mask that was in force is valid");
    }
}

/// The signal that people call `name`: `TERM`, `SIGTERM`, `15`, `RTMIN+3`, in any case. `None` where there is none that
/// may be sent.
#[must_use]
pub fn by_name(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Some(offset) = short.strip_prefix("RTMIN") {
        libc::SIGRTMIN().checked_add(offset_of(offset, '+')?)?
    } else if let Some(offset) = short.strip_prefix("RTMAX") {
        libc::SIGRTMAX().checked_sub(offset_of(offset, '-')?)?
    } else if short.bytes().all(|byte| byte.is_ascii_digit()) {
        upper.parse().ok()?
    } else {
        Signal::from_str(&format!("SIG{short}")).ok()? as i32
    };
    let standard = 1..32;
    (standard.contains(&number) || (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(&number)).then_some(number)
}

/// What follows `RTMIN` or `RTMAX`: nothing, or a sign and digits.
fn offset_of(text: &str, sign: char) -> Option<i32> {
    if text.is_empty() {
        return Some(0);
    }
    text.strip_prefix(sign).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// Holds `signal` back for good, in this thread and those that it starts.
///
/// # Errors
/// None that can happen: the set is valid.
pub fn hold_back(signal: Signal) -> nix::Result<()> {
    SigSet::from(signal).thread_block()
}

/// Dies of `signal` as if nothing had caught it, without a core file. Returns only if the signal does not kill (for
/// process 1 it does not).
pub fn die_of(signal: i32) {
    nix::sys::prctl::set_dumpable(false).ok();
    set_disposition(signal, libc::SIG_DFL);
    let mut only = empty_set();
    add(&mut only, signal);
    // SAFETY: kill and getpid take numbers; the signal stays pending until it is unblocked below, so that it is
    // delivered to this thread and nowhere else.
    #[expect(unsafe_code)]
    unsafe {
        libc::kill(libc::getpid(), signal);
    }
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&into_sigset(only)), None).ok();
}

/// `si_code` of what the kernel itself sent: a key of the terminal, a hang-up, an alarm.
const SI_KERNEL: i32 = 0x80;

/// Whether a signal with this `si_code` is a terminal's, which sends it to a whole group. Any other of the kernel's (an
/// alarm set before dlock was executed, a descriptor that became ready) was meant for one process.
#[must_use]
pub fn is_of_terminal(signal: i32, code: i32) -> bool {
    use libc::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGWINCH};
    let terminals_own = [SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGCONT, SIGWINCH];
    code == SI_KERNEL && terminals_own.contains(&signal)
}

/// Takes the signals of the terminal that are held back for this process, each once, and forgets what else was sent.
#[must_use]
pub fn take_pending_of_terminal() -> Vec<i32> {
    let mut taken = Vec::new();
    // SAFETY: the sets and the siginfo are initialised before they are read, and sigtimedwait touches nothing else.
    #[expect(unsafe_code)]
    unsafe {
        let mut all_but_child = empty_set();
        libc::sigfillset(&raw mut all_but_child);
        libc::sigdelset(&raw mut all_but_child, libc::SIGCHLD);
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigtimedwait(&raw const all_but_child, &raw mut info, &raw const at_once);
            if signal <= 0 {
                return taken;
            }
            if is_of_terminal(signal, info.si_code) && !is_ignored(signal) {
                taken.push(signal);
            }
        }
    }
}

/// Stops this process by `signal`, so that a shell sees what it would see of the command, until somebody continues it.
///
/// Where nobody could (the group is orphaned, as a session leader's is), the system ignores the stop signals of the
/// terminal, and this returns at once.
pub fn stop_by(signal: i32) {
    let signal = if is_ignored(signal) { libc::SIGSTOP } else { signal };
    let mut only = empty_set();
    add(&mut only, signal);
    let only = into_sigset(only);
    // SAFETY: kill and getpid take numbers; there is no second thread that the signal could be delivered to.
    #[expect(unsafe_code)]
    unsafe {
        libc::kill(libc::getpid(), signal);
    }
    // SIGSTOP cannot be held back: it is over by now, and the rest is without effect.
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&only), Some(&mut before)).ok();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None).ok();
}

/// Whether somebody has woken this process after [`stop_by`]; takes the signal that did. One to stop it again takes that
/// away, and is a sign of it, too.
#[must_use]
pub fn was_woken() -> bool {
    let mut waking = empty_set();
    add(&mut waking, libc::SIGCONT);
    // SAFETY: the sets are initialised before they are read, and neither call touches anything else.
    #[expect(unsafe_code)]
    unsafe {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if libc::sigtimedwait(&raw const waking, std::ptr::null_mut(), &raw const at_once) == libc::SIGCONT {
            return true;
        }
        let mut pending = empty_set();
        libc::sigpending(&raw mut pending);
        [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]
            .iter()
            .any(|&stop| libc::sigismember(&raw const pending, stop) == 1)
    }
}

/// Whether this process ignores `signal`, as it does what was ignored when it started.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: a null new action only reads the old one into zeroed memory of the right type.
    #[expect(unsafe_code)]
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}

fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    // SAFETY: SIG_DFL and SIG_IGN install no handler. KILL and STOP have nothing else than their default, and refuse.
    #[expect(unsafe_code)]
    unsafe {
        libc::signal(signal, disposition);
    }
}

fn empty_set() -> libc::sigset_t {
    // SAFETY: sigemptyset initialises the whole set.
    #[expect(unsafe_code)]
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        set
    }
}

fn add(set: &mut libc::sigset_t, signal: i32) {
    // SAFETY: the set is initialised; an invalid number only fails.
    #[expect(unsafe_code)]
    unsafe {
        libc::sigaddset(set, signal);
    }
}

fn into_sigset(set: libc::sigset_t) -> SigSet {
    // SAFETY: the set was initialised by sigemptyset.
    #[expect(unsafe_code)]
    unsafe {
        SigSet::from_sigset_t_unchecked(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_has_a_name_a_longer_one_and_a_number() {
        for name in ["TERM", "term", "SIGTERM", "SigTerm", "15"] {
            assert_eq!(by_name(name), Some(libc::SIGTERM), "{name}");
        }
        assert_eq!(by_name("RTMIN"), Some(libc::SIGRTMIN()));
        assert_eq!(by_name("SIGRTMIN+3"), Some(libc::SIGRTMIN() + 3));
        assert_eq!(by_name("RTMAX-1"), Some(libc::SIGRTMAX() - 1));
        assert_eq!(by_name("64"), Some(64));
    }

    #[test]
    fn what_is_no_signal_has_no_number() {
        let no_signals =
            ["", "SIG", "0", "32", "33", "65", "99999999999", "+15", "-9", "TERM ", "SIGSIGTERM", "SIG15x"];
        for name in
            no_signals.into_iter().chain(["RTMIN-1", "RTMIN+", "RTMIN+31", "RTMAX+1", "RTMINX", "RTMIN+2147483647"])
        {
            assert_eq!(by_name(name), None, "{name:?}");
        }
    }
}
