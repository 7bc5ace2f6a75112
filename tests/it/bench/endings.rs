//! However a measurement ends, nothing of it stays.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use zookeeper_client::{Acls, CreateMode};

use super::{begins, bench};
use crate::support::{CTRL_C, Kind, Place, Running, Terminal, eventually, program, sentences_for_every_backend};

sentences_for_every_backend![a_signal_ends_it_and_nothing_stays, killed_it_leaves_nothing_either,];

/// A long one, while it measures `part`.
fn measuring(place: &Place, part: &str) -> Running {
    let words = ["bench", "--duration", "1h", "--contenders", "3", "-v"];
    // Each part is over soon, but for the one that is waited for.
    let words = match part {
        "acquire and release" => words.to_vec(),
        _ => [&words[..1], &["--duration", "6s", "--contenders", "3", "-v"]].concat(),
    };
    let running = place.dlock_with(words).start();
    begins(&running, part);
    running
}

fn a_signal_ends_it_and_nothing_stays(place: &Place) {
    let other = place.hold("other");
    let before = place.footprint();
    for (part, signal) in [("acquire and release", Signal::SIGINT), ("hand-over", Signal::SIGTERM)] {
        let running = measuring(place, part);
        running.signal(signal);
        let finished = running.wait().dies_of(signal);
        running.leaves_no_process();
        assert!(finished.stdout.is_empty(), "{}", finished.account());
        assert_eq!(place.footprint(), before, "{part}: {}", finished.account());
    }
    other.let_go();
    other.wait().succeeds();
}

fn killed_it_leaves_nothing_either(place: &Place) {
    let other = place.hold("other");
    let before = place.footprint();
    for part in ["acquire and release", "hand-over"] {
        let running = measuring(place, part);
        running.signal(Signal::SIGKILL);
        running.wait().dies_of(Signal::SIGKILL);
        running.leaves_no_process();
        assert_eq!(place.footprint(), before, "{part}");
    }
    other.let_go();
    other.wait().succeeds();
}

/// Of the nodes above the key only one that was made for it goes at once.
#[test]
fn a_namespace_that_an_operator_made_in_zookeeper_stays() {
    let place = Place::shared(Kind::ZooKeeper);
    place.zookeeper(async |client| {
        let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
        client.create(&format!("/{}", place.namespace), b"", &persistent).await.expect("nobody has it yet");
    });
    let made = Instant::now();
    eventually("it is older than what is made together", || made.elapsed() > Duration::from_millis(1_200));
    let before = place.footprint();
    bench(&place, []).finish().succeeds();
    assert_eq!(place.footprint(), before);
    assert_eq!(before.len(), 1);
}

#[test]
fn a_contender_that_is_killed_ends_it_with_a_word_and_nothing_stays() {
    let place = Place::shared(Kind::Redis);
    let running = measuring(&place, "hand-over");
    let contender = running.job().into_iter().find(|process| process.comm == "lock-contender").expect("there are some");
    contender.signal(Signal::SIGKILL);
    running.wait().exits_with(71).mentions(&["one of its processes is gone"]);
    running.leaves_no_process();
    assert!(place.footprint().is_empty(), "{:?}", place.footprint());
}

#[test]
fn a_server_that_is_lost_on_the_way_is_69_and_what_stays_is_told_of() {
    let place = Place::private(Kind::Redis);
    let running = measuring(&place, "acquire and release");
    place.server().crash();
    let finished = running.wait().exits_with(69).mentions(&["cannot remove \"dlock-bench-", "within a day"]);
    running.leaves_no_process();
    assert!(finished.stdout.is_empty(), "{}", finished.account());
}

#[test]
fn on_a_terminal_it_says_how_far_it_is_and_a_key_ends_it() {
    let place = Place::shared(Kind::Redis);
    let words = place.options();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = [&[program(), "bench", "--duration", "1m"], &words[..]].concat();
    let terminal = Terminal::start(&args, |call| call.env("TERM", "xterm"));
    terminal.shows("measuring redis: acquire and release, ");
    terminal.shows(" of 1m");
    terminal.types(CTRL_C);
    terminal.session.wait().dies_of(Signal::SIGINT);
    terminal.session.leaves_no_process();
    assert!(place.footprint().is_empty(), "{:?}", place.footprint());
}

#[test]
fn a_quiet_one_says_figures_alone() {
    let place = Place::shared(Kind::Redis);
    bench(&place, ["-q"]).finish().succeeds().says_nothing_on_stderr();
}
