//! Those who work under the locks: each runs one dlock after the other, as its seed has it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dlock::sys::boottime::BootInstant;
use fastrand::Rng;
use tempfile::TempDir;

use super::history::{Mode, Scribe};
use crate::support::{MARK, processes_with};

/// Of every lease but those of a pair.
pub(super) const TTL: Duration = Duration::from_secs(3);

/// With a log, a name, seconds, a manner and a status: writes when it begins, every few milliseconds, and when it ends.
const COMMAND: &str = r#"
use Time::HiRes qw(clock_gettime sleep);
my ($log, $job, $seconds, $manner, $code) = @ARGV;
$SIG{TERM} = "IGNORE" if $manner eq "stubborn";
open(my $history, ">>", $log) or die $!;
sub note { syswrite($history, sprintf("%.0f %s\n", clock_gettime(7) * 1e9, join(" ", @_))) }
note("began", $job, $ENV{DLOCK_FENCE} // "-");
if ($manner eq "forks" && !fork) {
    setpgrp;
    for (1 .. 2000) { sleep 0.005; note("tick", $job) }
    exit;
}
my $until = clock_gettime(7) + $seconds;
while (clock_gettime(7) < $until) { sleep 0.005; note("tick", $job) }
note("end", $job);
exit $code;
"#;

/// In which modes the keys are locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modes {
    Exclusive,
    /// Readers, and now and then a writer.
    Shared,
    /// So many at once.
    Slots(usize),
}

/// A pair comes together once in this time.
const ROUND: Duration = Duration::from_nanos(NANOS_OF_A_ROUND);
const NANOS_OF_A_ROUND: u64 = 7_000_000_000;

/// Who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As many as asked for, most of them quick.
    Crowd,
    /// Two, who come at the same time and do not stay long.
    Pair,
    /// Four, who all stay for longer than their lease.
    Sitters,
}

/// What all of them share.
#[derive(Debug)]
pub(super) struct Crew {
    /// The dlock under torture.
    pub(super) program: PathBuf,
    /// Where to lock; each worker takes one of these.
    pub(super) places: Vec<Vec<String>>,
    pub(super) modes: Modes,
    shape: Shape,
    pub(super) keys: Vec<String>,
    pub(super) scribe: Scribe,
    pub(super) log: PathBuf,
    mark: String,
    home: TempDir,
    /// The job of each worker and its front, until it has been struck or is over.
    running: Vec<Mutex<Option<(String, i32)>>>,
    over: AtomicBool,
}

/// Who is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Front,
    Keeper,
    Command,
}

impl Crew {
    pub(super) fn new(
        program: PathBuf,
        places: Vec<Vec<String>>,
        modes: Modes,
        (shape, crowd): (Shape, usize),
        log: &Path,
    ) -> Self {
        let workers = match shape {
            Shape::Crowd => crowd,
            Shape::Pair => 2,
            Shape::Sitters => 4,
        };
        Self {
            program,
            places,
            modes,
            shape,
            keys: (0..workers.div_ceil(4)).map(|key| format!("key-{key}")).collect(),
            scribe: Scribe::new(log),
            log: log.to_owned(),
            mark: uuid::Uuid::new_v4().simple().to_string(),
            home: TempDir::with_prefix("dlock-torture-").expect("the temporary directory takes files"),
            running: (0..workers).map(|_| Mutex::new(None)).collect(),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.running.len()
    }

    pub(super) fn are_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub(super) fn no_more(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// `dlock` as the crew calls it, for whoever meddles.
    pub(super) fn dlock(&self, place: usize, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(args[0]).args(&self.places[place % self.places.len()]).args(&args[1..]);
        command.env_clear().env("HOME", self.home.path()).env(MARK, &self.mark).stdin(Stdio::null());
        for name in ["PATH", "DLOCK_DEFECT"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// Runs one job after the other until it is over. `dice` decides all that a job is.
    pub(super) fn work(&self, worker: usize, mut dice: Rng) {
        let errors = self.home.path().join(format!("stderr-{worker}"));
        let log = self.log.to_str().expect("the history has a plain name");
        for number in 0.. {
            if self.are_over() {
                break;
            }
            if self.shape == Shape::Pair {
                // Nobody else comes soon, who would find out that one waits for a message that it has missed.
                std::thread::sleep(ROUND - Duration::from_nanos(BootInstant::now().as_nanos() % NANOS_OF_A_ROUND));
            }
            let name = format!("w{worker}-{number}");
            let key = &self.keys[dice.usize(..self.keys.len())];
            let mode = self.mode(&mut dice);
            let code = [0, 0, 0, 7, 33][dice.usize(..5)].to_string();
            let manner =
                ["plain", "plain", "plain", "plain", "forks", "stubborn", "stubborn", "passes"][dice.usize(..8)];
            // Most are short; some outlast their lease, so that it has to be renewed.
            let stays = match self.shape {
                Shape::Crowd => dice.u8(..6) == 0,
                Shape::Pair => false,
                Shape::Sitters => true,
            };
            let seconds = match self.shape {
                _ if stays => 1.0 + 8.0 * dice.f64(),
                // About as long as it takes the other one to come and ask.
                Shape::Pair => 0.05 + 0.2 * dice.f64(),
                _ => 0.15 * dice.f64(),
            };
            // There is more to see of one that does not end when it is asked.
            let manner = if stays && manner == "plain" && dice.bool() { "stubborn" } else { manner };
            let seconds = format!("{seconds:.3}");
            // A waiter that missed its message looks after a third of this, which shows.
            let ttl = if self.shape == Shape::Pair { "15s" } else { "3s" };
            let mut args = vec!["run", "-q", "--ttl", ttl, "-k", key];
            let of_mode = mode.options();
            args.extend(of_mode.iter().map(String::as_str));
            args.extend(if manner == "passes" { vec!["-n"] } else { vec!["-w", "90s"] });
            args.extend(if manner == "forks" { &["--descendants", "kill"][..] } else { &[] });
            args.extend(["--", "perl", "-e", COMMAND, log, &name, &seconds, manner, &code]);
            let stderr = File::options().create(true).append(true).open(&errors).expect("it is our directory");
            self.scribe.note(format_args!("start {name} {key} {mode} {code} {manner}"));
            let mut child = self
                .dlock(worker, &args)
                .stdout(Stdio::null())
                .stderr(stderr)
                .spawn()
                .expect("the system has processes left");
            let pid = i32::try_from(child.id()).expect("a pid is an i32");
            *self.running[worker].lock().expect("nobody panics with it") = Some((name.clone(), pid));
            wait_unreaped(pid);
            // From here on the number may be another's.
            self.running[worker].lock().expect("nobody panics with it").take();
            let status = child.wait().expect("our own child can be waited for");
            let ended = status.code().map_or_else(
                || format!("signal:{}", status.signal().unwrap_or_default()),
                |code| format!("code:{code}"),
            );
            self.scribe.note(format_args!("exit {name} {ended}"));
        }
    }

    fn mode(&self, dice: &mut Rng) -> Mode {
        match self.modes {
            Modes::Exclusive => Mode::Exclusive,
            Modes::Shared if dice.u8(..4) == 0 => Mode::Exclusive,
            Modes::Shared => Mode::Shared,
            Modes::Slots(total) => Mode::Slots(total),
        }
    }

    /// Lets `strike` at one of the jobs that run: mostly one that holds a lock, as there is most to lose.
    pub(super) fn strike_one(&self, dice: &mut Rng, victim: Victim, strike: impl FnOnce(&str, i32)) {
        let mut worker = dice.usize(..self.running.len());
        if dice.u8(..4) > 0 {
            let holds = |worker: &usize| {
                let running = self.running[*worker].lock().expect("nobody panics with it");
                running.as_ref().is_some_and(|(_, front)| child_of(*front).and_then(child_of).is_some())
            };
            worker = (0..self.running.len())
                .map(|further| (worker + further) % self.running.len())
                .find(holds)
                .unwrap_or(worker);
        }
        // Held until the blow has fallen: the number is the job's for as long.
        let mut running = self.running[worker].lock().expect("nobody panics with it");
        let Some((name, front)) = &*running else { return };
        let pid = match victim {
            Victim::Front => Some(*front),
            Victim::Keeper => child_of(*front),
            Victim::Command => child_of(*front).and_then(child_of),
        };
        // One that has no command yet may be struck later.
        let Some(pid) = pid else { return };
        strike(name, pid);
        *running = None;
    }

    /// What lives of all that this crew started.
    pub(super) fn living(&self) -> Vec<String> {
        let names = processes_with(&self.mark).into_iter().map(|process| format!("{} {}", process.pid, process.comm));
        names.collect()
    }

    /// What the jobs said on standard error, the sentences counted; names and numbers of one sentence differ.
    pub(super) fn said(&self) -> String {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for worker in 0..self.running.len() {
            let text = fs::read(self.home.path().join(format!("stderr-{worker}"))).unwrap_or_default();
            for line in String::from_utf8_lossy(&text).lines() {
                let digits = |letter: char| if letter.is_ascii_digit() { '#' } else { letter };
                *counts.entry(line.chars().map(digits).collect::<String>()).or_default() += 1;
            }
        }
        let mut said: Vec<(String, usize)> = counts.into_iter().collect();
        said.sort_by_key(|(_, count)| Reverse(*count));
        said.iter().map(|(sentence, count)| format!("{count:6} {sentence}\n")).collect()
    }
}

/// Returns when `pid` has ended, and leaves its number taken.
fn wait_unreaped(pid: i32) {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let id = || Id::Pid(nix::unistd::Pid::from_raw(pid));
    while let Err(nix::errno::Errno::EINTR) = waitid(id(), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
}

fn child_of(pid: i32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
