//! What a service manager does to a unit.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{EITHER_WAY, TREE, directory_with, script};
use crate::support::{Kind, Place, eventually, processes_with, sentences_for_every_backend};

sentences_for_every_backend![term_to_the_main_process_ends_the_unit, term_to_every_process_at_once_ends_the_unit];

/// `KillMode=mixed`, and `docker stop`.
fn term_to_the_main_process_ends_the_unit(place: &Place) {
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", TREE]).start();
    run.says("started");
    eventually("the whole tree runs", || run.tree().len() == 3);
    run.signal(Signal::SIGTERM);
    let mark = run.mark();
    run.wait().dies_of(Signal::SIGTERM);
    assert!(processes_with(&mark).is_empty());
    assert!(place.is_free("job"));
}

/// `KillMode=control-group`, the default. The keeper is hit too.
fn term_to_every_process_at_once_ends_the_unit(place: &Place) {
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", TREE]).start();
    run.says("started");
    eventually("the whole tree runs", || run.tree().len() == 3);
    let unit = run.job();
    assert_eq!(unit.len(), 5);
    for process in unit {
        process.signal(Signal::SIGTERM);
    }
    let mark = run.mark();
    let ended = run.wait().dies_of(Signal::SIGTERM);
    assert_eq!(ended.stderr(), "", "nothing failed");
    assert!(processes_with(&mark).is_empty());
    assert!(place.is_free("job"));
}

/// A service that handles TERM decides how the unit ends, and has the time it takes.
#[test]
fn a_service_that_cleans_up_ends_as_it_wants_however_it_was_asked() {
    let place = Place::shared(Kind::File);
    let service = "trap 'echo stopping; until [ -e clean ]; do sleep 0.02; done; exit 5' TERM
        echo started; while :; do sleep 0.02; done";
    for hit_all in [|_: &str| true, |name: &str| name == "dlock"] {
        let directory = directory_with(&[]);
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", service]).cwd(directory.path()).start();
        run.says("started");
        for process in run.job().into_iter().filter(|process| hit_all(&process.comm)) {
            process.signal(Signal::SIGTERM);
        }
        run.says("stopping");
        assert!(!place.is_free("job"), "it is not over yet");
        std::fs::write(directory.path().join("clean"), "").expect("it is ours");
        run.wait().exits_with(5);
        assert!(place.is_free("job"));
    }
}

#[test]
fn the_commands_word_that_it_is_ready_reaches_the_manager() {
    let place = Place::shared(Kind::File);
    let notify = r#"use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; send(S, "READY=1", 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!;"#;
    for prefix in EITHER_WAY {
        let directory = directory_with(&[("notify", notify)]);
        let path = directory.path().join("socket");
        let manager = UnixDatagram::bind(&path).expect("the path is free and short");
        manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a valid time");
        let call = script(&place, directory.path(), "sh", &format!("{prefix} perl notify")).env("NOTIFY_SOCKET", &path);
        call.finish().succeeds().says_nothing();
        let mut word = [0; 64];
        let length = manager.recv(&mut word).expect("the word arrives");
        assert_eq!(&word[..length], b"READY=1");
    }
}
