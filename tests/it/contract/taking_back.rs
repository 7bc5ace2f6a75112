//! `release --force`: an operator takes a lock back from just the holder that was shown.

use nix::sys::signal::Signal;

use crate::support::{Dlock, Place, Running, eventually, program, sentences, sentences_for_every_backend};

sentences_for_every_backend! {
    a_holder_that_is_asked_stops_its_command_and_releases,
    a_command_that_ignores_the_signal_is_killed_before_anybody_gets_in,
    a_waiter_gets_in_only_after_the_command_is_dead,
    a_key_that_nobody_holds_is_no_failure,
    whoever_is_not_named_keeps_what_it_holds,
    several_holders_have_to_be_told_apart,
    the_id_of_somebody_else_takes_nothing,
    a_one_shot_lease_is_deleted_at_once,
    without_a_terminal_it_wants_a_yes,
    several_keys_are_taken_back_one_after_the_other,
    a_run_inside_ends_with_the_one_above_it,
    a_holder_whose_front_is_stopped_is_stopped_all_the_same,
}

sentences! {
    both: Place::both(), [
        a_holder_that_is_asked_stops_its_command_and_releases,
        a_command_that_ignores_the_signal_is_killed_before_anybody_gets_in,
        a_waiter_gets_in_only_after_the_command_is_dead,
        a_one_shot_lease_is_deleted_at_once,
        the_id_of_somebody_else_takes_nothing,
    ];
    sentinel: Watched::shared(), [
        a_holder_that_is_asked_stops_its_command_and_releases,
        a_one_shot_lease_is_deleted_at_once,
    ];
    cluster: Place::on_cluster(), [
        a_holder_that_is_asked_stops_its_command_and_releases,
        several_holders_have_to_be_told_apart,
    ];
}

/// Says that it runs, and tells when it is asked to end.
const OBEYS: &str = "trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.05; done";
const IGNORES: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

fn force<'a>(place: &Place, words: impl IntoIterator<Item = &'a str>) -> Dlock {
    place.dlock_with(["release", "--force", "--yes"].into_iter().chain(words))
}

/// A run of `key` that does `script`, with a lease short enough to wait for a renewal of it.
fn run(place: &Place, options: &[&str], script: &str) -> Running {
    let args = ["run", "--ttl", "6s"].into_iter().chain(options.iter().copied()).chain(["--", "sh", "-c", script]);
    let run = place.dlock_with(args).env("dlock", program()).start();
    run.says("ready");
    run
}

fn id_of(place: &Place, key: &str, command: usize) -> String {
    place.status(key)["holders"][command]["id"].as_str().expect("a holder has an id").to_owned()
}

fn a_holder_that_is_asked_stops_its_command_and_releases(place: &Place) {
    let holder = run(place, &["-k", "job"], OBEYS);
    let id = id_of(place, "job", 0);
    let told = force(place, ["-k", "job"]).finish().succeeds();
    let told = told.mentions(&["\"job\" is held by", "(sh)", &id]).mentions(&["asked", "to stop its command"]);
    // ZooKeeper does not tell how a session's node went; a kernel's lock has no lease.
    let told = told.mentions(&["\"job\"", "after"]);
    assert!(told.stdout.is_empty(), "{}", told.account());
    let ended = holder.wait().exits_with(79).mentions(&["lost \"job\"", "an operator", "stopping \"sh\""]);
    assert!(ended.said().ends_with("asked"), "{}", ended.account());
    assert!(place.is_free("job"));
}

fn a_command_that_ignores_the_signal_is_killed_before_anybody_gets_in(place: &Place) {
    let holder = run(place, &["-k", "job", "--kill-after", "1s"], IGNORES);
    let forced = force(place, ["-k", "job"]).start();
    eventually("the mark is set", || {
        let status = place.status("job");
        status["holders"][0]["phase"] == "revoked" || status["state"] == "free"
    });
    holder.wait().exits_with(79);
    assert!(holder.tree().is_empty(), "something of it lives");
    forced.wait().succeeds();
    assert!(place.is_free("job"));
}

fn a_waiter_gets_in_only_after_the_command_is_dead(place: &Place) {
    let holder = run(place, &["-k", "job", "--kill-after", "1s"], IGNORES);
    let living: Vec<String> = holder.tree().iter().map(|process| process.pid.to_string()).collect();
    let look = format!("for pid in {}; do kill -0 $pid 2>/dev/null && echo alive; done; echo in", living.join(" "));
    let waiter = place.queue_up_with("job", ["run", "-k", "job", "--", "sh", "-c", &look]);
    force(place, ["-k", "job"]).finish().succeeds();
    assert_eq!(waiter.wait().succeeds().said(), "in");
    holder.wait().exits_with(79);
}

fn a_key_that_nobody_holds_is_no_failure(place: &Place) {
    force(place, ["-k", "job"]).finish().succeeds().complains(&["nobody holds \"job\""]);
    force(place, ["-k", "job", "--id", "0badcafe"]).finish().succeeds();
    force(place, ["-q", "-k", "job"]).finish().succeeds().says_nothing();
}

fn whoever_is_not_named_keeps_what_it_holds(place: &Place) {
    let one = run(place, &["-k", "pool", "--slots", "2"], OBEYS);
    let other = run(place, &["-k", "pool", "--slots", "2"], OBEYS);
    let id = id_of(place, "pool", 0);
    force(place, ["-k", "pool", "--id", &id.to_ascii_uppercase()]).finish().succeeds();
    eventually("one of them has ended", || one.has_ended() || other.has_ended());
    let (first, second) = if one.has_ended() { (&one, &other) } else { (&other, &one) };
    first.wait().exits_with(79);
    let status = place.status("pool");
    let left = status["holders"].as_array().expect("an array");
    assert!(left.len() == 1 && left[0]["id"] != id && left[0]["phase"] == "running", "{status}");
    assert!(!second.has_ended());
}

fn several_holders_have_to_be_told_apart(place: &Place) {
    let readers = [run(place, &["-k", "job", "-s"], OBEYS), run(place, &["-k", "job", "-s"], OBEYS)];
    let ids = [id_of(place, "job", 0), id_of(place, "job", 1)];
    force(place, ["-k", "job"]).finish().exits_with(64).complains(&["held by 2 at once", "--id", &ids[0], &ids[1]]);
    for id in &ids {
        force(place, ["-k", "job", "--id", id]).finish().succeeds();
    }
    readers.iter().for_each(|reader| drop(reader.wait().exits_with(79)));
    assert!(place.is_free("job"));
}

fn the_id_of_somebody_else_takes_nothing(place: &Place) {
    let holder = place.hold("job");
    let refused = force(place, ["-k", "job", "--id", "0badcafe"]).finish().exits_with(75);
    refused.complains(&["cannot take \"job\" back", "0badcafe", &id_of(place, "job", 0), "nothing was done"]);
    force(place, ["-q", "-k", "job", "--id", "0badcafe"]).finish().exits_with(75).says_nothing();
    for wrong in ["0badcaf", "0badcafe0", "not a id"] {
        force(place, ["-k", "job", "--id", wrong]).finish().exits_with(64).complains(&["8 hexadecimal digits"]);
    }
    holder.let_go();
    holder.wait().succeeds();
}

fn a_one_shot_lease_is_deleted_at_once(place: &Place) {
    let token = place.acquire("job", "10m");
    let waiter = place.queue_up("job");
    force(place, ["-k", "job"]).finish().succeeds().mentions(&["freed \"job\"", "one-shot", "may still run"]);
    waiter.says("ready");
    place.dlock(["renew", "-k", "job", "--token", &token]).finish().exits_with(79);
}

fn without_a_terminal_it_wants_a_yes(place: &Place) {
    let _token = place.acquire("job", "10m");
    let refused = place.dlock(["release", "--force", "-k", "job"]).stdin("y\n").finish().exits_with(64);
    refused.complains(&["no terminal", "--yes"]);
    assert!(!place.is_free("job"));
}

fn several_keys_are_taken_back_one_after_the_other(place: &Place) {
    let holder = run(place, &["-k", "one", "-k", "two"], OBEYS);
    // The first takes the second along, of the same acquisition.
    force(place, ["-k", "one", "-k", "two"]).finish().succeeds();
    holder.wait().exits_with(79);
    assert!(place.is_free("one") && place.is_free("two"));
}

fn a_run_inside_ends_with_the_one_above_it(place: &Place) {
    let inside = r#""$dlock" run -k job -- sh -c 'trap "" TERM; echo ready; while :; do sleep 0.05; done'"#;
    let outer = run(place, &["-k", "job", "--kill-after", "1s"], inside);
    force(place, ["-k", "job"]).finish().succeeds();
    outer.wait().exits_with(79);
    assert!(outer.tree().is_empty(), "something of it lives");
    assert!(place.is_free("job"));
}

fn a_holder_whose_front_is_stopped_is_stopped_all_the_same(place: &Place) {
    let holder = run(place, &["-k", "job"], OBEYS);
    holder.signal(Signal::SIGSTOP);
    force(place, ["-k", "job"]).finish().succeeds();
    assert!(place.is_free("job"));
    holder.signal(Signal::SIGCONT);
    holder.wait().exits_with(79);
}
