//! Pipelines: dlock at either end and in the middle, and a pipe whose ends are the command's alone.

use super::{EITHER_WAY, SLEEPS, Shell, directory_with, script};
use crate::support::{CTRL_C, Kind, Place};

/// What this line of bash prints with nothing in the place of `LOCKED` and with dlock there is the same.
#[track_caller]
fn prints_either_way(line: &str, wanted: &str) {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[]);
    for prefix in EITHER_WAY {
        let run = script(&place, directory.path(), "bash", &line.replace("LOCKED", prefix)).finish().succeeds();
        assert_eq!((run.said(), run.stderr()), (wanted, ""), "{}", run.account());
        assert!(place.is_free("job"));
    }
}

#[test]
fn on_the_left_it_dies_of_the_broken_pipe() {
    prints_either_way("LOCKED yes | head -1; echo ${PIPESTATUS[*]}", "y\n141 0");
    prints_either_way("set -o pipefail; LOCKED yes | head -1; echo $?", "y\n141");
}

#[test]
fn on_the_right_it_reads_to_the_end_or_breaks_the_pipe() {
    prints_either_way("seq 3 | LOCKED cat; echo ${PIPESTATUS[*]}", "1\n2\n3\n0 0");
    prints_either_way("yes | LOCKED head -1; echo ${PIPESTATUS[*]}", "y\n141 0");
}

#[test]
fn in_the_middle_it_passes_everything_on() {
    prints_either_way("seq 20000 | LOCKED sort -n | tail -1; echo ${PIPESTATUS[*]}", "20000\n0 0 0");
    prints_either_way("yes | LOCKED cat | head -1; echo ${PIPESTATUS[*]}", "y\n141 141 0");
}

/// The far end sees what the command does with its own end while dlock lives on.
#[test]
fn a_pipe_that_the_command_closes_is_closed() {
    let wait = "until [ -e ended ]; do sleep 0.02; done; rm ended";
    prints_either_way(&format!("{{ yes; >ended; }} | LOCKED sh -c 'exec <&-; {wait}; echo closed'"), "closed");
    prints_either_way(&format!("LOCKED sh -c 'echo closed; exec >&-; {wait}' | {{ cat; >ended; }}"), "closed");
}

#[test]
fn ctrl_c_ends_the_whole_pipeline_wherever_dlock_stands() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("sleeps", SLEEPS)]);
    for (line, statuses) in [
        ("dlock run -k job -- sh sleeps | cat", "130 130"),
        ("sleep 1000 | dlock run -k job -- sh sleeps", "130 130"),
        ("sleep 1000 | dlock run -k job -- sh sleeps | cat", "130 130 130"),
    ] {
        shell.terminal.enters(line);
        shell.terminal.shows("started");
        shell.terminal.types(CTRL_C);
        shell.prompts_after(130);
        shell.terminal.enters(r#"echo "statuses ${PIPESTATUS[*]}.""#);
        shell.terminal.shows(&format!("statuses {statuses}."));
        assert!(place.is_free("job"), "{line}");
    }
}
