//! `release --force` where backends differ, at a prompt, and when something is stopped or in a hurry.

mod file;
mod prompt;
mod redis;
mod retention;
mod zookeeper;

use nix::sys::signal::Signal;

use crate::support::*;

const STUBBORN_LOOP: &str = "trap '' TERM; echo ready; while :; do sleep 0.05; done";

sentences! {
    redis_server: Place::shared(Kind::Redis), [
        with_now_the_key_is_free_while_the_command_may_still_run,
        a_holder_that_is_stopped_loses_it_with_its_lease,
        a_holder_that_was_lost_is_looked_for_no_more,
        the_event_of_the_holder_says_why,
        a_loss_that_is_only_told_is_none_that_an_operator_asks_for,
    ];
    zookeeper_server: Place::shared(Kind::ZooKeeper), [
        with_now_the_key_is_free_while_the_command_may_still_run,
        a_holder_that_is_stopped_loses_it_with_its_lease,
        the_event_of_the_holder_says_why,
        a_loss_that_is_only_told_is_none_that_an_operator_asks_for,
    ];
    redis_and_zookeeper: Place::both(), [
        with_now_the_key_is_free_while_the_command_may_still_run,
        a_holder_that_is_stopped_loses_it_with_its_lease,
    ];
}

fn force<'a>(place: &Place, words: impl IntoIterator<Item = &'a str>) -> Dlock {
    place.dlock_with(["release", "--force", "--yes"].into_iter().chain(words))
}

/// A run of `job` that has begun; its lease is short enough to wait for.
fn run(place: &Place, options: &[&str], script: &str) -> Running {
    let words = ["run", "-k", "job"].into_iter().chain(options.iter().copied());
    let run = place.dlock_with(words.chain(["--", "sh", "-c", script])).stdin_open().start();
    run.says("ready");
    run
}

fn phase(place: &Place) -> String {
    place.status("job")["holders"][0]["phase"].as_str().unwrap_or("free").to_owned()
}

fn with_now_the_key_is_free_while_the_command_may_still_run(place: &Place) {
    let holder = run(place, &["--ttl", "6s"], STUBBORN_LOOP);
    let waiter = place.queue_up("job");
    let told = force(place, ["--now", "-k", "job"]).finish().succeeds();
    told.mentions(&["freed \"job\"", "(sh)", "may run on for up to 6s"]);
    // Whoever waited does not wait for the lease to end.
    waiter.says("ready");
    holder.wait().exits_with(79).mentions(&["lost \"job\"", "killing \"sh\""]);
    assert!(holder.tree().is_empty());
}

fn a_holder_that_is_stopped_loses_it_with_its_lease(place: &Place) {
    let holder = run(place, &["--ttl", "4s"], STUBBORN_LOOP);
    holder.keeper().signal(Signal::SIGSTOP);
    let told = force(place, ["-k", "job"]).finish().succeeds().mentions(&["asked"]);
    // ZooKeeper does not tell whether a session has ended or its node was deleted.
    let end = if place.kind == Kind::Redis { "ran out after" } else { "not hold \"job\" any more" };
    told.mentions(&[end, "\"job\""]);
    holder.wait().exits_with(79);
    assert!(holder.tree().is_empty());
    assert!(place.is_free("job"));
}

/// Asked for on one server of a lock, and gone there for another reason.
fn a_holder_that_was_lost_is_looked_for_no_more(place: &Place) {
    let holder = run(place, &["--ttl", "6s", "--kill-after", "1s"], STUBBORN_LOOP);
    let forced = force(place, ["-k", "job"]).start();
    eventually("the mark is set", || phase(place) == "revoked");
    place.take_away("job");
    let next = place.hold("job");
    forced.wait().succeeds();
    holder.wait().exits_with(79);
    assert!(!next.has_ended());
}

fn the_event_of_the_holder_says_why(place: &Place) {
    let holder = run(place, &["--ttl", "6s", "--log-format", "json"], "echo ready; exec sleep 60");
    force(place, ["-k", "job"]).finish().succeeds();
    let ended = holder.wait().exits_with(79);
    let events: Vec<serde_json::Value> =
        ended.stderr().lines().map(|line| serde_json::from_str(line).expect("an event a line")).collect();
    let lost = events.iter().find(|event| event["event"] == "lost").expect("the loss is told");
    assert_eq!((&lost["reason"], &lost["action"], &lost["key"]), (&"revoked".into(), &"stop".into(), &"job".into()));
    assert!(events.iter().any(|event| event["event"] == "released"), "{}", ended.account());
}

fn a_loss_that_is_only_told_is_none_that_an_operator_asks_for(place: &Place) {
    let holder = run(place, &["--ttl", "6s", "--on-lost", "warn"], "echo ready; exec sleep 60");
    force(place, ["-k", "job"]).finish().succeeds();
    holder.wait().exits_with(79).mentions(&["stopping \"sh\""]);
    assert!(place.is_free("job"));
}

#[test]
fn what_makes_no_sense_is_64_and_takes_nothing() {
    let place = Place::shared(Kind::Redis);
    let token = place.acquire("job", "10m");
    for (words, complaint) in [
        (&["-k", "job", "--yes"][..], "--force"),
        (&["-k", "job", "--now"], "--force"),
        (&["-k", "job", "--id", "0badcafe"], "--force"),
        (&["-k", "job", "--force", "--yes", "--token", &token], "cannot be used with '--token"),
        (&["--force", "--yes"], "no --key given"),
        (&["-k", "", "--force", "--yes"], "--key"),
    ] {
        let call = place.dlock_with(["release"].into_iter().chain(words.iter().copied()));
        // Those of a run around the call are not meant.
        call.env("DLOCK_KEY", "job").finish().exits_with(64).complains(&[complaint]);
    }
    assert!(!place.is_free("job"));
    // Nor is the token: whoever forces has none.
    force(&place, ["-k", "job"]).env("DLOCK_TOKEN", "nonsense").finish().succeeds();
    assert!(place.is_free("job"));
}
