//! Processes are killed and stopped, and locks are taken back.

use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::crew::{Crew, TTL, Victim};
use super::{during, in_storms};

/// Never more than one blow to a job: front and keeper do not fall together.
const BLOWS: [(&str, Victim, Signal); 6] = [
    ("front-killed", Victim::Front, Signal::SIGKILL),
    ("keeper-killed", Victim::Keeper, Signal::SIGKILL),
    ("command-killed", Victim::Command, Signal::SIGKILL),
    ("front-stopped", Victim::Front, Signal::SIGSTOP),
    ("keeper-stopped", Victim::Keeper, Signal::SIGSTOP),
    ("command-stopped", Victim::Command, Signal::SIGSTOP),
];

/// Strikes one job after the other.
pub(in super::super) fn strike_processes(crew: &Crew, mut dice: Rng) {
    std::thread::scope(|threads| {
        in_storms(crew, &mut dice, 50..1200, |dice| {
            let (kind, victim, signal) = BLOWS[dice.usize(..BLOWS.len())];
            // Sometimes shorter than its lease, mostly longer.
            let stopped_for = Duration::from_millis(dice.u64(1000..6000)).min(TTL * 3 / 2);
            crew.strike_one(dice, victim, |job, pid| {
                let scope = format!("job:{job}");
                crew.scribe.note(format_args!("fault {kind} {scope}"));
                let struck = kill(Pid::from_raw(pid), signal).is_ok();
                if struck && signal == Signal::SIGSTOP {
                    threads.spawn(move || {
                        std::thread::sleep(stopped_for);
                        // One that was killed meanwhile is still there, or its number is free: numbers do not come
                        // round in seconds.
                        kill(Pid::from_raw(pid), Signal::SIGCONT).ok();
                        crew.scribe.note(format_args!("calm {kind} {scope}"));
                    });
                } else {
                    crew.scribe.note(format_args!("calm {kind} {scope}"));
                }
            });
        });
    });
}

/// Takes locks back by `release --force`, as an operator does.
pub(in super::super) fn force_releases(crew: &Crew, mut dice: Rng) {
    in_storms(crew, &mut dice, 300..1500, |dice| {
        let key = crew.keys[dice.usize(..crew.keys.len())].clone();
        during(&crew.scribe, "force", &format!("key:{key}"), || {
            // Whether somebody held it, or another by now, is all one.
            let mut asked =
                crew.dlock(dice.usize(..crew.places.len()), &["release", "--force", "--yes", "-q", "-k", &key]);
            asked.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("the system has processes left");
        });
    });
}
