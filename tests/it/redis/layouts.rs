//! The layouts of other libraries, without the libraries: every byte, the owner check, and what is not theirs to touch.

use std::time::Duration;

use dlock::backend::redis::{Config, Endpoint, Layout, LayoutBackend, Topology};
use dlock::backend::tls::Tls;
use dlock::lock::{LockBackend as _, Namespace, OwnerToken, Release};

use super::server::Server;
use super::{claim, key, names, unheard};
use crate::support::{Dlock, eventually};

const PYTHON: &str = "python-redis-lock";
const TTL: &str = "20s";

/// A call on `server` that shares locks with a library; the command of a `run` follows.
fn call(server: &Server, layout: &str, args: &[&str]) -> Dlock {
    let url = format!("redis://127.0.0.1:{}", server.port);
    let place = ["--redis", &url, "--namespace", "", "--layout", layout].map(str::to_owned);
    let args: Vec<String> = args.iter().map(ToString::to_string).collect();
    let (subcommand, rest) = args.split_first().expect("a subcommand");
    Dlock::new([subcommand.clone()].into_iter().chain(place).chain(rest.iter().cloned()))
}

fn taken(server: &Server, layout: &str) -> String {
    call(server, layout, &["acquire", "-k", "job", "--ttl", TTL]).finish().succeeds().said().to_owned()
}

/// What the library would find: type, owner and expiry of its lock.
fn stored(server: &Server, layout: &str) -> (String, i64) {
    let (lock, owner) = match layout {
        PYTHON => ("lock:job", server.command::<String>(&["GET", "lock:job"])),
        _ => {
            let fields: Vec<(String, i64)> = server.command(&["HGETALL", "job"]);
            assert_eq!(fields.len(), 1, "{fields:?}");
            assert_eq!(fields[0].1, 1, "entered once");
            ("job", fields[0].0.clone())
        }
    };
    (owner, server.command(&["PTTL", lock]))
}

fn uuid_of(token: &str) -> String {
    format!("{}-{}-{}-{}-{}:1", &token[..8], &token[8..12], &token[12..16], &token[16..20], &token[20..])
}

#[test]
fn a_lock_is_stored_as_the_library_stores_it_and_removed_without_a_trace() {
    let server = Server::start(&[]);
    for layout in ["redisson", PYTHON] {
        let token = taken(&server, layout);
        let (owner, left) = stored(&server, layout);
        assert_eq!(owner, if layout == PYTHON { token.clone() } else { uuid_of(&token) });
        assert!((15_000..=20_000).contains(&left), "{left}");
        call(&server, layout, &["run", "-n", "-k", "job", "--", "true"]).finish().exits_with(75);
        call(&server, layout, &["release", "-k", "job", "--token", &token]).finish().succeeds();
        // The signal is what the library's own release leaves; it goes by itself.
        let left: Vec<String> = names(&server).into_iter().filter(|name| name != "lock-signal:job").collect();
        assert!(left.is_empty(), "{left:?}");
    }
    let signal: Vec<String> = server.command(&["LRANGE", "lock-signal:job", "0", "-1"]);
    assert_eq!(signal, ["1"]);
    assert!((1..=1000).contains(&server.command::<i64>(&["PTTL", "lock-signal:job"])));
}

#[test]
fn every_acquisition_has_an_owner_of_its_own() {
    let server = Server::start(&[]);
    for layout in ["redisson", PYTHON] {
        let owners = [(); 2].map(|()| {
            let token = taken(&server, layout);
            let owner = stored(&server, layout).0;
            call(&server, layout, &["release", "-k", "job", "--token", &token]).finish().succeeds();
            owner
        });
        assert_ne!(owners[0], owners[1], "{layout}");
    }
}

#[test]
fn nobody_but_the_owner_renews_or_releases() {
    let server = Server::start(&[]);
    for (layout, lock, foreign) in [("redisson", "job", true), (PYTHON, "lock:job", false)] {
        if foreign {
            server.command::<i64>(&["HSET", lock, "5bb3f4b5-0000-4000-8000-000000000000:31", "1"]);
        } else {
            server.command::<String>(&["SET", lock, "q83vEjRWeJCrze8SNFZ4kKvN"]);
        }
        let dump: Vec<u8> = server.command(&["DUMP", lock]);
        let token = OwnerToken::random();
        for subcommand in ["renew", "release"] {
            let args = [subcommand, "-k", "job", "--token", token.secret()];
            let args: Vec<&str> = args.into_iter().chain((subcommand == "renew").then_some("--ttl=5s")).collect();
            call(&server, layout, &args).finish().exits_with(79);
        }
        call(&server, layout, &["run", "-w", "300ms", "-k", "job", "--", "true"]).finish().exits_with(75);
        assert_eq!(server.command::<Vec<u8>>(&["DUMP", lock]), dump, "{layout}");
        assert_eq!(server.command::<i64>(&["PTTL", lock]), -1, "{layout}");
        let status = call(&server, layout, &["status", "--json", "job"]).finish().succeeds();
        for part in [r#""state":"held""#, r#""phase":"foreign""#, &format!(r#""layout":"{layout}""#)] {
            assert!(status.said().contains(part), "{}", status.account());
        }
    }
}

#[test]
fn a_key_of_another_layout_is_refused_and_left_alone() {
    let server = Server::start(&[]);
    server.command::<String>(&["SET", "job", "somebody"]);
    server.command::<i64>(&["HSET", "lock:job", "field", "1"]);
    for (layout, lock) in [("redisson", "job"), (PYTHON, "lock:job")] {
        let dump: Vec<u8> = server.command(&["DUMP", lock]);
        for args in [&["run", "-n", "-k", "job", "--", "true"][..], &["acquire", "-k", "job", "--ttl", "9s"]] {
            call(&server, layout, args).finish().exits_with(78).complains(&["another type", "job"]);
        }
        let token = OwnerToken::random();
        call(&server, layout, &["release", "-k", "job", "--token", token.secret()]).finish().exits_with(79);
        let status = call(&server, layout, &["status", "--json", "job"]).finish().succeeds();
        assert!(status.said().contains(r#""phase":"foreign""#), "{}", status.account());
        assert_eq!(server.command::<Vec<u8>>(&["DUMP", lock]), dump, "{layout}");
    }
    // The reverse: dlock's own layout on what Redisson holds.
    server.command::<i64>(&["HSET", "held", "5bb3f4b5-0000-4000-8000-000000000000:31", "1"]);
    call(&server, "dlock", &["run", "-n", "-k", "held", "--", "true"]).finish().exits_with(78);
    assert_eq!(server.command::<i64>(&["HLEN", "held"]), 1);
}

#[test]
fn status_names_a_dlock_that_holds_and_a_renewal_knows_what_it_was_acquired_with() {
    let server = Server::start(&[]);
    for layout in ["redisson", PYTHON] {
        let args = ["acquire", "-k", "job", "--ttl", TTL, "--label", "nightly"];
        let token = call(&server, layout, &args).finish().succeeds().said().to_owned();
        let id = OwnerToken::parse(&token).expect("a token was printed").id();
        let status = call(&server, layout, &["status", "--json", "job"]).finish().succeeds();
        for part in [r#""phase":"one-shot""#, r#""label":"nightly""#, r#""ttl_ms":20000"#, &format!(r#""id":"{id}""#)] {
            assert!(status.said().contains(part), "{part}\n{}", status.account());
        }
        assert!(!status.said().contains(&token), "{}", status.account());
        let renewed = |ttl: &[&str]| {
            let args = [&["renew", "-k", "job", "--token", &token], ttl].concat();
            call(&server, layout, &args).finish().succeeds();
            stored(&server, layout).1
        };
        let shorter = renewed(&["--ttl", "5s"]);
        assert!((1..=5_000).contains(&shorter), "{shorter}");
        let as_acquired = renewed(&[]);
        assert!((15_000..=20_000).contains(&as_acquired), "{as_acquired}");
        call(&server, layout, &["release", "-k", "job", "--token", &token]).finish().succeeds();
    }
}

#[test]
fn a_command_has_no_fence_but_the_layout_in_its_environment_and_its_lease_is_renewed() {
    let server = Server::start(&[]);
    for layout in ["redisson", PYTHON] {
        let script = "echo \"fence ${DLOCK_FENCE-none} layout $DLOCK_LAYOUT\"; echo ready; read -r line; exit 0";
        let args = ["run", "-k", "job", "--ttl", "4s", "--", "sh", "-c", script];
        let held = call(&server, layout, &args).env("DLOCK_FENCE", "7").stdin_open().start();
        held.says("ready");
        held.says(&format!("fence none layout {layout}"));
        let began = std::time::Instant::now();
        eventually("the lease has outlived its length", || {
            assert!(stored(&server, layout).1 > 0, "{layout} is held");
            began.elapsed() > Duration::from_secs(5)
        });
        held.let_go();
        held.wait().succeeds();
        call(&server, layout, &["run", "-n", "-k", "job", "--", "true"]).finish().succeeds();
    }
}

#[test]
fn a_command_is_stopped_when_somebody_deletes_its_lock_and_what_came_after_is_left_alone() {
    let server = Server::start(&[]);
    for (layout, lock) in [("redisson", "job"), (PYTHON, "lock:job")] {
        let args = ["run", "-k", "job", "--ttl", "2s", "--", "sh", "-c", "echo ready; sleep 30"];
        let held = call(&server, layout, &args).start();
        held.says("ready");
        server.command::<i64>(&["DEL", lock]);
        let next = taken(&server, layout);
        held.wait().exits_with(79);
        call(&server, layout, &["release", "-k", "job", "--token", &next]).finish().succeeds();
    }
}

#[test]
fn a_release_tells_the_channel_and_the_first_of_the_fair_queue_that_lives() {
    let server = Server::start(&[]);
    let token = taken(&server, "redisson");
    server.command::<i64>(&["RPUSH", "redisson_lock_queue:{job}", "dead:1", "alive:2", "behind:3"]);
    server.command::<i64>(&["ZADD", "redisson_lock_timeout:{job}", "1", "dead:1", "99999999999999", "alive:2"]);
    let mut connection = server.connection();
    let mut ear = connection.as_pubsub();
    ear.psubscribe("redisson_lock__channel:*").expect("our own server takes subscriptions");
    call(&server, "redisson", &["release", "-k", "job", "--token", &token]).finish().succeeds();
    for channel in ["{job}", "{job}:dead:1", "{job}:alive:2"] {
        let message = ear.get_message().expect("a message was published");
        assert_eq!(message.get_channel_name(), format!("redisson_lock__channel:{channel}"));
        assert_eq!(message.get_payload_bytes(), b"0");
    }
    ear.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket takes a time-out");
    assert!(ear.get_message().is_err(), "those behind the first are not told");
}

#[test]
fn a_waiter_is_woken_by_a_message_and_gets_in_after_an_expiry_that_nobody_tells() {
    let server = Server::start(&[]);
    let wait = ["run", "-w", "20s", "-k", "job", "--", "true"];
    server.command::<i64>(&["HSET", "job", "5bb3f4b5-0000-4000-8000-000000000000:31", "1"]);
    let waiter = call(&server, "redisson", &wait).start();
    eventually("it listens", || {
        let listeners: (String, i64) = server.command(&["PUBSUB", "NUMSUB", "redisson_lock__channel:{job}"]);
        listeners.1 == 1
    });
    server.command::<i64>(&["DEL", "job"]);
    server.command::<i64>(&["PUBLISH", "redisson_lock__channel:{job}", "0"]);
    waiter.wait().succeeds();
    for (layout, lock) in [("redisson", "job"), (PYTHON, "lock:job")] {
        if layout == PYTHON {
            server.command::<String>(&["SET", lock, "somebody"]);
        } else {
            server.command::<i64>(&["HSET", lock, "5bb3f4b5-0000-4000-8000-000000000000:31", "1"]);
        }
        server.command::<i64>(&["PEXPIRE", lock, "400"]);
        call(&server, layout, &wait).finish().succeeds();
    }
}

#[tokio::test]
async fn a_claim_that_was_released_while_its_request_was_on_its_way_is_never_granted() {
    let server = Server::start(&[]);
    for layout in Layout::ALL {
        let endpoint = Endpoint::parse(&format!("redis://127.0.0.1:{}", server.port)).expect("a valid URL");
        let namespace = Namespace::new("").expect("a valid namespace");
        let backend = LayoutBackend::open(
            &Config { topology: Topology::Server(endpoint), namespace, tls: Tls::default(), wait_replicas: 0 },
            layout,
        );
        let claim = claim("job", Duration::from_secs(20));
        server.command::<()>(&["CLIENT", "PAUSE", "500", "ALL"]);
        let given_up = tokio::time::timeout(Duration::from_millis(100), backend.acquire(&claim, &unheard)).await;
        assert!(given_up.is_err(), "a paused server does not answer");
        backend.release(&key("job"), &claim.token).await.expect("the server answers again");
        let late = backend.acquire(&claim, &unheard).await;
        assert!(late.is_err(), "{late:?}");
        let stored: Vec<String> = names(&server).into_iter().filter(|name| name.ends_with("job")).collect();
        assert!(!stored.contains(&"job".to_owned()) && !stored.contains(&"lock:job".to_owned()), "{stored:?}");
        assert!(matches!(backend.release(&key("job"), &claim.token).await, Ok(Release::NotHeld)), "{layout:?}");
        assert!(!names(&server).is_empty(), "the word that it was too late");
        backend.forget(&key("job")).await.expect("the server serves");
        assert!(names(&server).is_empty(), "{layout:?}: {:?}", names(&server));
        backend.close().await;
    }
}

#[test]
fn what_a_layout_cannot_do_is_a_usage_error_that_says_so() {
    let server = Server::start(&[]);
    call(&server, "redisson", &["list"]).finish().exits_with(64).complains(&["redisson", "status"]);
    call(&server, "kazoo", &["status", "job"]).finish().exits_with(64).complains(&["kazoo", "redisson"]);
    let file = ["status", "-b", "file", "--layout", "redisson", "job"];
    Dlock::new(file).finish().exits_with(64).complains(&["--layout", "file"]);
    for layout in ["redisson", PYTHON] {
        let other = ["--redis", "redis://127.0.0.1:1"];
        for (option, words) in [
            (&["--shared"][..], "knows one holder only"),
            (&["--slots", "2"], "knows one holder only"),
            (&["--wait-replicas", "1"], "neither several masters nor --wait-replicas"),
            (&other, "neither several masters nor --wait-replicas"),
        ] {
            let run = [&["run", "-k", "job"], option, &["--", "true"]].concat();
            call(&server, layout, &run).finish().exits_with(64).complains(&[layout, words]);
        }
    }
    assert!(names(&server).is_empty());
    // Ignored where it merely stands in the environment: what a dlock inside reads is the layout that counts.
    let args = ["run", "-b", "file", "-k", "job", "--", "sh", "-c", "echo ${DLOCK_LAYOUT-none}"];
    assert_eq!(Dlock::new(args).env("DLOCK_LAYOUT", "redisson").finish().succeeds().said(), "dlock");
}
