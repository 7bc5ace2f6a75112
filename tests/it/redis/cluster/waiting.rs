//! The queue of a lock on a Cluster.

use std::time::{Duration, Instant};

use super::{dlock, fence_of, hold, queue_up, requests};
use crate::support::{A_WHILE, Cluster, Running, eventually};

/// Much less than the 10 s after which a waiter would look by itself.
const AT_ONCE: Duration = Duration::from_secs(4);

#[test]
fn waiters_are_told_where_the_lock_is_in_the_order_in_which_they_came() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 2);
    let holder = hold(&cluster, &key, "30s");
    let waiters: Vec<Running> = (1..=5).map(|place| queue_up(&cluster, &key, place)).collect();
    assert_eq!([0, 1, 2].map(|node| cluster.listeners(node)), [0, 0, 5]);
    if cluster.has_sharded_messages() {
        assert!(cluster.node(2).command::<Vec<String>>(&["PUBSUB", "CHANNELS"]).is_empty());
    }
    let before = requests(&cluster, "eval");
    let released = Instant::now();
    holder.let_go();
    holder.wait().succeeds();
    let fences: Vec<u64> = waiters.iter().map(|waiter| fence_of(waiter.wait().succeeds().said())).collect();
    assert!(released.elapsed() < A_WHILE, "{:?}", released.elapsed());
    assert!(fences.windows(2).all(|two| two[0] < two[1]), "{fences:?}");
    let after: Vec<u64> = requests(&cluster, "eval").iter().zip(before).map(|(after, before)| after - before).collect();
    // The holder's release, then for each a confirm and a release; the looks that come by the clock are not due yet.
    assert_eq!(after, [0, 0, 11]);
}

#[test]
fn a_waiter_whose_process_is_killed_is_passed_over_at_once() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 1);
    let holder = hold(&cluster, &key, "30s");
    let dead = queue_up(&cluster, &key, 1);
    let living = queue_up(&cluster, &key, 2);
    drop(dead);
    eventually("its subscription is gone", || cluster.listeners(1) == 1);
    let released = Instant::now();
    holder.let_go();
    living.wait().succeeds();
    assert!(released.elapsed() < AT_ONCE, "{:?}", released.elapsed());
}

#[test]
fn where_messages_are_not_permitted_waiters_look_by_themselves() {
    let cluster = Cluster::of_masters(3);
    for node in cluster.masters() {
        node.command::<()>(&["ACL", "SETUSER", "quiet", "on", ">pw", "~*", "resetchannels", "+@all"]);
    }
    let key = cluster.key_at("dlock", 1);
    let holder = hold(&cluster, &key, "30s");
    let url = cluster.url().replace("://", "://quiet:pw@");
    let waiter = dlock(&url, &["run", "-k", &key, "--", "echo", "ran"]).start();
    eventually("it waits", || cluster.node(1).command::<u32>(&["ZCARD", &format!("{{dlock:{key}}}:dlock:queue")]) == 1);
    let released = Instant::now();
    holder.let_go();
    waiter.wait().succeeds();
    assert!(released.elapsed() < AT_ONCE, "{:?}", released.elapsed());
}
