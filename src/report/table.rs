//! `status` and `list` for people: one row for each holder and waiter.

use std::time::{Duration, SystemTime};

use comfy_table::{Table, presets};

use crate::error::phrase::{Escaped, Rough, Since, Who};
use crate::lock::{HolderEntry, LockState, LockStatus, Mode, Phase, WaiterEntry};

const HEADINGS: [&str; 8] = ["KEY", "STATE", "MODE", "WHO", "FOR", "LEASE", "FENCE", "ID"];

/// What stands where nothing is known, so that columns can be counted by a script.
const UNKNOWN: &str = "-";

/// The statuses as aligned columns, with a line of headings.
#[must_use]
pub fn table(statuses: &[LockStatus]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(HEADINGS);
    for status in statuses {
        let key = Escaped(status.key.as_str()).to_string();
        table.add_rows(rows(status).into_iter().map(|row| [vec![key.clone()], row.to_vec()].concat()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// All columns but the key.
fn rows(status: &LockStatus) -> Vec<[String; 7]> {
    let mut rows: Vec<_> = match status.state {
        LockState::Held(mode) if status.holders.is_empty() => vec![row("held", &mode_name(mode))],
        LockState::Held(mode) => status.holders.iter().map(|holder| holder_row(holder, mode)).collect(),
        LockState::Free => vec![row("free", UNKNOWN)],
    };
    rows.extend(status.waiters.iter().map(waiter_row));
    rows
}

fn row(state: &str, mode: &str) -> [String; 7] {
    [state, mode, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN].map(str::to_owned)
}

fn holder_row(entry: &HolderEntry, mode: Mode) -> [String; 7] {
    [
        phase_name(entry.phase).to_owned(),
        mode_name(mode),
        Who(&entry.holder).to_string(),
        age(entry.held_for, entry.since),
        or_unknown(entry.remaining.map(Rough)),
        or_unknown(entry.fence),
        Escaped(&entry.id).to_string(),
    ]
}

fn waiter_row(entry: &WaiterEntry) -> [String; 7] {
    [
        format!("waiting {}", entry.position),
        mode_name(entry.mode),
        Who(&entry.holder).to_string(),
        age(entry.waited_for, entry.since),
        UNKNOWN.to_owned(),
        UNKNOWN.to_owned(),
        Escaped(&entry.id).to_string(),
    ]
}

/// For how long, or else since when.
pub(super) fn age(lasted: Option<Duration>, since: Option<SystemTime>) -> String {
    lasted
        .map(|lasted| Rough(lasted).to_string())
        .or_else(|| since.map(|since| Since(since).to_string()))
        .unwrap_or_else(|| UNKNOWN.to_owned())
}

pub(super) fn or_unknown(known: Option<impl ToString>) -> String {
    known.map_or_else(|| UNKNOWN.to_owned(), |known| known.to_string())
}

pub(super) fn mode_name(mode: Mode) -> String {
    match mode {
        Mode::Exclusive => "exclusive".to_owned(),
        Mode::Shared => "shared".to_owned(),
        Mode::Slots(total) => format!("slots/{total}"),
    }
}

pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Running => "held",
        Phase::OneShot => "one-shot",
        Phase::HeldAtLeast => "held-at-least",
        Phase::LockDelay => "lock-delay",
        Phase::Revoked => "revoked",
        Phase::Foreign => "foreign",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lock::{FencingToken, Holder, LockKey};

    fn who(host: &str, pid: u32) -> Holder {
        Holder {
            host: Some(host.to_owned()),
            pid: Some(pid),
            user: Some("root".to_owned()),
            command: Some("backup.sh".to_owned()),
            label: None,
        }
    }

    #[test]
    fn each_holder_and_waiter_has_a_row_under_aligned_headings() {
        let key = LockKey::new("backup").expect("a key");
        let holder = HolderEntry {
            id: "deadbeef".into(),
            holder: who("web-3", 812),
            since: None,
            held_for: Some(Duration::from_secs(250)),
            ttl: Some(Duration::from_secs(30)),
            remaining: Some(Duration::from_secs(27)),
            phase: Phase::Running,
            fence: Some(FencingToken(12)),
        };
        let waiter = WaiterEntry {
            id: "cafebabe".into(),
            holder: who("w1", 9),
            since: None,
            waited_for: None,
            position: 1,
            mode: Mode::Exclusive,
        };
        let held = LockStatus {
            key,
            state: LockState::Held(Mode::Exclusive),
            fence: Some(FencingToken(12)),
            holders: vec![holder],
            waiters: vec![waiter],
            differences: vec![],
        };
        let free = LockStatus::free(LockKey::new("a\u{1b}b").expect("a key"));
        assert_eq!(
            table(&[held, free]),
            "\
KEY       STATE      MODE       WHO                             FOR     LEASE  FENCE  ID
backup    held       exclusive  root@web-3 pid 812 (backup.sh)  4m 10s  27s    12     deadbeef
backup    waiting 1  exclusive  root@w1 pid 9 (backup.sh)       -       -      -      cafebabe
a\\u{1b}b  free       -          -                               -       -      -      -
"
        );
    }
}
