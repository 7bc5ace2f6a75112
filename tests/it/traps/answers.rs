//! Answers that come late, or never.

use std::io::{ErrorKind, Read as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use dlock::backend::redis::{Config, Endpoint, RedisBackend, Topology};
use dlock::backend::tls::Tls;
use dlock::lock::{
    Acquired, Claim, Holder, LeaseKind, LockBackend as _, LockKey, Mode, Namespace, OwnerToken, Patience,
};
use dlock::lock::{Renewal, Retention, Ttl};
use dlock::sys::boottime::BootInstant;

use super::scripts_run;
use crate::support::{Afterwards, Dlock, Kind, Loser, Place, Proxy, Retainer, Server, eventually};

/// Stands in every request that may grant something, and in no other.
const ACQUIRE: &[u8] = b"{ 'awaited' }";
/// In every renewal.
const RENEW: &[u8] = b"local function lease()";
/// In the release of most leases.
const RELEASE: &[u8] = b"redis.sha1hex(ARGV[1]) .. ':released')\ncall('PEXPIRE'";

/// A renewal may take a tenth of it.
const TTL: Duration = Duration::from_secs(20);

fn backend(port: u16) -> RedisBackend {
    let endpoint = Endpoint::parse(&format!("redis://127.0.0.1:{port}")).expect("a valid URL");
    let namespace = Namespace::new("late").expect("a valid namespace");
    let config = Config { topology: Topology::Server(endpoint), namespace, tls: Tls::default(), wait_replicas: 0 };
    RedisBackend::open(&config).expect("opening sends nothing")
}

fn claim(name: &str) -> Claim {
    Claim {
        key: LockKey::new(name).expect("a valid key"),
        token: OwnerToken::random(),
        holder: Holder::default(),
        ttl: Ttl::Exactly(TTL),
        kind: LeaseKind::Running,
        patience: Patience::Refuse,
        mode: Mode::Exclusive,
        looks_first: false,
        retention: Retention::default(),
    }
}

/// Lets the answer go long after the server has given it. Returns an instant after the question was sent and before that.
async fn late(retainer: &Retainer) -> BootInstant {
    while !retainer.has_caught() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let caught_at = BootInstant::now();
    // The delay itself: far more than what is kept back of a lease for clocks that differ in speed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    retainer.let_go();
    caught_at
}

#[tokio::test]
async fn a_lease_counts_from_before_the_question_however_late_the_answer_comes() {
    let server = Server::redis(&[]);
    let claim = claim("job");

    let granting = Retainer::of_answers(server.port, ACQUIRE);
    let ours = backend(granting.port);
    let (acquired, caught_at) = tokio::join!(ours.acquire(&claim, &|_| {}), late(&granting));
    let Ok(Acquired::Granted(lease)) = acquired else { panic!("nobody is in the way: {acquired:?}") };
    assert!(lease.requested_at <= caught_at);
    assert!(lease.valid_until.is_some_and(|until| until < caught_at + TTL), "the server's lease ends no later");

    let renewing = Retainer::of_answers(server.port, RENEW);
    let ours = backend(renewing.port);
    let (renewed, caught_at) = tokio::join!(ours.renew(&lease), late(&renewing));
    let Ok(Renewal::Renewed { valid_until }) = renewed else { panic!("it is ours: {renewed:?}") };
    assert!(valid_until < caught_at + TTL);
}

/// The grant is of a lease that has ended, and been given to another, by the time it is heard of.
#[test]
fn a_grant_that_comes_after_its_lease_starts_nothing_and_takes_nothing_from_the_next_holder() {
    let place = Place::shared(Kind::Redis);
    let retainer = Retainer::of_answers(place.port(), ACQUIRE);
    let late = place.through(retainer.port);
    let run = late.dlock(["run", "-n", "-k", "job", "--ttl", "1s", "--", "echo", "it ran"]).start();
    eventually("the server has granted it", || retainer.has_caught());
    let next = place.queue_up("job");
    next.says("ready");
    let id = place.status("job")["holders"][0]["id"].clone();
    retainer.let_go();
    let ended = run.wait().exits_with(75).mentions(&["held by"]);
    assert!(ended.stdout.is_empty(), "{}", ended.account());
    assert_eq!(place.status("job")["holders"][0]["id"], id, "the next holder's own");
    next.let_go();
    next.wait().succeeds();
}

/// The server falls silent for exactly one renewal.
#[test]
fn a_renewal_that_fails_once_is_tried_again_long_before_the_next_one_is_due() {
    let place = Place::shared(Kind::Redis);
    let proxy = Proxy::before(place.port());
    let call = ["run", "-v", "-k", "job", "--ttl", "15s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let run = place.through(proxy.port).dlock(call).stdin_open().start();
    run.says("ready");
    proxy.say("-EXECABORT not this time\r\n");
    eventually("a renewal fails", || run.stderr().contains("cannot renew"));
    let failed_at = Instant::now();
    proxy.say_no_more();
    eventually("it is renewed", || run.stderr().contains("renewed"));
    // Renewals are five seconds apart; the pause is a tenth of the lease at most, and two busy cores are slow.
    assert!(failed_at.elapsed() < Duration::from_secs(4), "{:?}", failed_at.elapsed());
    run.let_go();
    run.wait().succeeds();
}

/// The command ends while a renewal is on its way, which reaches the server when the lock is free, or somebody else's.
#[test]
fn a_renewal_that_arrives_after_the_release_brings_nothing_back_and_prolongs_nobodys_lease() {
    for (mode, is_taken) in [("--exclusive", false), ("--exclusive", true), ("--shared", false), ("--shared", true)] {
        let place = Place::private(Kind::Redis);
        let key = format!("{}:job", place.namespace);
        let ask = |words: &[&str]| -> i64 {
            ::redis::cmd(words[0]).arg(&words[1..]).query(&mut place.redis()).expect("the server serves")
        };
        let retainer = Retainer::before(place.port(), RENEW.to_vec());
        let call = ["run", "-k", "job", "--ttl", "3s", mode, "--", "sh", "-c", "echo ready; cat >/dev/null"];
        let run = place.through(retainer.port).dlock(call).stdin_open().start();
        run.says("ready");
        eventually("a renewal is on its way", || retainer.has_caught());
        run.let_go();
        run.wait().succeeds();
        assert_eq!(ask(&["EXISTS", &key]), 0, "it was released");
        let token = is_taken.then(|| place.acquire("job", "1h"));
        let value = || ::redis::cmd("GET").arg(&key).query::<Option<String>>(&mut place.redis()).expect("it serves");
        let (before, scripts) = (value(), scripts_run(&place));
        retainer.let_go();
        eventually("the renewal is carried out", || scripts_run(&place) > scripts);
        assert_eq!(value(), before, "{mode}, taken: {is_taken}");
        if let Some(token) = token {
            assert!((3_500_000..=3_600_000).contains(&ask(&["PTTL", &key])), "the other's lease is what it was");
            place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
        }
        assert_eq!(ask(&["EXISTS", &key]), 0, "and nothing is brought back");
    }
}

#[test]
fn a_grant_whose_answer_is_lost_is_given_back_and_nobody_waits_for_its_lease() {
    let place = Place::shared(Kind::Redis);
    for verb in [&["run"][..], &["acquire"]] {
        let loser = Loser::before(place.port(), ACQUIRE, Afterwards::HangsUp);
        let rest: &[&str] = if verb[0] == "run" {
            &["-k", "job", "--ttl", "1h", "--", "echo", "it ran"]
        } else {
            &["-k", "job", "--ttl", "1h"]
        };
        let ended = place.through(loser.port).dlock_with([verb, rest].concat()).finish().exits_with(69);
        assert!(loser.has_struck() && ended.stdout.is_empty(), "{}", ended.account());
        assert!(place.is_free("job"), "it was undone: {}", ended.account());
    }
}

/// Nor can it be undone: a one-shot that nobody learnt of lapses within ten seconds, whatever was asked for.
#[test]
fn a_one_shot_that_nobody_learnt_of_ends_within_ten_seconds() {
    let place = Place::shared(Kind::Redis);
    let loser = Loser::before(place.port(), ACQUIRE, Afterwards::Silence);
    let call = place.through(loser.port).dlock(["acquire", "-n", "-k", "job", "--ttl", "1h"]).start();
    eventually("the request has come", || loser.has_struck());
    eventually("it was granted", || place.status("job")["state"] == "held");
    let left = place.status("job")["holders"][0]["remaining_ms"].as_u64().expect("a lease");
    assert!(left <= 10_000, "{left}");
    call.wait().exits_with(69);
}

/// The first release is carried out and its answer lost; the second comes when the lock is another's.
#[test]
fn a_release_that_is_tried_again_leaves_the_next_holder_alone() {
    let place = Place::shared(Kind::Redis);
    let loser = Loser::before(place.port(), RELEASE, Afterwards::HangsUp);
    let holder = place.through(loser.port).hold_for("job", "20s");
    let next = place.queue_up("job");
    holder.let_go();
    holder.wait().succeeds().says_nothing_on_stderr();
    assert!(loser.has_struck());
    next.says("ready");
    assert!(!place.is_free("job") && !next.has_ended(), "{}", next.stderr());
    next.let_go();
    next.wait().succeeds().says_nothing_on_stderr();
}

/// What a server has not read yet must not be carried out after whoever asked has given up: the connection is not closed in
/// good order, but reset.
#[test]
fn a_connection_that_is_given_up_is_reset() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().expect("it is bound").port());
    let call = Dlock::new(["run", "-w", "1s", "--redis", &url, "-k", "job", "--", "true"]).start();
    let (mut connection, _) = listener.accept().expect("dlock connects");
    let mut piece = [0; 16 * 1024];
    let end = loop {
        match connection.read(&mut piece) {
            Ok(0) => break None,
            Ok(_) => {}
            Err(error) => break Some(error.kind()),
        }
    };
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    call.wait().exits_with(69);
}
