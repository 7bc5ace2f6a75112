//! The server itself is killed or frozen, with one job at each moment.

use super::cell::{End, Moment};
use super::job::{Job, TTL};
use crate::support::{Kind, Place, Running, eventually, within};

const MOMENTS: [Moment; 4] = [Moment::Running, Moment::Stopped, Moment::Starting, Moment::Waiting];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    Killed,
    Frozen,
}

#[test]
fn a_killed_redis() {
    play(Kind::Redis, Outage::Killed);
}

#[test]
fn a_frozen_redis() {
    play(Kind::Redis, Outage::Frozen);
}

#[test]
fn a_killed_zookeeper() {
    play(Kind::ZooKeeper, Outage::Killed);
}

#[test]
fn a_frozen_zookeeper() {
    play(Kind::ZooKeeper, Outage::Frozen);
}

/// Every command is dead within the lease that the server last granted, and whoever waited is served when it is back.
fn play(kind: Kind, outage: Outage) {
    let place = Place::private(kind);
    let mut jobs: Vec<Job> = MOMENTS.map(|moment| Job::at(&Place::at_port(kind, place.port()), moment)).into();
    match outage {
        Outage::Killed => place.server().crash(),
        Outage::Frozen => place.server().freeze(),
    }
    let mut waiting = jobs.pop().expect("the last one waits");
    // An exec that hangs meanwhile delays nothing: the command that it would become dies with the rest.
    within(TTL, "nothing of any command is left", || jobs.iter().all(|job| job.run.job().iter().all(is_dlocks_own)));
    for job in &jobs {
        job.ends(End::Status(79));
        assert!(job.run.job().is_empty(), "{:?}", job.run.job());
    }
    match outage {
        Outage::Killed => place.server().start_again(),
        Outage::Frozen => place.server().thaw(),
    }
    for job in &jobs {
        job.successor_gets_in_alone();
    }
    // Its holder lost the lock with all others. Where the outage outlasts the waiters' leases their order is a new one.
    waiting.holder_has_lost();
    let is_ready = |run: &Running| run.stdout().contains("ready");
    eventually("one of those who waited gets in", || is_ready(&waiting.run) || is_ready(&waiting.successor));
    if is_ready(&waiting.successor) {
        waiting.successor_gets_in_alone();
        eventually("the other gets its turn", || is_ready(&waiting.run));
        waiting.run.let_go();
        waiting.ends(End::Status(0));
    } else {
        waiting.run.let_go();
        waiting.ends(End::Status(0));
        waiting.successor_gets_in_alone();
    }
}

fn is_dlocks_own(process: &crate::support::Process) -> bool {
    ["dlock", "lock-keeper", "lock-guard"].contains(&process.comm.as_str())
}
