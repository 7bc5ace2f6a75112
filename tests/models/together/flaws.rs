//! What is explored, and the flawed variants in which the checker has to find what each property forbids.

use super::super::exploring::{breaks, holds, size};
use super::{Budget, Together};

/// Two want both, one wants the second.
const WANTS: [&[usize]; 3] = [&[0, 1], &[0, 1], &[1]];

fn budget() -> Budget {
    Budget { steps: size(), ..Budget::default() }
}

#[test]
fn one_request_or_answer_is_lost_while_time_passes() {
    let budget = Budget { losses: 1, steps: 2 + size(), ..Budget::default() };
    holds("together: losses", Together::of(&WANTS[1..], budget));
}

#[test]
fn three_contenders_of_whom_one_loses_an_answer() {
    holds("together: losses among three", Together::of(&WANTS, Budget { losses: 1, ..budget() }));
}

#[test]
fn one_dies_while_time_passes() {
    let budget = Budget { crashes: 1, steps: 2 + size(), ..Budget::default() };
    holds("together: a death", Together::of(&WANTS[1..], budget));
}

fn flawed(piece: &str, instead: &str) -> Together {
    let mut model = Together::of(&WANTS, Budget { losses: 1, ..budget() });
    assert!(model.acquire.contains(piece), "the script no longer says {piece:?}");
    model.acquire = model.acquire.replace(piece, instead);
    model
}

#[test]
fn who_looks_at_the_first_lock_alone_takes_the_second_from_its_holder() {
    let model = flawed("elseif one.refusal", "elseif first == 1 and one.refusal");
    breaks("together", "one believing holder of each lock", model);
}

#[test]
fn who_takes_each_as_it_looks_keeps_the_first_when_the_second_is_refused() {
    let at_once = "one.grant(ARGV[1], ARGV[6], ARGV[2], ARGV[3], ARGV[4], ARGV[5])\ntable.insert(locks, one)";
    breaks("together", "all or none", flawed("table.insert(locks, one)", at_once));
}

#[test]
fn who_does_not_look_for_the_receipt_grants_what_has_been_given_back() {
    let model = flawed("if is_over(token) then", "if false then");
    breaks("together", "nothing for who has given something back", model);
}

#[test]
fn a_number_that_is_the_clocks_alone_falls_when_the_lock_is_taken_again_at_once() {
    breaks("together", "fences rise", flawed("math.max(last + 1, now_us)", "now_us"));
}

#[test]
fn who_gives_up_without_a_word_of_what_is_on_its_way_leaves_it_taken() {
    let mut model = Together::of(&WANTS[1..], Budget { losses: 1, ..budget() });
    model.warns_of_what_is_on_its_way = false;
    breaks("together", "everybody gets through and leaves nothing", model);
}
