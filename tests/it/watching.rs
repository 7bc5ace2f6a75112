//! `--watch`: what changes is shown again, and nothing ends it but its user.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};

use nix::sys::signal::Signal;

use crate::support::*;

const WATCH: [&str; 3] = ["list", "--watch", "--json"];

/// What `list --watch --json` has printed so far: the keys of each line, with their waiters counted.
fn lines(watch: &Running) -> Vec<Vec<(String, usize)>> {
    let said = watch.stdout();
    let whole = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    whole
        .map(|line| {
            let keys: Vec<serde_json::Value> = serde_json::from_str(line).expect("each line is an array");
            let waiters = |key: &serde_json::Value| key["waiters"].as_array().expect("it is a list").len();
            keys.iter().map(|key| (key["key"].as_str().expect("it has a name").to_owned(), waiters(key))).collect()
        })
        .collect()
}

#[track_caller]
fn tells(watch: &Running, number: usize, keys: &[(&str, usize)]) {
    eventually("the next line is there", || lines(watch).len() >= number);
    let told = lines(watch);
    let wanted: Vec<(String, usize)> = keys.iter().map(|(key, waiters)| ((*key).to_owned(), *waiters)).collect();
    assert_eq!((told.len(), &told[number - 1]), (number, &wanted), "{told:?}");
}

sentences_for_every_backend![each_change_is_one_more_line, a_table_is_printed_again_at_a_change];

fn each_change_is_one_more_line(place: &Place) {
    let watch = place.dlock(WATCH).start();
    tells(&watch, 1, &[]);
    let holder = place.hold("job");
    tells(&watch, 2, &[("job", 0)]);
    let waiter = place.queue_up("job");
    tells(&watch, 3, &[("job", 1)]);
    waiter.signal(Signal::SIGTERM);
    tells(&watch, 4, &[("job", 0)]);
    holder.let_go();
    tells(&watch, 5, &[]);
    assert!(watch.stderr().is_empty(), "{}", watch.stderr());
}

fn a_table_is_printed_again_at_a_change(place: &Place) {
    let watch = place.dlock(["status", "--watch", "job"]).start();
    eventually("the key is free", || watch.stdout().contains("job  free"));
    let holder = place.hold("job");
    eventually("the key is held", || watch.stdout().contains("job  held"));
    holder.let_go();
    eventually("the key is free again", || watch.stdout().matches("job  free").count() == 2);
    assert_eq!(watch.stdout().matches("KEY").count(), 3, "{}", watch.stdout());
}

/// Questions that the server was asked, whatever they were called, beside those of this test.
fn questions(info: &str) -> usize {
    let of_ours = ["info", "client", "hello", "ping"];
    let counted = info.lines().filter_map(|line| line.strip_prefix("cmdstat_"));
    let counted = counted.filter(|line| !of_ours.iter().any(|name| line.starts_with(name)));
    let calls = counted.map(|line| line.split([':', ',', '=']).nth(2).expect("calls come first"));
    calls.map(|calls| calls.parse::<usize>().expect("a number")).sum()
}

#[test]
fn times_that_run_are_no_change_and_all_is_asked_over_one_connection() {
    let place = Place::private(Kind::Redis);
    let _holder = place.hold("job");
    let watch = place.dlock(WATCH).start();
    tells(&watch, 1, &[("job", 0)]);
    let mut redis = place.redis();
    let mut ask = |words: &[&str]| -> String {
        ::redis::cmd(words[0]).arg(&words[1..]).query(&mut redis).expect("the server serves")
    };
    let mut connections = || -> BTreeSet<String> {
        ask(&["CLIENT", "LIST"]).lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
    };
    let before = connections();
    let mut redis = place.redis();
    let mut asked = || {
        let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut redis).expect("the server serves");
        questions(&info)
    };
    let at_first = asked();
    eventually("it has asked again and again", || asked() >= at_first + 6);
    let after = connections();
    assert!(before.is_subset(&after) && after.len() == before.len() + 1, "{before:?} {after:?}: one more is ours");
    tells(&watch, 1, &[("job", 0)]);
}

fn outlives_its_server(kind: Kind) {
    let place = Place::private(kind);
    let watch = place.dlock(WATCH).start();
    tells(&watch, 1, &[]);
    place.server().crash();
    eventually("it says that the server is gone", || watch.stderr().ends_with("dlock goes on asking\n"));
    place.server().start_again();
    eventually("it says that the server is back", || watch.stderr().ends_with("dlock: the server answers again\n"));
    tells(&watch, 2, &[]);
    let _holder = place.hold("job");
    tells(&watch, 3, &[("job", 0)]);
    assert_eq!(watch.stderr().lines().count(), 2, "{}", watch.stderr());
}

#[test]
fn a_redis_server_that_crashes_and_returns_is_told_of_once_and_watched_again() {
    outlives_its_server(Kind::Redis);
}

#[test]
fn a_zookeeper_server_that_crashes_and_returns_is_told_of_once_and_watched_again() {
    outlives_its_server(Kind::ZooKeeper);
}

#[test]
fn a_server_that_was_never_there_is_a_failure() {
    let place = Place::at_port(Kind::Redis, free_port());
    place.dlock(WATCH).finish().exits_with(69).complains(&["cannot list"]);
}

#[test]
fn a_reader_that_closes_its_pipe_ends_it_quietly() {
    let place = Place::shared(Kind::Redis);
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    let watch = place.dlock(WATCH).stdout_to(writer).start();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).expect("a pipe");
    assert_eq!(line, "[]\n");
    // Nothing changes meanwhile.
    watch.wait().succeeds().says_nothing();
}

#[test]
fn a_reader_that_takes_nothing_does_not_keep_it_from_being_ended() {
    let place = Place::shared(Kind::Redis);
    let (_reader, mut writer) = std::io::pipe().expect("there are descriptors");
    std::io::Write::write_all(&mut writer, &[b'x'; 65_536]).expect("a pipe has room for 64 KiB");
    let watch = place.dlock(WATCH).stdout_to(writer).start();
    let writes = || std::fs::read_to_string(format!("/proc/{}/wchan", watch.front_pid())).unwrap_or_default();
    eventually("it waits for its reader", || writes().contains("pipe") || writes().contains("poll"));
    watch.signal(Signal::SIGTERM);
    watch.wait().dies_of(Signal::SIGTERM);
}

#[test]
fn a_verdict_is_given_once() {
    let place = Place::shared(Kind::Redis);
    place.dlock(["status", "--watch", "--exit-code", "job"]).finish().exits_with(64).complains(&["--exit-code"]);
}

/// `dlock` with these words on a terminal that can move its cursor.
fn on_a_terminal(place: &Place, words: &[&str]) -> Terminal {
    let options = place.options();
    let program = [program(), words[0]];
    let args: Vec<&str> =
        program.into_iter().chain(options.iter().map(String::as_str)).chain(words[1..].iter().copied()).collect();
    Terminal::start(&args, |call| call.env("TERM", "xterm"))
}

const HOME: &str = "\x1b[H";
const END_OF_FRAME: &str = "\x1b[J";

/// The lines that the next drawing shows.
#[track_caller]
fn next_frame(terminal: &Terminal) -> Vec<String> {
    terminal.shows(HOME);
    let frame = terminal.shows(END_OF_FRAME);
    // The ellipsis has three bytes; the terminal puts a carriage return of its own before each end of a line.
    frame.lines().map(|line| line.trim_end_matches('\r').replace("\x1b[K", "").replace("???", "~")).collect()
}

#[test]
fn on_a_terminal_the_table_is_drawn_in_its_place_while_its_times_run() {
    let place = Place::shared(Kind::Redis);
    let terminal = on_a_terminal(&place, &["status", "--watch", "job"]);
    let frame = next_frame(&terminal);
    assert!(frame[0].starts_with("KEY") && frame[1].starts_with("job  free"), "{frame:?}");
    let _holder = place.hold("job");
    terminal.shows("job  held");
    let held = next_frame(&terminal);
    let mut later = Vec::new();
    eventually("its times have run", || {
        later = next_frame(&terminal);
        later != held
    });
    let who = |frame: &[String]| frame[1].split(')').next().map(str::to_owned);
    assert_eq!((who(&later), later.len()), (who(&held), 2), "{later:?}");
}

#[test]
fn a_window_of_40_columns_cuts_lines_and_one_of_5_rows_counts_the_rest() {
    let place = Place::shared(Kind::Redis);
    let _holder = place.hold("job");
    let terminal = on_a_terminal(&place, &["status", "--watch", "job", "a", "b", "c", "d", "e"]);
    assert!(next_frame(&terminal)[1].len() > 40);
    terminal.resize_columns(40);
    let mut frame = Vec::new();
    eventually("the lines are cut", || {
        frame = next_frame(&terminal);
        frame.iter().all(|line| line.len() <= 40)
    });
    assert!(frame[1].starts_with("job  held") && frame[1].ends_with('~'), "{frame:?}");
    terminal.resize(5);
    eventually("the rest is counted", || {
        frame = next_frame(&terminal);
        frame.len() == 4
    });
    assert_eq!(frame[3], "and 4 more lines");
}

#[test]
fn on_a_terminal_the_last_table_stays_while_the_server_is_gone() {
    let place = Place::private(Kind::Redis);
    let terminal = on_a_terminal(&place, &["status", "--watch", "job"]);
    next_frame(&terminal);
    place.server().crash();
    terminal.shows("dlock goes on asking");
    // Drawn anew, both are still there.
    terminal.resize(20);
    let frame = next_frame(&terminal);
    assert!(frame[1].starts_with("job  free"), "{frame:?}");
    assert!(frame[2].starts_with("dlock: cannot look up \"job\""), "{frame:?}");
    place.server().start_again();
    eventually("the note is gone", || next_frame(&terminal).len() == 2);
}

#[test]
fn ctrl_c_ends_it_as_any_program_and_leaves_the_terminal_as_it_was() {
    let place = Place::shared(Kind::Redis);
    let terminal = on_a_terminal(&place, &["list", "--watch"]);
    let before = terminal.modes();
    let frame = next_frame(&terminal);
    assert!(frame[1].starts_with("nothing that matches is held or awaited"), "{frame:?}");
    assert_eq!(terminal.modes(), before);
    terminal.types(CTRL_C);
    terminal.session.wait().dies_of(Signal::SIGINT);
    assert_eq!(terminal.modes(), before);
}
