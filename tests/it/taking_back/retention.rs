//! Locks that are to stay taken for a while: an operator who takes them back does not wait for that.

use super::{STUBBORN_LOOP, force, phase, run};
use crate::support::*;

sentences_for_every_backend! {
    a_minimum_time_does_not_keep_what_was_asked_back,
    a_minimum_time_that_is_all_that_is_left_is_freed_at_once,
    of_several_only_the_one_named_is_freed,
}

fn a_minimum_time_does_not_keep_what_was_asked_back(place: &Place) {
    let holder = run(place, &["--ttl", "6s", "--hold-at-least", "10m"], STUBBORN_LOOP);
    force(place, ["-k", "job"]).finish().succeeds();
    holder.wait().exits_with(79);
    assert!(place.is_free("job"));
}

fn a_minimum_time_that_is_all_that_is_left_is_freed_at_once(place: &Place) {
    for mode in ["-x", "-s"] {
        let script = ["--hold-at-least", "10m", "--", "true"];
        place.dlock_with(["run", "-k", "job", mode].into_iter().chain(script)).finish().succeeds();
        assert_eq!(phase(place), "held-at-least");
        let waiter = place.queue_up("job");
        force(place, ["-k", "job"]).finish().succeeds().mentions(&["freed \"job\"", "nothing ran under it"]);
        waiter.says("ready");
        waiter.let_go();
        waiter.wait().succeeds();
    }
}

fn of_several_only_the_one_named_is_freed(place: &Place) {
    let words = ["run", "-k", "job", "--slots", "2", "--hold-at-least", "10m", "--", "true"];
    place.dlock(words).finish().succeeds();
    place.dlock(words).finish().succeeds();
    place.dlock(["run", "-n", "-k", "job", "--slots", "2", "--", "true"]).finish().exits_with(75);
    let id = place.status("job")["holders"][1]["id"].as_str().expect("an id").to_owned();
    force(place, ["-k", "job", "--id", &id]).finish().succeeds().mentions(&["freed \"job\""]);
    place.dlock(["run", "-n", "-k", "job", "--slots", "2", "--", "true"]).finish().succeeds();
    let status = place.status("job");
    let left = status["holders"].as_array().expect("an array");
    assert!(left.len() == 1 && left[0]["id"] != id.as_str(), "{status}");
}

#[test]
fn in_another_librarys_layout_it_is_the_same() {
    let place = Place::shared(Kind::Redis);
    let dlock = |words: &[&str]| {
        let (subcommand, rest) = words.split_first().expect("a subcommand");
        place.dlock_with([*subcommand, "--layout", "redisson"].into_iter().chain(rest.iter().copied())).finish()
    };
    dlock(&["run", "-k", "job", "--hold-at-least", "10m", "--", "true"]).succeeds();
    dlock(&["run", "-n", "-k", "job", "--", "true"]).exits_with(75);
    dlock(&["release", "--force", "--yes", "-k", "job"]).succeeds().mentions(&["nothing ran under it"]);
    dlock(&["run", "-n", "-k", "job", "--", "true"]).succeeds();
}

#[test]
fn a_lock_delay_is_left_by_whoever_did_not_stop_and_is_not_cut_short() {
    let place = Place::shared(Kind::Redis);
    let options = ["--ttl", "4s", "--lock-delay", "2s", "--kill-after", "0.5"];
    let holder = run(&place, &options, STUBBORN_LOOP);
    force(&place, ["-k", "job"]).finish().succeeds();
    holder.wait().exits_with(79);
    assert!(place.is_free("job"), "one that stopped leaves none");

    let holder = run(&place, &options, STUBBORN_LOOP);
    holder.keeper().signal(nix::sys::signal::Signal::SIGSTOP);
    let forced = force(&place, ["-k", "job"]).start();
    eventually("its lease is over", || phase(&place) == "lock-delay");
    assert!(!forced.has_ended() && !place.is_free("job"), "{}", forced.stderr());
    forced.wait().succeeds().mentions(&["ran out"]);
    holder.wait().exits_with(79);
}
