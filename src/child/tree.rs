//! The processes below one process, and signals to all of them.
//!
//! Both dlock processes are subreapers, so a descendant never leaves the tree: when its parent dies it falls to the
//! nearest of them. A walk can miss a process that forks while it is walked; whoever wants everything dead walks
//! again until nothing is left.

use std::collections::HashSet;
use std::fs;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::sys::process::PidFd;
use crate::sys::stat::Stat;

/// No caller is kept longer than so many walks: what forks faster than they kill is met again in the next round.
const MOST_WALKS: usize = 32;

/// What a signal to the whole tree met.
#[derive(Debug, Default)]
pub struct Sent {
    /// Those that got it.
    pub reached: Vec<Pid>,
    /// Those that this user may not signal.
    pub forbidden: Vec<Pid>,
}

impl Sent {
    /// Whether `pid` got them.
    fn send(&mut self, pid: Pid, root: Pid, signals: &[i32]) -> bool {
        let outcome = send_to_descendant(pid, root, signals);
        match outcome {
            Ok(()) => self.reached.push(pid),
            Err(Errno::EPERM) if !self.forbidden.contains(&pid) => self.forbidden.push(pid),
            // It has ended, or it was somebody else's all along.
            Err(_) => {}
        }
        outcome.is_ok()
    }
}

/// The processes below `root`, nearest first, without the children in `except` and what is below them.
#[must_use]
pub fn descendants(root: Pid, except: &[Pid]) -> Vec<Pid> {
    let mut found: Vec<Pid> = children(root).into_iter().filter(|pid| !except.contains(pid)).collect();
    let mut next = 0;
    while next < found.len() {
        let below = children(found[next]);
        found.extend(below);
        next += 1;
    }
    found
}

/// Sends `signals`, in this order, to every process below `root` but `except`, the nearest first.
pub fn signal_descendants(root: Pid, except: &[Pid], signals: &[i32]) -> Sent {
    let mut sent = Sent::default();
    // All are found first: what one of them leaves behind when it ends falls to another place of the tree.
    for pid in descendants(root, except) {
        sent.send(pid, root, signals);
    }
    sent
}

/// Kills every process below `root` but `except`, and looks again for as long as there is one that was not there before.
/// Returns all that it met. What has been killed may take a moment to go.
pub fn kill_descendants(root: Pid, except: &[Pid]) -> Sent {
    let mut sent = Sent::default();
    let mut met: HashSet<Pid> = HashSet::new();
    // Whatever KILL has been sent to starts nothing any more, and stays until it is reaped; a chain of processes that fork
    // and end makes ever more of those.
    let mut done: HashSet<Pid> = except.iter().copied().collect();
    for _ in 0..MOST_WALKS {
        let before = met.len();
        let mut found = children(root);
        // Each as soon as it is found and the youngest first: one that forks and ends does not live for long.
        while let Some(pid) = found.pop() {
            if done.contains(&pid) {
                continue;
            }
            met.insert(pid);
            if sent.send(pid, root, &[libc::SIGKILL]) {
                done.insert(pid);
            }
            found.extend(children(pid));
        }
        if met.len() == before {
            break;
        }
    }
    sent
}

/// Whether `pid` is below `ancestor`.
#[must_use]
pub fn is_below(pid: Pid, ancestor: Pid) -> bool {
    let mut at = pid;
    while let Some(parent) = parent_of(at) {
        if parent == ancestor {
            return true;
        }
        at = parent;
    }
    false
}

/// Those of `pids` that do anything: a zombie only waits for its parent.
#[must_use]
pub fn living(pids: Vec<Pid>) -> Vec<Pid> {
    pids.into_iter().filter(|&pid| Stat::of(pid).is_some_and(|stat| !matches!(stat.state, 'Z' | 'X'))).collect()
}

/// The file name of the program that `pid` runs, as the kernel keeps it (at most 15 bytes).
#[must_use]
pub fn name_of(pid: Pid) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end().to_owned())
}

/// Describes processes for a message: `812 (sudo), 813 (job)`.
#[must_use]
pub fn describe(pids: &[Pid]) -> String {
    let described = pids.iter().map(|&pid| format!("{pid} ({})", name_of(pid).unwrap_or_default()));
    described.collect::<Vec<_>>().join(", ")
}

/// The children of `pid`.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
        .flat_map(|line| line.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .map(Pid::from_raw)
        .collect()
}

fn send_to_descendant(pid: Pid, root: Pid, signals: &[i32]) -> nix::Result<()> {
    let process = PidFd::open(pid)?;
    // The number may have passed to a stranger between the walk and the line above; from here on it cannot.
    if !is_below(pid, root) {
        return Err(Errno::ESRCH);
    }
    for &signal in signals {
        process.send(signal)?;
    }
    Ok(())
}

fn parent_of(pid: Pid) -> Option<Pid> {
    Stat::of(pid).map(|stat| stat.parent).filter(|parent| parent.as_raw() > 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn grandchildren_are_found_and_the_excepted_are_left_out() {
        let mut shell =
            Command::new("sh").args(["-c", "sleep 100 & echo; wait"]).stdout(Stdio::piped()).spawn().expect("sh runs");
        let mut line = String::new();
        let stdout = shell.stdout.take().expect("piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("the shell speaks");
        let shell_pid = Pid::from_raw(i32::try_from(shell.id()).expect("a pid"));
        let me = nix::unistd::getpid();

        let grandchild = *children(shell_pid).first().expect("the shell has started sleep");
        let below = descendants(me, &[]);
        assert!(below.contains(&shell_pid) && below.contains(&grandchild));
        assert!(is_below(grandchild, me) && !is_below(me, grandchild));
        assert!(!descendants(me, &[shell_pid]).contains(&grandchild));

        let sent = signal_descendants(shell_pid, &[], &[libc::SIGKILL]);
        assert_eq!((sent.reached.as_slice(), sent.forbidden.len()), (&[grandchild][..], 0));
        shell.wait().expect("the shell ends when its child does");
    }
}
