//! What `top` says of keys: a row of each, and everything of one.

use unicode_width::UnicodeWidthStr as _;

use super::screen::cut;
use super::table::{age, mode_name, or_unknown, phase_name};
use crate::error::phrase::{Escaped, Rough, Who};
use crate::lock::{HolderEntry, LockState, LockStatus, WaiterEntry};

/// The columns, in the order in which they are shown.
const HEADINGS: [&str; 9] = ["KEY", "STATE", "MODE", "HOLDER", "FOR", "LEASE", "WAITERS", "FENCE", "ID"];
const KEY: usize = 0;
const HOLDER: usize = 3;

/// Which columns a narrow window goes without, the first first: what is left tells who holds what, and for how long.
const DISPENSABLE: [usize; 6] = [8, 7, 2, 1, 5, 6];

/// To how much keys and holders may be cut before a column is left out.
const SHORTEST: usize = 16;

const GAP: usize = 2;

/// Headings and a line for each key, no wider than `columns`.
#[must_use]
pub fn rows(statuses: &[&LockStatus], columns: usize) -> Vec<String> {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(statuses.iter().map(|status| row(status)));
    let natural: [usize; 9] =
        std::array::from_fn(|column| cells.iter().map(|row| row[column].width()).max().unwrap_or_default());
    let widths = fit(natural, columns);
    cells.iter().map(|row| line(row, &widths)).collect()
}

fn row(status: &LockStatus) -> [String; 9] {
    let first = status.holders.first();
    let (state, mode) = match status.state {
        LockState::Free => ("free".to_owned(), None),
        LockState::Held(mode) => (first.map_or("held", |holder| phase_name(holder.phase)).to_owned(), Some(mode)),
    };
    let holder = match (first, status.holders.len()) {
        (None, _) => None,
        (Some(first), 1) => Some(Who(&first.holder).to_string()),
        (Some(first), several) => Some(format!("{} and {} more", Who(&first.holder), several - 1)),
    };
    [
        Escaped(status.key.as_str()).to_string(),
        state,
        or_unknown(mode.map(mode_name)),
        or_unknown(holder),
        first.map_or_else(|| or_unknown(None::<&str>), |holder| age(holder.held_for, holder.since)),
        or_unknown(first.and_then(|holder| holder.remaining).map(Rough)),
        status.waiters.len().to_string(),
        or_unknown(status.fence),
        or_unknown(first.map(|holder| Escaped(&holder.id))),
    ]
}

/// The width of each column; 0 for those that are left out.
fn fit(natural: [usize; 9], columns: usize) -> [usize; 9] {
    let mut widths = natural;
    for column in [KEY, HOLDER] {
        widths[column] = natural[column].min(SHORTEST);
    }
    for column in DISPENSABLE {
        if total(&widths) > columns {
            widths[column] = 0;
        }
    }
    for column in [KEY, HOLDER] {
        let free = columns.saturating_sub(total(&widths));
        widths[column] = natural[column].min(widths[column] + free);
    }
    widths
}

fn total(widths: &[usize; 9]) -> usize {
    widths.iter().filter(|width| **width > 0).map(|width| width + GAP).sum::<usize>().saturating_sub(GAP)
}

fn line(row: &[String; 9], widths: &[usize; 9]) -> String {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths).filter(|(_, width)| **width > 0) {
        let shown = cut(cell, *width);
        line += &shown;
        line.extend(std::iter::repeat_n(' ', width - shown.width() + GAP));
    }
    line.trim_end().to_owned()
}

/// Everything that is known of a key, a fact or a person each line.
#[must_use]
pub fn details(status: &LockStatus) -> Vec<String> {
    let state = match status.state {
        LockState::Free => "free".to_owned(),
        LockState::Held(mode) => format!("held, {}", mode_name(mode)),
    };
    let mut lines = vec![
        format!("key      {}", Escaped(status.key.as_str())),
        format!("state    {state}"),
        format!("holders  {}", status.holders.len()),
        format!("waiters  {}", status.waiters.len()),
    ];
    for holder in &status.holders {
        lines.push(String::new());
        lines.extend(holder_lines(holder));
    }
    for waiter in &status.waiters {
        lines.push(String::new());
        lines.extend(waiter_lines(waiter));
    }
    if !status.differences.is_empty() {
        lines.push(String::new());
        lines.extend(status.differences.iter().map(|difference| Escaped(difference).to_string()));
    }
    lines
}

/// The same of one holder.
#[must_use]
pub fn holder_lines(entry: &HolderEntry) -> Vec<String> {
    vec![
        format!("holder   {}", Who(&entry.holder)),
        format!("  state  {}", phase_name(entry.phase)),
        format!("  for    {}", age(entry.held_for, entry.since)),
        format!("  lease  {}", or_unknown(entry.remaining.map(Rough))),
        format!("  fence  {}", or_unknown(entry.fence)),
        format!("  id     {}", Escaped(&entry.id)),
    ]
}

fn waiter_lines(entry: &WaiterEntry) -> Vec<String> {
    vec![
        format!("waiter   {} {}", entry.position, Who(&entry.holder)),
        format!("  mode   {}", mode_name(entry.mode)),
        format!("  for    {}", age(entry.waited_for, entry.since)),
        format!("  id     {}", Escaped(&entry.id)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{FencingToken, Holder, LockKey, Mode, Phase};
    use std::time::Duration;

    fn held(key: &str, label: &str) -> LockStatus {
        let holder = Holder { host: Some("web-3".into()), label: Some(label.into()), ..Holder::default() };
        let entry = HolderEntry {
            id: "deadbeef".into(),
            holder,
            since: None,
            held_for: Some(Duration::from_secs(250)),
            ttl: None,
            remaining: Some(Duration::from_secs(27)),
            phase: Phase::Running,
            fence: Some(FencingToken(12)),
        };
        LockStatus {
            state: LockState::Held(Mode::Exclusive),
            fence: Some(FencingToken(12)),
            holders: vec![entry],
            ..LockStatus::free(LockKey::new(key).expect("a key"))
        }
    }

    #[test]
    fn a_wide_window_has_every_column_and_a_narrow_one_who_holds_what() {
        let status = held("deploy/production/eu-west", "a very long label of a deploy");
        let wide = rows(&[&status], 200);
        assert_eq!(wide[0].split_whitespace().collect::<Vec<_>>(), HEADINGS);
        assert!(
            wide[1].starts_with("deploy/production/eu-west  held   exclusive  web-3 (a very long label of a deploy)")
        );
        for columns in [80, 40, 30, 20, 5, 1] {
            let lines = rows(&[&status], columns);
            let drawn = lines.iter().map(|line| cut(line, columns));
            assert!(drawn.into_iter().all(|line| line.width() <= columns), "{columns}");
        }
        let narrow = rows(&[&status], 40);
        assert_eq!(narrow[1], "deploy/producti…  web-3 (a very l…  4m 10s");
    }

    #[test]
    fn what_a_holder_says_of_itself_is_escaped() {
        let status = held("job", "\u{1b}[2J");
        assert!(rows(&[&status], 200)[1].contains(r"\u{1b}[2J"));
        assert!(details(&status).iter().any(|line| line.contains(r"\u{1b}[2J")));
    }
}
