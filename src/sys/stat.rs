//! What `/proc/PID/stat` says of a process.

use std::fs;

use nix::unistd::Pid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `R` runs or is about to, `S` waits for something, `T` is stopped, `Z` has ended and is not reaped.
    pub state: char,
    pub parent: Pid,
}

impl Stat {
    /// `None`: there is no such process.
    #[must_use]
    pub fn of(pid: Pid) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// `None`: that is no such text.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // The name in parentheses may hold any bytes, parentheses included; the last one closes it.
        let closes = text.iter().rposition(|&byte| byte == b')')?;
        let mut after_name = std::str::from_utf8(&text[closes + 1..]).ok()?.split_whitespace();
        let state = after_name.next()?.chars().next()?;
        Some(Self { state, parent: Pid::from_raw(after_name.next()?.parse().ok()?) })
    }
}
