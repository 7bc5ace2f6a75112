//! Servers that are killed or frozen while a lock is held or awaited.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use dlock::lock::{Acquired, ErrorKind, Lease, LockBackend, Patience, Progress, Renewal};
use dlock::sys::boottime::BootInstant;

use super::ensemble::{ZooKeeper, contenders};
use super::{Claim, TTL, backend, claim, eventually, granted, in_time, silently, waiting};

/// What a caller does that keeps a lease: an attempt per heartbeat, each bounded by it. The last deadline.
async fn keep(ours: &dyn LockBackend, lease: &Lease, until: impl Fn(BootInstant) -> bool) -> BootInstant {
    let every = lease.renew_every.expect("a session needs heartbeats");
    let mut deadline = lease.valid_until.expect("a session ends");
    while !until(deadline) {
        if let Ok(Ok(Renewal::Renewed { valid_until })) = tokio::time::timeout(every, ours.renew(lease)).await {
            assert!(valid_until >= deadline, "a deadline only moves forward");
            deadline = valid_until;
        }
        tokio::time::sleep(every).await;
    }
    deadline
}

#[tokio::test]
async fn a_frozen_server_extends_no_deadline_and_its_session_is_not_outlived() {
    let server = ZooKeeper::start(&[]);
    let ours = backend(&server);
    let lease = granted(&ours, &claim("frozen")).await;
    keep(&ours, &lease, |deadline| deadline > lease.valid_until.expect("a session ends")).await;
    let frozen_at = BootInstant::now();
    server.freeze();
    let deadline = in_time(keep(&ours, &lease, BootInstant::has_passed)).await;
    assert!(deadline <= frozen_at + TTL * 2 / 3, "nothing that was not answered counts");
    let began = Instant::now();
    in_time(ours.close()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "a server that cannot answer is not waited for");
    server.thaw();
}

#[tokio::test]
async fn a_killed_server_makes_renewals_fail_and_its_return_in_time_costs_nothing() {
    let mut server = ZooKeeper::start(&[]);
    let ours = backend(&server);
    let held = claim("killed");
    let lease = granted(&ours, &held).await;
    server.kill();
    let unanswered = tokio::time::timeout(TTL / 10, ours.renew(&lease)).await;
    assert!(!matches!(unanswered, Ok(Ok(_))), "nobody is there to say anything: {unanswered:?}");
    server.start_again();
    eventually("it is renewed", async || {
        matches!(
            tokio::time::timeout(Duration::from_secs(1), ours.renew(&lease)).await,
            Ok(Ok(Renewal::Renewed { valid_until })) if !valid_until.has_passed()
        )
    })
    .await;
    ours.release(&held.key, &held.token).await.expect("the server serves again");
    ours.close().await;
}

#[tokio::test]
async fn a_waiter_tells_of_a_lost_connection_and_is_served_after_it() {
    let mut server = ZooKeeper::start(&[]);
    let (holder, other) = (backend(&server), backend(&server));
    let (held, next) = (claim("restart"), waiting("restart"));
    granted(&holder, &held).await;
    let seen = RefCell::new(Vec::new());
    let note = |progress: Progress| {
        seen.borrow_mut().push(match progress {
            Progress::Waiting(_) => "waiting",
            Progress::Disconnected(_) => "disconnected",
        });
    };
    let restarting = async {
        eventually("it waits", async || seen.borrow().last() == Some(&"waiting")).await;
        server.kill();
        eventually("it notices", async || seen.borrow().last() == Some(&"disconnected")).await;
        server.start_again();
        eventually("it waits again", async || seen.borrow().last() == Some(&"waiting")).await;
        // The holder may or may not have kept its session over the restart: its node is what counts.
        tokio::time::timeout(Duration::from_secs(5), holder.release(&held.key, &held.token)).await.ok();
        holder.close().await;
    };
    let (acquired, ()) = in_time(async { tokio::join!(other.acquire(&next, &note), restarting) }).await;
    assert!(matches!(acquired, Ok(Acquired::Granted(_))), "{acquired:?}");
    other.close().await;
}

#[tokio::test]
async fn a_waiter_gives_up_when_the_servers_stay_away_for_too_long() {
    let mut server = ZooKeeper::start(&[]);
    let (holder, other) = (backend(&server), backend(&server));
    granted(&holder, &claim("away")).await;
    let patience = Patience::Queue { reconnect_for: Duration::from_secs(2) };
    let next = Claim { patience, ..claim("away") };
    let (waits, killed_at) = (Cell::new(false), Cell::new(None));
    let note = |_: Progress| waits.set(true);
    let killing = async {
        eventually("it waits", async || waits.get()).await;
        server.kill();
        killed_at.set(Some(Instant::now()));
    };
    let (acquired, ()) = in_time(async { tokio::join!(other.acquire(&next, &note), killing) }).await;
    let gave_up = acquired.expect_err("nobody serves");
    assert_eq!(gave_up.kind, ErrorKind::Unavailable, "{gave_up}");
    let took = killed_at.get().expect("it was killed").elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}");
    in_time(other.close()).await;
    in_time(holder.close()).await;
}

#[tokio::test]
async fn who_waits_behind_a_killed_holder_gets_in_when_its_session_ends() {
    let server = ZooKeeper::start(&[]);
    let (other, outside) = (backend(&server), server.client().await);
    // A holder that dies with its process: its runtime ends, and nobody says goodbye.
    let address = server.address();
    let died_at = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let ours = super::backend_at(&address, "dlock");
            granted(&ours, &claim("dead")).await;
            std::mem::forget(ours);
        });
        Instant::now()
    })
    .join()
    .expect("it was granted");
    assert_eq!(contenders(&outside, "/dlock/dead").await.len(), 1);
    let acquired = in_time(other.acquire(&waiting("dead"), &silently)).await;
    assert!(matches!(acquired, Ok(Acquired::Granted(_))), "{acquired:?}");
    let took = died_at.elapsed();
    assert!(took > TTL * 2 / 3 && took < TTL * 2, "{took:?}");
    other.close().await;
}
