//! What `status` and `list` see, and that they only look.

use std::time::Duration;

use dlock::lock::{Acquired, KeyPattern, LockBackend, LockState, Mode, Phase};

use super::ensemble::{ZooKeeper, create, hidden_contender};
use super::{backend, backend_at, claim, eventually, granted, key, one_shot, silently, waiting};

#[tokio::test]
async fn a_status_names_holder_and_waiters_with_their_public_ids() {
    let server = ZooKeeper::shared();
    let (ours, other) = (backend(server), backend(server));
    assert_eq!(ours.status(&key("seen")).await.expect("the server serves").state, LockState::Free);
    let (held, next) = (claim("seen"), waiting("seen"));
    let lease = granted(&ours, &held).await;
    let waits = std::cell::Cell::new(false);
    let note = |_| waits.set(true);
    let mut queueing = Box::pin(other.acquire(&next, &note));
    tokio::select! {
        _ = &mut queueing => panic!("it is held"),
        () = eventually("it waits", async || waits.get()) => {}
    }
    let status = ours.status(&held.key).await.expect("the server serves");
    assert_eq!((status.state, status.fence), (LockState::Held(Mode::Exclusive), lease.fence));
    let [holder] = &status.holders[..] else { panic!("one holder: {status:?}") };
    assert_eq!((holder.id.clone(), holder.phase, holder.ttl), (held.token.id(), Phase::Running, Some(super::TTL)));
    assert_eq!(holder.holder.host.as_deref(), Some("web-3"));
    let queued_since = holder.since.expect("the server stamps it");
    let [waiter] = &status.waiters[..] else { panic!("one waiter: {status:?}") };
    assert_eq!((waiter.id.clone(), waiter.position), (next.token.id(), 1));

    // A waiter that gets in holds since then, not since it came.
    tokio::time::sleep(Duration::from_millis(50)).await;
    ours.release(&held.key, &held.token).await.expect("the server serves");
    assert!(matches!(queueing.await, Ok(Acquired::Granted(_))));
    let status = ours.status(&held.key).await.expect("the server serves");
    let since = status.holders[0].since.expect("the server stamps it");
    assert!(since >= queued_since + Duration::from_millis(50), "{:?}", since.duration_since(queued_since));
    ours.close().await;
    other.close().await;
}

#[tokio::test]
async fn other_programs_contenders_are_shown_as_foreign() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    create(&outside, "/dlock/theirs", "_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-", "10.0.0.7").await;
    create(&outside, "/dlock/theirs", "0123456789abcdef0123456789abcdef__lock__", "worker \u{1b}[2J").await;
    let status = ours.status(&key("theirs")).await.expect("the server serves");
    assert_eq!(status.fence, None, "their numbers are not ours to vouch for");
    assert_eq!((status.holders.len(), status.waiters.len()), (1, 1));
    assert_eq!(status.holders[0].phase, Phase::Foreign);
    assert_eq!(status.holders[0].holder.host.as_deref(), Some("10.0.0.7"));
    ours.close().await;
}

#[tokio::test]
async fn a_list_has_every_held_key_that_matches_in_order_and_nothing_else() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend_at(&server.address(), "listed"), server.client().await);
    let all = KeyPattern::new("*").expect("a pattern");
    assert!(ours.list(&all).await.expect("the server serves").is_empty(), "a namespace that nobody has used");
    let long = format!("z/{}", "ä".repeat(150));
    for name in ["b", "a/b c", &long] {
        granted(&ours, &claim(name)).await;
    }
    granted(&ours, &one_shot("errand", Duration::from_secs(60))).await;
    // Makes `%clock`, which is no key.
    assert!(matches!(ours.acquire(&claim("errand"), &silently).await, Ok(Acquired::Held(_))));
    let freed = claim("freed");
    granted(&ours, &freed).await;
    ours.release(&freed.key, &freed.token).await.expect("the server serves");
    let keys = |statuses: Vec<dlock::lock::LockStatus>| -> Vec<String> {
        statuses.into_iter().map(|status| status.key.as_str().to_owned()).collect()
    };
    let listed = keys(ours.list(&all).await.expect("the server serves"));
    assert_eq!(listed, ["a/b c", "b", "errand", &long]);
    let some = KeyPattern::new("a*c").expect("a pattern");
    assert_eq!(keys(ours.list(&some).await.expect("the server serves")), ["a/b c"]);
    assert!(outside.check_stat("/listed/%clock").await.expect("the server serves").is_some());
    ours.close().await;
}

#[tokio::test]
async fn without_a_namespace_keys_are_paths_and_are_listed_wherever_they_are() {
    let server = ZooKeeper::shared();
    let ours = backend_at(&server.address(), "");
    granted(&ours, &claim("paths/deep/er")).await;
    granted(&ours, &claim("/paths/top")).await;
    let below = KeyPattern::new("/paths/*").expect("a pattern");
    let listed: Vec<String> = ours
        .list(&below)
        .await
        .expect("the server serves")
        .into_iter()
        .map(|status| status.key.as_str().to_owned())
        .collect();
    assert_eq!(listed, ["/paths/deep/er", "/paths/top"]);
    ours.close().await;
}

#[tokio::test]
async fn who_may_not_be_read_is_told_of_all_the_same() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let path = hidden_contender(&outside, "/dlock/unreadable").await;
    let status = ours.status(&key("unreadable")).await.expect("the server serves");
    assert_eq!(status.state, LockState::Held(Mode::Exclusive));
    let [holder] = &status.holders[..] else { panic!("{status:?}") };
    assert_eq!((holder.phase, holder.fence, holder.remaining), (Phase::Foreign, None, None));
    let listed = ours.list(&KeyPattern::new("unreadable").expect("a pattern")).await.expect("the server serves");
    let listed: Vec<&str> = listed.iter().flat_map(|status| &status.holders).map(|holder| holder.id.as_str()).collect();
    assert_eq!(listed, [holder.id.as_str()]);
    outside.delete(&path, None).await.expect("that is a right in the directory");
    ours.close().await;
}
