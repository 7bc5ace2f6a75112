//! Grants, renewals, one-shots and releases.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::Duration;

use dlock::lock::{LockBackend as _, LockState, OwnerToken, Phase, Prolonged, Release, Renewal};

use super::server::{Server, backend};
use super::{claim, granted, key, names, one_shot, refused};

const TTL: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_uncontended_run_is_two_requests_and_connecting_is_none() {
    let server = Server::start(&[]);
    let mut monitor = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("our own server accepts");
    monitor.write_all(b"MONITOR\r\n").expect("a fresh connection takes bytes");
    let mut seen = BufReader::new(monitor).lines().map(|line| line.expect("the monitor goes on"));
    assert_eq!(seen.next().as_deref(), Some("+OK"));

    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
    backend.close().await;
    server.command::<String>(&["ECHO", "the end"]);

    let requests: Vec<String> = seen
        .take_while(|line| !line.contains("the end"))
        .filter(|line| !line.contains(" lua] ") && !line.contains("CLIENT"))
        .collect();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    assert!(requests.iter().all(|line| line.contains("\"EVAL\"")), "{requests:#?}");
}

#[tokio::test]
async fn a_held_lock_refuses_at_once_names_its_holder_and_keeps_nothing_of_the_refused() {
    let server = Server::start(&[]);
    let (first, second) = (server.backend(), server.backend());
    granted(&first, &claim("job", TTL)).await;
    let before = names(&server);
    let contention = refused(&second, &claim("job", TTL)).await;
    assert_eq!(contention.holder.and_then(|holder| holder.host).as_deref(), Some("web-3"));
    assert_eq!(contention.ahead, Some(0));
    assert!(contention.held_for.is_some_and(|time| time < Duration::from_secs(10)));
    assert_eq!(names(&server), before);
}

#[tokio::test]
async fn what_is_stored_is_what_the_protocol_says() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    let value: String = server.command(&["GET", "dlock:job"]);
    let words: Vec<&str> = value.split(' ').collect();
    assert_eq!(words[0], lease.token.secret());
    assert_eq!(words[1..4], ["dlock/1", "exclusive", "running"]);
    assert_eq!(words[5], "30000");
    assert_eq!(words[6].parse(), Ok(lease.fence.expect("an exclusive grant has one").0));
    assert_eq!(words[7], r#"{"host":"web-3","pid":812}"#);
    assert_eq!(names(&server), ["dlock:job", "{dlock:job}:dlock:fence"]);
    backend.release(&lease.key, &lease.token).await.expect("a release is answered");
    assert_eq!(names(&server), ["{dlock:job}:dlock:fence", "{dlock:job}:dlock:receipts"]);
    for side in names(&server) {
        let left: i64 = server.command(&["TTL", &side]);
        assert!((1..=86_430).contains(&left), "{side} expires in {left}");
    }
}

#[tokio::test]
async fn a_plain_set_nx_client_excludes_and_is_excluded() {
    let server = Server::start(&[]);
    let backend = backend(&format!("redis://127.0.0.1:{}", server.port), "");
    let lease = granted(&backend, &claim("shared lock", TTL)).await;
    let set = ["SET", "shared lock", "theirs", "NX", "PX", "30000"];
    assert_eq!(server.command::<Option<String>>(&set), None);
    backend.release(&lease.key, &lease.token).await.expect("a release is answered");
    assert_eq!(server.command::<Option<String>>(&set).as_deref(), Some("OK"));
    refused(&backend, &claim("shared lock", TTL)).await;
    assert_eq!(server.command::<String>(&["GET", "shared lock"]), "theirs");
}

#[tokio::test]
async fn fences_rise_over_a_flush_and_a_restart_without_data() {
    let mut server = Server::start(&[]);
    let mut last = 0;
    for disaster in ["nothing", "flush", "crash", "nothing"] {
        match disaster {
            "flush" => server.command::<()>(&["FLUSHALL"]),
            "crash" => {
                server.crash();
                server.start_again();
            }
            _ => {}
        }
        let backend = server.backend();
        let lease = granted(&backend, &claim("job", TTL)).await;
        let fence = lease.fence.expect("an exclusive grant has one").0;
        assert!(fence > last, "{fence} after {last} and {disaster}");
        last = fence;
        backend.release(&lease.key, &lease.token).await.expect("a release is answered");
    }
    // A clock that was set back: the number goes on from the last one.
    server.command::<()>(&["SET", "{dlock:job}:dlock:fence", "9000000000000000"]);
    let lease = granted(&server.backend(), &claim("job", TTL)).await;
    assert_eq!(lease.fence.map(|fence| fence.0), Some(9_000_000_000_000_001));
}

#[tokio::test]
async fn a_renewal_extends_the_lease_and_never_lowers_it() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    server.command::<()>(&["PEXPIRE", "dlock:job", "5000"]);
    let Ok(Renewal::Renewed { valid_until }) = backend.renew(&lease).await else { panic!("the lock is ours") };
    assert!(valid_until >= lease.valid_until.expect("a lease of a server ends"));
    assert!(server.command::<i64>(&["PTTL", "dlock:job"]) > 25_000);
    server.command::<()>(&["PEXPIRE", "dlock:job", "500000"]);
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    assert!(server.command::<i64>(&["PTTL", "dlock:job"]) > 400_000);
}

#[tokio::test]
async fn a_lock_that_is_gone_or_anothers_is_lost_and_is_not_made_anew() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    server.command::<()>(&["DEL", "dlock:job"]);
    assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost));
    assert!(!server.command::<bool>(&["EXISTS", "dlock:job"]));
    server.command::<()>(&["SET", "dlock:job", "theirs"]);
    assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost));
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    assert_eq!(server.command::<String>(&["GET", "dlock:job"]), "theirs");
    server.command::<()>(&["DEL", "dlock:job"]);
    server.command::<()>(&["HSET", "dlock:job", "field", "theirs"]);
    assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost));
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    assert_eq!(server.command::<String>(&["HGET", "dlock:job", "field"]), "theirs");
}

#[tokio::test]
async fn a_release_needs_the_owners_token_and_is_done_once() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    assert_eq!(backend.release(&lease.key, &OwnerToken::random()).await, Ok(Release::NotHeld));
    assert!(server.command::<bool>(&["EXISTS", "dlock:job"]));
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
    granted(&backend, &claim("job", TTL)).await;
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    assert!(server.command::<bool>(&["EXISTS", "dlock:job"]), "the next holder's lock");
}

#[tokio::test]
async fn the_forms_of_later_versions_are_held_and_a_revoked_one_is_told_to_its_holder() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    let value: String = server.command(&["GET", "dlock:job"]);
    let rewrite = |from: &str, to: &str| {
        server.command::<()>(&["SET", "dlock:job", &value.replace(from, to), "KEEPTTL"]);
    };

    rewrite(" running ", " revoked ");
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Revoked { .. })));
    for (from, to, phase) in [
        (" running ", " revoked ", Phase::Revoked),
        (" running ", " held-at-least ", Phase::HeldAtLeast),
        (" running ", " lock-delay ", Phase::LockDelay),
        (" {", " delay=900000 {", Phase::LockDelay),
        (" exclusive ", " shared ", Phase::Running),
        (" exclusive ", " slots:3 ", Phase::Running),
        (" dlock/1 ", " dlock/2 ", Phase::Foreign),
    ] {
        rewrite(from, to);
        refused(&backend, &claim("job", TTL)).await;
        let status = backend.status(&key("job")).await.expect("status is answered");
        assert_eq!(status.holders[0].phase, phase, "{to}");
    }
    for tombstone in [" held-at-least ", " lock-delay "] {
        rewrite(" running ", tombstone);
        assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost), "{tombstone}");
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld), "{tombstone}");
    }
    rewrite(" running ", " revoked ");
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
}

#[tokio::test]
async fn sharers_whose_marker_is_gone_still_hold() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let ends =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() + 20_000;
    let token = OwnerToken::random();
    let entry = format!("{ends} running 1 30000 {{}}");
    server.command::<()>(&["HSET", "{dlock:job}:dlock:holders", token.secret(), &entry]);
    refused(&backend, &claim("job", TTL)).await;
    let status = backend.status(&key("job")).await.expect("status is answered");
    assert!(matches!(status.state, LockState::Held(_)));
    server.command::<()>(&["HSET", "{dlock:job}:dlock:holders", token.secret(), "1 running 1 30000 {}"]);
    granted(&backend, &claim("job", TTL)).await;
}

#[tokio::test]
async fn a_one_shot_outlives_its_connection_and_is_raised_to_its_whole_ttl() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &one_shot(claim("job", Duration::from_secs(60)))).await;
    backend.close().await;
    assert!(server.command::<i64>(&["PTTL", "dlock:job"]) > 50_000);
    let expires = lease.expires_at.expect("a one-shot says when it ends");
    let ahead = expires.duration_since(std::time::SystemTime::now()).expect("it ends in the future");
    assert!((50..=60).contains(&ahead.as_secs()), "{ahead:?}");
    let status = server.backend().status(&key("job")).await.expect("status is answered");
    assert_eq!(status.holders[0].phase, Phase::OneShot);
    assert_eq!(status.holders[0].ttl, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn a_one_shot_is_set_up_and_down_and_a_running_lease_only_up() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let left = || server.command::<i64>(&["PTTL", "dlock:job"]) / 1000;

    let lease = granted(&backend, &one_shot(claim("job", Duration::from_secs(60)))).await;
    for (seconds, expected) in [(Some(300), 290..=300), (Some(5), 3..=5), (None, 50..=60)] {
        let ttl = seconds.map(Duration::from_secs);
        let outcome = backend.prolong(&lease.key, &lease.token, ttl).await.expect("it is answered");
        assert!(matches!(outcome, Prolonged::Set { expires_at: Some(_), .. }), "{outcome:?}");
        assert!(expected.contains(&left()), "{} after {seconds:?}", left());
    }
    let stranger = backend.prolong(&lease.key, &OwnerToken::random(), None).await;
    assert_eq!(stranger, Ok(Prolonged::NotHeld));
    backend.release(&lease.key, &lease.token).await.expect("a release is answered");
    assert_eq!(backend.prolong(&lease.key, &lease.token, None).await, Ok(Prolonged::NotHeld));

    let lease = granted(&backend, &claim("job", TTL)).await;
    let shorter = backend.prolong(&lease.key, &lease.token, Some(Duration::from_secs(2))).await;
    assert_eq!(shorter, Ok(Prolonged::HeldByRun));
    assert!(left() > 20);
    let longer = backend.prolong(&lease.key, &lease.token, Some(Duration::from_secs(90))).await;
    assert!(matches!(longer, Ok(Prolonged::Set { .. })));
    assert!(left() > 80);
}

#[tokio::test]
async fn a_one_shot_ends_with_its_ttl() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &one_shot(claim("job", Duration::from_secs(1)))).await;
    super::until_status(&backend, "job", "the lease ends", |status| status.state == LockState::Free).await;
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
}
