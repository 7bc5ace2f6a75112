//! Slots that move from one master to another while their locks are held and awaited.

use std::time::{Duration, Instant};

use super::{dlock, fence_of, hold, queue_up};
use crate::support::{Cluster, eventually, within};

/// Much less than the 10 s after which a waiter would look by itself.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Longer than a lease of 3 s.
const BEYOND_A_LEASE: Duration = Duration::from_secs(4);

#[test]
fn a_lock_that_moves_is_kept_by_its_holder_and_passed_on_in_order() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 0);
    let lock = format!("dlock:{key}");
    let holder = hold(&cluster, &key, "3s");
    let waiters = [queue_up(&cluster, &key, 1), queue_up(&cluster, &key, 2)];
    cluster.move_slot(&lock, 2);
    let follow = cluster.waiters_follow_within();
    within(follow, "the waiters listen at the new owner", || cluster.listeners(2) == 2);
    // Renewed there, and moved once more.
    std::thread::sleep(BEYOND_A_LEASE);
    assert!(!holder.has_ended(), "{}", holder.stderr());
    cluster.move_slot(&lock, 1);
    within(follow, "the waiters follow", || cluster.listeners(1) == 2);
    let released = Instant::now();
    holder.let_go();
    holder.wait().succeeds().says_nothing_on_stderr();
    let fences = waiters.map(|waiter| fence_of(waiter.wait().succeeds().said()));
    assert!(released.elapsed() < AT_ONCE, "{:?}", released.elapsed());
    assert!(fences[0] < fences[1], "{fences:?}");
    dlock(&cluster.url(), &["run", "-n", "-k", &key, "--", "true"]).finish().succeeds();
}

#[test]
fn a_holder_renews_for_as_long_as_a_move_takes() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 0);
    let lock = format!("dlock:{key}");
    let holder = hold(&cluster, &key, "3s");
    let waiter = queue_up(&cluster, &key, 1);
    cluster.begin_to_move(&lock, 1);
    // Nothing of it has moved, then the lock alone, then everything.
    std::thread::sleep(BEYOND_A_LEASE);
    cluster.carry_one(&lock, 0, 1);
    std::thread::sleep(BEYOND_A_LEASE);
    cluster.carry_over(&lock, 0, 1);
    std::thread::sleep(BEYOND_A_LEASE);
    assert!(!holder.has_ended(), "{}", holder.stderr());
    cluster.end_to_move(&lock, 1);
    let released = Instant::now();
    holder.let_go();
    holder.wait().succeeds();
    waiter.wait().succeeds();
    assert!(released.elapsed() < cluster.waiters_follow_within(), "{:?}", released.elapsed());
}

#[test]
fn readers_keep_a_lock_that_moves() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 0);
    let lock = format!("dlock:{key}");
    let read = ["run", "-s", "-k", &key, "--ttl", "3s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let readers = [0, 1].map(|_| dlock(&cluster.url(), &read).stdin_open().start());
    for reader in &readers {
        reader.says("ready");
    }
    let writer = queue_up(&cluster, &key, 1);
    cluster.move_slot(&lock, 1);
    std::thread::sleep(BEYOND_A_LEASE);
    for reader in &readers {
        reader.let_go();
        reader.wait().succeeds();
    }
    writer.wait().succeeds();
}

#[test]
fn a_contender_outlasts_a_short_move_and_gives_up_a_long_one() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 0);
    let lock = format!("dlock:{key}");
    cluster.begin_to_move(&lock, 1);
    let given_up = dlock(&cluster.url(), &["run", "-k", &key, "--", "true"]).finish().exits_with(69);
    given_up.complains(&["is moving this key to another node"]);
    let outlasts = dlock(&cluster.url(), &["run", "-k", &key, "--", "echo", "ran"]).start();
    eventually("it has been refused", || super::requests(&cluster, "asking")[1] > 10);
    cluster.end_to_move(&lock, 1);
    assert_eq!(outlasts.wait().succeeds().said(), "ran");
}

#[test]
fn a_lock_of_another_layout_moves_with_its_waiters() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 0);
    let hold =
        ["run", "-k", &key, "--layout", "redisson", "--ttl", "4s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = dlock(&cluster.url(), &hold).stdin_open().start();
    holder.says("ready");
    let wait = ["run", "-k", &key, "--layout", "redisson", "--ttl", "4s", "--", "echo", "ran"];
    let waiter = dlock(&cluster.url(), &wait).start();
    eventually("it waits", || cluster.listeners(0) == 1);
    cluster.move_slot(&format!("dlock:{key}"), 2);
    within(AT_ONCE, "it follows", || cluster.listeners(2) == 1);
    holder.let_go();
    holder.wait().succeeds();
    assert_eq!(waiter.wait().succeeds().said(), "ran");
}
