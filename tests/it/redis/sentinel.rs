//! Sentinels: the master that a majority of them names, what that costs, and whom dlock does not believe.

mod failover;
mod isolated;
mod naming;

use std::time::Duration;

use dlock::backend::redis::{Config, RedisBackend, Service, Topology};
use dlock::backend::tls::Tls;
use dlock::lock::{LockBackend as _, Namespace, Release, Renewal};

use super::{claim, granted, one_shot, trips};
use crate::support::{Place, Watched};

const TTL: Duration = Duration::from_secs(30);

/// Through all three Sentinels.
fn backend(watched: &Watched, wait_replicas: u32) -> RedisBackend {
    let service = Service::parse(&watched.url()).expect("a valid URL");
    let namespace = Namespace::new("dlock").expect("a valid namespace");
    let topology = Topology::Sentinel(service);
    RedisBackend::open(&Config { topology, namespace, tls: Tls::default(), wait_replicas })
        .expect("opening sends nothing")
}

/// How many connections each Sentinel has taken: dlock makes one for each round of questions.
fn connections(watched: &Watched) -> [u64; 3] {
    [0, 1, 2].map(|index| {
        let info: String = watched.ask_sentinel(index, &["INFO", "stats"]).expect("it answers");
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.expect("a server counts its connections").trim().parse().expect("a count")
    })
}

/// Waits until each of them has been asked so often since `before`; every look is a connection, too.
fn eventually_asked(watched: &Watched, before: [u64; 3], times: u64) {
    let mut last = before;
    for look in 1.. {
        let now = connections(watched);
        if now.iter().zip(before).all(|(now, before)| now - before - look == times) {
            return;
        }
        assert!(look < 500, "each was asked {times} times since {before:?}: {now:?}, {last:?} a look earlier ({look})");
        last = now;
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Scripts that the master is asked for while `run` runs.
fn requests(place: &Place, run: impl FnOnce()) -> Vec<String> {
    trips::requests(place, run).into_iter().filter(|name| name == "EVAL").collect()
}

#[test]
fn an_uncontended_run_asks_the_sentinels_twice_and_the_master_twice() {
    let watched = Watched::start();
    let place = watched.place();
    let before = connections(&watched);
    let requests = requests(&place, || {
        place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    });
    assert_eq!(requests.len(), 2, "{requests:#?}");
    eventually_asked(&watched, before, 2);
}

#[test]
fn who_is_refused_asks_the_sentinels_once() {
    let watched = Watched::start();
    let place = watched.place();
    place.acquire("job", "60s");
    let before = connections(&watched);
    place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    eventually_asked(&watched, before, 1);
}

#[tokio::test]
async fn a_renewal_is_one_request_to_the_master_and_one_round_of_questions() {
    let watched = Watched::start();
    let backend = backend(&watched, 0);
    let lease = granted(&backend, &claim("job", TTL)).await;
    for _ in 0..3 {
        let before = connections(&watched);
        assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
        eventually_asked(&watched, before, 1);
    }
    // The release needs nobody's word.
    let before = connections(&watched);
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
    eventually_asked(&watched, before, 0);
    backend.close().await;
}

#[tokio::test]
async fn replicas_confirm_what_the_named_master_granted() {
    let watched = Watched::start();
    let two = backend(&watched, 2);
    let lease = granted(&two, &one_shot(claim("job", TTL))).await;
    assert!(matches!(two.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    assert_eq!(two.release(&lease.key, &lease.token).await, Ok(Release::Released));
    let three = super::failed(&backend(&watched, 3), &claim("job", TTL)).await;
    assert!(three.message.contains("2 of the 3 replicas"), "{three}");
}
