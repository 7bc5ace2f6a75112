//! The ZooKeeper backend on real servers, driven as a library: what a caller of the lock contract can rely on, and what an
//! outsider sees in the tree meanwhile.

mod clocks;
mod counts;
mod credentials;
mod ensemble;
mod first_contact;
mod heartbeats;
mod modes;
mod one_shot;
mod outage;
mod partition;
mod queueing;
mod recipe;
mod reports;
mod retention;
mod transport;
mod trips;
mod wiretap;
mod wrong_input;

use std::future::Future;
use std::time::Duration;

use dlock::backend::zookeeper::{Access, Config, ConnectString, Family, ZooKeeperBackend};
use dlock::lock::{
    Acquired, Claim, Holder, Lease, LeaseKind, LockBackend, LockKey, Namespace, OwnerToken, Patience, Progress, Ttl,
};
use ensemble::ZooKeeper;

/// Far longer than anything here should take, and the end of a test that hangs.
const AT_MOST: Duration = Duration::from_secs(20);

/// The longest session of our servers.
const TTL: Duration = Duration::from_secs(4);

fn backend_at(connect_string: &str, namespace: &str) -> ZooKeeperBackend {
    backend_of(Family::Dlock, connect_string, namespace)
}

fn backend_of(family: Family, connect_string: &str, namespace: &str) -> ZooKeeperBackend {
    let servers = ConnectString::parse(connect_string).expect("a valid connect string");
    let namespace = Namespace::new(namespace).expect("a valid namespace");
    let config = Config { servers, namespace, access: Access::default(), family, fence_floor: 0 };
    ZooKeeperBackend::open(&config).expect("nothing is sent yet")
}

fn backend(server: &ZooKeeper) -> ZooKeeperBackend {
    backend_at(&server.address(), "dlock")
}

fn key(text: &str) -> LockKey {
    LockKey::new(text).expect("a valid key")
}

fn claim(name: &str) -> Claim {
    Claim {
        key: key(name),
        token: OwnerToken::random(),
        holder: Holder { host: Some("web-3".into()), pid: Some(812), ..Holder::default() },
        ttl: Ttl::Exactly(TTL),
        kind: LeaseKind::Running,
        patience: Patience::Refuse,
        mode: dlock::lock::Mode::Exclusive,
        looks_first: false,
        retention: dlock::lock::Retention::default(),
    }
}

fn waiting(name: &str) -> Claim {
    Claim { patience: Patience::Queue { reconnect_for: Duration::from_secs(10) }, ..claim(name) }
}

fn one_shot(name: &str, ttl: Duration) -> Claim {
    Claim { kind: LeaseKind::OneShot, ttl: Ttl::Exactly(ttl), ..claim(name) }
}

fn silently(_: Progress) {}

async fn granted(backend: &ZooKeeperBackend, claim: &Claim) -> Lease {
    match in_time(backend.acquire(claim, &silently)).await.expect("the server serves") {
        Acquired::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(AT_MOST, future).await.expect("it does not hang")
}

async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let until = tokio::time::Instant::now() + AT_MOST;
    while !condition().await {
        assert!(tokio::time::Instant::now() < until, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
