//! Pure: the order of a directory's children, and who of them holds the lock.

use std::borrow::Cow;

use super::family::Family;
use crate::lock::Mode;
use crate::sys::seeded::seeded;

/// Sequence numbers end at 2^31 and then turn negative, which sorts them before everything. This many before it dlock
/// stops: enough for a contender per second for eleven days, in which the operators read the refusals.
const LAST_SEQUENCES: i64 = 1_000_000;

/// The children of one directory in the order in which they are served.
#[derive(Debug)]
pub struct Queue {
    entries: Vec<Entry>,
    stranger: Option<String>,
}

/// One contender, as its name tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub mode: Mode,
}

impl Queue {
    pub fn of(family: Family, children: Vec<String>) -> Self {
        let mut ranked: Vec<(String, Entry)> = children
            .into_iter()
            .map(|name| {
                let (rank, mode) = family.read(&name).unwrap_or_else(|| (trailing_digits(&name), Mode::Exclusive));
                (rank.to_owned(), Entry { mode, name })
            })
            .collect();
        // Whoever makes up sequence numbers can make up equal ones: they need an order too.
        ranked.sort_by(|(rank, entry), (other_rank, other)| {
            rank.cmp(other_rank).then_with(|| entry.name.cmp(&other.name))
        });
        if seeded!("orders-by-name") {
            ranked.sort_by(|(_, entry), (_, other)| entry.name.cmp(&other.name));
        }
        let entries: Vec<Entry> = ranked.into_iter().map(|(_, entry)| entry).collect();
        let stranger = entries.iter().find(|entry| family.read(&entry.name).is_none()).map(|entry| entry.name.clone());
        Self { entries, stranger }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A child of another family of recipes, which does not see ours.
    pub fn stranger(&self) -> Option<&str> {
        self.stranger.as_deref()
    }

    /// How many, counted from the head, hold the lock together.
    pub fn holders(&self) -> usize {
        Self::holding(&self.entries)
    }

    /// The same for entries that are in order already.
    pub fn holding(entries: &[Entry]) -> usize {
        let Some(head) = entries.first() else { return 0 };
        let alike = entries.iter().take_while(|entry| entry.mode == head.mode).count();
        match head.mode {
            Mode::Exclusive => 1,
            Mode::Shared => alike,
            Mode::Slots(total) => alike.min(number(total)),
        }
    }

    pub fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// Every node that was created under `label`, first in the queue first.
    pub fn created_as(&self, label: &str) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.name.as_str()).filter(|name| name.starts_with(label)).collect()
    }
}

/// Whom a contender of `mode` behind `ahead` has to watch: before it can hold, one of these must go, whichever it is. Empty
/// when it holds. Nobody who is not in the way is among them, so that no release wakes those whom it cannot help:
///
/// * an exclusive one watches the nearest ahead, which wakes one waiter at each release;
/// * a reader the nearest that is no reader: the readers that this one's end wakes all get in, or stand behind one more
///   that is none;
/// * a contender for one of N slots the same, as long as fewer than N of its kind are ahead. Behind N or more of them no
///   single one must go: any of them may make room, in any order. Before it gets in, fewer than N are left of those ahead.
///   So of any N of them one has gone by then, and N are as few as will do: if it watched fewer, just those could be
///   left. It watches the nearest N, who are likely to stay longest: a release wakes N at most, however many wait, and
///   just one where the holder that came first goes first.
pub fn must_go(ahead: &[Entry], mode: Mode) -> Vec<usize> {
    let nearest = |is_in_the_way: &dyn Fn(&Entry) -> bool| ahead.iter().rposition(is_in_the_way).into_iter().collect();
    match mode {
        Mode::Exclusive => nearest(&|_| true),
        Mode::Shared => nearest(&|entry| entry.mode != mode),
        Mode::Slots(total) => {
            let alike = (0..ahead.len()).rev().filter(|&index| ahead[index].mode == mode);
            let watched: Vec<usize> = alike.take(number(total)).collect();
            if watched.len() < number(total) { nearest(&|entry| entry.mode != mode) } else { watched }
        }
    }
}

/// The number of slots that those ahead agree on, where it is another than in `mode`. The first of them decides: one
/// with a number of its own, about to be refused and gone, speaks for nobody behind it.
pub fn other_slots(ahead: &[Entry], mode: Mode) -> Option<u32> {
    let Mode::Slots(ours) = mode else { return None };
    let theirs = ahead.iter().find_map(|entry| if let Mode::Slots(total) = entry.mode { Some(total) } else { None });
    theirs.filter(|theirs| *theirs != ours)
}

fn number(total: u32) -> usize {
    usize::try_from(total).unwrap_or(usize::MAX)
}

/// Whether so few sequence numbers are left that order is about to be lost.
pub fn near_the_end(sequence: i64) -> bool {
    sequence < 0 || sequence > i64::from(i32::MAX) - LAST_SEQUENCES
}

/// The place of a name of some other family: they end in a number too, and `status` shows them.
fn trailing_digits(name: &str) -> &str {
    &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..]
}

/// A name as shown in messages: it comes from other programs.
pub fn shown(name: &str) -> Cow<'_, str> {
    const MOST: usize = 80;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests;
