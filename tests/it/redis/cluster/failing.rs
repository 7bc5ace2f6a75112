//! Masters that die, with a replica and without.

use std::time::{Duration, Instant};

use super::{dlock, fence_of, hold, queue_up};
use crate::support::{Cluster, eventually, within};

/// Two seconds of silence, a vote, and what two busy cores add.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(40);

fn says(cluster: &Cluster, node: usize, words: &[&str], what: &str) -> bool {
    cluster.node(node).try_command::<String>(words).is_ok_and(|said| said.contains(what))
}

#[test]
fn a_lock_outlives_the_death_of_its_master_with_holder_and_waiters() {
    let mut cluster = Cluster::with_replicas();
    let key = cluster.key_at("dlock", 0);
    let holder = hold(&cluster, &key, "20s");
    let waiters = [queue_up(&cluster, &key, 1), queue_up(&cluster, &key, 2)];
    let queue = format!("{{dlock:{key}}}:dlock:queue");
    let replica =
        |cluster: &Cluster| cluster.node(3).try_command::<u32>(&["ZCARD", &queue]).is_ok_and(|length| length == 2);
    // WAIT is about what its own connection has written, and all that was written before.
    let mut master = cluster.node(0).connection();
    let mark = format!("{{dlock:{key}}}:mark");
    eventually("the replica has it", || {
        ::redis::cmd("SET").arg(&mark).arg(1).exec(&mut master).expect("the master serves");
        ::redis::cmd("WAIT").arg(1).arg(1000).query::<u64>(&mut master).expect("the master serves") == 1
    });
    cluster.node_mut(0).crash();
    within(TAKEN_OVER_WITHIN, "the replica takes over", || says(&cluster, 3, &["ROLE"], "master") || replica(&cluster));
    within(TAKEN_OVER_WITHIN, "the waiters listen there", || cluster.listeners(3) == 2);
    assert!(!holder.has_ended(), "{}", holder.stderr());
    let released = Instant::now();
    holder.let_go();
    holder.wait().succeeds();
    let fences = waiters.map(|waiter| fence_of(waiter.wait().succeeds().said()));
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
    assert!(fences[0] < fences[1], "{fences:?}");
}

#[test]
fn a_frozen_master_is_replaced_and_its_holder_renews_at_the_replica() {
    let cluster = Cluster::with_replicas();
    let key = cluster.key_at("dlock", 1);
    let holder = hold(&cluster, &key, "20s");
    // Only a renewal tells the holder who else there is.
    let renewed = |cluster: &Cluster| super::requests(cluster, "cluster").iter().sum::<u64>() > 0;
    for node in cluster.masters() {
        node.command::<()>(&["CONFIG", "RESETSTAT"]);
    }
    within(TAKEN_OVER_WITHIN, "it has renewed", || renewed(&cluster));
    cluster.node(1).freeze();
    within(TAKEN_OVER_WITHIN, "the replica takes over", || says(&cluster, 4, &["INFO", "replication"], "role:master"));
    let lock = format!("dlock:{key}");
    within(TAKEN_OVER_WITHIN, "the lease is renewed there", || {
        cluster.node(4).try_command::<i64>(&["PTTL", &lock]).is_ok_and(|left| left > 17_000)
    });
    holder.let_go();
    holder.wait().succeeds();
    cluster.node(1).thaw();
}

#[test]
fn an_arranged_fail_over_costs_nobody_anything() {
    let cluster = Cluster::with_replicas();
    let key = cluster.key_at("dlock", 2);
    let holder = hold(&cluster, &key, "10s");
    let waiter = queue_up(&cluster, &key, 1);
    cluster.node(5).command::<()>(&["CLUSTER", "FAILOVER"]);
    within(TAKEN_OVER_WITHIN, "the replica takes over", || says(&cluster, 5, &["INFO", "replication"], "role:master"));
    within(cluster.waiters_follow_within(), "the waiter listens there", || cluster.listeners(5) == 1);
    let released = Instant::now();
    holder.let_go();
    holder.wait().succeeds();
    waiter.wait().succeeds();
    assert!(released.elapsed() < Duration::from_secs(5), "{:?}", released.elapsed());
}

#[test]
fn a_cluster_that_is_down_refuses_newcomers_and_costs_a_holder_nothing_if_it_is_back_in_time() {
    let mut cluster = Cluster::start(3, 0, Duration::from_secs(2));
    let key = cluster.key_at("dlock", 0);
    let holder = hold(&cluster, &key, "25s");
    cluster.node_mut(1).crash();
    within(TAKEN_OVER_WITHIN, "the others miss it", || says(&cluster, 0, &["CLUSTER", "INFO"], "cluster_state:fail"));
    let refused = dlock(&cluster.url(), &["run", "-k", &key, "--", "true"]).finish().exits_with(69);
    refused.complains(&["belongs to a Redis Cluster that is down"]);
    cluster.node_mut(1).start_again();
    within(TAKEN_OVER_WITHIN, "it is whole again", || {
        (0..3).all(|node| says(&cluster, node, &["CLUSTER", "INFO"], "cluster_state:ok"))
    });
    assert!(!holder.has_ended(), "{}", holder.stderr());
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn a_cluster_that_stays_down_ends_the_command_before_its_lease() {
    let mut cluster = Cluster::start(3, 0, Duration::from_secs(2));
    let key = cluster.key_at("dlock", 0);
    let holder = hold(&cluster, &key, "4s");
    cluster.node_mut(0).crash();
    let crashed = Instant::now();
    eventually("nothing of the command lives", || holder.tree().is_empty());
    assert!(crashed.elapsed() < Duration::from_secs(4), "{:?}", crashed.elapsed());
    holder.wait().exits_with(79);
}
