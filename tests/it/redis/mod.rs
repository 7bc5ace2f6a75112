//! The Redis backend on real servers, driven without the command line.

mod cluster;
mod credentials;
mod errors;
mod failing;
mod holding;
mod layouts;
mod masters;
mod modes;
mod mute;
mod partition;
mod reading;
mod replicas;
mod retention;
mod sentinel;
mod server;
mod together;
mod transport;
mod trips;
mod waiting;

use std::cell::RefCell;
use std::time::Duration;

use dlock::backend::redis::RedisBackend;
use dlock::lock::{
    Acquired, BackendError, Claim, Holder, Lease, LeaseKind, LockBackend, LockKey, LockStatus, Mode, OwnerToken,
    Patience, Progress, Ttl,
};

use self::server::Server;
use crate::support::A_WHILE;

fn key(text: &str) -> LockKey {
    LockKey::new(text).expect("a valid key")
}

/// A claim that does not wait.
fn claim(name: &str, ttl: Duration) -> Claim {
    Claim {
        key: key(name),
        token: OwnerToken::random(),
        holder: Holder { host: Some("web-3".into()), pid: Some(812), ..Holder::default() },
        ttl: Ttl::Exactly(ttl),
        kind: LeaseKind::Running,
        patience: Patience::Refuse,
        mode: Mode::Exclusive,
        looks_first: false,
        retention: dlock::lock::Retention::default(),
    }
}

fn waiting(claim: Claim) -> Claim {
    Claim { patience: Patience::Queue { reconnect_for: Duration::from_secs(10) }, ..claim }
}

fn one_shot(claim: Claim) -> Claim {
    Claim { kind: LeaseKind::OneShot, ..claim }
}

fn unheard(_: Progress) {}

async fn granted(backend: &RedisBackend, claim: &Claim) -> Lease {
    match backend.acquire(claim, &unheard).await {
        Ok(Acquired::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

async fn refused(backend: &RedisBackend, claim: &Claim) -> dlock::lock::Contention {
    match backend.acquire(claim, &unheard).await {
        Ok(Acquired::Held(contention)) => contention,
        other => panic!("not refused: {other:?}"),
    }
}

async fn failed(backend: &RedisBackend, claim: &Claim) -> BackendError {
    match backend.acquire(claim, &unheard).await {
        Err(error) => error,
        Ok(outcome) => panic!("did not fail: {outcome:?}"),
    }
}

/// Looks until `condition` holds of the key's status.
async fn until_status(backend: &RedisBackend, name: &str, what: &str, condition: impl Fn(&LockStatus) -> bool) {
    let last = RefCell::new(None);
    let looks = async {
        loop {
            let status = backend.status(&key(name)).await.expect("status is answered");
            if condition(&status) {
                return;
            }
            *last.borrow_mut() = Some(status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(A_WHILE, looks).await.is_err() {
        panic!("never: {what}; last seen {:?}", last.borrow());
    }
}

/// Names of every key on the server.
fn names(server: &Server) -> Vec<String> {
    let mut names: Vec<String> = server.command(&["KEYS", "*"]);
    names.sort();
    names
}
