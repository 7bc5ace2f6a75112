use proptest::prelude::*;

use super::*;

const GUID: &str = "6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d";

fn queue(names: &[&str]) -> Queue {
    Queue::of(Family::Dlock, names.iter().map(|&name| name.to_owned()).collect())
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
fn another_familys_child_is_a_stranger() {
    for stranger in ["abc__lock__0000000001", "_c_x-__READ__0000000001", "_c_x-lease-0000000001", ".meta", "x-1-2"] {
        assert_eq!(queue(&["_c_x-lock-0000000000", stranger]).stranger(), Some(stranger));
    }
}

#[test]
fn who_holds_follows_from_the_modes_at_the_head() {
    let shared = |n: u32| format!("_c_g-shared-lock-{n:010}");
    let slots = |of: u32, n: u32| format!("_c_g-slots{of}-lock-{n:010}");
    let exclusive = |n: u32| format!("_c_g-lock-{n:010}");
    let holders = |names: Vec<String>| Queue::of(Family::Dlock, names).holders();
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
        let one = Queue::of(Family::Dlock, children.clone());
        let len = children.len().max(1);
        children.rotate_left(usize::try_from(seed % len as u64).expect("small"));
        children.reverse();
        let other = Queue::of(Family::Dlock, children);
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
        let queue = Queue::of(Family::Dlock, children);
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

fn contender(kind: u8, slots: u32, number: usize) -> String {
    match kind {
        0 => format!("_c_g-lock-{number:010}"),
        1 => format!("_c_g-shared-lock-{number:010}"),
        2 => format!("_c_g-slots{slots}-lock-{number:010}"),
        _ => format!("foreign-lock-{number:010}"),
    }
}

/// How many of those behind `ahead` a departure of the one at `gone` wakes.
fn woken(queue: &Queue, gone: usize) -> usize {
    let entries = queue.entries();
    (gone + 1..entries.len()).filter(|&at| must_go(&entries[..at], entries[at].mode).contains(&gone)).count()
}

#[test]
fn one_departure_wakes_one_exclusive_waiter_and_as_many_as_there_are_slots_at_most() {
    let all = |kind, slots| Queue::of(Family::Dlock, (0..200).map(|n| contender(kind, slots, n)).collect());
    assert!((0..199).all(|gone| woken(&all(0, 1), gone) == 1));
    let five = all(2, 5);
    assert_eq!([0, 1, 2, 3, 4].map(|gone| woken(&five, gone)), [1, 2, 3, 4, 5]);
    assert!((5..200).all(|gone| woken(&five, gone) <= 5));
}

#[test]
fn the_end_of_a_writer_wakes_the_readers_it_kept_out_and_so_many_slots_as_there_are() {
    let behind_a_writer = |kind, slots| {
        let names = std::iter::once(contender(0, 1, 0)).chain((1..50).map(|n| contender(kind, slots, n)));
        woken(&Queue::of(Family::Dlock, names.collect()), 0)
    };
    assert_eq!(behind_a_writer(1, 1), 49);
    assert_eq!(behind_a_writer(2, 7), 7);
    assert_eq!(behind_a_writer(0, 1), 1);
}

#[test]
fn the_first_of_those_ahead_who_counts_slots_says_how_many_there_are() {
    let ahead = |kinds: &[(u8, u32)]| {
        let names = kinds.iter().enumerate().map(|(n, &(kind, slots))| contender(kind, slots, n)).collect();
        Queue::of(Family::Dlock, names).entries().to_vec()
    };
    assert_eq!(other_slots(&ahead(&[(0, 0), (2, 3)]), Mode::Slots(2)), Some(3));
    assert_eq!(other_slots(&ahead(&[(2, 2), (2, 3)]), Mode::Slots(2)), None, "the second one is about to be refused");
    assert_eq!(other_slots(&ahead(&[(2, 2), (2, 3)]), Mode::Slots(3)), Some(2));
    assert_eq!(other_slots(&ahead(&[(2, 2)]), Mode::Shared), None);
    assert_eq!(other_slots(&[], Mode::Slots(3)), None);
}

proptest! {
    #[test]
    fn nobody_holds_who_must_wait_for_somebody_and_the_others_do(
        kinds in prop::collection::vec((0_u8..4, 1_u32..4), 0..12),
    ) {
        let names = kinds.iter().enumerate().map(|(n, &(kind, slots))| contender(kind, slots, n)).collect();
        let queue = Queue::of(Family::Dlock, names);
        let entries = queue.entries();
        for at in 0..entries.len() {
            prop_assert_eq!(must_go(&entries[..at], entries[at].mode).is_empty(), at < queue.holders());
        }
    }

    #[test]
    fn whoever_comes_to_hold_was_woken_by_one_of_those_it_watched(
        kinds in prop::collection::vec((0_u8..4, 1_u32..5), 0..12),
        kind in 0_u8..4,
        slots in 1_u32..5,
        gone in prop::collection::vec(any::<bool>(), 12),
    ) {
        let names = kinds.iter().enumerate().map(|(n, &(kind, slots))| contender(kind, slots, n));
        let names: Vec<String> = names.chain([contender(kind, slots, kinds.len())]).collect();
        let mut ahead = Queue::of(Family::Dlock, names).entries().to_vec();
        let own = ahead.pop().expect("our own");
        let watched = must_go(&ahead, own.mode);
        let left: Vec<Entry> = ahead.iter().zip(&gone).filter(|(_, gone)| !**gone).map(|(entry, _)| entry.clone()).collect();
        if !watched.is_empty() && must_go(&left, own.mode).is_empty() {
            prop_assert!(watched.iter().any(|&index| gone[index]), "{:?} of {:?}", watched, ahead);
        }
    }
}
