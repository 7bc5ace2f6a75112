//! One-shot leases, tokens and fences.

use std::time::{Duration, Instant};

use dlock::lock::{ErrorKind, LockBackend, LockState, Mode, OwnerToken, Patience, Phase, Prolonged, Release};

use super::place::*;

#[test]
fn a_free_key_is_granted_with_a_fence_and_shown_as_held_until_it_is_released() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.granted(&backend, "job").await;
        assert!(lease.fence.is_some());
        assert_eq!((lease.valid_until, lease.renew_every), (None, None));
        let status = place.status("job").await;
        assert_eq!(status.state, LockState::Held(Mode::Exclusive));
        assert_eq!(status.fence, lease.fence);
        assert_eq!(status.holders[0].id, lease.token.id());
        assert_eq!(status.holders[0].phase, Phase::Running);
        assert_eq!(status.holders[0].holder.command.as_deref(), Some("tests"));
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
        assert_eq!(place.status("job").await.state, LockState::Free);
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    });
}

#[test]
fn a_one_shot_lease_outlives_its_process_and_wakes_a_waiter_when_it_ends() {
    if let Some(place) = Place::of_child() {
        run(async { place.one_shot(&place.backend(), Duration::from_secs(1)).await });
        return say("granted");
    }
    let place = Place::new();
    let waiter = place.backend();
    let mut child =
        place.spawn_myself("file::leases::a_one_shot_lease_outlives_its_process_and_wakes_a_waiter_when_it_ends");
    let since = Instant::now();
    assert!(child.wait().expect("our own child").success());
    run(async {
        let status = place.status("job").await;
        assert_eq!(status.holders[0].phase, Phase::OneShot);
        assert_eq!(status.holders[0].ttl, Some(Duration::from_secs(1)));
        place.refused(&waiter, "job").await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let granted = expect_grant(waiter.acquire(&claim, &|_| {}).await);
        // The child was granted it before `since`, at most as long before as its start took.
        assert!(since.elapsed() < Duration::from_millis(1500), "woken {:?} after the grant", since.elapsed());
        assert_eq!(place.status("job").await.holders[0].id, granted.token.id());
    });
}

#[test]
fn a_one_shot_lease_is_not_given_away_before_it_ends() {
    let place = Place::new();
    let (first, second) = (place.backend(), place.backend());
    run(async {
        let ttl = Duration::from_millis(300);
        let since = Instant::now();
        place.one_shot(&first, ttl).await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        expect_grant(second.acquire(&claim, &|_| {}).await);
        assert!(since.elapsed() >= ttl);
    });
}

#[test]
fn a_released_one_shot_lease_wakes_the_waiter_and_only_its_token_releases_it() {
    let place = Place::new();
    let (first, second, third) = (place.backend(), place.backend(), place.backend());
    run(async {
        let lease = place.one_shot(&first, LONG).await;
        assert!(lease.valid_until.is_some() && lease.expires_at.is_some() && lease.fence.is_some());
        assert_eq!(third.release(&lease.key, &OwnerToken::random()).await, Ok(Release::NotHeld));
        assert_eq!(third.prolong(&lease.key, &OwnerToken::random(), None).await, Ok(Prolonged::NotHeld));
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let releasing = async {
            eventually(|| async { (place.status("job").await.waiters.len() == 1).then_some(()) }).await;
            assert_eq!(third.release(&lease.key, &lease.token).await, Ok(Release::Released));
            Instant::now()
        };
        let (granted, released) = tokio::join!(second.acquire(&claim, &|_| {}), releasing);
        assert!(released.elapsed() < Duration::from_secs(2));
        assert!(expect_grant(granted).fence > lease.fence);
        assert_eq!(third.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    });
}

#[test]
fn a_one_shot_lease_is_renewed_to_what_was_asked_or_to_what_it_began_with() {
    let place = Place::new();
    let (first, second) = (place.backend(), place.backend());
    run(async {
        let lease = place.one_shot(&first, Duration::from_secs(60)).await;
        let asked = Duration::from_secs(3600);
        let Ok(Prolonged::Set { ttl, .. }) = second.prolong(&lease.key, &lease.token, Some(asked)).await else {
            panic!("the lease is ours");
        };
        assert_eq!(ttl, asked);
        let remaining = place.status("job").await.holders[0].remaining.expect("a lease has an end");
        assert!(remaining > Duration::from_secs(3500) && remaining <= asked);
        let Ok(Prolonged::Set { ttl, .. }) = second.prolong(&lease.key, &lease.token, None).await else {
            panic!("the lease is ours");
        };
        assert_eq!(ttl, Duration::from_secs(60));
        let remaining = place.status("job").await.holders[0].remaining.expect("a lease has an end");
        assert!(remaining <= Duration::from_secs(60));
    });
}

#[test]
fn a_lease_that_has_ended_can_be_neither_renewed_nor_released() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.one_shot(&backend, Duration::from_millis(1)).await;
        eventually(|| async { (place.status("job").await.state == LockState::Free).then_some(()) }).await;
        assert_eq!(backend.prolong(&lease.key, &lease.token, None).await, Ok(Prolonged::NotHeld));
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    });
}

#[test]
fn what_a_run_holds_is_not_released_from_outside_and_not_shortened() {
    let place = Place::new();
    let (holder, outside) = (place.backend(), place.backend());
    run(async {
        let lease = place.granted(&holder, "job").await;
        let refusal = outside.release(&lease.key, &lease.token).await.expect_err("the kernel keeps it");
        assert_eq!(refusal.kind, ErrorKind::Usage);
        assert!(refusal.message.contains("pid 4711"), "{refusal}");
        assert_eq!(outside.prolong(&lease.key, &lease.token, None).await, Ok(Prolonged::HeldByRun));
        assert_eq!(place.status("job").await.state, LockState::Held(Mode::Exclusive));
    });
}

#[test]
fn fences_rise_with_every_grant() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let mut last = None;
        for _ in 0..5 {
            let lease = place.granted(&backend, "job").await;
            assert!(lease.fence > last);
            last = lease.fence;
            backend.release(&lease.key, &lease.token).await.expect("a release");
            let lease = place.one_shot(&backend, LONG).await;
            assert!(lease.fence > last);
            last = lease.fence;
            backend.release(&lease.key, &lease.token).await.expect("a release");
        }
    });
}
