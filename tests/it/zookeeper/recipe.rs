//! The recipe's own dangers: replies that are lost, containers that go, numbers that end, sessions that stay.

use std::time::{Duration, Instant};

use dlock::lock::{Acquired, ErrorKind, LockBackend, Patience, Release, Ttl};
use nix::sys::signal::Signal;
use zookeeper_client::Client;

use super::ensemble::{ZooKeeper, contenders};
use super::{Claim, TTL, backend, backend_at, claim, eventually, granted, in_time, one_shot, silently, waiting};
use crate::support::{
    Afterwards, Dlock, Kind, Leads, Loser, Place, Retainer, Server, eventually as seen, renaming_proxy,
};

/// Stands in every create of a contender, and in every request about one.
const CONTENDER: &[u8] = b"-lock-";

async fn stands_alone(outside: &Client, directory: &str) {
    let names = contenders(outside, directory).await;
    assert_eq!(names.len(), 1, "one contender and no ghost: {names:?}");
}

#[tokio::test]
async fn a_create_whose_reply_was_lost_is_found_again() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    for (name, claim) in [
        ("lost-try", claim("lost-try")),
        ("lost-wait", waiting("lost-wait")),
        ("lost-errand", one_shot("lost-errand", Duration::from_secs(60))),
    ] {
        let loser = Loser::before(server.port(), CONTENDER, Afterwards::HangsUp);
        let ours = backend_at(&format!("127.0.0.1:{}", loser.port), "dlock");
        let lease = granted(&ours, &claim).await;
        assert!(loser.has_struck());
        let directory = format!("/dlock/{name}");
        stands_alone(&outside, &directory).await;
        assert!(lease.fence.is_some_and(|fence| fence.0 > 0));
        assert_eq!(in_time(ours.release(&claim.key, &claim.token)).await, Ok(Release::Released));
        assert_eq!(contenders(&outside, &directory).await, Vec::<String>::new());
        ours.close().await;
    }
}

#[tokio::test]
async fn a_create_whose_reply_never_comes_is_undone_with_its_session() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    let loser = Loser::before(server.port(), CONTENDER, Afterwards::Silence);
    let ours = backend_at(&format!("127.0.0.1:{}", loser.port), "dlock");
    let lost = claim("never");
    let began = Instant::now();
    let refused = in_time(ours.acquire(&lost, &silently)).await.expect_err("nobody answers");
    assert_eq!(refused.kind, ErrorKind::Unavailable, "{refused}");
    in_time(ours.release(&lost.key, &lost.token)).await.ok();
    in_time(ours.close()).await;
    assert!(loser.has_struck());
    eventually("its session ends", async || contenders(&outside, "/dlock/never").await.is_empty()).await;
    assert!(began.elapsed() < TTL * 4, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_release_whose_reply_was_lost_is_found_to_be_done() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    // The number stands in the request to delete, and not in the one to create.
    let loser = Loser::before(server.port(), b"-lock-0000000000", Afterwards::HangsUp);
    let ours = backend_at(&format!("127.0.0.1:{}", loser.port), "dlock");
    let held = claim("let-go");
    granted(&ours, &held).await;
    assert!(!loser.has_struck());
    // As a caller does: again, until the outcome is known.
    let mut released = ours.release(&held.key, &held.token).await;
    assert!(loser.has_struck());
    while released.is_err() {
        released = in_time(ours.release(&held.key, &held.token)).await;
    }
    assert_eq!(contenders(&outside, "/dlock/let-go").await, Vec::<String>::new());
    ours.close().await;
}

#[tokio::test]
async fn a_container_that_goes_is_made_again() {
    // The server clears empty containers away all the time, not once a minute.
    let often = ["-Dznode.container.checkIntervalMs=1", "-Dznode.container.maxPerMinute=60000000"];
    let server = ZooKeeper::start(&often);
    let (ours, outside) = (backend(&server), server.client().await);
    let mut gone = 0;
    for _ in 0..100 {
        let held = claim("cleared");
        granted(&ours, &held).await;
        assert_eq!(ours.release(&held.key, &held.token).await, Ok(Release::Released));
        gone += usize::from(outside.check_stat("/dlock/cleared").await.expect("it serves").is_none());
    }
    assert!(gone > 0, "it was never cleared away");
    eventually("nothing is left", async || outside.check_stat("/dlock").await == Ok(None)).await;
    ours.close().await;
}

#[tokio::test]
async fn near_the_end_of_the_sequence_numbers_dlock_refuses_rather_than_guess() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    let port = renaming_proxy(server.port(), "-lock-0000000000", "-lock-2147483600");
    for claim in [claim("used-up"), waiting("used-up"), one_shot("used-up", Duration::from_secs(60))] {
        // The number of a directory's first contender.
        eventually("the directory is new", async || outside.delete("/dlock/used-up", None).await.is_err()).await;
        let ours = backend_at(&format!("127.0.0.1:{port}"), "dlock");
        let refused = in_time(ours.acquire(&claim, &silently)).await.expect_err("2^31 is near");
        assert_eq!(refused.kind, ErrorKind::Misconfigured, "{refused}");
        assert!(refused.message.contains("the sequence numbers of /dlock/used-up"), "{refused}");
        assert!(refused.message.contains("are nearly used up: delete the node"), "{refused}");
        assert_eq!(contenders(&outside, "/dlock/used-up").await, Vec::<String>::new(), "and nothing is left");
        ours.close().await;
    }
}

/// How many sessions the server knows.
fn sessions(server: &Server) -> usize {
    let dump = server.ask("dump").expect("it serves");
    let count = dump.lines().find_map(|line| line.strip_prefix("Session Sets (")?.split_once("/(")?.1.split_once(')'));
    let (count, _) = count.unwrap_or_else(|| panic!("the number of sessions is told: {dump}"));
    count.parse().expect("a number")
}

#[test]
fn whichever_way_dlock_ends_its_session_has_ended_before() {
    let server = Server::zookeeper_with(&[], "4lw.commands.whitelist=*\n", Leads::Alone);
    let hosts = format!("127.0.0.1:{}", server.port);
    let call = |words: &[&str]| {
        let (verb, rest) = words.split_first().expect("a subcommand comes first");
        Dlock::new([&[*verb, "--zk", &hosts], rest].concat())
    };
    let ended = |way: &str| assert_eq!(sessions(&server), 0, "{way} left a session");
    assert_eq!(sessions(&server), 0);
    call(&["run", "-k", "job", "--", "true"]).finish().succeeds();
    ended("a run");
    call(&["run", "-k", "job", "--", "false"]).finish().exits_with(1);
    ended("a run that failed");
    call(&["run", "-k", "job", "--", "/nonexistent"]).finish().exits_with(127);
    ended("a run without a program");
    call(&["run", "-k", "job", "--ttl", "1h", "--", "true"]).finish().exits_with(78);
    ended("a refused TTL");
    call(&["run", "-k", "job", "--max-runtime", "0.1", "--", "sleep", "60"]).finish().exits_with(124);
    ended("a run that was stopped");
    let token = call(&["acquire", "-n", "-k", "errand", "--ttl", "1m"]).finish().succeeds();
    ended("acquire");
    call(&["run", "-n", "-k", "errand", "--", "true"]).finish().exits_with(75);
    ended("a refusal");
    call(&["run", "-w", "0.2", "-k", "errand", "--", "true"]).finish().exits_with(75);
    ended("a wait that was given up");
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let waiter = call(&["run", "-k", "errand", "--", "true"]).start();
        seen("it waits", || server.ask("dump").is_some_and(|dump| dump.contains("/dlock/errand/_c_")));
        waiter.signal(signal);
        waiter.wait().dies_of(signal);
        ended("a wait that was interrupted");
    }
    call(&["status", "-k", "errand"]).finish().succeeds();
    call(&["list"]).finish().succeeds();
    ended("a report");
    call(&["renew", "-k", "errand", "--token", token.said()]).finish().succeeds();
    call(&["release", "-k", "errand", "--token", token.said()]).finish().succeeds();
    ended("a release");
    let killed = call(&["run", "-k", "job", "--", "sh", "-c", "echo ready; sleep 60"]).start();
    killed.says("ready");
    killed.front().signal(Signal::SIGKILL);
    killed.wait().dies_of(Signal::SIGKILL);
    seen("a keeper without its front closes the session", || sessions(&server) == 0);
}

#[tokio::test]
async fn a_session_that_came_too_late_is_closed_as_well() {
    let server = Server::zookeeper_with(&[], "4lw.commands.whitelist=*\nmaxSessionTimeout=60000\n", Leads::Alone);
    // The request for a session of 40 s: the timeout, no session so far, a password of 16 bytes.
    let request = [&[0, 0, 0x9c, 0x40][..], &[0; 8], &[0, 0, 0, 16]].concat();
    let retainer = Retainer::before(server.port, request);
    let number = async || {
        let outside = Client::connect(&format!("127.0.0.1:{}", server.port)).await.expect("the server serves");
        outside.session_id().0
    };
    let before = number().await;
    seen("nobody is there", || sessions(&server) == 0);
    let ours = backend_at(&format!("127.0.0.1:{}", retainer.port), "dlock");
    let held = Claim { ttl: Ttl::Exactly(Duration::from_secs(40)), ..claim("late") };
    // The first request is on its way for so long that a second one is sent.
    granted(&ours, &held).await;
    assert!(retainer.has_caught());
    assert_eq!(sessions(&server), 1);
    retainer.let_go();
    assert_eq!(ours.release(&held.key, &held.token).await, Ok(Release::Released));
    in_time(ours.close()).await;
    assert_eq!(sessions(&server), 0);
    assert_eq!(number().await - before, 3, "ours and the late one lie between");
}

#[test]
fn a_job_whose_node_was_deleted_is_stopped_at_once() {
    let place = Place::shared(Kind::ZooKeeper);
    let call = ["run", "-v", "-k", "deleted", "--ttl", "40s", "--", "sh", "-c", "echo ready; sleep 60"];
    let job = place.dlock(call).start();
    job.says("ready");
    // It is watched from the first heartbeat on; the next one is four seconds later.
    seen("its heart beats", || job.stderr().contains("renewed"));
    place.take_away("deleted");
    let began = Instant::now();
    job.wait().exits_with(79).mentions(&["lost"]);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_wait_that_ends_badly_leaves_no_node() {
    let server = ZooKeeper::shared();
    let (holder, outside) = (backend(server), server.client().await);
    granted(&holder, &claim("badly")).await;
    let ours = backend(server);
    let next = Claim { patience: Patience::Queue { reconnect_for: TTL }, ..claim("badly") };
    let stranger = async {
        eventually("it waits", async || contenders(&outside, "/dlock/badly").await.len() == 2).await;
        super::ensemble::create(&outside, "/dlock/badly", "0123456789abcdef0123456789abcdef__lock__", "").await;
        holder.close().await;
    };
    let (acquired, ()) = in_time(async { tokio::join!(ours.acquire(&next, &silently), stranger) }).await;
    assert!(matches!(&acquired, Err(error) if error.kind == ErrorKind::Misconfigured), "{acquired:?}");
    assert!(!matches!(acquired, Ok(Acquired::Granted(_))));
    assert_eq!(contenders(&outside, "/dlock/badly").await.len(), 1, "the stranger's");
    ours.close().await;
}
