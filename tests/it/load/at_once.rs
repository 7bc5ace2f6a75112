//! Very many processes that start in the same instant: each gets its turn, one at a time.

use std::io::pipe;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{dlock, sentences_of_load, size};
use crate::support::{Dlock, Place, Running, program, within};

sentences_of_load![all_get_their_turn_and_no_two_at_once];

/// Becomes dlock when whoever holds the other end of its standard input lets go.
const STARTING_LINE: &str = r#"echo ready; read -r _; exec "$0" "$@" </dev/null"#;

fn all_get_their_turn_and_no_two_at_once(place: &Place) {
    let count = size("DLOCK_TEST_AT_ONCE", 100);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let (line, gate) = pipe().expect("there are descriptors");
    let start = |number: usize| {
        let note = note(&log, number);
        let options = place.options();
        let options = options.iter().map(String::as_str);
        let call = ["run"].into_iter().chain(options).chain(["-q", "-k", "job", "--ttl", "60s", "-c", &note]);
        let words = ["-c", STARTING_LINE, program()].into_iter().chain(call);
        let stdin = line.try_clone().expect("there are descriptors");
        Dlock::of_program(Path::new("/bin/sh"), words).stdin_from(stdin).start()
    };
    let runs: Vec<Running> = (0..count).map(start).collect();
    runs.iter().for_each(|run| run.says("ready"));

    let began = Instant::now();
    drop(gate);
    let entries = || std::fs::read_to_string(&log).unwrap_or_default();
    let patience = Duration::from_secs(60) + Duration::from_millis(500) * u32::try_from(count).expect("not so many");
    within(patience, "all have had their turn", || entries().lines().count() == 2 * count);
    let took = began.elapsed();
    runs.iter().for_each(|run| drop(run.wait().succeeds()));

    let told = entries();
    let lines: Vec<Vec<&str>> = told.lines().map(|line| line.split(' ').collect()).collect();
    let mut fences = Vec::new();
    for stay in lines.chunks(2) {
        let [begin, end] = stay else { panic!("each writes two lines: {told}") };
        assert_eq!((begin[0], end[0], begin[1]), ("begin", "end", end[1]), "two at once: {stay:?}");
        fences.push(begin[2].parse::<u64>().expect("a fence"));
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "fences rise: {fences:?}");
    assert_eq!(place.waiters("job"), 0);
    dlock(place, &["run", "-n", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
    super::tell(&format!("| {:?} | {count} processes at once | {:.1} s |", place.kind, took.as_secs_f64()));
}

fn note(log: &Path, number: usize) -> String {
    let log = log.display();
    format!("echo begin {number} $DLOCK_FENCE >>{log}; echo end {number} >>{log}")
}
