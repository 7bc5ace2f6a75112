//! A running fleet moves from Redis to ZooKeeper as `docs/redis-to-zookeeper.md` has it: nobody overlaps, no fence falls.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::history::{NOTES, Stay, falling_fences, overlaps, stays};
use crate::support::{A_WHILE, Dlock, Place, within};

const GUIDE: &str = include_str!("../../docs/redis-to-zookeeper.md");

/// How many jobs each host has to have done at each step.
const JOBS_A_STEP: usize = 3;

/// Each block of a configuration file in the guide, with our servers.
fn steps(place: &Place) -> Vec<String> {
    let settings = |line: &&str| line.starts_with("    ") && line.contains(" = ");
    let mut steps = vec![String::new()];
    for line in GUIDE.lines() {
        if settings(&line) {
            let step = steps.last_mut().expect("there is one");
            step.push_str(&fitted(place, line.trim_start()));
            step.push('\n');
        } else if !steps.last().expect("there is one").is_empty() {
            steps.push(String::new());
        }
    }
    steps.retain(|step| !step.is_empty());
    steps.into_iter().map(|step| format!("{step}namespace = \"{}\"\n", place.namespace)).collect()
}

fn fitted(place: &Place, text: &str) -> String {
    let variables = place.environment();
    let of = |name: &str| &variables.iter().find(|(known, _)| *known == name).expect("it is set").1;
    text.replace("redis://locks.example.com", of("DLOCK_REDIS")).replace("z1,z2,z3", of("DLOCK_ZK"))
}

/// A host with its configuration file, which does one job after the other.
struct Host {
    name: &'static str,
    config: PathBuf,
    log: PathBuf,
}

impl Host {
    /// As an editor or a configuration management replaces it: the old one or the new one.
    fn take_step(&self, settings: &str) {
        let new = self.config.with_extension("new");
        fs::write(&new, settings).expect("the directory is ours");
        fs::rename(&new, &self.config).expect("the directory is ours");
    }

    fn work(&self, done: &AtomicBool) -> Vec<ExitStatus> {
        let (config, log) = (text(&self.config), text(&self.log));
        let mut ends = Vec::new();
        while !done.load(Ordering::Relaxed) {
            let job = format!("{}-{}", self.name, ends.len());
            let args = ["run", "--config", config, "-k", "nightly", "-w", "60", "--", "perl", "-e", NOTES, log, &job];
            ends.push(Dlock::new(args).finish().status);
        }
        ends
    }

    fn stays(&self) -> Vec<Stay> {
        let all = stays(&fs::read_to_string(&self.log).unwrap_or_default());
        all.into_iter().filter(|stay| stay.job.starts_with(self.name)).collect()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}

/// What the guide asks before a step.
fn nobody_is_left_on_redis_alone(place: &Place) -> bool {
    let asks =
        GUIDE.lines().find_map(|line| line.trim_start().strip_prefix("dlock doctor --before zk ")).expect("it asks");
    let words = fitted(place, asks);
    let args = ["doctor", "--before", "zk", "--namespace", &place.namespace].into_iter().chain(words.split(' '));
    let asked = Dlock::new(args).finish();
    assert!(matches!(asked.status.code(), Some(0 | 1)), "{}", asked.account());
    asked.status.success()
}

#[test]
fn a_fleet_moves_from_redis_to_zookeeper_without_an_overlap_or_a_falling_fence() {
    let place = Place::both();
    let steps = steps(&place);
    assert_eq!(steps.len(), 4, "{steps:?}");
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("history");
    let hosts = ["web-1", "web-2", "web-3"].map(|name| {
        let home = directory.path().join(name);
        fs::create_dir(&home).expect("the directory is ours");
        Host { name, config: home.join("config.toml"), log: log.clone() }
    });
    hosts.iter().for_each(|host| host.take_step(&steps[0]));
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let fleet: Vec<_> = hosts.iter().map(|host| threads.spawn(|| host.work(&done))).collect();
        let _stops = StopsAtTheEnd(&done);
        for (number, step) in steps.iter().enumerate() {
            for host in hosts.iter().filter(|_| number > 0) {
                host.take_step(step);
                all_work(&hosts, 1);
            }
            all_work(&hosts, JOBS_A_STEP);
            if number > 0 {
                within(A_WHILE * 2, "nobody is left on Redis alone", || nobody_is_left_on_redis_alone(&place));
            }
        }
        done.store(true, Ordering::Relaxed);
        for (host, ends) in hosts.iter().zip(fleet) {
            let ends = ends.join().expect("the host works to the end");
            assert!(ends.iter().all(ExitStatus::success), "{}: {ends:?}", host.name);
        }
    });
    let history = stays(&fs::read_to_string(&log).expect("jobs have run"));
    assert_eq!(overlaps(&history), [], "nobody overlaps");
    assert_eq!(falling_fences(&history), [], "no fence falls");
    let last = history.last().expect("jobs have run");
    assert!(last.fence > 4_503_599_627_370_496, "it ends above the floor: {last:?}");
}

/// Each host does so many more jobs.
fn all_work(hosts: &[Host], more: usize) {
    let wanted: Vec<usize> = hosts.iter().map(|host| host.stays().len() + more + 1).collect();
    within(Duration::from_secs(60), "every host gets its turns", || {
        hosts.iter().zip(&wanted).all(|(host, wanted)| host.stays().len() >= *wanted)
    });
}

/// Also when the test fails: the hosts' threads are waited for.
struct StopsAtTheEnd<'a>(&'a AtomicBool);

impl Drop for StopsAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
