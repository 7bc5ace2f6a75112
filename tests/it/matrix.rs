//! Whatever is killed or frozen, at whatever moment: nothing of the job lives when the lock can pass to somebody else, the
//! lock is free within the lease, and nothing is left behind.

mod cell;
mod job;
mod server;

use cell::{Blow, Cell, End, Fate};
use job::{Job, TTL};
use nix::sys::signal::Signal;

use crate::support::{Kind, Place, Process, eventually, within};

/// As many jobs at a time as two busy cores renew leases for without missing one.
const AT_ONCE: usize = 8;

#[test]
fn on_the_file_backend() {
    play_all(Kind::File);
}

#[test]
fn on_redis() {
    play_all(Kind::Redis);
}

#[test]
fn on_zookeeper() {
    play_all(Kind::ZooKeeper);
}

/// Each cell in a thread of its name, which a failure then shows.
fn play_all(kind: Kind) {
    let cells: Vec<(Cell, Fate)> = Cell::all().into_iter().filter_map(|cell| Some((cell, cell.fate(kind)?))).collect();
    assert!(cells.len() > 28, "the matrix is whole: {}", cells.len());
    for some in cells.chunks(AT_ONCE) {
        std::thread::scope(|threads| {
            for &(cell, fate) in some {
                let named = std::thread::Builder::new().name(format!("{kind:?} {cell:?} {fate:?}"));
                named.spawn_scoped(threads, move || play(kind, cell, fate)).expect("there are threads");
            }
        });
    }
}

fn play(kind: Kind, cell: Cell, fate: Fate) {
    let place = Place::shared(kind);
    let mut job = Job::at(&place, cell.moment);
    let victims = job.victims(cell.victim);
    let signal = match cell.blow {
        Blow::Kill => Signal::SIGKILL,
        Blow::FreezeBeyondTheLease => Signal::SIGSTOP,
    };
    job.strike(&victims, signal);
    match fate {
        Fate::Dies(end) => dies(&job, &victims, end),
        Fate::DiesWhenItWakes => dies_when_it_wakes(&job, &victims),
        Fate::CommandDiesAlone => command_dies_alone(&job),
        Fate::GoesOn => goes_on(&mut job, &victims),
        Fate::LeavesTheQueue(end) => leaves_the_queue(&mut job, end),
        Fate::GetsItsTurn => gets_its_turn(&mut job, &victims),
        Fate::HoldsUpOthers => holds_up_others(&mut job, &victims),
        Fate::IsPassedOver => is_passed_over(&place, &mut job, &victims),
    }
    eventually("the lock is free in the end", || place.is_free(job::KEY));
    // The place of a killed waiter ends with its own lease.
    eventually("nobody waits in the end", || place.waiters(job::KEY) == 0);
}

fn thaw(victims: &[Process]) {
    for victim in victims {
        victim.signal(Signal::SIGCONT);
    }
}

fn dies(job: &Job, victims: &[Process], end: End) {
    job.successor_gets_in_alone();
    thaw(victims);
    job.ends(end);
    job.run.leaves_no_process();
}

/// Front and keeper frozen at once: the exception that the README names. What wakes up looks at the deadline first.
fn dies_when_it_wakes(job: &Job, victims: &[Process]) {
    job.successor_gets_in();
    assert!(!job.run.job().is_empty(), "frozen, nobody could have ended it");
    thaw(victims);
    within(TTL, "it ends as soon as it wakes", || job.run.job().is_empty());
    job.ends(End::Status(79));
    assert!(!job.successor.has_ended(), "the next holder is left alone: {}", job.successor.stderr());
    job.let_successor_go();
}

/// Front and keeper killed at once: the other exception. The command itself dies all the same.
fn command_dies_alone(job: &Job) {
    within(TTL, "the command is dead", || Process::find(job.command.expect("it ran")).is_none());
    job.successor_gets_in();
    job.let_successor_go();
    job.ends(End::Signal(Signal::SIGKILL));
    let left = job.run.job();
    assert!(left.iter().all(|process| !process.comm.starts_with("lock-")), "no part of dlock is left: {left:?}");
}

fn goes_on(job: &mut Job, victims: &[Process]) {
    job.pass_the_gate();
    job.outlives_its_lease();
    thaw(victims);
    job.resume();
    job.run.let_go();
    job.ends(End::Status(0));
    job.successor_gets_in_alone();
    job.run.leaves_no_process();
}

fn leaves_the_queue(job: &mut Job, end: End) {
    job.ends(end);
    job.run.leaves_no_process();
    job.release_holder();
    job.successor_gets_in_alone();
}

/// A frozen front does not keep the keeper from taking the lock, nor the command from running under it.
fn gets_its_turn(job: &mut Job, victims: &[Process]) {
    job.release_holder();
    job.run.says("ready");
    job.outlives_its_lease();
    thaw(victims);
    job.run.let_go();
    job.ends(End::Status(0));
    job.successor_gets_in_alone();
}

fn holds_up_others(job: &mut Job, victims: &[Process]) {
    job.release_holder();
    job.outlives_its_lease();
    assert_eq!(job.run.stdout(), "", "frozen, it starts nothing");
    thaw(victims);
    job.run.says("ready");
    job.run.let_go();
    job.ends(End::Status(0));
    job.successor_gets_in_alone();
}

/// Whoever is frozen at its turn is passed over where there is a server to see to that. When it wakes it believes in nothing
/// that it was offered meanwhile: it queues anew, and is served then.
fn is_passed_over(place: &Place, job: &mut Job, victims: &[Process]) {
    job.release_holder();
    job.successor_gets_in();
    thaw(victims);
    eventually("it queues behind the one that holds", || place.waiters(job::KEY) == 1 || !job.run.stdout().is_empty());
    assert_eq!(job.run.stdout(), "", "the successor holds the lock");
    job.let_successor_go();
    job.run.says("ready");
    job.run.let_go();
    job.ends(End::Status(0));
}
