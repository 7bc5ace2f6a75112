//! The jobs of a storm: who runs, who is struck, and how each ended.

use std::fs;
use std::iter::Sum;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{BLOWS, Target};
use crate::support::Place;
use crate::support::history::NOTES;

pub(super) const TTL: Duration = Duration::from_secs(3);

/// How long a frozen process stays so: longer than its lease.
const FROZEN_FOR: Duration = Duration::from_secs(4);

/// One job is struck in so many that are looked at: most must go undisturbed.
const ONE_IN: u8 = 3;

/// How the runs ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcomes {
    pub(super) succeeded: usize,
    /// Was not asked to wait any longer.
    pub(super) gave_up: usize,
    pub(super) lost: usize,
    pub(super) killed: usize,
    pub(super) unavailable: usize,
    pub(super) other: usize,
    pub(super) longest_ms: u128,
}

impl Sum for Outcomes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            succeeded: sum.succeeded + one.succeeded,
            gave_up: sum.gave_up + one.gave_up,
            lost: sum.lost + one.lost,
            killed: sum.killed + one.killed,
            unavailable: sum.unavailable + one.unavailable,
            other: sum.other + one.other,
            longest_ms: sum.longest_ms.max(one.longest_ms),
        })
    }
}

/// All workers of a storm.
#[derive(Debug)]
pub(super) struct Jobs {
    /// Redis servers that find out among themselves which one decides.
    url: String,
    /// Further options of each run.
    options: &'static [&'static str],
    namespace: String,
    /// How long a contender waits at most, as `--wait` takes it.
    patience: &'static str,
    directory: TempDir,
    keys: Vec<String>,
    /// The front of each worker's run, until it has been struck.
    fronts: Vec<Mutex<Option<i32>>>,
    over: AtomicBool,
    started: AtomicU64,
}

impl Jobs {
    pub(super) fn new(url: String, patience: &'static str) -> Self {
        let said = std::env::var("DLOCK_TEST_PROCESSES").ok();
        let count: usize = said.map_or(16, |text| text.parse().expect("DLOCK_TEST_PROCESSES is a number"));
        Self {
            namespace: Place::at_url(&url, 0).namespace,
            url,
            options: &[],
            patience,
            directory: tempfile::tempdir().expect("the temporary directory takes files"),
            keys: (0..count.div_ceil(10).max(2)).map(|key| format!("key-{key}")).collect(),
            fronts: (0..count).map(|_| Mutex::new(None)).collect(),
            over: AtomicBool::new(false),
            started: AtomicU64::new(0),
        }
    }

    /// With further options of each run.
    pub(super) fn with(self, options: &'static [&'static str]) -> Self {
        Self { options, ..self }
    }

    pub(super) fn at_a_time(&self) -> usize {
        self.fronts.len()
    }

    pub(super) fn keys(&self) -> &[String] {
        &self.keys
    }

    pub(super) fn place(&self) -> Place {
        let mut place = Place::at_url(&self.url, 0);
        place.namespace.clone_from(&self.namespace);
        place
    }

    pub(super) fn are_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn no_more(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("somebody ran")
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("history")
    }

    /// Runs one job after the other until it is over.
    pub(super) fn work(&self, worker: usize) -> Outcomes {
        let (place, log) = (self.place(), self.log_path());
        let log = log.to_str().expect("temporary directories have plain names");
        let mut outcomes = Outcomes::default();
        while !self.are_over() {
            let number = self.started.fetch_add(1, Ordering::Relaxed);
            let key = &self.keys[usize::from(random()) % self.keys.len()];
            let job = format!("job-{number}");
            let began = Instant::now();
            let call = ["run", "-k", key, "--ttl", "3s", "-w", self.patience, "-q"];
            let command = ["--", "perl", "-e", NOTES, log, &job];
            let run = place.dlock_with([&call[..], self.options, &command].concat()).start();
            *self.fronts[worker].lock().expect("nobody panics with it") = Some(run.front_pid());
            let ended = run.wait();
            self.fronts[worker].lock().expect("nobody panics with it").take();
            match (ended.status.code(), ended.status.signal()) {
                (Some(0), _) => outcomes.succeeded += 1,
                (Some(75), _) => outcomes.gave_up += 1,
                (Some(79), _) => outcomes.lost += 1,
                (Some(69), _) => outcomes.unavailable += 1,
                (Some(71), _) | (_, Some(9)) => outcomes.killed += 1,
                _ => outcomes.other += 1,
            }
            assert!(!matches!(ended.status.code(), Some(75 | 70 | 1)), "nobody waits for ever: {}", ended.account());
            outcomes.longest_ms = outcomes.longest_ms.max(began.elapsed().as_millis());
            // A look at every process of the machine: not after each job.
            if number.is_multiple_of(8) {
                run.leaves_no_process();
            }
        }
        outcomes
    }

    /// Something befalls one of the jobs that run.
    pub(super) fn strike_one(&self) {
        if !random().is_multiple_of(ONE_IN) {
            return;
        }
        let worker = usize::from(random()) % self.fronts.len();
        // Held until the blow has fallen: the number is the job's for as long.
        let mut front = self.fronts[worker].lock().expect("nobody panics with it");
        let Some(pid) = front.take() else { return };
        let (target, signal) = BLOWS[usize::from(random()) % BLOWS.len()];
        let victim = match target {
            Target::Front => Some(pid),
            Target::Keeper => child_of(pid),
            Target::Command => child_of(pid).and_then(child_of),
        };
        let Some(victim) = victim.map(Pid::from_raw) else { return };
        if kill(victim, signal).is_ok() && signal == Signal::SIGSTOP {
            std::thread::spawn(move || {
                std::thread::sleep(FROZEN_FOR);
                // A frozen process that was killed meanwhile is still there, or its number is free.
                kill(victim, Signal::SIGCONT).ok();
            });
        }
    }
}

/// Nanoseconds of CLOCK_BOOTTIME.
pub(super) fn boottime() -> u64 {
    dlock::sys::boottime::BootInstant::now().as_nanos()
}

pub(super) fn random() -> u8 {
    uuid::Uuid::new_v4().as_bytes()[1]
}

fn child_of(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
