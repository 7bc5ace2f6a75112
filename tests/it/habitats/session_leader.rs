//! A terminal that goes away, and dlock as the leader of its session, as `ssh -t` and `docker run -it` start it.

use nix::sys::signal::Signal;

use super::{EITHER_WAY, REPEATS, Shell, TREE, at, directory_with};
use crate::support::{CTRL_C, CTRL_Z, Kind, Place, Terminal, eventually};

/// This script as the leader of a session, or below a dlock that leads it.
#[track_caller]
fn lead(place: &Place, prefix: &str, text: &str) -> (Terminal, tempfile::TempDir) {
    let directory = directory_with(&[("script", text)]);
    let args: Vec<&str> = prefix.split_whitespace().chain(["sh", "script"]).collect();
    let terminal = Terminal::start(&args, |call| at(place, call).cwd(directory.path()));
    terminal.shows("started");
    (terminal, directory)
}

/// Nobody could continue it: the system lets the key pass.
#[test]
fn the_stop_key_does_not_hang_a_session_leader_and_ctrl_c_ends_it() {
    let place = Place::shared(Kind::File);
    for prefix in EITHER_WAY {
        let (terminal, _directory) = lead(&place, prefix, REPEATS);
        for word in ["one", "two"] {
            terminal.types(CTRL_Z);
            terminal.shows("^Z");
            terminal.enters(word);
            terminal.shows(&format!("read {word}."));
        }
        terminal.types(CTRL_C);
        terminal.session.wait().dies_of(Signal::SIGINT);
        assert!(place.is_free("job"));
    }
}

#[test]
fn the_stop_key_does_not_hang_a_session_leader_that_waits() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    let directory = directory_with(&[("script", REPEATS)]);
    let args = ["dlock", "run", "-k", "job", "--", "sh", "script"];
    let terminal = Terminal::start(&args, |call| at(&place, call).cwd(directory.path()));
    eventually("it waits", || place.waiters("job") == 1);
    terminal.types(CTRL_Z);
    terminal.shows("^Z");
    holder.let_go();
    terminal.shows("started");
    terminal.types(CTRL_C);
    terminal.session.wait().dies_of(Signal::SIGINT);
}

#[test]
fn a_hang_up_reaches_the_command_of_a_session_leader() {
    let place = Place::shared(Kind::File);
    let script = "trap 'echo hung up >noted; exit 4' HUP; echo started; while :; do sleep 0.02; done";
    for prefix in EITHER_WAY {
        let (mut terminal, directory) = lead(&place, prefix, script);
        terminal.hang_up();
        terminal.session.wait().exits_with(4);
        assert_eq!(std::fs::read_to_string(directory.path().join("noted")).expect("it noted"), "hung up\n");
        assert!(place.is_free("job"));
    }
}

#[test]
fn a_hang_up_of_a_session_leader_leaves_nothing_behind() {
    let place = Place::shared(Kind::File);
    let (mut terminal, _directory) = lead(&place, EITHER_WAY[1], TREE);
    terminal.hang_up();
    let mark = terminal.session.mark();
    terminal.session.wait().dies_of(Signal::SIGHUP);
    assert!(crate::support::processes_with(&mark).is_empty());
    assert!(place.is_free("job"));
}

/// The shell's hang-up is the job's.
#[test]
fn a_hang_up_of_a_shell_leaves_nothing_of_its_jobs_behind() {
    let place = Place::shared(Kind::File);
    let mut shell = Shell::start(&place, &[("tree", TREE)]);
    shell.terminal.enters("dlock run -k background -- sh tree &");
    shell.terminal.shows("started");
    shell.terminal.enters("dlock run -k job -- sh tree");
    shell.terminal.shows("started");
    shell.terminal.hang_up();
    shell.terminal.session.leaves_no_process();
    assert!(place.is_free("job") && place.is_free("background"));
}

#[test]
fn nohup_keeps_the_job_and_the_lock_when_the_terminal_goes() {
    let place = Place::shared(Kind::File);
    let script = "echo started; until [ -e let-go ]; do sleep 0.02; done; echo went on >noted";
    let mut shell = Shell::start(&place, &[("script", script)]);
    shell.terminal.enters("nohup dlock run -k job -- sh script &");
    let output = shell.directory.path().join("nohup.out");
    eventually("it started", || std::fs::read_to_string(&output).is_ok_and(|said| said.contains("started")));
    shell.terminal.hang_up();
    shell.terminal.session.wait();
    assert!(!place.is_free("job"));
    std::fs::write(shell.directory.path().join("let-go"), "").expect("it is ours");
    shell.terminal.session.leaves_no_process();
    assert_eq!(shell.read("noted"), "went on\n");
    assert!(place.is_free("job"));
}
