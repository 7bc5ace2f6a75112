//! `--wait-replicas`: a grant counts when so many replicas have it.

use std::time::Duration;

use dlock::lock::{LockBackend as _, Renewal};

use super::server::Server;
use super::{claim, failed, granted, names};
use crate::support::{Kind, Place, eventually};
use dlock::backend::redis::{Config, Endpoint, RedisBackend, Topology};
use dlock::backend::tls::Tls;
use dlock::lock::{ErrorKind, Namespace};

const TTL: Duration = Duration::from_secs(30);

fn backend(master: &Server, wait_replicas: u32) -> RedisBackend {
    let endpoint = Endpoint::parse(&format!("redis://127.0.0.1:{}", master.port)).expect("a valid URL");
    let namespace = Namespace::new("dlock").expect("a valid namespace");
    RedisBackend::open(&Config { topology: Topology::Server(endpoint), namespace, tls: Tls::default(), wait_replicas })
        .expect("opening sends nothing")
}

/// A master and a replica that follows it.
fn master_and_replica() -> (Server, Server) {
    let master = Server::start(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    eventually("the replica follows", || {
        // Both have to see it so: a master counts no replica that it still brings up to date.
        replica.command::<String>(&["INFO", "replication"]).contains("master_link_status:up")
            && master.command::<String>(&["INFO", "replication"]).contains("state=online")
    });
    (master, replica)
}

#[tokio::test]
async fn a_grant_and_each_renewal_count_once_the_replica_has_them() {
    let (master, replica) = master_and_replica();
    let backend = backend(&master, 1);
    let lease = granted(&backend, &claim("job", TTL)).await;
    assert!(replica.command::<String>(&["GET", "dlock:job"]).starts_with(lease.token.secret()));
    master.command::<()>(&["PEXPIRE", "dlock:job", "20000"]);
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    assert!(replica.command::<i64>(&["PTTL", "dlock:job"]) > 25_000);
}

#[tokio::test]
async fn a_renewal_that_a_frozen_replica_does_not_confirm_is_unknown_and_counts_once_it_does() {
    let (master, replica) = master_and_replica();
    let backend = backend(&master, 1);
    let lease = granted(&backend, &claim("job", TTL)).await;
    replica.freeze();
    let error = backend.renew(&lease).await.expect_err("the replica is frozen");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    replica.thaw();
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
}

#[tokio::test]
async fn a_number_that_cannot_be_met_is_refused_after_one_bounded_try() {
    let (master, _replica) = master_and_replica();
    let began = std::time::Instant::now();
    let error = failed(&backend(&master, 2), &claim("job", TTL)).await;
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("1 of the 2 replicas"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn without_the_replicas_the_lock_is_given_back_with_69() {
    let place = Place::private(Kind::Redis);
    for patience in [&["-n"][..], &["-w", "20s"]] {
        let args = [&["run", "-k", "job", "--wait-replicas", "1"], patience, &["--", "true"]].concat();
        place.dlock_with(args).finish().exits_with(69).complains(&["0 of the 1 replicas", "--wait-replicas"]);
        assert_eq!(place.status("job")["state"], "free");
    }
    place.dlock(["acquire", "-k", "job", "--ttl", "60s", "--wait-replicas", "1"]).finish().exits_with(69);
    assert!(place.is_free("job"));
    for wrong in ["0", "-1", "many"] {
        place
            .dlock(["run", "-k", "job", "--wait-replicas", wrong, "--", "true"])
            .finish()
            .exits_with(64)
            .mentions(&["--wait-replicas"]);
    }
}

#[test]
fn a_waiter_whose_grant_is_not_confirmed_gives_it_back() {
    let place = Place::private(Kind::Redis);
    let holder = place.hold("job");
    let waiter = place.queue_up_with("job", ["run", "-k", "job", "--wait-replicas", "1", "--", "true"]);
    holder.let_go();
    waiter.wait().exits_with(69);
    assert!(place.is_free("job"));
}

#[test]
fn the_servers_of_other_backends_have_no_replicas_to_wait_for() {
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "job", "--wait-replicas", "1", "--", "true"]).finish().exits_with(64);
    let server = Server::start(&[]);
    assert!(names(&server).is_empty());
}
