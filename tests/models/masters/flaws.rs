//! What is explored, and the flawed variants in which the checker has to find what each property forbids.

use super::super::exploring::{breaks, holds, size};
use super::{Budget, Flaw, Masters};

fn calm() -> Budget {
    Budget { steps: 1 + size(), attempts: 1, ..Budget::default() }
}

#[test]
fn two_contenders_and_answers_that_are_lost() {
    holds("masters: losses", Masters::of(2, Budget { losses: 1, steps: size(), ..calm() }));
}

#[test]
fn two_contenders_and_time_that_passes_between_any_two_steps() {
    holds("masters: time", Masters::of(2, Budget { steps: 2 + size(), ..calm() }));
}

#[test]
fn two_contenders_and_a_master_that_stops_and_comes_back() {
    holds("masters: a crash", Masters::of(2, Budget { crashes: 1, losses: size(), steps: size(), ..calm() }));
}

#[test]
fn two_contenders_that_try_twice() {
    holds("masters: again", Masters::of(2, Budget { losses: size(), attempts: 2, steps: size(), ..calm() }));
}

#[test]
fn three_contenders() {
    holds("masters: three", Masters::of(3, Budget { steps: size(), ..calm() }));
}

#[test]
fn a_minority_that_is_taken_for_enough_makes_two_holders() {
    let mut model = Masters::of(2, Budget { losses: 1, ..calm() });
    model.flaw = Flaw::OneMasterIsEnough;
    breaks("masters", "one believing holder", model);
}

#[test]
fn a_belief_that_counts_from_the_last_answer_makes_two_holders() {
    let mut model = Masters::of(2, Budget { steps: 2, ..calm() });
    model.flaw = Flaw::FromTheLastAnswer;
    breaks("masters", "one believing holder", model);
}

#[test]
fn a_number_that_is_not_recorded_does_not_rise() {
    let mut model = Masters::of(2, Budget { losses: 1, steps: 0, ..calm() });
    model.flaw = Flaw::NoSecondRound;
    breaks("masters", "fences rise in the order of the grants", model);
}

#[test]
fn an_undo_without_a_receipt_is_overtaken_by_what_it_undoes() {
    let mut model = Masters::of(2, Budget { losses: 1, ..calm() });
    let receipt = "write_receipt(me, 'undone')";
    assert!(model.release.contains(receipt), "release.lua leaves this receipt");
    model.release = model.release.replace(receipt, "local none = nil");
    breaks("masters", "what was undone stays undone", model);
}

#[test]
fn a_vote_without_an_end_keeps_everybody_out() {
    let mut model = Masters::of(2, Budget { losses: 1, ..calm() });
    let expiry = ", 'PX', digits(expiry))";
    assert!(model.take.contains(expiry), "base.lua sets an expiry");
    model.take = model.take.replace(expiry, ")");
    breaks("masters", "nobody is kept out for ever", model);
}
