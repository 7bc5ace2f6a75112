//! What is explored, and the flawed variants in which the checker has to find what each property forbids.

use dlock::lock::Mode::{Exclusive, Shared, Slots};

use super::super::exploring::{breaks, holds, size};
use super::{Belief, Budget, Queue};

fn calm(steps: u8) -> Budget {
    Budget { steps: steps + size(), ..Budget::default() }
}

#[test]
fn two_contenders_whose_requests_answers_and_messages_are_lost() {
    let budget = Budget { losses: 1, lost_hints: 1, given_up: 1, ..calm(1) };
    holds("queue: losses", Queue::of(&[Exclusive, Exclusive], budget));
}

#[test]
fn three_contenders_of_whom_one_dies() {
    holds(
        "queue: a death among three",
        Queue::of(&[Exclusive, Exclusive, Exclusive], Budget { crashes: 1, ..calm(0) }),
    );
}

#[test]
fn two_contenders_of_whom_one_dies_while_time_passes() {
    holds("queue: a death", Queue::of(&[Exclusive, Exclusive], Budget { crashes: 1, ..calm(3) }));
}

#[test]
fn renewals() {
    holds("queue: renewals", Queue::of(&[Exclusive, Exclusive], Budget { renewals: 1, ..calm(2) }));
}

#[test]
fn a_server_that_forgets_everything() {
    let budget = Budget { flushes: 1, ..calm(2) };
    holds("queue: a flush", Queue::of(&[Exclusive, Exclusive], budget));
}

#[test]
fn readers_and_a_writer() {
    let budget = calm(0);
    holds("queue: readers and a writer", Queue::of(&[Shared, Exclusive, Shared], budget));
}

#[test]
fn slots() {
    let budget = calm(0);
    holds("queue: slots", Queue::of(&[Slots(2), Slots(2), Slots(2)], budget));
}

/// A script with one piece of it changed.
fn without(script: &str, piece: &str, instead: &str) -> String {
    assert!(script.contains(piece), "the script no longer says {piece:?}");
    script.replace(piece, instead)
}

#[test]
fn a_renewal_that_does_not_look_at_the_owner_prolongs_anothers_lease() {
    let mut model = Queue::of(&[Exclusive, Exclusive], Budget { renewals: 1, ..calm(3) });
    model.renew = without(&model.renew, "owner ~= ARGV[1] or ", "");
    breaks("queue", "nobody touches another's lease", model);
}

#[test]
fn a_release_that_does_not_look_at_the_owner_ends_anothers_lease() {
    let mut model = Queue::of(&[Exclusive, Exclusive], calm(3));
    model.release = without(&model.release, "lock.owner == me and lock.mode", "lock.mode");
    breaks("queue", "nobody touches another's lease", model);
}

#[test]
fn a_release_in_a_hurry_that_does_not_look_at_the_owner_ends_anothers_lease() {
    let mut model = Queue::of(&[Exclusive, Exclusive], calm(3));
    model.release_alone = without(&model.release_alone, "owner ~= ARGV[1] or ", "");
    breaks("queue", "nobody touches another's lease", model);
}

#[test]
fn an_acquire_in_a_hurry_that_takes_what_is_held_makes_two_holders() {
    let mut model = Queue::of(&[Exclusive, Exclusive], calm(3));
    model.acquire = without(&model.acquire, "value ~= false or ", "");
    breaks("queue", "one believing holder", model);
}

#[test]
fn an_offer_taken_in_a_hurry_without_a_look_at_what_vanished_is_noticed() {
    let mut model = Queue::of(&[Exclusive, Exclusive], Budget { flushes: 1, ..calm(2) });
    model.wait = without(&model.wait, "unended == 0 and ", "");
    breaks("queue", "a witness waits for the end of a lease that vanished", model);
    let mut model = Queue::of(&[Exclusive, Exclusive, Exclusive], Budget { flushes: 1, ..calm(0) });
    model.take_offered = without(&model.take_offered, "left > 0 and seen ~= me", "false");
    breaks("queue", "a witness waits for the end of a lease that vanished", model);
}

#[test]
fn a_belief_that_counts_from_the_answer_makes_two_holders() {
    let mut model = Queue::of(&[Exclusive, Exclusive], calm(4));
    model.belief = Belief::FromTheAnswer;
    breaks("queue", "one believing holder", model);
}

#[test]
fn a_slot_too_many_is_noticed() {
    let mut model = Queue::of(&[Slots(2), Slots(2), Slots(2)], calm(1));
    model.acquire_beside_others =
        without(&model.acquire_beside_others, "lock.stored - 1 < most", "lock.stored - 1 <= most");
    breaks("queue", "one believing holder", model);
}

#[test]
fn a_fence_that_is_the_clock_alone_does_not_rise() {
    let mut model = Queue::of(&[Exclusive, Exclusive], calm(1));
    for script in [&mut model.acquire, &mut model.wait, &mut model.take_offered] {
        *script = without(script, "local fence = math.max(last + 1, now_us)", "local fence = now_us");
    }
    breaks("queue", "fences rise in the order of the grants", model);
}

#[test]
fn a_release_in_a_hurry_that_offers_the_lock_to_nobody_is_noticed() {
    let mut model = Queue::of(&[Exclusive, Exclusive], calm(1));
    model.release_alone = without(
        &model.release_alone,
        "call('SET', KEYS[1], table.concat(words, ' '), 'PX', math.min(tonumber(ttl), CONFIRM_MS))\n\
         pcall(ear == 'sharded' and 'SPUBLISH' or 'PUBLISH', channel, 'look')\n",
        "",
    );
    breaks("queue", "a release tells the next", model);
}

#[test]
fn a_release_that_offers_the_lock_to_nobody_is_noticed() {
    let mut model = Queue::of(&[Exclusive, Shared], calm(1));
    model.release = without(&model.release, "local blocked = advance(nil, nil, WAKE)", "local blocked = nil");
    breaks("queue", "a release tells the next", model);
}

#[test]
fn a_waiter_that_forgets_what_it_saw_takes_a_lease_that_vanished() {
    let mut model = Queue::of(&[Exclusive, Exclusive], Budget { flushes: 1, ..calm(2) });
    model.wait = without(&model.wait, "left > unended then", "false then");
    breaks("queue", "a witness waits for the end of a lease that vanished", model);
}

#[test]
fn an_undo_without_a_receipt_is_overtaken_by_what_it_undoes() {
    let mut model = Queue::of(&[Exclusive, Exclusive], Budget { losses: 1, ..calm(1) });
    model.release = without(&model.release, "write_receipt(me, 'undone')", "local none = nil");
    breaks("queue", "what was released stays released", model);
}

#[test]
fn a_dead_waiter_that_is_never_passed_over_keeps_all_others_out() {
    let mut model = Queue::of(&[Exclusive, Exclusive, Exclusive], Budget { crashes: 1, ..calm(2) });
    for script in [&mut model.wait, &mut model.release] {
        *script = without(script, "tonumber(ends) < now_ms or tonumber(offers) >= 2", "false");
    }
    breaks("queue", "everybody gets through and leaves nothing", model);
}

#[test]
fn a_release_that_leaves_its_place_in_the_queue_is_noticed() {
    let mut model = Queue::of(&[Exclusive, Exclusive], Budget { given_up: 1, ..calm(1) });
    model.release = without(&model.release, "\nleave(me)\n", "\n");
    breaks("queue", "everybody gets through and leaves nothing", model);
}
