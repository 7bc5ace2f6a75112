//! Servers that refuse, are silent, come back, or are no Redis servers.

use std::time::{Duration, Instant};

use dlock::lock::{ErrorKind, LockBackend as _, LockState, Release, Renewal};

use super::server::{Server, backend};
use super::{claim, failed, granted, key, names, one_shot, unheard, until_status};
use crate::support::{eventually, free_port, scripted_server, silent_server};

const TTL: Duration = Duration::from_secs(30);

async fn failure_at(url: &str) -> dlock::lock::BackendError {
    failed(&backend(url, "dlock"), &claim("job", TTL)).await
}

#[tokio::test]
async fn what_cannot_be_reached_is_one_sentence_within_the_time_for_a_first_contact() {
    let http = scripted_server(|_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n<html></html>".to_vec()));
    let ssh = scripted_server(|_| Some(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    for (url, expected) in [
        (format!("redis://127.0.0.1:{}", free_port()), "refuses the connection"),
        ("redis://no-such-host.invalid:6379".to_owned(), "cannot be resolved"),
        (format!("redis://127.0.0.1:{http}"), "not a Redis server"),
        (format!("redis://127.0.0.1:{ssh}"), "not a Redis server"),
        (format!("redis://u:hunter2@127.0.0.1:{}", silent_server()), "does not answer within 5 s"),
    ] {
        let began = Instant::now();
        let error = failure_at(&url).await;
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.message.contains(expected), "{expected}: {error}");
        assert!(!error.message.contains("hunter2") && !error.message.contains('\n'), "{error}");
        assert!(began.elapsed() < Duration::from_secs(6), "{error} after {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn passwords_users_and_databases_are_sent_with_the_first_request() {
    let server = Server::start(&["--requirepass", "s3cret"]);
    let at = |credentials: &str, rest: &str| format!("redis://{credentials}127.0.0.1:{}{rest}", server.port);

    for credentials in ["", ":wrong@", "nobody:s3cret@"] {
        let error = failure_at(&at(credentials, "")).await;
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    }
    let wrong_db = failure_at(&at(":s3cret@", "/99")).await;
    assert_eq!(wrong_db.kind, ErrorKind::Misconfigured);
    assert!(wrong_db.message.contains(":***@") && wrong_db.message.contains("/99"), "{wrong_db}");
    let untouched = ["-a", "s3cret", "-p", &server.port.to_string(), "DBSIZE"].map(str::to_owned);
    let keys = std::process::Command::new("redis-cli").args(untouched).output().expect("redis-cli is installed");
    assert_eq!(String::from_utf8_lossy(&keys.stdout).trim(), "0");

    let in_db_3 = backend(&at("default:s3cret@", "/3"), "dlock");
    let in_db_0 = backend(&at(":s3cret@", ""), "dlock");
    let lease = granted(&in_db_3, &claim("job", TTL)).await;
    granted(&in_db_0, &claim("job", TTL)).await;
    assert!(matches!(in_db_3.renew(&lease).await, Ok(Renewal::Renewed { .. })));
}

#[tokio::test]
async fn a_password_where_none_is_asked_for_does_no_harm() {
    let server = Server::start(&[]);
    granted(&server.backend_at(&format!("redis://:needless@127.0.0.1:{}", server.port)), &claim("job", TTL)).await;
}

#[tokio::test]
async fn a_server_that_reads_ahead_of_the_password_gets_it_first() {
    let port = scripted_server(|heard| {
        let says = |word: &str| heard.windows(word.len()).any(|part| part == word.as_bytes());
        let reply: &[u8] = match (says("AUTH"), says("EVAL")) {
            (true, true) => b"+OK\r\n-ERR Protocol error: unauthenticated multibulk length\r\n",
            (true, false) => b"+OK\r\n",
            _ => b"*3\r\n$7\r\ngranted\r\n:7\r\n:1700000000000000\r\n",
        };
        Some(reply.to_vec())
    });
    let lease = granted(&backend(&format!("redis://:pw@127.0.0.1:{port}"), "dlock"), &claim("job", TTL)).await;
    assert_eq!(lease.fence.map(|fence| fence.0), Some(7));
}

#[tokio::test]
async fn a_key_of_another_type_is_refused_and_left_alone() {
    let server = Server::start(&[]);
    server.command::<()>(&["HSET", "dlock:job", "owner", "1"]);
    let backend = server.backend();
    let claim = claim("job", TTL);
    let error = failed(&backend, &claim).await;
    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
    assert_eq!(backend.release(&claim.key, &claim.token).await, Ok(Release::NotHeld));
    assert_eq!(names(&server), ["dlock:job"]);
    assert_eq!(server.command::<String>(&["HGET", "dlock:job", "owner"]), "1");
}

#[tokio::test]
async fn a_replica_a_full_server_and_one_that_cannot_save_say_what_to_do() {
    let server = Server::start(&[]);
    for (set, undo, expected) in [
        (&["REPLICAOF", "127.0.0.1", "1"][..], &["REPLICAOF", "NO", "ONE"][..], "replica"),
        (&["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"], "memory"),
        (
            &["CONFIG", "SET", "min-replicas-to-write", "3"],
            &["CONFIG", "SET", "min-replicas-to-write", "0"],
            "replicas",
        ),
        (&["ACL", "SETUSER", "default", "-eval"], &["ACL", "SETUSER", "default", "+eval"], "does not permit"),
    ] {
        server.command::<()>(set);
        let error = failed(&server.backend(), &claim("job", TTL)).await;
        assert!(error.message.contains(expected), "{error}");
        let kind = if expected == "does not permit" { ErrorKind::Denied } else { ErrorKind::Unavailable };
        assert_eq!(error.kind, kind, "{error}");
        server.command::<()>(undo);
        let backend = server.backend();
        let lease = granted(&backend, &claim("job", TTL)).await;
        backend.release(&lease.key, &lease.token).await.expect("a release is answered");
    }
}

#[tokio::test]
async fn a_server_that_is_busy_or_takes_no_more_clients_says_so() {
    let server = Server::start(&["--lua-time-limit", "10"]);
    let mut connection = server.connection();
    let spinning = std::thread::spawn(move || {
        let endless = ::redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut connection);
        (connection, endless)
    });
    eventually("the script is found to be slow", || {
        server.try_command::<String>(&["PING"]).is_err_and(|error| error.code() == Some("BUSY"))
    });
    let error = failed(&server.backend(), &claim("job", TTL)).await;
    assert!(error.may_pass() && error.message.contains("SCRIPT KILL"), "{error}");
    server.command::<()>(&["SCRIPT", "KILL"]);
    let (mut only, endless) = spinning.join().expect("the thread does not panic");
    assert!(endless.is_err());

    ::redis::cmd("CONFIG").arg(&["SET", "maxclients", "1"]).exec(&mut only).expect("the setting is known");
    let error = failed(&server.backend(), &claim("job", TTL)).await;
    assert!(error.may_pass() && error.message.contains("maxclients"), "{error}");
}

#[tokio::test]
async fn a_restart_within_the_ttl_costs_nothing_when_the_data_survive() {
    let mut server = Server::durable();
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    server.crash();
    assert!(backend.renew(&lease).await.is_err());
    server.start_again();
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    server.crash();
    server.start_again();
    // A connection that ended while nothing was asked is replaced without an error in between.
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
}

#[tokio::test]
async fn a_restart_that_forgets_the_lock_is_a_loss() {
    let mut server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    server.crash();
    server.start_again();
    assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost));
}

#[tokio::test]
async fn a_frozen_server_is_given_up_and_its_late_reply_is_nobodys() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    server.freeze();
    let began = Instant::now();
    let gave_up = tokio::time::timeout(Duration::from_millis(200), backend.renew(&lease)).await;
    assert!(gave_up.is_err(), "a frozen server answers nothing");
    assert!(began.elapsed() < Duration::from_secs(2));
    server.thaw();
    // The reply to the renewal is {1, …}; a status that took it for its own would make no sense of it.
    let status = backend.status(&key("job")).await.expect("status is answered");
    assert_eq!(status.holders[0].id, lease.token.id());
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
}

#[tokio::test]
async fn a_frozen_server_fails_a_first_contact_in_time() {
    let server = Server::start(&[]);
    server.freeze();
    let began = Instant::now();
    let error = failed(&server.backend(), &claim("job", TTL)).await;
    server.thaw();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!((4..7).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_acquire_that_arrives_after_its_release_is_granted_nothing() {
    let server = Server::start(&[]);
    let backend = server.backend();
    backend.status(&key("job")).await.expect("status is answered");
    let claim = one_shot(claim("job", TTL));
    server.freeze();
    let gave_up = tokio::time::timeout(Duration::from_millis(200), backend.acquire(&claim, &unheard)).await;
    assert!(gave_up.is_err(), "a frozen server answers nothing");
    let (release, ()) = tokio::join!(backend.release(&claim.key, &claim.token), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.thaw();
    });
    release.expect("a release is answered");
    until_status(&server.backend(), "job", "the lock is free", |status| status.state == LockState::Free).await;
    // And it stays so: the very request, sent once more, is refused.
    let error = failed(&backend, &claim).await;
    assert_eq!(error.kind, ErrorKind::Usage, "{error}");
    assert_eq!(server.backend().status(&key("job")).await.map(|status| status.state), Ok(LockState::Free));
}

#[tokio::test]
async fn a_release_whose_reply_was_lost_is_known_by_its_receipt() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    server.freeze();
    let gave_up = tokio::time::timeout(Duration::from_millis(200), backend.release(&lease.key, &lease.token)).await;
    assert!(gave_up.is_err(), "a frozen server answers nothing");
    server.thaw();
    until_status(&server.backend(), "job", "the first try is carried out", |status| status.state == LockState::Free)
        .await;
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
}
