//! `status` and `list`.

use std::time::{Duration, Instant};

use dlock::lock::{KeyPattern, LockBackend as _, LockState, Mode, Phase};
use tokio::task::LocalSet;

use super::server::{Server, backend};
use super::{claim, granted, key, unheard, until_status, waiting};
use crate::support::A_WHILE;

const TTL: Duration = Duration::from_secs(30);

fn everything() -> KeyPattern {
    KeyPattern::new("*").expect("a valid glob")
}

#[tokio::test]
async fn foreign_holders_are_shown_whatever_they_wrote() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let mut connection = server.connection();
    let big = vec![0xff_u8; 1 << 20];
    for (name, value) in [("binary", &b"\xff\x00\xfe {"[..]), ("empty", b""), ("big", &big)] {
        ::redis::cmd("SET").arg(format!("dlock:{name}")).arg(value).exec(&mut connection).expect("a plain SET works");
        let status = backend.status(&key(name)).await.expect("status is answered");
        assert_eq!(status.state, LockState::Held(Mode::Exclusive), "{name}");
        assert_eq!(status.holders[0].phase, Phase::Foreign, "{name}");
        assert_eq!((status.holders[0].remaining, status.holders[0].since), (None, None), "{name}");
    }
    server.command::<()>(&["PEXPIRE", "dlock:empty", "60000"]);
    let status = backend.status(&key("empty")).await.expect("status is answered");
    assert!(status.holders[0].remaining.is_some_and(|left| left > Duration::from_secs(50)));
    server.command::<()>(&["LPUSH", "dlock:list", "x"]);
    let status = backend.status(&key("list")).await.expect("status is answered");
    assert_eq!((status.state, status.holders[0].phase), (LockState::Held(Mode::Exclusive), Phase::Foreign));
    let listed = backend.list(&everything()).await.expect("list is answered");
    let listed: Vec<&str> = listed.iter().map(|status| status.key.as_str()).collect();
    assert_eq!(listed, ["big", "binary", "empty", "list"]);
}

#[tokio::test]
async fn side_keys_of_any_content_do_not_stop_status() {
    let server = Server::start(&[]);
    let backend = server.backend();
    granted(&backend, &claim("job", TTL)).await;
    for name in ["queue", "leases", "waiters", "holders"] {
        let side = format!("{{dlock:job}}:dlock:{name}");
        for words in [&["ZADD", &side, "1", "x"][..], &["SET", &side, "x"], &["HSET", &side, "x", "y"]] {
            server.command::<()>(&["DEL", &side]);
            server.command::<()>(words);
            let status = backend.status(&key("job")).await.expect("status is answered");
            assert_eq!(status.holders.len(), 1, "{words:?}");
        }
    }
}

#[tokio::test]
async fn list_finds_what_is_held_or_awaited_in_its_namespace_and_nothing_else() {
    let server = Server::start(&[]);
    let backend = server.backend();
    for name in ["b/2", "b/1", "a", "{tag}c", "ünïcode"] {
        granted(&backend, &claim(name, TTL)).await;
    }
    let released = granted(&backend, &claim("released", TTL)).await;
    backend.release(&released.key, &released.token).await.expect("a release is answered");
    server.command::<()>(&["SET", "other:key", "x"]);
    server.command::<()>(&["SET", "xdlock:key", "x"]);
    let list = async |glob: &str| {
        let pattern = KeyPattern::new(glob).expect("a valid glob");
        let all = backend.list(&pattern).await.expect("list is answered");
        all.into_iter().map(|status| status.key.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(list("*").await, ["a", "b/1", "b/2", "{tag}c", "ünïcode"]);
    assert_eq!(list("b*").await, ["b/1", "b/2"]);
    assert_eq!(list("z*").await, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_namespace_list_leaves_an_applications_own_keys_out() {
    let server = Server::start(&[]);
    let bare = backend(&format!("redis://127.0.0.1:{}", server.port), "");
    server.command::<()>(&["SET", "session:1", "x"]);
    granted(&bare, &claim("job", TTL)).await;
    let listed = bare.list(&everything()).await.expect("list is answered");
    assert_eq!(listed.iter().map(|status| status.key.as_str()).collect::<Vec<_>>(), ["job"]);
}

#[tokio::test]
async fn waiters_are_shown_in_order_and_a_key_that_is_only_waited_for_is_listed() {
    let server = Server::start(&[]);
    let watcher = server.backend();
    let holder = server.backend();
    let lease = granted(&holder, &claim("job", TTL)).await;
    LocalSet::new()
        .run_until(async {
            for number in 1..=3 {
                let waiter = server.backend();
                let mut claim = waiting(claim("job", TTL));
                claim.holder.label = Some(format!("waiter {number}"));
                tokio::task::spawn_local(async move { waiter.acquire(&claim, &unheard).await.map(drop) });
                until_status(&watcher, "job", "it queues", |status| status.waiters.len() == number).await;
            }
            let status = watcher.status(&key("job")).await.expect("status is answered");
            let shown: Vec<_> =
                status.waiters.iter().map(|waiter| (waiter.position, waiter.holder.label.clone())).collect();
            let expected: Vec<_> = (1..=3).map(|number| (number, Some(format!("waiter {number}")))).collect();
            assert_eq!(shown, expected);
            assert_eq!(status.holders[0].id, lease.token.id());
            assert!(status.waiters.iter().all(|waiter| waiter.waited_for.is_some_and(|time| time < A_WHILE)));
            // Gone without a receipt: the waiters wait for the end of the lease that they saw.
            server.command::<()>(&["DEL", "dlock:job"]);
            let listed = watcher.list(&everything()).await.expect("list is answered");
            assert_eq!(listed.len(), 1);
            assert_eq!(listed[0].waiters.len(), 3);
        })
        .await;
}

#[tokio::test]
async fn ten_thousand_keys_are_listed_within_a_second() {
    let server = Server::start(&[]);
    let mut connection = server.connection();
    let mut pipe = ::redis::pipe();
    for number in 0..10_000 {
        let token = dlock::lock::OwnerToken::random();
        let value =
            format!("{} dlock/1 exclusive running 1700000000000000 30000 7 {{\"host\":\"web\"}}", token.secret());
        pipe.cmd("SET").arg(format!("dlock:job-{number:05}")).arg(value).arg("PX").arg(600_000).ignore();
        pipe.cmd("SET").arg(format!("{{dlock:job-{number:05}}}:dlock:fence")).arg(7).ignore();
    }
    pipe.exec(&mut connection).expect("plain SETs work");
    let backend = server.backend();
    let began = Instant::now();
    let all = backend.list(&everything()).await.expect("list is answered");
    let took = began.elapsed();
    assert_eq!(all.len(), 10_000);
    assert!(all.windows(2).all(|two| two[0].key < two[1].key));
    // A second is the promise of a release build on an idle machine; this one is neither.
    assert!(took < Duration::from_secs(5), "{took:?}");
}
