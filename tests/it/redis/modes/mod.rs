//! Readers, slots and writers in one queue, on a server of one's own.

mod grants;
mod leases;
mod model;

use std::time::Duration;

use dlock::backend::redis::RedisBackend;
use dlock::lock::{Claim, Lease, LockBackend as _, Mode, Release};
use tokio::task::JoinHandle;

use super::server::Server;
use super::{claim, granted, until_status, waiting};

const TTL: Duration = Duration::from_secs(30);

/// Less than the 10 s after which a waiter would look by itself.
const AT_ONCE: Duration = Duration::from_secs(8);

const HOLDERS: &str = "{dlock:job}:dlock:holders";

/// A claim of this mode that does not wait.
fn of(mode: Mode, ttl: Duration) -> Claim {
    Claim { mode, ..claim("job", ttl) }
}

fn reader() -> Claim {
    of(Mode::Shared, TTL)
}

fn writer() -> Claim {
    of(Mode::Exclusive, TTL)
}

fn slot(total: u32) -> Claim {
    of(Mode::Slots(total), TTL)
}

/// A contender on a connection of its own that has joined the queue, as the last of so many.
async fn queued(server: &Server, claim: Claim, place: usize) -> JoinHandle<Lease> {
    let (waiter, claim) = (server.backend(), waiting(claim));
    let task = tokio::task::spawn_local(async move { granted(&waiter, &claim).await });
    until_status(&server.backend(), "job", "it queues", |status| status.waiters.len() == place).await;
    task
}

async fn at_once(task: JoinHandle<Lease>) -> Lease {
    tokio::time::timeout(AT_ONCE, task).await.expect("it is told at once").expect("no contender panics")
}

async fn give_up(backend: &RedisBackend, lease: &Lease) {
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
}

/// Whether a client that knows only `SET NX` gets the lock; what it got is taken away again.
fn foreigner_gets_in(server: &Server) -> bool {
    let got: Option<String> = server.command(&["SET", "dlock:job", "theirs", "NX", "PX", "30000"]);
    if got.is_some() {
        server.command::<()>(&["DEL", "dlock:job"]);
    }
    got.is_some()
}

/// So many calls of this command the server has carried out, those inside scripts included.
fn calls(server: &Server, name: &str) -> u64 {
    let info: String = server.command(&["INFO", "commandstats"]);
    let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
    line.and_then(|line| line.split(['=', ',']).nth(1)).map_or(0, |calls| calls.parse().unwrap_or(0))
}
