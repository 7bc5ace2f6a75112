//! Signals by number, real-time ones included, which `nix` cannot name.

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

/// Signals that the processor raises for a fault of this very program. Blocking them would hang it instead.
const FAULTS: [i32; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT, libc::SIGSYS];

/// The signals and dispositions that this process started with: what the command must start with too.
#[derive(Debug, Clone, Copy)]
pub struct Inherited {
    mask: SigSet,
    child_ignored: bool,
    pipe_ignored: bool,
}

/// Blocks every signal that somebody may send us and that was not ignored when we started, and returns what was
/// inherited with the set that is now blocked, for a signalfd.
///
/// Ignored ones stay out of the set: a blocked signal reaches a signalfd even when it is ignored, and `nohup` counts on
/// its being ignored. SIGCHLD loses an inherited "ignored": the kernel would throw our children's statuses away.
pub fn take_over() -> (Inherited, SigSet) {
    let mut wanted = empty_set();
    for signal in 1..=libc::SIGRTMAX() {
        let kernels_own = signal == libc::SIGKILL || signal == libc::SIGSTOP || FAULTS.contains(&signal);
        // 32 and 33 are the C library's.
        let librarys_own = (32..libc::SIGRTMIN()).contains(&signal);
        if !kernels_own && !librarys_own && !is_ignored(signal) {
            add(&mut wanted, signal);
        }
    }
    let inherited_child = is_ignored(libc::SIGCHLD);
    if inherited_child {
        set_disposition(libc::SIGCHLD, libc::SIG_DFL);
        add(&mut wanted, libc::SIGCHLD);
    }
    let wanted = into_sigset(wanted);
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

/// Stops this process, as the terminal's stop key does, until somebody continues it.
pub fn stop_self() {
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).ok();
}

pub(super) fn is_ignored(signal: i32) -> bool {
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
