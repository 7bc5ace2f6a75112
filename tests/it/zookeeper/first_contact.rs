//! Servers that are dead, silent, unknown or something else: the others still serve, and the sentence says why not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use dlock::lock::{BackendError, ErrorKind, FIRST_CONTACT, LockBackend, Release};

use super::ensemble::{Ensemble, ZooKeeper, contenders, free_port};
use super::{Claim, LeaseKind, backend_at, claim, granted, in_time, one_shot, silently};

/// Takes connections and never answers; nobody even accepts, the kernel does.
fn silent() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port")
}

fn address(listener: &TcpListener) -> String {
    listener.local_addr().expect("it is bound").to_string()
}

/// Answers every request as a web server answers what it does not understand.
fn web_server() -> String {
    let listener = silent();
    let address = address(&listener);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let mut request = [0; 512];
            if connection.read(&mut request).is_ok() {
                connection.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").ok();
            }
        }
    });
    address
}

/// How much later two busy cores may do things.
const LATE: Duration = Duration::from_secs(2);

async fn refusal(connect_string: &str) -> (BackendError, Duration) {
    let ours = backend_at(connect_string, "dlock");
    let claim = claim("nowhere");
    let began = Instant::now();
    let refused = in_time(ours.acquire(&claim, &silently)).await.expect_err("nobody is there");
    let took = began.elapsed();
    assert!(took < FIRST_CONTACT + LATE, "{took:?}");
    // What was never there is not sought a second time.
    let began = Instant::now();
    assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::NotHeld));
    ours.close().await;
    assert!(began.elapsed() < FIRST_CONTACT / 2);
    (refused, took)
}

#[tokio::test]
async fn a_refused_port_is_named_at_once() {
    let port = free_port();
    let (refused, took) = refusal(&format!("127.0.0.1:{port}")).await;
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains(&format!("127.0.0.1:{port} refuses connections")), "{refused}");
    assert!(took < FIRST_CONTACT / 2, "{took:?}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_named() {
    let (refused, _) = refusal("nowhere.invalid").await;
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("nowhere.invalid:2181 is a name that does not resolve"), "{refused}");
}

#[tokio::test]
async fn a_server_that_never_answers_is_named_in_time() {
    let silent = silent();
    let (refused, _) = refusal(&address(&silent)).await;
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("accepts connections and never answers"), "{refused}");
}

#[tokio::test]
async fn a_web_server_is_recognised_as_no_zookeeper() {
    let (refused, _) = refusal(&web_server()).await;
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("is not a ZooKeeper server"), "{refused}");
}

#[tokio::test]
async fn every_server_of_the_list_has_its_own_reason() {
    let (silent, port) = (silent(), free_port());
    let (refused, _) = refusal(&format!("{},127.0.0.1:{port},nowhere.invalid", address(&silent))).await;
    for reason in ["never answers", "refuses connections", "does not resolve"] {
        assert!(refused.message.contains(reason), "{refused}");
    }
}

#[tokio::test]
async fn one_good_server_among_dead_silent_and_unknown_ones_is_found_every_time() {
    let server = ZooKeeper::shared();
    let (silent, other, port) = (silent(), silent(), free_port());
    let list =
        format!("{},127.0.0.1:{port},nowhere.invalid,{},{}", address(&silent), address(&other), server.address());
    // The client crate tries them in an order of its own: often enough for the silent ones to come first.
    for _ in 0..6 {
        let ours = backend_at(&list, "dlock");
        let claim = claim("good-one");
        let began = Instant::now();
        granted(&ours, &claim).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
        assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::Released));
        in_time(ours.close()).await;
    }
}

#[tokio::test]
async fn a_frozen_server_is_a_silent_one() {
    let server = ZooKeeper::start(&[]);
    server.freeze();
    let (refused, _) = refusal(&server.address()).await;
    server.thaw();
    assert!(refused.message.contains("accepts connections and never answers"), "{refused}");
}

#[tokio::test]
async fn an_ensemble_without_a_leader_is_waited_for_and_then_named() {
    let server = Ensemble::start_alone();
    let (refused, took) = refusal(&server.address()).await;
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("has no leader at the moment"), "{refused}");
    assert!(took > FIRST_CONTACT - Duration::from_secs(1), "an election may end at any moment: {took:?}");
}

#[tokio::test]
async fn a_server_that_only_reads_is_waited_for_and_then_named() {
    let server = Ensemble::start_reading_alone();
    let (refused, _) = refusal(&server.address()).await;
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("has no leader at the moment and is read-only"), "{refused}");
}

/// A server without a leader that takes `this_long` for every answer to `srvr`, and takes nobody in.
fn slow_and_reading(this_long: Duration) -> String {
    let listener = silent();
    let address = address(&listener);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            std::thread::spawn(move || {
                let mut request = [0; 4];
                if connection.read_exact(&mut request).is_ok() && request == *b"srvr" {
                    std::thread::sleep(this_long);
                    connection.write_all(b"Zookeeper version: 3.9.5\nMode: read-only\n").ok();
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_answered_is_not_called_silent_when_the_time_is_over() {
    // Three rounds begin within the first contact, and the answer to the third comes too late.
    let address = slow_and_reading(Duration::from_millis(1200));
    let (refused, _) = refusal(&address).await;
    assert!(refused.message.contains(&format!("{address} has no leader at the moment and is read-only")), "{refused}");
}

#[tokio::test]
async fn a_missing_chroot_is_a_wrong_set_up_and_is_not_created() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    for kind in [LeaseKind::Running, LeaseKind::OneShot] {
        let ours = backend_at(&format!("{}/misspelt", server.address()), "dlock");
        let claim = Claim { kind, ..claim("job") };
        let refused = in_time(ours.acquire(&claim, &silently)).await.expect_err("there is no such chroot");
        assert_eq!(refused.kind, ErrorKind::Misconfigured);
        assert!(refused.message.contains("the chroot /misspelt does not exist"), "{refused}");
        in_time(ours.release(&claim.key, &claim.token)).await.expect("the server serves");
        ours.close().await;
    }
    assert_eq!(outside.check_stat("/misspelt").await, Ok(None));
}

#[tokio::test]
async fn locks_below_a_chroot_stay_below_it() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    let open = zookeeper_client::CreateMode::Persistent.with_acls(zookeeper_client::Acls::anyone_all());
    outside.create("/tenant", b"", &open).await.expect("a node can be made");
    let ours = backend_at(&format!("{}/tenant", server.address()), "dlock");
    granted(&ours, &claim("job")).await;
    granted(&ours, &one_shot("errand", Duration::from_secs(60))).await;
    assert_eq!(contenders(&outside, "/tenant/dlock/job").await.len(), 1);
    assert_eq!(contenders(&outside, "/tenant/dlock/errand").await.len(), 1);
    ours.close().await;
}

#[tokio::test]
async fn a_key_that_is_no_path_is_refused_before_anything_is_sent() {
    let ours = backend_at("127.0.0.1:1", "");
    for text in ["a//b", "../a", "/zookeeper/config"] {
        let refused = ours.acquire(&claim(text), &silently).await.expect_err("no path");
        assert_eq!(refused.kind, ErrorKind::Usage, "{text}: {refused}");
    }
}
