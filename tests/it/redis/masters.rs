//! One lock on several independent masters, by the real binary and by the backend alone.

use std::io::{BufRead as _, BufReader, Write as _};
use std::time::{Duration, Instant};

use dlock::backend::redis::Endpoint;
use dlock::backend::redis::masters::{Config, MastersBackend};
use dlock::backend::tls::Tls;
use dlock::lock::{Acquired, Lease, LockBackend as _, Namespace, Release, Renewal};
use nix::sys::signal::Signal;

use super::server::Server;
use super::{claim, key, names, one_shot, unheard};
use crate::support::{Dlock, Running, eventually, soak_time};

const TTL: Duration = Duration::from_secs(30);
const HOLD: &str = "echo ready; cat >/dev/null";

/// So many masters that know nothing of each other.
struct Masters(Vec<Server>);

impl Masters {
    fn start(count: usize) -> Self {
        Self((0..count).map(|_| Server::start(&[])).collect())
    }

    fn urls(&self) -> Vec<String> {
        self.0.iter().map(|server| format!("redis://127.0.0.1:{}", server.port)).collect()
    }

    fn backend(&self) -> MastersBackend {
        let endpoints = self.urls().iter().map(|url| Endpoint::parse(url).expect("a valid URL")).collect();
        let namespace = Namespace::new("dlock").expect("a valid namespace");
        MastersBackend::open(&Config { endpoints, namespace, tls: Tls::default() }).expect("opening sends nothing")
    }

    fn dlock<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Dlock {
        let mut args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        args.splice(1..1, ["--redis".to_owned(), self.urls().join(",")]);
        Dlock::new(args)
    }

    fn hold(&self, ttl: &str) -> Running {
        let run = self.dlock(["run", "-k", "job", "--ttl", ttl, "--", "sh", "-c", HOLD]).stdin_open().start();
        run.says("ready");
        run
    }

    /// How many of them have the lock.
    fn taken(&self) -> usize {
        self.0.iter().filter(|server| server.command::<bool>(&["EXISTS", "dlock:job"])).count()
    }

    #[track_caller]
    fn are_clean(&self) {
        eventually("no master has anything left of it", || self.taken() == 0);
    }
}

async fn granted(backend: &MastersBackend, claim: &dlock::lock::Claim) -> Lease {
    match backend.acquire(claim, &unheard).await {
        Ok(Acquired::Granted(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

#[tokio::test]
async fn an_uncontended_run_is_three_requests_to_each_master() {
    let masters = Masters::start(3);
    let mut monitors: Vec<_> = masters
        .0
        .iter()
        .map(|server| {
            let mut monitor = std::net::TcpStream::connect(("127.0.0.1", server.port)).expect("our own server accepts");
            monitor.write_all(b"MONITOR\r\n").expect("a fresh connection takes bytes");
            let mut lines = BufReader::new(monitor).lines().map(|line| line.expect("the monitor goes on"));
            assert_eq!(lines.next().as_deref(), Some("+OK"));
            lines
        })
        .collect();
    let backend = masters.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
    backend.close().await;
    for (server, monitor) in masters.0.iter().zip(&mut monitors) {
        server.command::<String>(&["ECHO", "the end"]);
        let requests: Vec<String> = monitor
            .take_while(|line| !line.contains("the end"))
            .filter(|line| !line.contains(" lua] ") && !line.contains("CLIENT"))
            .collect();
        assert_eq!(requests.len(), 3, "{requests:#?}");
    }
}

#[tokio::test]
async fn every_master_stores_the_same_owner_fence_and_number_of_masters() {
    let masters = Masters::start(5);
    let lease = granted(&masters.backend(), &claim("job", TTL)).await;
    for server in &masters.0 {
        let value: String = server.command(&["GET", "dlock:job"]);
        let words: Vec<&str> = value.split(' ').collect();
        assert_eq!(words[..4], [lease.token.secret(), "dlock/1", "exclusive", "running"]);
        assert_eq!(words[5], "30000");
        assert_eq!(words[6].parse(), Ok(lease.fence.expect("an exclusive grant has one").0));
        assert_eq!(words[7], "masters=5");
        let fence: u64 = server.command(&["GET", "{dlock:job}:dlock:fence"]);
        assert_eq!(Some(fence), lease.fence.map(|fence| fence.0));
    }
}

#[test]
fn a_held_lock_is_refused_and_waited_for_and_nothing_is_left_of_either() {
    let masters = Masters::start(3);
    let holder = masters.hold("30s");
    masters.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75).complains(&["held by"]);
    masters.dlock(["run", "-k", "job", "-w", "0.5", "--", "true"]).finish().exits_with(75);
    let waiter = masters.dlock(["run", "-k", "job", "--", "true"]).start();
    let interrupted = masters.dlock(["run", "-k", "job", "--", "true"]).start();
    eventually("both wait", || [&waiter, &interrupted].iter().all(|run| run.stderr().contains("waiting for")));
    interrupted.signal(Signal::SIGTERM);
    interrupted.wait().dies_of(Signal::SIGTERM);
    assert_eq!(masters.taken(), 3, "the holder's");
    holder.let_go();
    holder.wait().succeeds();
    waiter.wait().succeeds();
    masters.are_clean();
}

#[test]
fn a_holder_is_asked_on_a_majority_and_heeds_it() {
    let mut masters = Masters::start(3);
    let force = ["release", "--force", "--yes", "-k", "job"];
    let holder = masters.hold("6s");
    masters.0[2].crash();
    masters.dlock(force).finish().succeeds().mentions(&["asked", "give \"job\" back"]);
    holder.wait().exits_with(79).mentions(&["an operator asked for it back"]);
    masters.dlock(["acquire", "-k", "job", "--ttl", "9m"]).finish().succeeds();
    masters.dlock(force).finish().succeeds().mentions(&["freed \"job\"", "one-shot"]);
    masters.dlock(["acquire", "-k", "job", "--ttl", "9m"]).finish().succeeds();
    masters.0[1].crash();
    masters.dlock(force).finish().exits_with(69).complains(&["cannot take \"job\" back", "2 have to agree"]);
}

#[test]
fn with_a_minority_away_the_lock_is_taken_kept_and_given_back() {
    let mut masters = Masters::start(5);
    masters.0[0].freeze();
    masters.0[3].crash();
    let began = Instant::now();
    let holder = masters.hold("2s");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Longer than the lease: it has to have been renewed.
    std::thread::sleep(Duration::from_secs(3));
    masters.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    holder.let_go();
    holder.wait().succeeds();
    masters.0[0].thaw();
    masters.0[3].start_again();
    masters.are_clean();
}

#[test]
fn a_minority_that_comes_back_empty_lets_nobody_in() {
    let mut masters = Masters::start(3);
    let holder = masters.hold("30s");
    masters.0[1].crash();
    masters.0[1].start_again();
    for _ in 0..5 {
        masters.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    }
    assert_eq!(masters.taken(), 2, "and it is not made anew where it is gone");
    let status = masters.dlock(["status", "job", "--json"]).finish().succeeds().mentions(&["says that it is free"]);
    assert!(status.said().contains(r#""state":"held""#), "{}", status.said());
    holder.let_go();
    holder.wait().succeeds();
    masters.are_clean();
}

#[test]
fn a_majority_lost_while_holding_ends_the_command_before_its_lease() {
    let masters = Masters::start(3);
    let run = masters.hold("2s");
    masters.0[0].freeze();
    masters.0[1].freeze();
    let began = Instant::now();
    eventually("nothing of the command lives", || run.tree().is_empty());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    run.wait().exits_with(79);
    masters.0[0].thaw();
    masters.0[1].thaw();
    masters.are_clean();
}

#[tokio::test]
async fn not_ours_on_so_many_that_no_majority_is_left_is_a_loss_and_silence_is_not() {
    let masters = Masters::start(3);
    let backend = masters.backend();
    let lease = granted(&backend, &claim("job", TTL)).await;
    masters.0[0].command::<()>(&["DEL", "dlock:job"]);
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    masters.0[1].freeze();
    assert!(backend.renew(&lease).await.is_err(), "the frozen one may still say yes");
    masters.0[1].thaw();
    assert!(matches!(backend.renew(&lease).await, Ok(Renewal::Renewed { .. })));
    masters.0[1].command::<()>(&["DEL", "dlock:job"]);
    assert_eq!(backend.renew(&lease).await, Ok(Renewal::Lost));
    assert_eq!(masters.taken(), 1, "nothing was made anew");
}

#[test]
fn fewer_than_a_majority_is_69_and_what_was_taken_is_free_again() {
    let mut masters = Masters::start(5);
    for down in 0..2 {
        masters.0[down].crash();
    }
    masters.0[2].freeze();
    masters.dlock(["run", "-k", "job", "--", "true"]).finish().exits_with(69).complains(&["masters", "3 have to"]);
    masters.dlock(["acquire", "-k", "job", "--ttl", "60s"]).finish().exits_with(69);
    masters.0[2].thaw();
    for server in &masters.0[2..] {
        // What a frozen master was asked reaches it now; its undoing does, too.
        eventually("nothing is left", || !server.command::<bool>(&["EXISTS", "dlock:job"]));
    }
}

#[tokio::test]
async fn fences_rise_whichever_majority_grants() {
    let masters = Masters::start(3);
    // A clock that was right once: numbers far above those of the servers' clocks.
    masters.0[2].command::<()>(&["SET", "{dlock:job}:dlock:fence", "9000000000000000"]);
    let mut last = 9_000_000_000_000_000;
    for away in [0, 2, 1, 0, 2, 1] {
        masters.0[away].freeze();
        let backend = masters.backend();
        let lease = granted(&backend, &claim("job", TTL)).await;
        let fence = lease.fence.expect("an exclusive grant has one").0;
        assert!(fence > last, "{fence} after {last} without master {away}");
        last = fence;
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
        masters.0[away].thaw();
    }
}

#[tokio::test]
async fn a_one_shot_is_prolonged_and_released_by_its_token() {
    let masters = Masters::start(3);
    let backend = masters.backend();
    let lease = granted(&backend, &one_shot(claim("job", Duration::from_secs(60)))).await;
    for server in &masters.0 {
        assert!(server.command::<i64>(&["PTTL", "dlock:job"]) > 50_000);
    }
    let other = masters.backend();
    other.prolong(&lease.key, &lease.token, Some(Duration::from_secs(300))).await.expect("it is answered");
    assert!(masters.0[1].command::<i64>(&["PTTL", "dlock:job"]) > 250_000);
    let stranger = dlock::lock::OwnerToken::random();
    assert_eq!(other.release(&key("job"), &stranger).await, Ok(Release::NotHeld));
    assert_eq!(other.release(&lease.key, &lease.token).await, Ok(Release::Released));
    assert_eq!(other.release(&key("free"), &stranger).await, Ok(Release::NotHeld));
    masters.are_clean();
}

#[test]
fn another_number_of_masters_is_a_configuration_error_on_both_sides() {
    let masters = Masters::start(3);
    let holder = masters.hold("30s");
    let urls = masters.urls();
    for fewer in [&urls[..2], &urls[..1]] {
        let fewer = fewer.join(",");
        let run = Dlock::new(["run", "-q", "-k", "job", "-n", "--redis", &fewer, "--", "true"]).finish();
        run.exits_with(78).complains(&["counts 3 masters"]);
    }
    holder.let_go();
    holder.wait().succeeds();
    masters.are_clean();
}

#[test]
fn two_masters_are_warned_about_and_one_server_by_two_names_is_refused() {
    let masters = Masters::start(2);
    let run = masters.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    run.complains(&["2 masters", "use an odd number"]);
    let port = masters.0[0].port;
    let twice = format!("redis://127.0.0.1:{port},redis://127.0.0.1:{port}");
    Dlock::new(["run", "-k", "job", "--redis", &twice, "--", "true"]).finish().exits_with(64).complains(&["twice"]);
    let hidden = format!("redis://127.0.0.1:{port},redis://localhost:{port}");
    let run = Dlock::new(["run", "-q", "-k", "job", "--redis", &hidden, "--", "true"]).finish();
    run.exits_with(78).complains(&["under another name"]);
    for mode in [&["--shared"][..], &["--slots", "2"], &["--wait-replicas", "1"]] {
        let args = [&["run", "-k", "job"], mode, &["--", "true"]].concat();
        masters.dlock(args).finish().exits_with(64);
    }
    masters.are_clean();
    assert!(masters.0.iter().all(|server| names(server).iter().all(|name| name.contains(":dlock:"))));
}

/// Notes its fence and both times. One `echo` is one write to a file opened for appending.
const NOTE: &str = r#"
began=$(date +%s%N)
sleep 0.01
echo "$DLOCK_FENCE $began $(date +%s%N)" >>"$1"
"#;

#[test]
fn contenders_that_are_killed_or_wait_never_overlap_with_two_of_five_masters_away() {
    let mut masters = Masters::start(5);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let path = log.to_str().expect("temporary directories have plain names");
    masters.0[1].freeze();
    masters.0[4].crash();
    let began = Instant::now();
    while began.elapsed() < soak_time() {
        let contend = || masters.dlock(["run", "-k", "job", "--ttl", "2s", "--", "sh", "-c", NOTE, "sh", path]).start();
        let runs: Vec<Running> = (0..4).map(|_| contend()).collect();
        let killed = contend();
        let all_of_it = contend();
        // Wherever they are by now: before their first request, between two, or with their command.
        killed.signal(Signal::SIGKILL);
        all_of_it.job().iter().for_each(|process| process.signal(Signal::SIGKILL));
        for run in runs {
            run.wait().succeeds();
        }
    }
    let text = std::fs::read_to_string(&log).expect("somebody ran");
    let mut stays: Vec<Vec<u128>> =
        text.lines().map(|line| line.split(' ').map(|word| word.parse().expect("a number")).collect()).collect();
    stays.sort_by_key(|stay| stay[1]);
    for pair in stays.windows(2) {
        assert!(pair[0][2] <= pair[1][1], "two held it at once: {pair:?}");
        assert!(pair[0][0] < pair[1][0], "the fence did not rise: {pair:?}");
    }
}
