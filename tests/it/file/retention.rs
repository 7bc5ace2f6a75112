//! What a holder leaves behind on this host: in the records, by the clock of this boot.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Dlock, Kind, Place, Running, eventually};

const DELAY: Duration = Duration::from_secs(3);

/// Holds in this mode until it is killed or let go.
fn hold(place: &Place, mode: &[&str], options: &[&str]) -> Running {
    let args = ["run", "-k", "job"].into_iter().chain(mode.iter().chain(options).copied());
    let run = place.dlock_with(args.chain(["--", "sh", "-c", "echo ready; exec cat"])).stdin_open().start();
    run.says("ready");
    run
}

fn crash(run: &Running) {
    let (front, keeper) = (run.front(), run.keeper());
    keeper.signal(Signal::SIGKILL);
    front.signal(Signal::SIGKILL);
    eventually("nothing of the job is left", || run.job().is_empty());
}

fn attempt(place: &Place, mode: &[&str]) -> Option<i32> {
    let args = ["run", "-k", "job", "-n"].into_iter().chain(mode.iter().copied()).chain(["--", "true"]);
    place.dlock_with(args).finish().status.code()
}

fn phase(place: &Place) -> String {
    let status = place.status("job");
    status["holders"][0]["phase"].as_str().unwrap_or_else(|| panic!("it is held: {status}")).to_owned()
}

/// Whoever comes first writes down until when; whoever only looks is told that somebody is to be kept out.
#[test]
fn the_delay_of_a_dead_holder_begins_with_the_next_contender_and_ends_for_all_at_once() {
    let place = Place::shared(Kind::File);
    let run = hold(&place, &[], &["--lock-delay", "3s"]);
    assert_eq!(phase(&place), "running");
    crash(&run);
    assert_eq!(phase(&place), "lock-delay");
    let began = Instant::now();
    assert_eq!(attempt(&place, &[]), Some(75));
    let waiters = [(); 2].map(|()| place.dlock(["run", "-k", "job", "--", "true"]).start());
    for waiter in waiters {
        waiter.wait().succeeds();
    }
    let took = began.elapsed();
    assert!(took >= DELAY && took < DELAY * 2, "each waited by itself: {took:?}");
    assert_eq!(place.status("job")["state"], "free");
}

#[test]
fn a_dead_reader_keeps_writers_out_and_readers_not() {
    let place = Place::shared(Kind::File);
    let (dies, lives) = (hold(&place, &["-s"], &["--lock-delay", "3s"]), hold(&place, &["-s"], &[]));
    crash(&dies);
    assert_eq!(attempt(&place, &["-s"]), Some(0), "it would have read beside it");
    let began = Instant::now();
    lives.let_go();
    lives.wait().succeeds();
    assert_eq!(attempt(&place, &[]), Some(75));
    assert_eq!(attempt(&place, &["--slots", "2"]), Some(75));
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    assert!(began.elapsed() > DELAY / 2, "{:?}", began.elapsed());
    assert_eq!([attempt(&place, &["--slots", "2"]), attempt(&place, &["-s"])], [Some(0), Some(0)]);
}

#[test]
fn a_reader_in_good_order_leaves_nothing_beside_one_that_asks_for_more() {
    let place = Place::shared(Kind::File);
    let delays = hold(&place, &["-s"], &["--lock-delay", "1h"]);
    let holds = hold(&place, &["-s"], &["--hold-at-least", "3s", "--lock-delay", "1h"]);
    delays.let_go();
    delays.wait().succeeds();
    assert_eq!(attempt(&place, &[]), Some(75), "the other one runs");
    holds.let_go();
    holds.wait().succeeds();
    assert_eq!(phase(&place), "held-at-least");
    assert_eq!(attempt(&place, &[]), Some(75));
    place.dlock(["run", "-k", "job", "-w", "20", "--", "true"]).finish().succeeds();
    assert_eq!(place.status("job")["state"], "free");
}

#[test]
fn a_delay_that_is_over_leaves_a_place_in_the_table_that_others_may_use() {
    let place = Place::shared(Kind::File);
    for _ in 0..3 {
        let run = hold(&place, &["--slots", "1"], &["--lock-delay", "0.1"]);
        crash(&run);
        place.dlock(["run", "-k", "job", "--slots", "1", "--", "true"]).finish().succeeds();
        place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    }
    assert_eq!(place.status("job")["state"], "free");
}

#[test]
fn a_file_that_is_only_locked_keeps_nobody_out_later() {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let file = directory.path().join("lock");
    fs::write(&file, "").expect("a fresh directory takes files");
    let key = file.to_str().expect("temporary directories have plain names");
    let run = |options: &[&str]| {
        let args = ["run", "-b", "file", "--namespace", "", "-n", "-k", key].into_iter().chain(options.iter().copied());
        Dlock::new(args.chain(["--", "true"]))
    };
    for option in ["--hold-at-least", "--lock-delay"] {
        run(&[option, "1h"]).finish().exits_with(64).complains(&[option, "only locked, never written"]);
        run(&[option, "0"]).finish().succeeds();
        let variable = format!("DLOCK_{}", option[2..].to_uppercase().replace('-', "_"));
        run(&[]).env(&variable, "1h").finish().succeeds().says_nothing();
        run(&[]).finish().succeeds();
    }
}
