//! One-shot leases and whose clock ends them: one leader's, and never against a renewal.

use std::time::{Duration, Instant, SystemTime};

use dlock::lock::{Acquired, LockBackend, LockState, Prolonged, Release};

use super::ensemble::{ZooKeeper, contenders};
use super::{backend, backend_at, eventually, granted, in_time, key, one_shot, silently, waiting};
use crate::support::Retainer;

#[tokio::test]
async fn a_leader_whose_clock_differs_by_ten_minutes_ends_no_lease_early() {
    let ttl = Duration::from_secs(6);
    let mut server = ZooKeeper::start_electing();
    let in_ten_minutes = Duration::from_secs(600);
    // First it is ahead of the leader before it, then behind.
    for ahead in [in_ten_minutes, Duration::ZERO] {
        let ours = backend(&server);
        let taken = one_shot("errand", ttl);
        let began = Instant::now();
        let lease = granted(&ours, &taken).await;
        ours.close().await;
        server.kill();
        server.set_clock_ahead(ahead);
        server.start_again();
        let restarted = Instant::now();
        let other = backend(&server);
        let next = waiting("errand");
        let Ok(Acquired::Granted(later)) = in_time(other.acquire(&next, &silently)).await else {
            panic!("the lease ends")
        };
        assert!(began.elapsed() >= ttl, "a clock that is ahead ends nothing: {:?}", began.elapsed());
        let took = restarted.elapsed();
        assert!(took < ttl * 2, "a clock that is behind prolongs nothing: {took:?}");
        assert!(later.fence > lease.fence, "{:?} after {:?}", later.fence, lease.fence);
        // The clock was what it was said to be.
        let since = other.status(&next.key).await.expect("the server serves").holders[0].since;
        let since = since.expect("the server stamps it").duration_since(SystemTime::now()).unwrap_or_default();
        let half = in_ten_minutes / 2;
        assert_eq!(since > half, ahead > half, "{since:?} ahead");
        assert_eq!(other.release(&next.key, &next.token).await, Ok(Release::Released));
        other.close().await;
    }
}

/// The request to delete a contender of `/dlock/race`: code and path, with its length.
fn deletion() -> Vec<u8> {
    let directory = "/dlock/race/";
    let whole = directory.len() + "_c_01234567-0123-0123-0123-0123456789ab-lock-0000000000".len();
    let length = u8::try_from(whole).expect("it is short");
    [&[0, 0, 0, 2, 0, 0, 0, length], directory.as_bytes()].concat()
}

#[tokio::test]
async fn a_renewal_and_an_expiry_cannot_both_win() {
    let ttl = Duration::from_secs(1);
    // With TTL nodes, a renewal to much more puts another node in the place of the old one.
    for java in [&[][..], &["-Dzookeeper.extendedTypesEnabled=true"]] {
        let server = ZooKeeper::start(java);
        let (ours, outside) = (backend(&server), server.client().await);
        let taken = one_shot("race", ttl);
        granted(&ours, &taken).await;
        let retainer = Retainer::before(server.port(), deletion());
        let other = backend_at(&format!("127.0.0.1:{}", retainer.port), "dlock");
        let next = waiting("race");
        let mut acquiring = Box::pin(other.acquire(&next, &silently));
        tokio::select! {
            _ = &mut acquiring => panic!("the end of the lease is on its way, and not there"),
            () = eventually("the lease is found to be over", async || retainer.has_caught()) => {}
        }
        let renewed = ours.prolong(&taken.key, &taken.token, Some(Duration::from_secs(600))).await;
        assert!(matches!(renewed, Ok(Prolonged::Set { .. })), "{renewed:?}");
        retainer.let_go();
        // Whoever found it over looks again, and waits.
        tokio::select! {
            acquired = &mut acquiring => panic!("it was renewed: {acquired:?}"),
            () = eventually("both stand there", async || {
                let status = ours.status(&key("race")).await.expect("the server serves");
                status.holders.first().is_some_and(|holder| holder.id == taken.token.id()) && status.waiters.len() == 1
            }) => {}
        }
        let released = async { ours.release(&taken.key, &taken.token).await };
        let (acquired, released) = in_time(async { tokio::join!(&mut acquiring, released) }).await;
        assert_eq!(released, Ok(Release::Released));
        assert!(matches!(acquired, Ok(Acquired::Granted(_))), "{acquired:?}");
        // And where the expiry has won, no renewal does.
        assert_eq!(ours.prolong(&taken.key, &taken.token, None).await, Ok(Prolonged::NotHeld));
        drop(acquiring);
        other.close().await;
        assert_eq!(ours.status(&key("race")).await.expect("the server serves").state, LockState::Free);
        assert_eq!(contenders(&outside, "/dlock/race").await, Vec::<String>::new());
        ours.close().await;
    }
}
