//! Process 1 of a container.

use nix::sys::signal::Signal;

use super::{TELLS_SIGNALS, at, directory_with, front_of, is_root};
use crate::support::{Dlock, Kind, Place, processes_with};

/// This program as process 1 of a namespace of processes.
fn contain(place: &Place, args: &[&str]) -> Dlock {
    // Whoever is not root is root in a namespace of users.
    let namespaces: &[&str] = if is_root() { &["-pf"] } else { &["-Urpf"] };
    at(place, Dlock::of_program("unshare".as_ref(), namespaces.iter().chain(&["--mount-proc"]).chain(args)))
}

fn run_contained(place: &Place, script: &str) -> Dlock {
    contain(place, &["dlock", "run", "-k", "job", "--", "sh", "-c", script])
}

#[test]
fn process_1_ends_with_the_commands_status_or_128_and_its_signal() {
    let place = Place::shared(Kind::File);
    run_contained(&place, "exit 3").finish().exits_with(3).says_nothing();
    for (name, status) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("INT", 130)] {
        run_contained(&place, &format!("kill -{name} $$")).finish().exits_with(status);
        assert!(place.is_free("job"), "{name}");
    }
}

#[test]
fn process_1_forwards_signals() {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[("tells", TELLS_SIGNALS)]);
    let run = contain(&place, &["dlock", "run", "-k", "job", "--", "bash", "tells"]).cwd(directory.path()).start();
    run.says("started");
    for (signal, word) in [(Signal::SIGTERM, "got TERM"), (Signal::SIGINT, "got INT"), (Signal::SIGUSR1, "got USR1")] {
        front_of(&run).signal(signal);
        run.says(word);
    }
    front_of(&run).signal(Signal::SIGUSR2);
    assert_eq!(run.wait().exits_with(3).said(), "started\ngot TERM\ngot INT\ngot USR1");
    assert!(place.is_free("job"));
}

#[test]
fn process_1_that_is_asked_to_end_takes_the_whole_container_with_it() {
    let place = Place::shared(Kind::File);
    let run = run_contained(&place, "trap '' TERM; setsid sleep 1000 & trap - TERM; echo started; wait").start();
    run.says("started");
    front_of(&run).signal(Signal::SIGTERM);
    let mark = run.mark();
    run.wait().exits_with(143);
    assert!(processes_with(&mark).is_empty());
    assert!(place.is_free("job"));
}

/// Zombies would fill the container's table of processes.
#[test]
fn orphans_in_a_container_are_reaped_while_the_command_runs() {
    let place = Place::shared(Kind::File);
    let script = "for i in 1 2 3 4 5 6 7 8 9; do (true &); done
        while set -- /proc/[0-9]*; [ $# -gt 3 ]; do :; done
        echo \"$# processes\"";
    let run = run_contained(&place, script).finish().succeeds();
    assert_eq!((run.said(), run.stderr()), ("3 processes", ""), "{}", run.account());
}

#[test]
fn a_child_that_process_1_had_before_is_none_of_the_commands() {
    let place = Place::shared(Kind::File);
    let script = "sleep 1000 & exec dlock run -k job -- sh -c 'kill -0 2 && echo lives; exit 5'";
    let run = contain(&place, &["sh", "-c", script]).finish().exits_with(5);
    assert_eq!((run.said(), run.stderr()), ("lives", ""), "{}", run.account());
    assert!(place.is_free("job"));
}
