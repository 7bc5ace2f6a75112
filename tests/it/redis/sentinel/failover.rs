//! Another master while a lock is held or awaited.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Place, Watched, eventually};

/// The TTL of what is held over a fail-over: one that takes four seconds leaves time for renewals on a busy machine.
const TTL: &str = "20s";

/// What is left of the lock, by the server at `port`.
fn left(place: &Place, port: u16, key: &str) -> i64 {
    let mut at = Place::at_url("", port).redis();
    ::redis::cmd("PTTL").arg(format!("{}:{key}", place.namespace)).query(&mut at).expect("the server serves")
}

/// Takes the lock off every replica, as if it had never reached them.
fn unreplicate(watched: &Watched, place: &Place, key: &str) {
    for replica in watched.replicas() {
        let mut at = Place::at_url("", replica.port).redis();
        let run = |words: &[&str], at: &mut ::redis::Connection| {
            let () = ::redis::cmd(words[0]).arg(&words[1..]).query(at).expect("the server serves");
        };
        run(&["CONFIG", "SET", "replica-read-only", "no"], &mut at);
        run(&["DEL", &format!("{}:{key}", place.namespace)], &mut at);
        run(&["CONFIG", "SET", "replica-read-only", "yes"], &mut at);
    }
}

#[test]
fn a_lock_that_was_replicated_is_held_on_the_next_master() {
    let watched = Watched::start();
    let place = watched.place();
    let run = place.hold_for("job", TTL);
    let next = watched.fail_over();
    let before = left(&place, next, "job");
    eventually("it is renewed at the next master", || left(&place, next, "job") > before);
    assert_eq!(place.status("job")["state"], "held");
    run.let_go();
    run.wait().succeeds();
    assert_eq!(left(&place, next, "job"), -2, "it is released there");
    assert!(place.is_free("job"));
}

#[test]
fn a_master_that_dies_or_freezes_is_left_for_the_next_one() {
    let watched = Watched::start();
    let place = watched.place();
    let run = place.hold_for("job", TTL);
    let first = watched.master().port;
    watched.at(first).crash();
    let second = watched.moves_from(first);
    let before = left(&place, second, "job");
    eventually("it is renewed at the second master", || left(&place, second, "job") > before);
    watched.at(first).start_again();
    watched.settles();
    watched.at(second).freeze();
    let third = watched.moves_from(second);
    let before = left(&place, third, "job");
    eventually("it is renewed at the third master", || left(&place, third, "job") > before);
    run.let_go();
    run.wait().succeeds();
    watched.at(second).thaw();
    assert!(place.is_free("job"));
}

#[test]
fn a_lock_that_the_next_master_does_not_have_is_lost_at_once() {
    let watched = Watched::start();
    let place = watched.place();
    let run = place.hold_for("job", "60s");
    unreplicate(&watched, &place, "job");
    let first = watched.master().port;
    watched.at(first).crash();
    watched.moves_from(first);
    let ended = run.wait().exits_with(79);
    assert!(ended.took < Duration::from_secs(45), "long before the lease could have ended: {}", ended.account());
    assert!(run.tree().is_empty());
}

/// While nobody is the master nothing is known, and only time tells.
#[test]
fn without_a_next_master_the_command_is_stopped_before_the_lease_ends() {
    let watched = Watched::start();
    let place = watched.place();
    let run = place.hold_for("job", "3s");
    for mut replica in watched.replicas() {
        replica.crash();
    }
    watched.master().crash();
    let ended = run.wait().exits_with(79);
    assert!(run.tree().is_empty(), "{}", ended.account());
}

#[test]
fn a_waiter_queues_again_at_the_next_master_and_is_woken_there() {
    let watched = Watched::start();
    let place = watched.place();
    let holder = place.hold_for("job", TTL);
    let waiter = place.queue_up_with("job", ["run", "-k", "job", "--ttl", "60s", "--", "echo", "mine"]);
    let next = watched.fail_over();
    eventually("it listens at the next master", || {
        let channels: Vec<String> = ::redis::cmd("PUBSUB")
            .arg("CHANNELS")
            .arg(format!("*{}*", place.namespace))
            .query(&mut Place::at_url("", next).redis())
            .expect("the server serves");
        channels.len() == 1 && place.waiters("job") == 1
    });
    let before = left(&place, next, "job");
    eventually("the lock is renewed there", || left(&place, next, "job") > before);
    let began = Instant::now();
    holder.let_go();
    assert_eq!(waiter.wait().succeeds().said(), "mine");
    assert!(began.elapsed() < Duration::from_secs(8), "without the message it looks every 10 s");
    holder.wait().succeeds();
}

/// "A lease seen on the old master that is not on the new one is waited out by any waiter that saw it."
#[test]
fn a_lease_that_the_next_master_does_not_know_is_waited_out() {
    let watched = Watched::start();
    let place = watched.place();
    let taken = Instant::now();
    place.acquire("job", "15s");
    let waiter = place.queue_up("job");
    unreplicate(&watched, &place, "job");
    let first = watched.master().port;
    watched.at(first).crash();
    watched.moves_from(first);
    waiter.says("ready");
    assert!(taken.elapsed() >= Duration::from_secs(15), "{:?}", taken.elapsed());
    waiter.let_go();
    waiter.wait().succeeds();
}

/// What becomes of a one-shot is seen in single steps: each finds the master of its time.
#[test]
fn a_one_shot_is_renewed_and_released_on_the_next_master() {
    let watched = Watched::start();
    let place = watched.place();
    let token = place.acquire("job", "5m");
    let first = watched.master().port;
    watched.at(first).signal(Signal::SIGKILL);
    let next = watched.moves_from(first);
    place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", "10m"]).finish().succeeds();
    assert!(left(&place, next, "job") > 500_000);
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
    assert!(place.is_free("job"));
}
