//! The same on a Redis Cluster whose slots move all the time.

use std::io::Write as _;
use std::time::Duration;

use super::go_through;
use super::jobs::{Jobs, Ports};
use crate::support::history::{falling_fences, overlaps, stays};
use crate::support::{Cluster, eventually};

/// Between two names that are moved: long enough that somebody asks while a lock is here and its queue there.
const STEP: Duration = Duration::from_millis(10);

#[test]
fn redis_cluster_in_a_storm() {
    let cluster = Cluster::of_masters(3);
    let jobs = Jobs::new(Ports::Deployment(cluster.url()), "50s");
    let mut moves: usize = 0;
    let outcomes = go_through(&jobs, || {
        let place = jobs.place();
        let key = &jobs.keys()[moves % jobs.keys().len()];
        move_slowly(&cluster, &format!("{}:{key}", place.namespace));
        moves += 1;
    });
    let stays = stays(&jobs.log());
    let (overlaps, fall) = (overlaps(&stays), falling_fences(&stays));
    let figures = format!(
        "Cluster: {} grants, {outcomes:?}, {moves} moves of slots, overlaps {}, fences that fell {}",
        stays.len(),
        overlaps.len(),
        fall.len()
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    for key in jobs.keys() {
        eventually("every key is free in the end", || jobs.place().is_free(key));
    }
    assert!(overlaps.is_empty() && fall.is_empty(), "{figures}\n{overlaps:#?}\n{fall:#?}");
    assert!(outcomes.succeeded > 10 && moves > 2, "{figures}");
    // No move lasts as long as a contender tries; but one that was frozen while it tried may have no time left.
    assert!(outcomes.unavailable * 20 < outcomes.succeeded, "{figures}");
}

/// Moves the slot of `lock` to the next master, name by name.
fn move_slowly(cluster: &Cluster, lock: &str) {
    let from = cluster.owner(lock);
    let to = (from + 1) % cluster.masters().len();
    cluster.begin_to_move(lock, to);
    while let Some(name) = cluster.first_name(lock, from) {
        cluster.carry_one(&name, from, to);
        std::thread::sleep(STEP);
    }
    cluster.end_to_move(lock, to);
}
