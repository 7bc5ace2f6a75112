//! What is explored, and the flawed variants in which the checker has to find what each property forbids.

use dlock::child::supervisor::LeftBehind;

use super::super::exploring::{breaks, holds, size};
use super::{Flaw, Job};

fn flawed(flaw: Flaw) -> Job {
    Job { flaw, ..Job::of(LeftBehind::Ignore) }
}

#[test]
fn every_order_of_what_can_happen_to_a_command_and_what_it_left_behind() {
    for left_behind in [LeftBehind::Ignore, LeftBehind::Await, LeftBehind::Stop] {
        let model = Job { steps: 4 + u64::from(size()), ..Job::of(left_behind) };
        holds(&format!("supervision: {left_behind:?}"), model);
    }
}

#[test]
fn a_tree_that_is_not_waited_for_is_noticed() {
    breaks("supervision", "nothing is released while it lives", flawed(Flaw::ForgetsTheTree));
}

#[test]
fn a_keeper_that_goes_on_without_its_front_is_noticed() {
    breaks("supervision", "dead soon after the front", flawed(Flaw::IgnoresTheFront));
}

#[test]
fn a_front_that_does_not_watch_the_deadline_lets_a_stopped_keepers_command_live() {
    breaks("supervision", "dead by the deadline while the front lives", flawed(Flaw::IgnoresTheDeadline));
}

#[test]
fn a_grace_that_begins_anew_with_every_stop_is_noticed() {
    breaks("supervision", "whoever is asked to end is dead in time", flawed(Flaw::GraceBeginsAnew));
}

#[test]
fn a_kill_that_is_not_repeated_is_noticed() {
    breaks("supervision", "no event that asks for something is ignored", flawed(Flaw::KillsOnce));
}

#[test]
fn a_front_that_does_not_watch_the_deadline_never_ends_beside_a_stopped_keeper() {
    breaks("supervision", "one status", flawed(Flaw::IgnoresTheDeadline));
}
