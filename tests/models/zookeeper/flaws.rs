//! What is explored, and the flawed variants in which the checker has to find what each property forbids.

use dlock::lock::Mode::{self, Exclusive, Shared, Slots};

use super::super::exploring::{breaks, holds, size};
use super::{Budget, Directory, Flaw};

fn flawed(flaw: Flaw, modes: &[Mode], budget: Budget) -> Directory {
    Directory { flaw, ..Directory::of(modes, budget) }
}

#[test]
fn creates_whose_answer_is_lost() {
    let budget = Budget { losses: 1 + size(), ..Budget::default() };
    holds("zookeeper: losses", Directory::of(&[Exclusive, Exclusive, Exclusive], budget));
}

#[test]
fn sessions_that_end_too_early_and_sessions_that_are_left_behind() {
    let budget = Budget { expiries: 1 + size(), abandoned: 1, ..Budget::default() };
    holds("zookeeper: sessions", Directory::of(&[Exclusive, Exclusive], budget));
}

#[test]
fn contenders_that_die() {
    let budget = Budget { crashes: 1, expiries: 1 + size(), losses: 1, ..Budget::default() };
    holds("zookeeper: a death", Directory::of(&[Exclusive, Exclusive], budget));
}

#[test]
fn readers_a_writer_and_slots() {
    let budget = Budget { expiries: size(), losses: 1, ..Budget::default() };
    holds("zookeeper: readers and a writer", Directory::of(&[Shared, Exclusive, Shared], budget));
    holds("zookeeper: slots", Directory::of(&[Slots(2), Slots(2), Slots(2)], budget));
}

#[test]
fn an_order_by_the_whole_name_makes_two_holders() {
    breaks("zookeeper", "one believing holder", flawed(Flaw::OrderOfNames, &[Exclusive, Exclusive], Budget::default()));
}

#[test]
fn a_turn_that_is_believed_without_a_committed_write_makes_two_holders() {
    let budget = Budget { expiries: 1, ..Budget::default() };
    breaks("zookeeper", "one believing holder", flawed(Flaw::BelievesTheList, &[Exclusive, Exclusive], budget));
}

#[test]
fn a_node_of_an_earlier_session_that_is_taken_for_ours_makes_two_holders() {
    let budget = Budget { abandoned: 1, expiries: 1, ..Budget::default() };
    breaks("zookeeper", "one believing holder", flawed(Flaw::OneLabelForAll, &[Exclusive, Exclusive], budget));
}

#[test]
fn a_watch_on_what_is_gone_already_is_waited_for_in_vain() {
    let model = flawed(Flaw::WatchesWhatIsGone, &[Exclusive, Exclusive], Budget::default());
    breaks("zookeeper", "everybody gets through and leaves nothing", model);
}

#[test]
fn a_ghost_that_is_kept_is_in_the_others_way() {
    let budget = Budget { losses: 1, ..Budget::default() };
    let model = flawed(Flaw::KeepsGhosts, &[Exclusive, Exclusive], budget);
    breaks("zookeeper", "everybody gets through and leaves nothing", model);
}
