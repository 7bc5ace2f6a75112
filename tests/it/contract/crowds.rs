//! How many contend, and when: `--max-waiters` and `--jitter`.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Place, sentences_for_every_backend};

sentences_for_every_backend! {
    nobody_joins_a_queue_that_is_long_enough,
    behind_no_waiter_at_all_is_not_waiting,
    whoever_sleeps_before_contending_can_be_interrupted_and_has_asked_for_nothing,
    the_wait_begins_after_the_jitter,
}

fn nobody_joins_a_queue_that_is_long_enough(place: &Place) {
    let holder = place.hold("job");
    let first = place.queue_up("job");
    let refused = place.dlock(["run", "--max-waiters", "1", "-k", "job", "--", "true"]).finish();
    refused.exits_with(75).complains(&["cannot acquire \"job\"", "held by", "1 other waits already"]);
    let refused = place.dlock(["acquire", "--ttl", "9s", "--max-waiters", "1", "-E", "9", "-k", "job"]).finish();
    refused.exits_with(9).mentions(&["1 other waits already"]);
    assert_eq!(place.waiters("job"), 1);
    let args = ["run", "--max-waiters", "2", "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let second = place.queue_up_with("job", args);
    holder.let_go();
    holder.wait().succeeds();
    for run in [&first, &second] {
        run.says("ready");
        run.let_go();
        run.wait().succeeds();
    }
    // Nobody is there: the queue is short enough.
    place.dlock(["run", "--max-waiters", "1", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
}

fn behind_no_waiter_at_all_is_not_waiting(place: &Place) {
    place.dlock(["run", "--max-waiters", "0", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
    let holder = place.hold("job");
    let refused = place.dlock(["run", "--max-waiters", "0", "-k", "job", "--", "true"]).finish();
    refused.exits_with(75).complains(&["held by"]);
    holder.let_go();
    holder.wait().succeeds();
}

fn whoever_sleeps_before_contending_can_be_interrupted_and_has_asked_for_nothing(place: &Place) {
    let holder = place.hold("job");
    let run = place.dlock(["run", "--jitter", "100d", "-k", "job", "--", "true"]).start();
    run.keeper();
    run.signal(Signal::SIGTERM);
    run.wait().dies_of(Signal::SIGTERM).says_nothing();
    let acquire = place.dlock(["acquire", "--ttl", "9s", "--jitter", "100d", "-k", "job"]).start();
    acquire.signal(Signal::SIGTERM);
    acquire.wait().dies_of(Signal::SIGTERM).says_nothing();
    assert_eq!(place.waiters("job"), 0);
    holder.let_go();
    holder.wait().succeeds();
}

fn the_wait_begins_after_the_jitter(place: &Place) {
    let holder = place.hold("job");
    let refused = place.dlock(["run", "--jitter", "1", "-w", "0.1", "-k", "job", "--", "true"]).finish();
    assert!(refused.took >= Duration::from_millis(100), "{}", refused.account());
    refused.exits_with(75).complains(&["gave up after 100ms"]);
    place.dlock(["run", "--jitter", "0.2", "-n", "-k", "other", "--", "true"]).finish().succeeds().says_nothing();
    holder.let_go();
    holder.wait().succeeds();
}
