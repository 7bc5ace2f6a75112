//! Leases that outlive their session: from other processes, by time, and with waiters behind them.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime};

use dlock::lock::{Acquired, LockBackend, Patience, Phase, Progress, Prolonged, Release, Renewal};
use zookeeper_client::{Acls, Client, CreateMode};

use super::ensemble::{ZooKeeper, contenders};
use super::{Claim, backend, claim, eventually, granted, in_time, one_shot, silently, waiting};

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(1200);

/// The only contender's path, data and stamps.
async fn only_contender(client: &Client, directory: &str) -> (String, String, zookeeper_client::Stat) {
    let names = contenders(client, directory).await;
    let [name] = &names[..] else { panic!("one contender, not {names:?}") };
    let path = format!("{directory}/{name}");
    let (data, stat) = client.get_data(&path).await.expect("it is readable");
    (path, String::from_utf8(data).expect("JSON"), stat)
}

#[tokio::test]
async fn a_one_shot_lease_outlives_its_backend_and_obeys_its_token_from_elsewhere() {
    let server = ZooKeeper::shared();
    let (ours, elsewhere, outside) = (backend(server), backend(server), server.client().await);
    let taken = one_shot("errand", LONG);
    let lease = granted(&ours, &taken).await;
    ours.close().await;
    let (_, data, stat) = only_contender(&outside, "/dlock/errand").await;
    assert_eq!(stat.ephemeral_owner, 0, "it hangs on no session");
    assert!(data.contains(r#""lease":"one-shot""#) && data.contains(r#""ttl_ms":600000"#), "{data}");
    let fence = lease.fence.expect("exclusive").0;
    assert!(data.contains(&format!(r#""fence":{fence}"#)) && fence < stat.czxid.cast_unsigned(), "{data}");
    let ends = lease.expires_at.expect("by the server's clock").duration_since(SystemTime::now()).expect("later");
    assert!(ends > LONG - Duration::from_secs(5) && ends <= LONG, "{ends:?}");

    let Ok(Acquired::Held(contention)) = elsewhere.acquire(&claim("errand"), &silently).await else {
        panic!("it is held")
    };
    assert!(contention.holder.is_some());
    let Ok(Prolonged::Set { ttl, expires_at: Some(_) }) =
        elsewhere.prolong(&taken.key, &taken.token, Some(LONG * 2)).await
    else {
        panic!("the token is right")
    };
    assert_eq!(ttl, LONG * 2);
    let Ok(Prolonged::Set { ttl, .. }) = elsewhere.prolong(&taken.key, &taken.token, None).await else {
        panic!("the token is right")
    };
    assert_eq!(ttl, LONG, "what it was acquired with");
    let stranger = super::OwnerToken::random();
    assert_eq!(elsewhere.prolong(&taken.key, &stranger, None).await, Ok(Prolonged::NotHeld));
    assert_eq!(elsewhere.release(&taken.key, &stranger).await, Ok(Release::NotHeld));
    assert_eq!(elsewhere.release(&taken.key, &taken.token).await, Ok(Release::Released));
    assert_eq!(elsewhere.release(&taken.key, &taken.token).await, Ok(Release::NotHeld));
    assert_eq!(contenders(&outside, "/dlock/errand").await, Vec::<String>::new());
    elsewhere.close().await;
}

#[tokio::test]
async fn a_waiter_gets_in_when_a_one_shot_lease_ends_and_not_before() {
    let server = ZooKeeper::shared();
    let (ours, other) = (backend(server), backend(server));
    let taken = one_shot("lapse", SHORT);
    let began = Instant::now();
    let lease = granted(&ours, &taken).await;
    ours.close().await;
    let next = waiting("lapse");
    let Ok(Acquired::Granted(later)) = in_time(other.acquire(&next, &silently)).await else { panic!("it may wait") };
    let took = began.elapsed();
    assert!(took >= SHORT && took < SHORT + Duration::from_secs(1), "{took:?}");
    assert!(later.requested_at > lease.valid_until.expect("it ends"), "two leases never overlap");
    assert!(later.fence > lease.fence, "{:?} after {:?}", later.fence, lease.fence);
    other.close().await;
}

#[tokio::test]
async fn who_may_not_wait_clears_away_a_lease_that_has_ended() {
    let server = ZooKeeper::shared();
    let (ours, other) = (backend(server), backend(server));
    granted(&ours, &one_shot("swept", SHORT)).await;
    ours.close().await;
    let next = claim("swept");
    let Ok(Acquired::Held(_)) = other.acquire(&next, &silently).await else { panic!("it is held") };
    eventually("the lease ends", async || {
        matches!(other.acquire(&next, &silently).await.expect("the server serves"), Acquired::Granted(_))
    })
    .await;
    other.close().await;
}

#[tokio::test]
async fn a_renewed_lease_keeps_a_waiter_out_until_its_new_end() {
    let server = ZooKeeper::shared();
    let (ours, other) = (backend(server), backend(server));
    let taken = one_shot("renewed", SHORT);
    granted(&ours, &taken).await;
    let (next, waits) = (waiting("renewed"), Cell::new(false));
    let note = |_: Progress| waits.set(true);
    let renewing = async {
        eventually("it waits", async || waits.get()).await;
        let renewed_at = Instant::now();
        let renewed = ours.prolong(&taken.key, &taken.token, Some(SHORT * 2)).await;
        assert!(matches!(renewed, Ok(Prolonged::Set { .. })), "{renewed:?}");
        renewed_at
    };
    let acquiring = async {
        let Ok(Acquired::Granted(_)) = other.acquire(&next, &note).await else { panic!("it may wait") };
        Instant::now()
    };
    let (renewed_at, woken) = in_time(async { tokio::join!(renewing, acquiring) }).await;
    let took = woken - renewed_at;
    assert!(took >= SHORT * 2 && took < SHORT * 2 + Duration::from_secs(1), "{took:?}");
    ours.close().await;
    other.close().await;
}

#[tokio::test]
async fn a_one_shot_claim_waits_like_any_other_and_keeps_its_place_when_it_is_converted() {
    let server = ZooKeeper::shared();
    let (holder, ours, behind, outside) = (backend(server), backend(server), backend(server), server.client().await);
    let held = claim("converted");
    granted(&holder, &held).await;
    let taken = Claim { patience: waiting("converted").patience, ..one_shot("converted", LONG) };
    let next = waiting("converted");
    let (first_waits, second_waits) = (Cell::new(false), Cell::new(0));
    let note_first = |_: Progress| first_waits.set(true);
    let note_second = |_: Progress| second_waits.set(second_waits.get() + 1);
    let mut first = Box::pin(ours.acquire(&taken, &note_first));
    tokio::select! {
        _ = &mut first => panic!("it is held"),
        () = eventually("it waits", async || first_waits.get()) => {}
    }
    let mut second = Box::pin(behind.acquire(&next, &note_second));
    tokio::select! {
        _ = &mut second => panic!("it is held"),
        () = eventually("it waits", async || second_waits.get() > 0) => {}
    }
    holder.release(&held.key, &held.token).await.expect("the server serves");
    let Ok(Acquired::Granted(lease)) = in_time(&mut first).await else { panic!("it is next") };
    // The one behind saw the ephemeral go, looked again, and waits on.
    let seen = second_waits.get();
    tokio::select! {
        _ = &mut second => panic!("the lease is still there"),
        () = eventually("it looks again", async || second_waits.get() > seen) => {}
    }
    assert_eq!(contenders(&outside, "/dlock/converted").await.len(), 2);
    ours.close().await;
    let release = async {
        assert_eq!(holder.release(&taken.key, &taken.token).await, Ok(Release::Released));
    };
    let (granted, ()) = in_time(async { tokio::join!(&mut second, release) }).await;
    let Ok(Acquired::Granted(later)) = granted else { panic!("it is next") };
    assert!(later.fence > lease.fence, "a converted lease keeps the fence of its place");
    drop(second);
    behind.close().await;
    holder.close().await;
}

#[tokio::test]
async fn a_running_lock_is_not_renewed_as_a_one_shot() {
    let server = ZooKeeper::shared();
    let ours = backend(server);
    let held = claim("running");
    granted(&ours, &held).await;
    assert_eq!(ours.prolong(&held.key, &held.token, Some(LONG)).await, Ok(Prolonged::HeldByRun));
    ours.close().await;
}

#[tokio::test]
async fn a_one_shot_lease_is_undone_by_its_own_backend_too() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let taken = one_shot("undone", LONG);
    let lease = granted(&ours, &taken).await;
    assert!(matches!(ours.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    assert_eq!(ours.release(&taken.key, &taken.token).await, Ok(Release::Released));
    assert_eq!(contenders(&outside, "/dlock/undone").await, Vec::<String>::new());
    assert_eq!(ours.renew(&lease).await, Ok(Renewal::Lost));
    ours.close().await;
}

#[tokio::test]
async fn a_one_shot_acquire_dropped_at_any_point_is_undone_by_release() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    for step in 0..40 {
        let ours = backend(server);
        let taken = Claim { patience: Patience::Queue { reconnect_for: SHORT }, ..one_shot("halfway", LONG) };
        tokio::time::timeout(Duration::from_micros(250 * step), ours.acquire(&taken, &silently)).await.ok();
        in_time(ours.release(&taken.key, &taken.token)).await.expect("the server serves");
        ours.close().await;
        assert_eq!(contenders(&outside, "/dlock/halfway").await, Vec::<String>::new(), "dropped at step {step}");
    }
}

#[tokio::test]
async fn where_the_server_has_ttl_nodes_a_lease_has_a_backstop_that_grows_with_it() {
    let server = ZooKeeper::start(&["-Dzookeeper.extendedTypesEnabled=true"]);
    let (ours, outside) = (backend(&server), server.client().await);
    let taken = one_shot("backstop", Duration::from_secs(60));
    let lease = granted(&ours, &taken).await;
    let (path, data, stat) = only_contender(&outside, "/dlock/backstop").await;
    assert!(data.contains(r#""node_ttl_ms":240000,"#) && data.contains(r#""ttl_ms":60000}"#), "{data}");
    // Within the backstop the node is only written to; beyond it, it is replaced under the same name.
    ours.prolong(&taken.key, &taken.token, Some(Duration::from_secs(59))).await.expect("the token is right");
    let written = only_contender(&outside, "/dlock/backstop").await.2;
    assert_eq!(written.czxid, stat.czxid);
    ours.prolong(&taken.key, &taken.token, Some(LONG)).await.expect("the token is right");
    let (same_path, data, replaced) = only_contender(&outside, "/dlock/backstop").await;
    assert_eq!(same_path, path);
    assert_ne!(replaced.czxid, stat.czxid);
    assert!(replaced.version > written.version, "who was about to delete the old one does not hit this one");
    assert!(data.contains(r#""node_ttl_ms":1320000,"#) && data.contains(r#""ttl_ms":600000}"#), "{data}");
    let status = ours.status(&taken.key).await.expect("the server serves");
    assert_eq!((status.fence, status.holders[0].phase), (lease.fence, Phase::OneShot));
    assert_eq!(ours.release(&taken.key, &taken.token).await, Ok(Release::Released));
    ours.close().await;
}

#[tokio::test]
async fn a_lease_of_another_leader_starts_anew() {
    let mut server = ZooKeeper::start_electing();
    let (ours, outside) = (backend(&server), server.client().await);
    let taken = one_shot("leader", Duration::from_secs(3));
    granted(&ours, &taken).await;
    let epoch = |zxid: i64| zxid >> 32;
    let before = only_contender(&outside, "/dlock/leader").await.2;
    ours.close().await;
    drop(outside);
    // Whoever leads after a restart is another leader, the same server or not.
    server.kill();
    server.start_again();
    let restarted = Instant::now();
    let (other, outside) = (backend(&server), server.client().await);
    let (next, waits) = (waiting("leader"), Cell::new(false));
    let note = |_: Progress| waits.set(true);
    let mut acquiring = Box::pin(other.acquire(&next, &note));
    tokio::select! {
        _ = &mut acquiring => panic!("the lease is still there"),
        () = eventually("it waits", async || waits.get()) => {}
    }
    let names = contenders(&outside, "/dlock/leader").await;
    let first = names.iter().min_by_key(|name| name[name.len() - 10..].to_owned()).expect("two of them");
    let (_, after) = outside.get_data(&format!("/dlock/leader/{first}")).await.expect("it is readable");
    assert!(epoch(after.mzxid) > epoch(before.mzxid), "its age counts from this leader's stamp");
    assert_eq!(after.czxid, before.czxid);
    assert!(matches!(in_time(acquiring).await, Ok(Acquired::Granted(_))));
    assert!(restarted.elapsed() >= Duration::from_secs(3), "{:?}", restarted.elapsed());
    other.close().await;
}

#[tokio::test]
async fn a_persistent_node_of_somebody_else_never_expires() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let open = Acls::anyone_all();
    outside.mkdir("/dlock/stranger", &CreateMode::Container.with_acls(open)).await.expect("a container");
    let path = "/dlock/stranger/x-lock-0000000000";
    outside.create(path, b"", &CreateMode::Persistent.with_acls(open)).await.expect("a node");
    let acquired = in_time(ours.acquire(&claim("stranger"), &silently)).await;
    assert!(matches!(acquired, Ok(Acquired::Held(_))));
    assert_eq!(contenders(&outside, "/dlock/stranger").await.len(), 1);
    outside.delete(path, None).await.expect("it is ours");
    ours.close().await;
}
