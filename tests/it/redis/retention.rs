//! What a holder leaves behind on Redis: that it is left once, survives what locks survive, and costs nothing to others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::{Duration, Instant};

use dlock::lock::{Claim, LockBackend as _, LockState, Parting, Phase, Release, Renewal, Retention};

use super::server::{Server, backend};
use super::{claim, granted, key, refused};
use crate::support::{Afterwards, Dlock, Kind, Loser, Place, eventually};

const TTL: Duration = Duration::from_secs(30);
const LONG: Duration = Duration::from_secs(3600);

fn keeping(name: &str, hold_at_least: Duration, lock_delay: Duration) -> Claim {
    Claim { retention: Retention { hold_at_least, lock_delay }, ..claim(name, TTL) }
}

fn left(server: &Server) -> Duration {
    Duration::from_millis(server.command::<u64>(&["PTTL", "dlock:job"]))
}

/// When the key expires, by the server's clock, give or take what lies between two questions.
fn ends(server: &Server) -> u64 {
    let (seconds, micros): (u64, u64) = server.command(&["TIME"]);
    seconds * 1000 + micros / 1000 + u64::try_from(left(server).as_millis()).expect("it is this year's")
}

#[tokio::test]
async fn a_run_that_holds_at_least_is_two_requests_like_any_other() {
    let server = Server::start(&[]);
    let mut monitor = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("our own server accepts");
    monitor.write_all(b"MONITOR\r\n").expect("a fresh connection takes bytes");
    let mut seen = BufReader::new(monitor).lines().map(|line| line.expect("the monitor goes on"));
    assert_eq!(seen.next().as_deref(), Some("+OK"));
    let ours = server.backend();
    let lease = granted(&ours, &keeping("job", LONG, TTL)).await;
    assert_eq!(ours.part(&lease.key, &lease.token, Parting::Done).await, Ok(Release::Released));
    ours.close().await;
    server.command::<String>(&["ECHO", "the end"]);
    let requests: Vec<String> = seen
        .take_while(|line| !line.contains("the end"))
        .filter(|line| !line.contains(" lua] ") && !line.contains("CLIENT"))
        .collect();
    assert_eq!(requests.len(), 2, "{requests:#?}");
}

#[tokio::test]
async fn what_is_left_is_what_the_protocol_says() {
    let server = Server::start(&[]);
    let ours = server.backend();
    let held = keeping("job", LONG, Duration::from_secs(7));
    let lease = granted(&ours, &held).await;
    let running = server.command::<String>(&["GET", "dlock:job"]);
    let words: Vec<&str> = running.split(' ').collect();
    assert_eq!((words[2], words[3]), ("exclusive", "running"));
    let until: u64 = words[7].strip_prefix("until=").expect("an end").parse().expect("ms");
    let since: u64 = words[4].parse().expect("µs");
    assert_eq!(until, since.div_ceil(1000) + 3_600_000);
    assert_eq!(words[8], "delay=7000");
    assert!(left(&server) > TTL && left(&server) <= TTL + Duration::from_secs(7), "{:?}", left(&server));
    assert_eq!(ours.part(&lease.key, &lease.token, Parting::Done).await, Ok(Release::Released));
    assert_eq!(server.command::<String>(&["GET", "dlock:job"]), running.replacen(" running ", " held-at-least ", 1));
    let status = ours.status(&key("job")).await.expect("it serves");
    assert_eq!((status.holders[0].phase, status.holders[0].fence), (Phase::HeldAtLeast, lease.fence));
    assert!(ends(&server).abs_diff(until) < 100, "it is the absolute end, whenever the release came");
    // It owns nothing any more, and changes nothing.
    assert!(matches!(ours.renew(&lease).await, Ok(Renewal::Lost)));
    assert_eq!(ours.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    assert_eq!(ours.part(&lease.key, &lease.token, Parting::Lost).await, Ok(Release::NotHeld));
    assert!(ends(&server).abs_diff(until) < 100);
    assert_eq!(refused(&ours, &claim("job", TTL)).await.holder, Some(held.holder));
}

#[tokio::test]
async fn each_parting_leaves_its_own() {
    let server = Server::start(&[]);
    let ours = server.backend();
    let delay = Duration::from_secs(7);
    for (hold_at_least, parting, expected) in [
        (LONG, Parting::Unused, None),
        (LONG, Parting::Done, Some(Phase::HeldAtLeast)),
        (LONG, Parting::Orphaned, Some(Phase::HeldAtLeast)),
        (LONG, Parting::Lost, Some(Phase::LockDelay)),
        (Duration::from_secs(1), Parting::Orphaned, Some(Phase::LockDelay)),
        (Duration::ZERO, Parting::Done, None),
        (Duration::ZERO, Parting::Lost, Some(Phase::LockDelay)),
    ] {
        let lease = granted(&ours, &keeping("job", hold_at_least, delay)).await;
        assert_eq!(ours.part(&lease.key, &lease.token, parting).await, Ok(Release::Released), "{parting:?}");
        let status = ours.status(&key("job")).await.expect("it serves");
        assert_eq!(status.holders.first().map(|holder| holder.phase), expected, "{hold_at_least:?} {parting:?}");
        if expected == Some(Phase::LockDelay) {
            assert!(left(&server) <= delay + Duration::from_millis(1), "{:?}", left(&server));
        }
        server.command::<()>(&["FLUSHALL"]);
    }
}

/// How many scripts the server has run.
fn scripts_run(server: &Server) -> u64 {
    let info: String = server.command(&["INFO", "commandstats"]);
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_eval:calls="));
    calls.map_or(0, |calls| calls.split(',').next().and_then(|calls| calls.parse().ok()).expect("a number"))
}

#[test]
fn a_tombstone_that_vanished_is_not_taken_before_its_time_by_those_who_saw_it() {
    let server = Server::start(&[]);
    let place = Place::at_port(Kind::Redis, server.port);
    let began = Instant::now();
    let hold = ["run", "-k", "job", "--hold-at-least", "4s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = place.dlock(hold).stdin_open().start();
    holder.says("ready");
    let waiter = place.queue_up("job");
    let before = scripts_run(&server);
    holder.let_go();
    holder.wait().succeeds();
    // The release, and the waiter's look at what it left.
    eventually("the waiter has seen it", || scripts_run(&server) >= before + 2);
    server.command::<()>(&["DEL", &format!("{}:job", place.namespace)]);
    waiter.says("ready");
    assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    waiter.let_go();
    waiter.wait().succeeds();
}

#[test]
fn a_release_whose_reply_was_lost_leaves_it_once() {
    let server = Server::start(&[]);
    // A word of the script that releases.
    let loser = Loser::before(server.port, b"leave_taken", Afterwards::HangsUp);
    let url = format!("redis://127.0.0.1:{}", loser.port);
    let run = ["run", "--redis", &url, "-k", "job", "--hold-at-least", "1h", "--", "true"];
    Dlock::new(run).finish().succeeds().says_nothing();
    assert!(loser.has_struck());
    assert!(server.command::<String>(&["GET", "dlock:job"]).contains(" held-at-least "));
}

#[tokio::test]
async fn it_outlives_a_restart_like_any_lock() {
    let mut server = Server::durable();
    let ours = server.backend();
    let lease = granted(&ours, &keeping("job", LONG, Duration::ZERO)).await;
    assert_eq!(ours.part(&lease.key, &lease.token, Parting::Done).await, Ok(Release::Released));
    ours.close().await;
    server.crash();
    server.start_again();
    let next = backend(&format!("redis://127.0.0.1:{}", server.port), "dlock");
    let status = next.status(&key("job")).await.expect("it serves");
    assert_eq!(
        (status.state, status.holders[0].phase),
        (LockState::Held(dlock::lock::Mode::Exclusive), Phase::HeldAtLeast)
    );
    next.close().await;
}

/// A call in the layout of another library.
fn shared(server: &Server, layout: &str, args: &[&str]) -> Dlock {
    let url = format!("redis://127.0.0.1:{}", server.port);
    let place = ["--redis", &url, "--namespace", "", "--layout", layout];
    Dlock::new([args[0]].into_iter().chain(place).chain(args[1..].iter().copied()))
}

#[test]
fn redissons_layout_keeps_the_hash_with_its_owner_until_the_end() {
    let server = Server::start(&[]);
    let hold = ["run", "-k", "job", "--hold-at-least", "3s", "--", "sh", "-c", "echo $DLOCK_TOKEN"];
    let began = Instant::now();
    let token = shared(&server, "redisson", &hold).finish().succeeds().said().to_owned();
    let status = shared(&server, "redisson", &["status", "--json", "job"]).finish().succeeds();
    assert!(status.said().contains("\"held-at-least\""), "{}", status.account());
    // What its own clients look at: the hash, one owner, an expiry.
    assert_eq!(server.command::<u64>(&["HLEN", "job"]), 1);
    assert!((1..=3_000).contains(&server.command::<i64>(&["PTTL", "job"])));
    shared(&server, "redisson", &["release", "-k", "job", "--token", &token]).finish().exits_with(79);
    shared(&server, "redisson", &["renew", "-k", "job", "--token", &token, "--ttl", "1h"]).finish().exits_with(79);
    shared(&server, "redisson", &["run", "-n", "-k", "job", "--", "true"]).finish().exits_with(75);
    shared(&server, "redisson", &["run", "-w", "20", "-k", "job", "--", "true"]).finish().succeeds();
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn a_layout_whose_waiters_are_told_of_releases_alone_holds_nothing_at_least() {
    let server = Server::start(&[]);
    let hold = ["run", "-k", "job", "--hold-at-least", "3s", "--", "true"];
    let refused = shared(&server, "python-redis-lock", &hold).finish().exits_with(64);
    refused.complains(&["--hold-at-least", "python-redis-lock", "another layout"]);
    // Meant for everything on this host, it is no reason not to lock.
    let run = ["run", "-k", "job", "--", "true"];
    shared(&server, "python-redis-lock", &run).env("DLOCK_HOLD_AT_LEAST", "1h").finish().succeeds();
    shared(&server, "python-redis-lock", &["run", "-n", "-k", "job", "--", "true"]).finish().succeeds();
}

#[test]
fn both_layouts_expire_a_lock_delay_after_the_lease() {
    let server = Server::start(&[]);
    for (layout, lock) in [("redisson", "job"), ("python-redis-lock", "lock:job")] {
        let script = "echo ready; cat >/dev/null";
        let hold = ["run", "-k", "job", "--ttl", "4s", "--lock-delay", "1h", "--", "sh", "-c", script];
        let run = shared(&server, layout, &hold).stdin_open().start();
        run.says("ready");
        let left = || Duration::from_millis(server.command::<u64>(&["PTTL", lock]));
        let granted = left();
        assert!(granted > LONG && granted <= LONG + Duration::from_secs(4), "{granted:?}");
        eventually("it is renewed to the same", || left() < granted && left() > LONG + Duration::from_secs(3));
        run.front().signal(nix::sys::signal::Signal::SIGKILL);
        eventually("nothing of the job is left", || run.job().is_empty());
        let status = shared(&server, layout, &["status", "--json", "job"]).finish().succeeds();
        assert!(status.said().contains("\"lock-delay\"") && left() <= LONG, "{}", status.account());
        server.command::<()>(&["FLUSHALL"]);
    }
}

#[test]
fn a_server_without_memory_still_leaves_what_was_asked_for() {
    let server = Server::start(&[]);
    let place = Place::at_port(Kind::Redis, server.port);
    let script = "echo ready; cat >/dev/null";
    let own = ["run", "-k", "job", "--hold-at-least", "1h", "--", "sh", "-c", script];
    let own = place.dlock(own).stdin_open().start();
    let others = shared(&server, "redisson", &["run", "-k", "job", "--hold-at-least", "1h", "--", "sh", "-c", script]);
    let others = others.stdin_open().start();
    own.says("ready");
    others.says("ready");
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    for run in [own, others] {
        run.let_go();
        run.wait().succeeds().says_nothing_on_stderr();
    }
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(place.status("job")["holders"][0]["phase"], "held-at-least");
    let status = shared(&server, "redisson", &["status", "--json", "job"]).finish().succeeds();
    assert!(status.said().contains("\"held-at-least\""), "{}", status.account());
}
