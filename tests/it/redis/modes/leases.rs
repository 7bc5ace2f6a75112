//! Renewals, ends and losses of one sharer among several.

use std::time::Duration;

use dlock::lock::{LockBackend as _, LockState, Mode, OwnerToken, Phase, Prolonged, Release, Renewal};
use tokio::task::LocalSet;

use super::super::server::Server;
use super::super::{granted, key, one_shot, refused, until_status};
use super::{HOLDERS, at_once, foreigner_gets_in, give_up, of, queued, reader, slot, writer};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_sharer_renews_its_own_lease_and_with_it_the_marker() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let short = granted(&backend, &of(Mode::Shared, seconds(2))).await;
    let long = granted(&backend, &of(Mode::Shared, seconds(20))).await;
    let left = || server.command::<i64>(&["PTTL", "dlock:job"]);
    assert!((15_000..=20_000).contains(&left()), "the longest lease: {}", left());
    assert!(matches!(backend.renew(&short).await, Ok(Renewal::Renewed { .. })));
    assert!(left() > 15_000, "nobody lowers it: {}", left());
    give_up(&backend, &long).await;
    assert!((1..=2_000).contains(&left()), "the marker outlives the last lease: {}", left());
    assert!(matches!(backend.renew(&short).await, Ok(Renewal::Renewed { .. })));
    // Its own lease, and nobody else's, has run out.
    granted(&backend, &of(Mode::Shared, seconds(20))).await;
    until_status(&backend, "job", "the short lease ends", |status| status.holders.len() == 1).await;
    assert_eq!(backend.renew(&short).await, Ok(Renewal::Lost));
    assert_eq!(backend.release(&short.key, &short.token).await, Ok(Release::NotHeld));
    assert!(!foreigner_gets_in(&server));
}

#[tokio::test]
async fn a_sharer_whose_marker_or_entry_is_not_what_it_was_is_lost_and_makes_nothing_anew() {
    for disaster in [
        &["DEL", "dlock:job"][..],
        &["DEL", HOLDERS],
        &["HSET", HOLDERS, "generation", "0123456789abcdef0123456789abcdef"],
        &["SET", "dlock:job", "theirs"],
        &["FLUSHALL"],
    ] {
        let server = Server::start(&[]);
        let backend = server.backend();
        let lease = granted(&backend, &reader()).await;
        server.command::<()>(disaster);
        let before = super::super::names(&server);
        assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost), "{disaster:?}");
        let set = backend.prolong(&lease.key, &lease.token, None).await;
        assert_eq!(set, Ok(Prolonged::NotHeld), "{disaster:?}");
        assert_eq!(super::super::names(&server), before, "{disaster:?}");
        if disaster != ["FLUSHALL"] {
            // Somebody may still believe in it, or somebody else has it.
            refused(&server.backend(), &reader()).await;
            refused(&server.backend(), &writer()).await;
        }
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld), "{disaster:?}");
    }
}

#[tokio::test]
async fn a_dead_reader_keeps_a_writer_out_for_its_own_lease_and_no_longer() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let dies = granted(&backend, &of(Mode::Shared, seconds(3))).await;
            let lives = granted(&backend, &of(Mode::Shared, seconds(30))).await;
            let writes = queued(&server, writer(), 1).await;
            give_up(&backend, &lives).await;
            // The writer looks again by itself after ten seconds: to get in before that it has to be told.
            let written = tokio::time::timeout(seconds(9), writes).await.expect("in time").expect("no panic");
            assert!(written.requested_at > dies.valid_until.expect("a lease of a server ends"));
        })
        .await;
}

#[tokio::test]
async fn a_slot_whose_holder_died_goes_to_the_first_in_the_queue_at_its_leases_end() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let dies = granted(&backend, &of(Mode::Slots(2), seconds(2))).await;
            let lives = granted(&backend, &slot(2)).await;
            let first = queued(&server, slot(2), 1).await;
            let second = queued(&server, slot(2), 2).await;
            let next = tokio::time::timeout(seconds(4), first).await.expect("in time").expect("no panic");
            assert!(next.requested_at > dies.valid_until.expect("a lease of a server ends"));
            assert!(!second.is_finished());
            assert!(matches!(backend.renew(&lives).await, Ok(Renewal::Renewed { .. })));
            give_up(&backend, &next).await;
            at_once(second).await;
        })
        .await;
}

#[tokio::test]
async fn sharers_that_vanished_are_waited_out_by_those_who_saw_them() {
    for disaster in [&["FLUSHALL"][..], &["DEL", "dlock:job", HOLDERS]] {
        let server = Server::start(&[]);
        LocalSet::new()
            .run_until(async {
                let backend = server.backend();
                let lease = granted(&backend, &of(Mode::Shared, seconds(4))).await;
                let waits = queued(&server, of(Mode::Exclusive, seconds(1)), 1).await;
                server.command::<()>(disaster);
                let next = tokio::time::timeout(seconds(8), waits).await.expect("in time").expect("no panic");
                assert!(next.requested_at > lease.valid_until.expect("a lease of a server ends"), "{disaster:?}");
            })
            .await;
    }
}

#[tokio::test]
async fn a_reader_that_saw_a_writer_vanish_waits_it_out_too() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let lease = granted(&backend, &of(Mode::Exclusive, seconds(4))).await;
            let waits = queued(&server, of(Mode::Shared, seconds(1)), 1).await;
            server.command::<()>(&["FLUSHALL"]);
            let next = tokio::time::timeout(seconds(8), waits).await.expect("in time").expect("no panic");
            assert!(next.requested_at > lease.valid_until.expect("a lease of a server ends"));
            assert!(!foreigner_gets_in(&server));
        })
        .await;
}

#[tokio::test]
async fn waiters_that_saw_a_longer_lease_of_a_group_do_not_take_its_early_end_for_a_loss() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let dies = granted(&backend, &of(Mode::Shared, seconds(2))).await;
            let lives = granted(&backend, &of(Mode::Shared, seconds(30))).await;
            let first = queued(&server, writer(), 1).await;
            let second = queued(&server, writer(), 2).await;
            give_up(&backend, &lives).await;
            let written = tokio::time::timeout(seconds(5), first).await.expect("in time").expect("no panic");
            assert!(written.requested_at > dies.valid_until.expect("a lease of a server ends"));
            give_up(&backend, &written).await;
            at_once(second).await;
        })
        .await;
}

#[tokio::test]
async fn one_shots_share_too_and_are_set_up_and_down_one_by_one() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let long = granted(&backend, &one_shot(of(Mode::Shared, seconds(60)))).await;
    let other = granted(&backend, &one_shot(of(Mode::Shared, seconds(20)))).await;
    assert!(long.expires_at.is_some() && long.fence.is_none());
    let left = || server.command::<i64>(&["PTTL", "dlock:job"]) / 1000;
    assert!((50..=60).contains(&left()), "{}", left());
    let set = backend.prolong(&long.key, &long.token, Some(seconds(5))).await;
    assert!(matches!(set, Ok(Prolonged::Set { .. })), "{set:?}");
    assert!((10..=20).contains(&left()), "the other one's: {}", left());
    let status = backend.status(&key("job")).await.expect("status is answered");
    assert!(status.holders.iter().all(|holder| holder.phase == Phase::OneShot), "{status:?}");
    assert_eq!(status.state, LockState::Held(Mode::Shared));
    let back = backend.prolong(&long.key, &long.token, None).await;
    assert!(matches!(back, Ok(Prolonged::Set { ttl, .. }) if ttl == seconds(60)), "{back:?}");
    assert!((50..=60).contains(&left()), "{}", left());
    assert_eq!(backend.prolong(&long.key, &OwnerToken::random(), None).await, Ok(Prolonged::NotHeld));
    let runs = granted(&backend, &reader()).await;
    assert_eq!(backend.prolong(&runs.key, &runs.token, Some(seconds(2))).await, Ok(Prolonged::HeldByRun));
    for lease in [&long, &other, &runs] {
        assert!(!foreigner_gets_in(&server));
        give_up(&server.backend(), lease).await;
    }
    assert!(foreigner_gets_in(&server));
}

#[tokio::test]
async fn entries_of_the_dead_go_while_the_others_hold_on() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let stays = granted(&backend, &of(Mode::Shared, seconds(20))).await;
    for _ in 0..3 {
        granted(&backend, &of(Mode::Shared, seconds(1))).await;
    }
    until_status(&backend, "job", "three die", |status| status.holders.len() == 1).await;
    let longest = granted(&backend, &reader()).await;
    assert_eq!(server.command::<u32>(&["HLEN", HOLDERS]), 1 + 5);
    give_up(&backend, &longest).await;
    assert_eq!(server.command::<u32>(&["HLEN", HOLDERS]), 1 + 1);
    give_up(&backend, &stays).await;
}

#[tokio::test]
async fn a_revoked_sharer_is_told_at_its_renewal_and_releases() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let revoked = granted(&backend, &reader()).await;
    let other = granted(&backend, &reader()).await;
    let entry: String = server.command(&["HGET", HOLDERS, revoked.token.secret()]);
    server.command::<()>(&["HSET", HOLDERS, revoked.token.secret(), &entry.replace(" running ", " revoked ")]);
    assert!(matches!(backend.renew(&revoked).await, Ok(Renewal::Revoked { .. })));
    assert!(matches!(backend.renew(&other).await, Ok(Renewal::Renewed { .. })));
    let status = backend.status(&key("job")).await.expect("status is answered");
    assert_eq!(status.holders[0].phase, Phase::Revoked);
    give_up(&backend, &revoked).await;
    give_up(&backend, &other).await;
}

#[tokio::test]
async fn the_same_claim_asked_twice_takes_one_slot() {
    let server = Server::start(&[]);
    let (first, again) = (server.backend(), server.backend());
    let claim = slot(2);
    granted(&first, &claim).await;
    granted(&again, &claim).await;
    granted(&first, &slot(2)).await;
    refused(&first, &slot(2)).await;
    assert_eq!(again.release(&claim.key, &claim.token).await, Ok(Release::Released));
    granted(&first, &slot(2)).await;
}

#[tokio::test]
async fn a_full_server_still_takes_the_renewal_and_the_release_of_a_sharer() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let one = granted(&backend, &reader()).await;
    let two = granted(&backend, &reader()).await;
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(matches!(backend.renew(&one).await, Ok(Renewal::Renewed { .. })));
    give_up(&backend, &one).await;
    give_up(&backend, &two).await;
}
