//! Grants, refusals, the queue and its order, and that nothing is left behind.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use dlock::lock::{Acquired, ErrorKind, FencingToken, LockBackend, Patience, Progress, Release, Renewal, Ttl};
use dlock::sys::boottime::BootInstant;

use zookeeper_client::{Acls, CreateMode};

use super::ensemble::{ZooKeeper, contenders, create, hidden_contender};
use super::{Claim, TTL, backend, backend_at, claim, eventually, granted, in_time, one_shot, silently, waiting};

#[tokio::test]
async fn a_free_lock_is_granted_by_an_ephemeral_that_others_can_read() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let claim = claim("free");
    let before = BootInstant::now();
    let lease = granted(&ours, &claim).await;
    let names = contenders(&outside, "/dlock/free").await;
    let [name] = &names[..] else { panic!("one contender, not {names:?}") };
    assert!(name.starts_with("_c_") && name.ends_with("-lock-0000000000"), "{name}");
    assert!(!name.replace('-', "").contains(claim.token.secret()), "the name does not tell the token");
    let (data, stat) = outside.get_data(&format!("/dlock/free/{name}")).await.expect("it is readable");
    let data = String::from_utf8(data).expect("JSON");
    assert!(data.contains(r#""host":"web-3""#) && !data.contains(claim.token.secret()), "{data}");
    assert_ne!(stat.ephemeral_owner, 0);
    assert_eq!(lease.fence, Some(FencingToken(stat.czxid.cast_unsigned())));
    assert_eq!((lease.ttl, lease.renew_every), (TTL, Some(TTL / 10)));
    let valid_until = lease.valid_until.expect("a session ends");
    assert!(valid_until <= lease.requested_at + TTL * 2 / 3 && valid_until > before + TTL / 2);

    assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::Released));
    assert_eq!(contenders(&outside, "/dlock/free").await, Vec::<String>::new());
    assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::NotHeld), "a release can be repeated");
    ours.close().await;
}

#[tokio::test]
async fn who_may_not_wait_is_told_the_holder_and_leaves_nothing() {
    let server = ZooKeeper::shared();
    let (holder, other, outside) = (backend(server), backend(server), server.client().await);
    let held = claim("refused");
    granted(&holder, &held).await;
    let refused = claim("refused");
    let Ok(Acquired::Held(contention)) = in_time(other.acquire(&refused, &silently)).await else {
        panic!("it is held")
    };
    assert_eq!(contention.holder.and_then(|holder| holder.pid), Some(812));
    assert!(contention.since.is_some());
    assert_eq!(contenders(&outside, "/dlock/refused").await.len(), 1);
    assert_eq!(other.release(&refused.key, &refused.token).await, Ok(Release::NotHeld));
    assert_eq!(holder.release(&held.key, &held.token).await, Ok(Release::Released));
    granted(&other, &refused).await;
    other.close().await;
    holder.close().await;
    assert_eq!(contenders(&outside, "/dlock/refused").await, Vec::<String>::new(), "closing took the node along");
}

#[tokio::test]
async fn waiters_are_served_in_the_order_in_which_they_came_with_rising_fences() {
    let server = ZooKeeper::shared();
    let (holder, outside) = (backend(server), server.client().await);
    let held = claim("order");
    let mut fence = granted(&holder, &held).await.fence;
    let waiters: Vec<_> = (0..3).map(|_| (backend(server), waiting("order"))).collect();
    let served = RefCell::new(Vec::new());
    let ahead = RefCell::new(Vec::new());
    let mut queue = Vec::new();
    for (index, (ours, claim)) in waiters.iter().enumerate() {
        let (served, ahead) = (&served, &ahead);
        let note = move |progress: Progress| {
            if let Progress::Waiting(contention) = progress {
                ahead.borrow_mut().push((index, contention.ahead, contention.held_for.is_some()));
            }
        };
        let mut turn = Box::pin(async move {
            let Ok(Acquired::Granted(lease)) = ours.acquire(claim, &note).await else { panic!("it may wait") };
            served.borrow_mut().push(index);
            ours.release(&claim.key, &claim.token).await.expect("the server serves");
            ours.close().await;
            lease
        });
        // Until it stands in the queue, so that the next one comes later.
        tokio::select! {
            _ = &mut turn => panic!("the lock is held"),
            () = eventually("it waits", async || ahead.borrow().iter().any(|(who, ..)| *who == index)) => {}
        }
        queue.push(turn);
    }
    assert_eq!(contenders(&outside, "/dlock/order").await.len(), 4);
    assert_eq!(*ahead.borrow(), [(0, Some(0), true), (1, Some(1), true), (2, Some(2), true)]);
    holder.release(&held.key, &held.token).await.expect("the server serves");
    let mut queue = queue.into_iter();
    let mut next = || queue.next().expect("three of them");
    let (first, second, third) = in_time(async { tokio::join!(next(), next(), next()) }).await;
    assert_eq!(*served.borrow(), [0, 1, 2]);
    for lease in [first, second, third] {
        assert!(lease.fence > fence, "{:?} after {fence:?}", lease.fence);
        let left = lease.valid_until.expect("a session ends").since(lease.requested_at);
        assert!(left > TTL / 3, "a waiter's lease is worth something: {left:?}");
        fence = lease.fence;
    }
    holder.close().await;
}

#[tokio::test]
async fn a_release_wakes_the_next_one_within_milliseconds() {
    let server = ZooKeeper::shared();
    let (holder, other) = (backend(server), backend(server));
    let (held, next) = (claim("wake"), waiting("wake"));
    granted(&holder, &held).await;
    let waits = std::cell::Cell::new(false);
    let note = |_: Progress| waits.set(true);
    let acquiring = async {
        let Ok(Acquired::Granted(_)) = other.acquire(&next, &note).await else { panic!("it may wait") };
        Instant::now()
    };
    let releasing = async {
        eventually("it waits", async || waits.get()).await;
        holder.release(&held.key, &held.token).await.expect("the server serves");
        Instant::now()
    };
    let (woken, released) = in_time(async { tokio::join!(acquiring, releasing) }).await;
    let took = woken.saturating_duration_since(released);
    assert!(took < Duration::from_secs(1), "{took:?}");
    other.close().await;
    holder.close().await;
}

#[tokio::test]
async fn a_waiter_that_is_dropped_leaves_the_queue() {
    let server = ZooKeeper::shared();
    let (holder, other, outside) = (backend(server), backend(server), server.client().await);
    let (held, next) = (claim("dropped"), waiting("dropped"));
    granted(&holder, &held).await;
    let waits = std::cell::Cell::new(false);
    let note = |_: Progress| waits.set(true);
    tokio::select! {
        _ = other.acquire(&next, &note) => panic!("the lock is held"),
        () = eventually("it waits", async || waits.get()) => {}
    }
    assert_eq!(contenders(&outside, "/dlock/dropped").await.len(), 2);
    assert_eq!(in_time(other.release(&next.key, &next.token)).await, Ok(Release::NotHeld));
    assert_eq!(contenders(&outside, "/dlock/dropped").await.len(), 1);
    other.close().await;
    holder.close().await;
}

#[tokio::test]
async fn an_acquire_dropped_at_any_point_is_undone_by_release_and_close() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    for step in 0..40 {
        let ours = backend(server);
        let claim = waiting("anywhere");
        // From before the connection to after the grant.
        tokio::time::timeout(Duration::from_micros(250 * step), ours.acquire(&claim, &silently)).await.ok();
        in_time(ours.release(&claim.key, &claim.token)).await.expect("the server serves");
        ours.close().await;
        assert_eq!(contenders(&outside, "/dlock/anywhere").await, Vec::<String>::new(), "dropped at step {step}");
    }
}

#[tokio::test]
async fn a_node_that_is_gone_is_a_lost_lock() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let claim = claim("gone");
    let lease = granted(&ours, &claim).await;
    let Ok(Renewal::Renewed { valid_until }) = ours.renew(&lease).await else { panic!("it is ours") };
    assert!(valid_until >= lease.valid_until.expect("a session ends"), "a renewal never takes back");
    for name in contenders(&outside, "/dlock/gone").await {
        outside.delete(&format!("/dlock/gone/{name}"), None).await.expect("anybody may");
    }
    assert_eq!(ours.renew(&lease).await, Ok(Renewal::Lost));
    assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::NotHeld));
    ours.close().await;
}

#[tokio::test]
async fn a_holder_is_told_when_its_node_is_changed_or_removed() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let claim = claim("touched");
    let lease = granted(&ours, &claim).await;
    let name = contenders(&outside, "/dlock/touched").await.pop().expect("it stands there");
    let path = format!("/dlock/touched/{name}");
    let (data, _) = outside.get_data(&path).await.expect("it is readable");
    // A mark in it is not its end: it is looked at, and watched again.
    for _ in 0..2 {
        assert!(matches!(ours.renew(&lease).await, Ok(Renewal::Renewed { .. })));
        let (_, written) =
            in_time(async { tokio::join!(ours.touched(&lease), outside.set_data(&path, &data, None)) }).await;
        written.expect("anybody may");
    }
    assert!(matches!(ours.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    let (_, removed) = in_time(async { tokio::join!(ours.touched(&lease), outside.delete(&path, None)) }).await;
    removed.expect("anybody may");
    assert_eq!(ours.renew(&lease).await, Ok(Renewal::Lost));
    ours.close().await;
}

#[tokio::test]
async fn a_running_lock_can_be_released_from_elsewhere_with_its_token() {
    let server = ZooKeeper::shared();
    let (ours, elsewhere) = (backend(server), backend(server));
    let claim = claim("elsewhere");
    let lease = granted(&ours, &claim).await;
    let stranger = super::OwnerToken::random();
    assert_eq!(elsewhere.release(&claim.key, &stranger).await, Ok(Release::NotHeld));
    assert_eq!(elsewhere.release(&claim.key, &claim.token).await, Ok(Release::Released));
    assert_eq!(ours.renew(&lease).await, Ok(Renewal::Lost));
    ours.close().await;
    elsewhere.close().await;
}

#[tokio::test]
async fn a_curator_mutex_and_dlock_exclude_each_other() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend_at(&server.address(), ""), server.client().await);
    let name = "_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-";
    let curator = create(&outside, "/app/locks/report", name, "10.0.0.7").await;
    let next = waiting("app/locks/report");
    let waits = RefCell::new(None);
    let note = |progress: Progress| {
        if let Progress::Waiting(contention) = progress {
            waits.replace(contention.holder);
        }
    };
    let freeing = async {
        eventually("it waits", async || waits.borrow().is_some()).await;
        outside.delete(&curator, None).await.expect("it is ours");
    };
    let (acquired, ()) = in_time(async { tokio::join!(ours.acquire(&next, &note), freeing) }).await;
    assert!(matches!(acquired, Ok(Acquired::Granted(_))));
    assert_eq!(waits.take().and_then(|holder| holder.host).as_deref(), Some("10.0.0.7"));
    ours.close().await;
}

#[tokio::test]
async fn a_directory_of_another_family_is_refused_and_left_as_it_was() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    create(&outside, "/dlock/kazoo", "0123456789abcdef0123456789abcdef__lock__", "worker").await;
    for patience in [Patience::Refuse, Patience::Queue { reconnect_for: TTL }] {
        let ours = backend(server);
        let claim = Claim { patience, ..claim("kazoo") };
        let refused = in_time(ours.acquire(&claim, &silently)).await.expect_err("neither would see the other");
        assert_eq!(refused.kind, ErrorKind::Misconfigured, "{refused}");
        assert_eq!(contenders(&outside, "/dlock/kazoo").await.len(), 1, "our node is gone at once");
        ours.release(&claim.key, &claim.token).await.expect("the server serves");
        ours.close().await;
    }
}

#[tokio::test]
async fn a_ttl_outside_the_servers_range_is_refused_with_the_range_and_a_default_takes_what_it_gets() {
    let server = ZooKeeper::shared();
    let ours = backend(server);
    for seconds in [60, 366 * 24 * 3600] {
        let exact = Claim { ttl: Ttl::Exactly(Duration::from_secs(seconds)), ..claim("range") };
        let refused = in_time(ours.acquire(&exact, &silently)).await.expect_err("4 s is the most");
        assert_eq!(refused.kind, ErrorKind::Misconfigured);
        assert!(refused.message.contains("from 400ms to 4s"), "{refused}");
        assert_eq!(ours.release(&exact.key, &exact.token).await, Ok(Release::NotHeld));
    }
    let default = Claim { ttl: Ttl::Default(Duration::from_secs(30)), ..claim("range") };
    assert_eq!(granted(&ours, &default).await.ttl, TTL);
    ours.close().await;
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_is_a_matter_of_permission() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let open = CreateMode::Container.with_acls(Acls::anyone_all());
    outside.mkdir("/dlock", &open).await.expect("a container");
    let readable = CreateMode::Persistent.with_acls(Acls::anyone_read());
    outside.create("/dlock/readable", b"", &readable).await.expect("a node");
    for claim in [claim("readable"), waiting("readable"), one_shot("readable", Duration::from_secs(60))] {
        let refused = in_time(ours.acquire(&claim, &silently)).await.expect_err("nothing can be created in it");
        assert_eq!(refused.kind, ErrorKind::Denied, "{refused}");
        assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::NotHeld));
    }
    ours.close().await;
}

#[tokio::test]
async fn who_is_ahead_need_not_be_readable_to_be_waited_for() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let path = hidden_contender(&outside, "/dlock/hidden").await;
    let (next, waits) = (waiting("hidden"), std::cell::Cell::new(false));
    let note = |_: Progress| waits.set(true);
    let freeing = async {
        eventually("it waits", async || waits.get()).await;
        outside.delete(&path, None).await.expect("that is a right in the directory");
    };
    let (acquired, ()) = in_time(async { tokio::join!(ours.acquire(&next, &note), freeing) }).await;
    assert!(matches!(acquired, Ok(Acquired::Granted(_))));
    ours.close().await;
}
