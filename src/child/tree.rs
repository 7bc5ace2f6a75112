//! The processes below one process, and signals to all of them.
//!
//! Both dlock processes are subreapers, so a descendant never leaves the tree: when its parent dies it falls to the
//! nearest of them. A walk can miss a process that forks while it is walked; whoever wants everything dead walks
//! again until nothing is left.

use std::fs;

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::sys::process::PidFd;

/// What a signal to the whole tree met.
#[derive(Debug, Default)]
pub struct Sent {
    /// How many processes got it.
    pub reached: usize,
    /// Those that this user may not signal.
    pub forbidden: Vec<Pid>,
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

/// Sends `signals`, in this order, to every process below `root` but `except`.
pub fn signal_descendants(root: Pid, except: &[Pid], signals: &[i32]) -> Sent {
    let mut sent = Sent::default();
    for pid in descendants(root, except) {
        match send_to_descendant(pid, root, signals) {
            Ok(()) => sent.reached += 1,
            Err(Errno::EPERM) => sent.forbidden.push(pid),
            // It has ended, or it was somebody else's all along.
            Err(_) => {}
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

/// The file name of the program that `pid` runs, as the kernel keeps it (at most 15 bytes).
#[must_use]
pub fn name_of(pid: Pid) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
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
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses included; the last one closes it.
    let after_name = &stat[stat.rfind(')')? + 1..];
    let parent: i32 = after_name.split_whitespace().nth(1)?.parse().ok()?;
    (parent > 0).then(|| Pid::from_raw(parent))
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
        assert_eq!((sent.reached, sent.forbidden.len()), (1, 0));
        shell.wait().expect("the shell ends when its child does");
    }
}
