//! Pure: the order of a directory's children, and who of them holds the lock.

use std::borrow::Cow;

use uuid::Uuid;

use crate::lock::Mode;

/// Every name that takes part in the queue has this text before its sequence number; Curator sorts by what follows its last occurrence.
const LOCK: &str = "lock-";

/// Sequence numbers end at 2^31 and then turn negative, which sorts them before everything. This many before it dlock
/// stops: enough for a contender per second for eleven days, in which the operators read the refusals.
const LAST_SEQUENCES: i64 = 1_000_000;

/// The children of one directory in the order in which they are served.
#[derive(Debug)]
pub(super) struct Queue {
    entries: Vec<Entry>,
}

/// One contender, as its name tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) mode: Mode,
}

impl Queue {
    pub(super) fn of(children: Vec<String>) -> Self {
        let mut entries: Vec<Entry> = children.into_iter().map(|name| Entry { mode: mode_of(&name), name }).collect();
        // Curator gives a reader under its own write lock the writer's number: equal numbers need an order too.
        entries.sort_by(|a, b| rank(&a.name).cmp(rank(&b.name)).then_with(|| a.name.cmp(&b.name)));
        Self { entries }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// A child of another family of recipes, which does not see ours.
    pub(super) fn stranger(&self) -> Option<&str> {
        self.entries.iter().map(|entry| entry.name.as_str()).find(|name| !name.contains(LOCK))
    }

    /// How many, counted from the head, hold the lock together.
    pub(super) fn holders(&self) -> usize {
        Self::holding(&self.entries)
    }

    /// The same for entries that are in order already.
    pub(super) fn holding(entries: &[Entry]) -> usize {
        let Some(head) = entries.first() else { return 0 };
        let alike = entries.iter().take_while(|entry| entry.mode == head.mode).count();
        match head.mode {
            Mode::Exclusive => 1,
            Mode::Shared => alike,
            Mode::Slots(total) => alike.min(usize::try_from(total).unwrap_or(usize::MAX)),
        }
    }

    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.entries.iter().position(|entry| entry.name == name)
    }

    /// Every node that was created under `guid`, first in the queue first.
    pub(super) fn created_as(&self, guid: Uuid) -> Vec<&str> {
        let prefix = prefix(guid);
        self.entries.iter().map(|entry| entry.name.as_str()).filter(|name| name.starts_with(&prefix)).collect()
    }
}

/// The name that an exclusive contender creates; ZooKeeper appends the sequence number.
pub(super) fn prefix(guid: Uuid) -> String {
    format!("_c_{}-{LOCK}", guid.hyphenated())
}

/// Whether so few sequence numbers are left that order is about to be lost.
pub(super) fn near_the_end(sequence: i64) -> bool {
    sequence < 0 || sequence > i64::from(i32::MAX) - LAST_SEQUENCES
}

fn rank(name: &str) -> &str {
    match name.rfind(LOCK) {
        Some(at) => &name[at + LOCK.len()..],
        // Other families end in a number too; this is for `status` alone.
        None => &name[name.trim_end_matches(|c: char| c.is_ascii_digit()).len()..],
    }
}

fn mode_of(name: &str) -> Mode {
    let Some(before) = name.rfind(LOCK).map(|at| &name[..at]).filter(|before| before.starts_with("_c_")) else {
        return Mode::Exclusive;
    };
    let Some(before) = before.strip_suffix('-') else { return Mode::Exclusive };
    if before.ends_with("-shared") {
        return Mode::Shared;
    }
    let slots = before.rsplit_once("-slots").map(|(_, digits)| digits).filter(|digits| !digits.starts_with('0'));
    slots
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .map_or(Mode::Exclusive, Mode::Slots)
}

/// A name as shown in messages: it comes from other programs.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    const MOST: usize = 80;
    match name.char_indices().nth(MOST) {
        Some((end, _)) => Cow::Owned(format!("{}…", &name[..end])),
        None => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUID: &str = "6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d";

    fn queue(names: &[&str]) -> Queue {
        Queue::of(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn the_order_is_that_of_the_text_after_the_last_lock() {
        let served = queue(&[
            "zz-lock-0000000001",
            "_c_lock-9-lock-0000000002",
            &format!("_c_{GUID}-shared-lock-0000000000"),
            "aa-lock-0000000003",
        ]);
        let names: Vec<&str> = served.entries().iter().map(|entry| &entry.name[entry.name.len() - 1..]).collect();
        assert_eq!(names, ["0", "1", "2", "3"]);
        assert_eq!(served.stranger(), None);
    }

    #[test]
    fn the_name_tells_the_mode() {
        for (middle, mode) in [
            ("", Mode::Exclusive),
            ("shared-", Mode::Shared),
            ("slots3-", Mode::Slots(3)),
            ("slots4294967295-", Mode::Slots(u32::MAX)),
            ("slots4294967296-", Mode::Exclusive),
            ("slots03-", Mode::Exclusive),
            ("slots-", Mode::Exclusive),
            ("read-", Mode::Exclusive),
        ] {
            assert_eq!(mode_of(&format!("_c_{GUID}-{middle}lock-0000000007")), mode, "{middle}");
        }
        assert_eq!(mode_of("somebody-shared-lock-0000000007"), Mode::Exclusive, "only with Curator's mark");
        assert_eq!(mode_of("kazoo__lock__0000000007"), Mode::Exclusive);
    }

    #[test]
    fn another_familys_child_is_a_stranger() {
        for stranger in ["abc__lock__0000000001", "_c_x-__READ__0000000001", "_c_x-lease-0000000001", ".meta", "x-1-2"]
        {
            assert_eq!(queue(&["_c_x-lock-0000000000", stranger]).stranger(), Some(stranger));
        }
    }

    #[test]
    fn who_holds_follows_from_the_modes_at_the_head() {
        let shared = |n: u32| format!("_c_g-shared-lock-{n:010}");
        let slots = |of: u32, n: u32| format!("_c_g-slots{of}-lock-{n:010}");
        let exclusive = |n: u32| format!("_c_g-lock-{n:010}");
        let holders = |names: Vec<String>| Queue::of(names).holders();
        assert_eq!(holders(vec![]), 0);
        assert_eq!(holders(vec![exclusive(0), exclusive(1)]), 1);
        assert_eq!(holders(vec![shared(0), shared(1), exclusive(2), shared(3)]), 2, "a reader waits behind a writer");
        assert_eq!(holders(vec![slots(2, 0), slots(2, 1), slots(2, 2)]), 2);
        assert_eq!(holders(vec![slots(5, 0), slots(5, 1), slots(4, 2)]), 2);
        assert_eq!(holders(vec![exclusive(0), shared(1)]), 1);
    }

    #[test]
    fn sequence_numbers_are_used_up_before_they_wrap() {
        assert!(!near_the_end(0));
        assert!(!near_the_end(2_146_000_000));
        assert!(near_the_end(2_147_000_000));
        assert!(near_the_end(-5));
    }

    proptest! {
        #[test]
        fn the_order_does_not_depend_on_how_the_server_lists(
            mut children in prop::collection::vec("[a-z_-]{0,6}(lock-)?[0-9]{0,10}", 0..12),
            seed in any::<u64>(),
        ) {
            children.sort();
            children.dedup();
            let one = Queue::of(children.clone());
            let len = children.len().max(1);
            children.rotate_left(usize::try_from(seed % len as u64).expect("small"));
            children.reverse();
            let other = Queue::of(children);
            prop_assert_eq!(one.entries(), other.entries());
        }

        #[test]
        fn holders_stand_at_the_head_and_have_one_mode(
            kinds in prop::collection::vec((0_u8..4, 1_u32..4), 0..12),
        ) {
            let children = kinds.iter().enumerate().map(|(n, (kind, slots))| match kind {
                0 => format!("_c_g-lock-{n:010}"),
                1 => format!("_c_g-shared-lock-{n:010}"),
                2 => format!("_c_g-slots{slots}-lock-{n:010}"),
                _ => format!("foreign-lock-{n:010}"),
            }).collect();
            let queue = Queue::of(children);
            let holders = queue.holders();
            prop_assert!(holders <= queue.entries().len());
            prop_assert_eq!(holders == 0, queue.entries().is_empty());
            let (held, waiting) = queue.entries().split_at(holders);
            prop_assert!(held.iter().all(|entry| entry.mode == held[0].mode));
            match held.first().map(|entry| entry.mode) {
                Some(Mode::Exclusive) => prop_assert_eq!(holders, 1),
                Some(Mode::Shared) => prop_assert!(waiting.first().is_none_or(|next| next.mode != Mode::Shared)),
                Some(Mode::Slots(n)) => prop_assert!(
                    holders <= n as usize && (holders == n as usize || waiting.first().is_none_or(|next| next.mode != Mode::Slots(n)))
                ),
                None => {}
            }
        }
    }
}
