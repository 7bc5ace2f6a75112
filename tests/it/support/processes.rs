//! Which processes a job consists of, found by a mark in their environment that only this job has.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that marks every process that one dlock call brought forth, dlock's own two included.
pub(crate) const MARK: &str = "JOB_UNDER_TEST";

/// A process that lives, as it was when it was looked at. A zombie does not count: it does nothing any more.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    /// The short name that `ps` and `pkill` see.
    pub(crate) comm: String,
    state: char,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        // It may have ended in this instant, which is as good.
        kill(Pid::from_raw(self.pid), signal).ok();
    }

    /// The process `pid`, unless it is gone or a zombie.
    pub(crate) fn find(pid: i32) -> Option<Self> {
        // A name may hold any bytes.
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        // The name stands in parentheses and may itself contain some.
        let (head, tail) = stat.rsplit_once(") ")?;
        let comm = head.split_once('(')?.1.to_owned();
        let mut fields = tail.split(' ');
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        (!matches!(state, 'Z' | 'X')).then_some(Self { pid, parent, comm, state })
    }

    /// Whether it is gone altogether: its parent has heard how it ended.
    pub(crate) fn is_reaped(&self) -> bool {
        !Path::new(&format!("/proc/{}", self.pid)).exists()
    }

    /// Whether this signal waits for it at the moment.
    pub(crate) fn is_sent(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).unwrap_or_default();
        let pending = u64::from_str_radix(pending.trim(), 16).unwrap_or_default();
        pending >> (signal as i32 - 1) & 1 == 1
    }

    /// Whether it had been stopped by a signal.
    pub(crate) fn is_stopped(&self) -> bool {
        self.state == 'T'
    }
}

/// Every living process whose environment carries `mark`, wherever it has gone: other session, other parent.
pub(crate) fn processes_with(mark: &str) -> Vec<Process> {
    let wanted = format!("\0{MARK}={mark}\0");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(mut environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
        // Each variable ends in a zero byte; here each begins after one, too.
        environment.insert(0, 0);
        if memchr::memmem::find(&environment, wanted.as_bytes()).is_some() {
            found.extend(Process::find(pid));
        }
    }
    found
}
