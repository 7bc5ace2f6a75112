//! `redis+zk`: one lock in two places, held while both are.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Kind, Place, eventually, program, within};

#[test]
fn whoever_holds_one_of_the_two_keeps_out_who_wants_both_and_the_other_way_round() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::both();
        let half = place.half(kind);
        let holder = half.hold("job");
        assert!(!place.is_free("job"), "{kind:?} is held");
        let other = place.half(if kind == Kind::Redis { Kind::ZooKeeper } else { Kind::Redis });
        assert!(other.is_free("job"), "a refusal leaves nothing behind");
        holder.let_go();
        holder.wait().succeeds();
        let holder = place.hold("job");
        assert!(!half.is_free("job"), "both are held");
        holder.let_go();
        holder.wait().succeeds();
        assert!(half.is_free("job") && other.is_free("job"));
    }
}

#[test]
fn a_wait_for_either_ends_with_its_release() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::both();
        let holder = place.half(kind).hold("job");
        let waiter = place.queue_up("job");
        holder.let_go();
        holder.wait().succeeds();
        waiter.says("ready");
        waiter.let_go();
        waiter.wait().succeeds();
    }
}

/// ZooKeeper's session and Redis' expiry are each kept at their own pace.
#[test]
fn what_is_held_on_redis_is_kept_while_zookeeper_is_awaited_and_while_the_command_runs() {
    let place = Place::both();
    let holder = place.half(Kind::ZooKeeper).hold("job");
    let args = ["run", "-k", "job", "--ttl", "2s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let waiter = place.queue_up_with("job", args);
    let redis = place.half(Kind::Redis);
    redis.dlock(["run", "-w", "3", "-k", "job", "--", "true"]).finish().exits_with(75);
    holder.let_go();
    holder.wait().succeeds();
    waiter.says("ready");
    redis.dlock(["run", "-w", "3", "-k", "job", "--", "true"]).finish().exits_with(75);
    waiter.let_go();
    waiter.wait().succeeds();
}

#[test]
fn one_lost_is_the_lock_lost() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::both();
        let args = ["run", "-k", "job", "--ttl", "3s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
        let run = place.dlock(args).stdin_open().start();
        run.says("ready");
        place.half(kind).take_away("job");
        run.wait().exits_with(79).mentions(&["lost \"job\"", "killing"]);
        within(Duration::from_secs(20), "the other half is free", || place.is_free("job"));
    }
}

#[test]
fn a_one_shot_is_in_both_until_it_is_released_in_both() {
    let place = Place::both();
    let token = place.acquire("job", "30s");
    let status = place.status("job");
    assert_eq!(status["backend"], "redis+zk");
    assert_eq!(status["holders"].as_array().map(Vec::len), Some(1), "one holder, told once: {status}");
    place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", "60s"]).finish().succeeds();
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let half = place.half(kind);
        assert!(!half.is_free("job"));
        assert!(half.status("job")["holders"][0]["remaining_ms"].as_u64() > Some(30_000), "{kind:?}");
    }
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
    assert!(place.half(Kind::Redis).is_free("job") && place.half(Kind::ZooKeeper).is_free("job"));
    place.dlock(["release", "-k", "job", "--token", &token]).finish().exits_with(79);
}

#[test]
fn status_says_who_holds_only_one_of_the_two() {
    let place = Place::both();
    let holder = place.half(Kind::Redis).hold("job");
    let told = place.dlock(["status", "job"]).finish().succeeds();
    told.mentions(&["\"job\"", "holds it on Redis alone"]);
    let listed = place.dlock(["list"]).finish().succeeds();
    assert!(listed.said().contains("job"), "{}", listed.account());
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn an_interrupted_wait_leaves_neither_taken() {
    let place = Place::both();
    let holder = place.half(Kind::ZooKeeper).hold("job");
    let waiter = place.queue_up("job");
    waiter.signal(Signal::SIGTERM);
    waiter.wait().dies_of(Signal::SIGTERM);
    assert!(place.half(Kind::Redis).is_free("job"));
    eventually("nobody waits", || place.half(Kind::ZooKeeper).waiters("job") == 0);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn a_run_inside_finds_both_again() {
    let place = Place::both();
    let script = format!("'{}' run -k job -- echo inside", program());
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", &script]).finish().succeeds();
    assert_eq!(run.said(), "inside");
}

#[test]
fn a_server_that_is_away_is_69_and_leaves_the_other_free() {
    let place = Place::both();
    let options = place.options();
    let zk = options.iter().position(|option| option == "--zk").expect("it is given");
    let mut args: Vec<&str> = vec!["run", "-n"];
    args.extend(options.iter().enumerate().map(|(index, option)| if index == zk + 1 { "127.0.0.1:1" } else { option }));
    args.extend(["-k", "job", "--", "true"]);
    crate::support::Dlock::new(args).finish().exits_with(69).complains(&["127.0.0.1:1"]);
    assert!(place.half(Kind::Redis).is_free("job"));
}
