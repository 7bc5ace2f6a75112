//! Cut off in every way: the command is dead before the ensemble can give its lock to the next.
//!
//! `DLOCK_TEST_REPEATS` says how often each is tried; the margins go to standard error.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dlock::lock::{Acquired, LockBackend, Ttl};

use super::ensemble::ZooKeeper;
use super::{Claim, backend_at, in_time, waiting};
use crate::support::{Dlock, Kind, Place, Proxy, Running, Server, eventually};

/// Short, so that thirty rounds are over soon.
const TTL: Duration = Duration::from_secs(2);

/// Notes the time, CLOCK_BOOTTIME in nanoseconds, as often as it can, and does not go when it is asked to: only what
/// cannot be refused ends it.
const TICKS: &str = r#"
$SIG{TERM} = "IGNORE";
use Time::HiRes qw(clock_gettime usleep);
open(my $log, ">>", $ARGV[0]) or die $!;
$| = 1;
print "ready\n";
while (1) { syswrite($log, sprintf("%.0f\n", clock_gettime(7) * 1e9)); usleep(500) }
"#;

fn repeats() -> usize {
    std::env::var("DLOCK_TEST_REPEATS").map_or(1, |text| text.parse().expect("DLOCK_TEST_REPEATS is a number"))
}

/// A job that notes that it lives, reached through one server only.
struct Job {
    run: Running,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Job {
    fn start(port: u16, key: &str) -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory takes files");
        let log = directory.path().join("ticks");
        let (hosts, text) = (format!("127.0.0.1:{port}"), log.to_str().expect("a plain name").to_owned());
        let call = ["run", "-v", "--zk", &hosts, "-k", key, "--ttl", "2s", "--", "perl", "-e", TICKS, &text];
        let run = Dlock::new(call).start();
        run.says("ready");
        Self { run, log, _directory: directory }
    }

    /// Returns in the instant after a renewal was acknowledged.
    fn is_renewed(&self) {
        let renewals = |job: &Running| job.stderr().matches("renewed").count();
        let before = renewals(&self.run);
        let until = Instant::now() + Duration::from_secs(10);
        while renewals(&self.run) == before {
            assert!(Instant::now() < until && !self.run.has_ended(), "it is renewed: {}", self.run.stderr());
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Its last sign of life, once it has ended for the loss of its lease.
    fn last_tick(&self) -> u64 {
        self.run.wait().exits_with(79);
        last_number(&self.log)
    }
}

fn last_number(log: &Path) -> u64 {
    let text = std::fs::read_to_string(log).expect("it has begun");
    text.trim_end().lines().last().expect("it has ticked").parse().expect("a number")
}

/// What a round has shown: for how long the command was dead when the next one was granted the lock.
#[derive(Debug, Default)]
struct Margins(Vec<Duration>);

impl Margins {
    fn note(&mut self, last_tick: u64, granted: u64) {
        assert!(last_tick < granted, "the command lived {} ns into the next one's lease", last_tick - granted);
        self.0.push(Duration::from_nanos(granted - last_tick));
    }

    fn tell(&self, what: &str) {
        let (least, most) = (self.0.iter().min().expect("a round"), self.0.iter().max().expect("a round"));
        let times = self.0.len();
        let words = format!("{what}, {times} times: dead {least:?} to {most:?} before the next grant");
        writeln!(std::io::stderr(), "{words}").expect("standard error is open");
    }
}

/// Queues up behind the job at another server; the instant before its grant was confirmed, once `strike` has struck.
async fn next_grant(port: u16, key: &str, strike: impl FnOnce()) -> u64 {
    let ours = backend_at(&format!("127.0.0.1:{port}"), "dlock");
    let claim = Claim { ttl: Ttl::Exactly(TTL), ..waiting(key) };
    let waits = std::cell::Cell::new(false);
    let note = |_| waits.set(true);
    let mut acquiring = Box::pin(ours.acquire(&claim, &note));
    tokio::select! {
        acquired = &mut acquiring => panic!("it is held: {acquired:?}"),
        () = super::eventually("it waits", async || waits.get()) => {}
    }
    strike();
    let Ok(Acquired::Granted(lease)) = in_time(acquiring).await else { panic!("the session ends, and it is next") };
    ours.close().await;
    lease.requested_at.as_nanos()
}

#[tokio::test]
async fn a_client_that_is_cut_off_from_its_server() {
    let server = ZooKeeper::shared();
    let mut margins = Margins::default();
    for round in 0..repeats() {
        let key = format!("cut-client-{round}");
        let proxy = Proxy::before(server.port());
        let job = Job::start(proxy.port, &key);
        let granted = next_grant(server.port(), &key, || {
            job.is_renewed();
            proxy.fall_silent();
        })
        .await;
        margins.note(job.last_tick(), granted);
    }
    margins.tell("client cut off from its server");
}

#[tokio::test]
async fn a_follower_that_is_cut_off_from_its_leader_and_not_from_us() {
    let (servers, links) = Server::zookeeper_ensemble_by_proxies();
    let mut margins = Margins::default();
    for round in 0..repeats() {
        let (leader, followers) = roles(&servers);
        let (cut, whole) = (followers[round % 2], followers[(round + 1) % 2]);
        let key = format!("cut-follower-{round}");
        let job = Job::start(servers[cut].port, &key);
        let granted = next_grant(servers[whole].port, &key, || {
            // At any moment between two heartbeats.
            let wait = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
            std::thread::sleep(Duration::from_millis(wait));
            links[cut][leader].fall_silent();
        })
        .await;
        let says = servers[cut].ask("srvr").unwrap_or_default();
        assert!(says.contains("Mode: follower"), "it believes in its leader all the time: {says}");
        margins.note(job.last_tick(), granted);
        links[cut][leader].recover();
    }
    margins.tell("follower cut off from its leader");
}

#[tokio::test]
async fn a_follower_that_is_killed_right_after_an_acknowledgement() {
    let mut servers = Server::zookeeper_ensemble();
    let mut margins = Margins::default();
    for round in 0..repeats() {
        let (_, followers) = roles(&servers);
        let (doomed, whole) = (followers[round % 2], servers[followers[(round + 1) % 2]].port);
        let key = format!("killed-follower-{round}");
        let job = Job::start(servers[doomed].port, &key);
        let victim = &mut servers[doomed];
        let granted = next_grant(whole, &key, || {
            job.is_renewed();
            victim.crash();
        })
        .await;
        margins.note(job.last_tick(), granted);
        servers[doomed].start_again();
    }
    margins.tell("follower killed right after an acknowledgement");
}

/// The leader, and the two others.
fn roles(servers: &[Server; 3]) -> (usize, [usize; 2]) {
    let mut found = None;
    eventually("one of three leads, and the others follow", || {
        let modes = servers.each_ref().map(|server| server.ask("srvr").unwrap_or_default());
        let leader = modes.iter().position(|says| says.contains("Mode: leader"));
        let follow = modes.iter().filter(|says| says.contains("Mode: follower")).count();
        found = leader.filter(|_| follow == 2);
        found.is_some()
    });
    let leader = found.expect("it was found");
    (leader, [(leader + 1) % 3, (leader + 2) % 3])
}

#[test]
fn a_rolling_restart_with_its_leader_changes_costs_a_job_of_six_seconds_nothing() {
    let mut servers = Server::zookeeper_ensemble();
    let hosts = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port)).join(",");
    // The leader comes last: whoever leads after it has been restarted before.
    let (leader, followers) = roles(&servers);
    let hold = ["--", "sh", "-c", "echo ready; cat >/dev/null"];
    let call = [&["run", "-v", "--zk", &hosts, "-k", "rolling", "--ttl", "6s"], &hold[..]].concat();
    let job = Dlock::new(call).stdin_open().start();
    job.says("ready");
    for index in [followers[0], followers[1], leader] {
        servers[index].crash();
        servers[index].start_again();
        roles(&servers);
        let renewed = job.stderr().matches("renewed").count();
        eventually("it is renewed", || {
            assert!(!job.has_ended(), "{}", job.stderr());
            job.stderr().matches("renewed").count() > renewed
        });
    }
    job.let_go();
    job.wait().succeeds();
}

#[test]
fn a_leader_that_is_away_for_half_a_second_costs_a_job_of_six_seconds_nothing() {
    let servers = Server::zookeeper_ensemble();
    let (leader, followers) = roles(&servers);
    for through in [leader, followers[0]] {
        let place = Place::at_port(Kind::ZooKeeper, servers[through].port);
        let job = place.hold_for("away", "6s");
        for _ in 0..3 {
            servers[leader].freeze();
            std::thread::sleep(Duration::from_millis(500));
            servers[leader].thaw();
            eventually("it serves again", || servers[leader].ask("srvr").is_some_and(|says| says.contains("Mode: ")));
        }
        job.let_go();
        job.wait().succeeds();
    }
}
