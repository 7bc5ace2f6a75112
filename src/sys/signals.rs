//! Signals by number, real-time ones included, which `nix` cannot name.
//!
//! What is asked for by number goes to the kernel past the C library: musl's keeps signal 34 for itself as well, which
//! every other program on the machine may use.

use std::mem::MaybeUninit;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// The first real-time signal as shells and `kill -l` count them: glibc keeps the kernel's first two for itself.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

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
    // But for the two of the C library; the kernel keeps KILL and STOP out of it.
    let wanted = set_of((1..=RTMAX).filter(|signal| !(32..RTMIN).contains(signal)));
    let mask = change_mask(SigmaskHow::SIG_BLOCK, &wanted);
    let inherited = Inherited { mask, child_ignored: inherited_child, pipe_ignored: is_ignored(libc::SIGPIPE) };
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
        change_mask(SigmaskHow::SIG_SETMASK, &self.mask);
    }
}

/// The signal that people call `name`: `TERM`, `SIGTERM`, `15`, `RTMIN+3`, in any case. `None` where there is none that
/// may be sent.
#[must_use]
pub fn by_name(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = if let Some(offset) = short.strip_prefix("RTMIN") {
        RTMIN.checked_add(offset_of(offset, '+')?)?
    } else if let Some(offset) = short.strip_prefix("RTMAX") {
        RTMAX.checked_sub(offset_of(offset, '-')?)?
    } else if short.bytes().all(|byte| byte.is_ascii_digit()) {
        upper.parse().ok()?
    } else {
        Signal::from_str(&format!("SIG{short}")).ok()? as i32
    };
    let standard = 1..32;
    (standard.contains(&number) || (RTMIN..=RTMAX).contains(&number)).then_some(number)
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
    // SAFETY: kill and getpid take numbers; the signal stays pending until it is unblocked below, so that it is
    // delivered to this thread and nowhere else.
    #[expect(unsafe_code)]
    unsafe {
        libc::kill(libc::getpid(), signal);
    }
    change_mask(SigmaskHow::SIG_UNBLOCK, &set_of([signal]));
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
    let all_but_child = set_of((1..=RTMAX).filter(|&signal| signal != libc::SIGCHLD));
    // SAFETY: the set and the siginfo are initialised before they are read, and sigtimedwait touches nothing else.
    #[expect(unsafe_code)]
    unsafe {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let signal = libc::sigtimedwait(all_but_child.as_ref(), &raw mut info, &raw const at_once);
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
    // SAFETY: kill and getpid take numbers; there is no second thread that the signal could be delivered to.
    #[expect(unsafe_code)]
    unsafe {
        libc::kill(libc::getpid(), signal);
    }
    // SIGSTOP cannot be held back: it is over by now, and the rest is without effect.
    let before = change_mask(SigmaskHow::SIG_UNBLOCK, &set_of([signal]));
    change_mask(SigmaskHow::SIG_SETMASK, &before);
}

/// Whether somebody has woken this process after [`stop_by`]; takes the signal that did. One to stop it again takes that
/// away, and is a sign of it, too.
#[must_use]
pub fn was_woken() -> bool {
    let waking = set_of([libc::SIGCONT]);
    // SAFETY: the sets are initialised before they are read, and neither call touches anything else.
    #[expect(unsafe_code)]
    unsafe {
        let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if libc::sigtimedwait(waking.as_ref(), std::ptr::null_mut(), &raw const at_once) == libc::SIGCONT {
            return true;
        }
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]
            .iter()
            .any(|&stop| libc::sigismember(&raw const pending, stop) == 1)
    }
}

/// What the kernel does with a signal, first of all its `struct sigaction` on every processor that this is built for.
#[repr(C)]
struct Action {
    disposition: libc::sighandler_t,
    /// Flags, a way back from handlers, a mask: nothing of it counts without a handler.
    rest: [usize; 7],
}

/// How many bytes the kernel's set of signals has.
const SET_BYTES: usize = size_of::<u64>();

/// Whether this process ignores `signal`, as it does what was ignored when it started.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut action = Action { disposition: libc::SIG_DFL, rest: [0; 7] };
    // SAFETY: without a new action the kernel only writes the old one, which is shorter than this.
    #[expect(unsafe_code)]
    let answered = unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, std::ptr::null::<Action>(), &raw mut action, SET_BYTES)
    };
    answered == 0 && action.disposition == libc::SIG_IGN
}

fn set_disposition(signal: i32, disposition: libc::sighandler_t) {
    let action = Action { disposition, rest: [0; 7] };
    // SAFETY: SIG_DFL and SIG_IGN install no handler. KILL and STOP have nothing else than their default, and refuse.
    #[expect(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, std::ptr::null_mut::<Action>(), SET_BYTES);
    }
}

/// Changes which signals are held back in this thread, and returns which were. Async-signal-safe.
pub(super) fn change_mask(how: SigmaskHow, set: &SigSet) -> SigSet {
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: both sets begin with the kernel's, which is all that it reads and writes; zeroed, the rest is initialised.
    #[expect(unsafe_code)]
    unsafe {
        let set: &libc::sigset_t = set.as_ref();
        let answered =
            libc::syscall(libc::SYS_rt_sigprocmask, how as i32, &raw const *set, before.as_mut_ptr(), SET_BYTES);
        Errno::result(answered).expect("a valid set is always accepted");
        SigSet::from_sigset_t_unchecked(before.assume_init())
    }
}

/// These signals, numbers from 1 to 64.
fn set_of(signals: impl IntoIterator<Item = i32>) -> SigSet {
    let bits = signals.into_iter().fold(0_u64, |bits, signal| bits | 1 << (signal - 1));
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: the C library's set begins with the kernel's, and is no smaller; zeroed, the rest is initialised.
    #[expect(unsafe_code)]
    unsafe {
        set.as_mut_ptr().cast::<u64>().write(bits);
        SigSet::from_sigset_t_unchecked(set.assume_init())
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
        assert_eq!(by_name("RTMIN"), Some(34));
        assert_eq!(by_name("SIGRTMIN+3"), Some(37));
        assert_eq!(by_name("RTMAX-1"), Some(63));
        assert_eq!(by_name("64"), Some(64));
    }

    /// The C library's own view of the mask has none of those that it keeps for itself.
    #[test]
    fn the_mask_is_the_kernels() {
        let held_back = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
            let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).expect("every thread has one");
            u64::from_str_radix(mask, 16).expect("a hexadecimal number")
        };
        let first = held_back();
        let before = change_mask(SigmaskHow::SIG_BLOCK, &set_of([libc::SIGUSR1, 34, 64]));
        assert_eq!(held_back(), first | 1 << 63 | 1 << 33 | 1 << (libc::SIGUSR1 - 1));
        let within = change_mask(SigmaskHow::SIG_UNBLOCK, &set_of([64]));
        assert_eq!(held_back(), first | 1 << 33 | 1 << (libc::SIGUSR1 - 1));
        change_mask(SigmaskHow::SIG_SETMASK, &within);
        assert_eq!(held_back(), first | 1 << 63 | 1 << 33 | 1 << (libc::SIGUSR1 - 1));
        change_mask(SigmaskHow::SIG_SETMASK, &before);
        assert_eq!(held_back(), first);
    }

    #[test]
    fn a_disposition_is_the_kernels() {
        for signal in [34, 35, 63] {
            set_disposition(signal, libc::SIG_IGN);
            assert!(is_ignored(signal), "{signal}");
            set_disposition(signal, libc::SIG_DFL);
            assert!(!is_ignored(signal), "{signal}");
        }
        assert!(!is_ignored(0) && !is_ignored(65));
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
