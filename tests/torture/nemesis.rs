//! What befalls the jobs and their servers: chosen by the seed, noted in the history.

mod cluster;
mod disk;
mod ensemble;
mod links;
mod masters;
mod process;
mod redis;
mod sentinel;

use std::ops::Range;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::crew::Crew;
use super::history::Scribe;

pub(super) use cluster::Migrations;
pub(super) use disk::Disk;
pub(super) use ensemble::Ensemble;
pub(super) use links::{CutOff, Links};
pub(super) use masters::Masters;
pub(super) use process::{force_releases, strike_processes};
pub(super) use redis::{Betrayal, Redis};
pub(super) use sentinel::Failovers;

/// Something that goes wrong with servers, or with the way to them; over when this returns.
pub(super) trait Nemesis: Send {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe);

    /// When all is over: as it was before.
    fn relent(&mut self) {}
}

/// A storm and the calm after it take turns: the calm shows that all come back, and how quick hand-overs are.
const STORM: Duration = Duration::from_secs(14);
const CALM: Duration = Duration::from_secs(12);

/// Calls `strike` after every pause while there is a storm, until the crew is done.
fn in_storms(crew: &Crew, dice: &mut Rng, pauses: Range<u64>, mut strike: impl FnMut(&mut Rng)) {
    let began = Instant::now();
    while !crew.are_over() {
        std::thread::sleep(Duration::from_millis(dice.u64(pauses.clone())));
        let phase = began.elapsed().as_millis() % (STORM + CALM).as_millis();
        if phase < STORM.as_millis() {
            strike(dice);
        }
    }
}

/// Notes when the machine itself stands still: nobody renews in time then, and nothing is quick.
pub(super) fn watch_the_machine(crew: &Crew) {
    while !crew.are_over() {
        let before = Instant::now();
        std::thread::sleep(PULSE);
        if before.elapsed() > PULSE + STUMBLE {
            during(&crew.scribe, "machine-busy", "server", || {});
        }
    }
}

const PULSE: Duration = Duration::from_millis(20);

/// A process that is ready to run waits so long for a processor on a machine with far more to do than it can.
const STUMBLE: Duration = Duration::from_millis(100);

/// Lets one of them befall after the other.
pub(super) fn storms(crew: &Crew, nemeses: &mut [Box<dyn Nemesis>], mut dice: Rng) {
    in_storms(crew, &mut dice, 200..1500, |dice| {
        if nemeses.is_empty() {
            return;
        }
        let which = dice.usize(..nemeses.len());
        nemeses[which].befall(dice, &crew.scribe);
    });
    for nemesis in nemeses {
        nemesis.relent();
    }
}

/// Notes a fault of `scope` for as long as `work` takes.
fn during(scribe: &Scribe, kind: &str, scope: &str, work: impl FnOnce()) {
    scribe.note(format_args!("fault {kind} {scope}"));
    work();
    scribe.note(format_args!("calm {kind} {scope}"));
}

/// From shorter than anybody notices to longer than a lease.
fn a_while(dice: &mut Rng) -> Duration {
    Duration::from_millis(dice.u64(100..5000))
}
