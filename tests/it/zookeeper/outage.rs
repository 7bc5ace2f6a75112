//! Servers that are killed or frozen while a lock is held or awaited.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use dlock::lock::{Acquired, ErrorKind, Lease, LockBackend, LockState, Patience, Progress, Renewal};
use dlock::sys::boottime::BootInstant;

use super::ensemble::{Ensemble, ZooKeeper, contenders};
use super::{Claim, TTL, backend, claim, eventually, granted, in_time, silently, waiting};

/// What a caller does that keeps a lease: an attempt per heartbeat, each bounded by it, sooner again when it failed. The
/// last deadline.
async fn keep(ours: &dyn LockBackend, lease: &Lease, until: impl Fn(BootInstant) -> bool) -> BootInstant {
    let every = lease.renew_every.expect("a session needs heartbeats");
    let mut deadline = lease.valid_until.expect("a session ends");
    while !until(deadline) {
        if let Ok(Ok(Renewal::Renewed { valid_until })) = tokio::time::timeout(every, ours.renew(lease)).await {
            assert!(valid_until >= deadline, "a deadline only moves forward");
            deadline = valid_until;
            tokio::time::sleep(every).await;
        } else {
            tokio::time::sleep(every / 8).await;
        }
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

#[tokio::test]
async fn a_silent_server_is_left_within_a_quarter_of_the_timeout() {
    let server = ZooKeeper::start(&[]);
    let (holder, other) = (backend(&server), backend(&server));
    granted(&holder, &claim("quarter")).await;
    let (next, seen) = (waiting("quarter"), RefCell::new(Vec::new()));
    let note =
        |progress: Progress| seen.borrow_mut().push((matches!(progress, Progress::Disconnected(_)), Instant::now()));
    let mut waits = Box::pin(other.acquire(&next, &note));
    tokio::select! {
        _ = &mut waits => panic!("it is held"),
        () = eventually("it waits", async || !seen.borrow().is_empty()) => {}
    }
    server.freeze();
    let frozen_at = Instant::now();
    tokio::select! {
        _ = &mut waits => panic!("nobody can tell it anything"),
        () = eventually("it notices", async || seen.borrow().last().is_some_and(|(lost, _)| *lost)) => {}
    }
    let took = seen.borrow().last().expect("it noticed").1 - frozen_at;
    // What came last came before the server was frozen; a loaded machine's timers are late, and half of the timeout still
    // leaves time for another server.
    assert!(took < TTL / 2, "{took:?}");
    server.thaw();
}

#[tokio::test]
async fn a_waiter_that_was_stopped_makes_its_life_known_again_before_it_believes_in_its_grant() {
    let server = ZooKeeper::start(&[]);
    let (other, address) = (backend(&server), server.address());
    let (hold, held) = std::sync::mpsc::channel();
    let (free, freed) = std::sync::mpsc::channel();
    let holder = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let ours = super::backend_at(&address, "dlock");
            granted(&ours, &claim("stopped")).await;
            hold.send(()).expect("the test listens");
            freed.recv().expect("the test says so");
            ours.close().await;
        });
    });
    held.recv().expect("it is granted");
    let (next, waits) = (waiting("stopped"), Cell::new(false));
    let note = |_: Progress| waits.set(true);
    let mut acquiring = Box::pin(other.acquire(&next, &note));
    tokio::select! {
        _ = &mut acquiring => panic!("it is held"),
        () = eventually("it waits", async || waits.get()) => {}
    }
    // Nothing of this runtime runs meanwhile: no ping is sent, and the watch event stays unread.
    free.send(()).expect("the holder listens");
    holder.join().expect("it closes");
    std::thread::sleep(TTL * 5 / 8);
    let resumed_at = BootInstant::now();
    let Ok(Acquired::Granted(lease)) = in_time(acquiring).await else { panic!("it is next") };
    assert!(
        lease.requested_at >= resumed_at + TTL / 4,
        "a quarter of the timeout takes the news to the leader: {:?}",
        lease.requested_at.since(resumed_at)
    );
    let valid = lease.valid_until.expect("a session ends").since(lease.requested_at);
    assert!(valid > TTL / 2, "{valid:?}");
    other.close().await;
}

#[tokio::test]
async fn a_frozen_server_of_three_is_left_for_another_before_the_lease_is_in_danger() {
    let ensemble = Ensemble::start();
    let ours = super::backend_at(&ensemble.connect_string(), "dlock");
    let ttl = Duration::from_secs(8);
    let held = Claim { ttl: dlock::lock::Ttl::Exactly(ttl), ..claim("ensemble") };
    let mut lease = granted(&ours, &held).await;
    // One of the two has our session, unless the leader has it; freezing the leader would be another test.
    for follower in ensemble.followers() {
        follower.freeze();
        let frozen_at = BootInstant::now();
        let end = Instant::now() + ttl / 2;
        let deadline = keep(&ours, &lease, |deadline| {
            assert!(!deadline.has_passed(), "the lease was lost although two of three serve");
            Instant::now() > end
        })
        .await;
        assert!(deadline > frozen_at + ttl * 2 / 3, "it was renewed after that");
        lease.valid_until = Some(deadline);
        follower.thaw();
        // One disaster at a time.
        lease.valid_until = Some(in_time(keep(&ours, &lease, |deadline| deadline.remaining() > ttl / 2)).await);
    }
    // A server that was frozen reads what was sent to it meanwhile, and may take the session over once more.
    eventually("it is held", async || ours.status(&held.key).await.is_ok_and(|status| status.fence == lease.fence))
        .await;
    eventually("it is released", async || ours.release(&held.key, &held.token).await.is_ok()).await;
    eventually("it is free", async || ours.status(&held.key).await.is_ok_and(|status| status.state == LockState::Free))
        .await;
    ours.close().await;
}
