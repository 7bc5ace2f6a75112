//! An interactive shell: its keys, its job control, and its terminal after a lost lease.

use nix::sys::signal::Signal;

use super::{REPEATS, SLEEPS, Shell, TELLS_SIGNALS, TREE, front_of};
use crate::support::{CTRL_C, CTRL_Z, Kind, Place, eventually};

#[test]
fn ctrl_c_reaches_the_command_exactly_once_also_the_second_time() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("tells", TELLS_SIGNALS)]);
    shell.terminal.enters("dlock run -k job -- bash tells");
    shell.terminal.shows("started");
    for _ in 0..2 {
        shell.terminal.types(CTRL_C);
        shell.terminal.shows("got INT");
        // Signals that dlock forwards stay in their order: a second INT would be told first.
        shell.signal_dlock(Signal::SIGUSR1);
        let between = shell.terminal.shows("got USR1");
        assert!(!between.contains("got"), "{between}");
    }
    shell.signal_dlock(Signal::SIGUSR2);
    shell.prompts_after(3);
    assert!(place.is_free("job"));
}

#[test]
fn ctrl_c_in_a_loop_of_runs_ends_the_loop() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("sleeps", SLEEPS)]);
    shell.terminal.enters("for i in 1 2 3; do dlock run -k job -- sh sleeps; done");
    shell.terminal.shows("started");
    shell.terminal.types(CTRL_C);
    let between = shell.terminal.shows("<130> ");
    assert!(!between.contains("started"), "{between}");
    assert!(place.is_free("job"));
}

/// `timeout` makes a group of its own where it does not lead the job's: the key must reach it all the same.
#[test]
fn ctrl_c_reaches_a_command_that_leads_a_group_of_its_own() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("sleeps", SLEEPS)]);
    for before in ["", "dlock run -k job -- "] {
        shell.terminal.enters(&format!("{before}timeout 100 sh sleeps"));
        shell.terminal.shows("started");
        shell.terminal.types(CTRL_C);
        shell.prompts_after(130);
    }
    assert!(place.is_free("job"));
}

#[test]
fn a_stopped_job_keeps_the_lock_and_goes_on_where_it_was() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("repeats", REPEATS)]);
    shell.terminal.enters("dlock run -k job -- sh repeats");
    shell.terminal.shows("started");
    for round in ["one", "two"] {
        shell.terminal.types(CTRL_Z);
        shell.says_stopped();
        assert!(!place.is_free("job"));
        shell.terminal.enters("jobs");
        shell.terminal.shows("Stopped");
        shell.prompts_after(0);
        shell.terminal.enters("fg");
        shell.terminal.shows("dlock run -k job");
        shell.terminal.enters(round);
        shell.terminal.shows(&format!("read {round}."));
    }
    shell.terminal.types(CTRL_C);
    shell.prompts_after(130);
    assert!(place.is_free("job"));
}

/// The shell wakes the whole job, and by the time dlock's two processes have told each other of it the next key may have
/// been pressed: what is old by then must not undo that.
#[test]
fn ctrl_z_soon_after_fg_stops_the_job_again_although_dlock_is_slow() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("repeats", REPEATS)]);
    shell.terminal.enters("dlock run -k job -- sh repeats");
    shell.terminal.shows("started");
    shell.terminal.types(CTRL_Z);
    shell.says_stopped();
    let keeper = shell.process("lock-keeper");
    keeper.signal(Signal::SIGSTOP);
    eventually("the keeper stands still", || shell.process("lock-keeper").is_stopped());
    shell.terminal.enters("fg");
    shell.terminal.shows("dlock run -k job");
    shell.terminal.enters("one");
    shell.terminal.shows("read one.");
    eventually("the front has taken notice", || {
        let front = front_of(&shell.terminal.session);
        !front.is_stopped() && !front.is_sent(Signal::SIGCONT)
    });
    shell.terminal.types(CTRL_Z);
    eventually("the command is stopped", || shell.process("sh").is_stopped());
    keeper.signal(Signal::SIGCONT);
    shell.says_stopped();
    shell.terminal.enters("fg");
    shell.terminal.shows("dlock run -k job");
    shell.terminal.enters("two");
    shell.terminal.shows("read two.");
    shell.terminal.types(CTRL_C);
    shell.prompts_after(130);
    assert!(place.is_free("job"));
}

/// As a supervisor does that knows one process.
#[test]
fn a_stopped_job_goes_on_when_dlock_alone_is_continued() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("sleeps", SLEEPS)]);
    shell.terminal.enters("dlock run -k job -- sh sleeps");
    shell.terminal.shows("started");
    shell.process("sleep");
    for _ in 0..2 {
        shell.terminal.types(CTRL_Z);
        shell.says_stopped();
        assert!(shell.process("sleep").is_stopped());
        shell.signal_dlock(Signal::SIGCONT);
        eventually("the command goes on", || !shell.process("sleep").is_stopped());
        shell.terminal.enters("fg");
        shell.terminal.shows("dlock run -k job");
    }
    shell.terminal.types(CTRL_C);
    shell.prompts_after(130);
    assert!(place.is_free("job"));
}

/// All of the group that `timeout` makes for itself, as it would be the job's if it had been started directly.
#[test]
fn ctrl_z_stops_a_command_that_leads_a_group_of_its_own_and_fg_continues_it() {
    const ALL: [&str; 2] = ["timeout", "sleep"];
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("sleeps", SLEEPS)]);
    for before in ["", "dlock run -k job -- "] {
        shell.terminal.enters(&format!("{before}timeout 1000 sh sleeps"));
        shell.terminal.shows("started");
        shell.process("sleep");
        for _ in 0..2 {
            shell.terminal.types(CTRL_Z);
            shell.says_stopped();
            eventually("all of it is stopped", || ALL.iter().all(|name| shell.process(name).is_stopped()));
            shell.terminal.enters("fg");
            shell.terminal.shows("timeout 1000 sh sleeps");
            eventually("all of it goes on", || !ALL.iter().any(|name| shell.process(name).is_stopped()));
        }
        shell.terminal.types(CTRL_C);
        shell.prompts_after(130);
    }
    assert!(place.is_free("job"));
}

/// It is not stopped by other means when it has a use of its own for the key.
#[test]
fn a_command_that_leads_a_group_of_its_own_and_catches_the_stop_key_is_told_of_it() {
    let place = Place::shared(Kind::File);
    let catches = "setpgrp; $| = 1; $SIG{TSTP} = sub { print \"got TSTP\\n\" }; print \"started\\n\"; sleep 1 while 1";
    let shell = Shell::start(&place, &[("catches", catches)]);
    shell.terminal.enters("dlock run -k job -- perl catches");
    for key in 0..2 {
        shell.terminal.shows(if key == 0 { "started" } else { "got TSTP" });
        shell.terminal.types(CTRL_Z);
    }
    shell.terminal.shows("got TSTP");
    shell.terminal.types(CTRL_C);
    shell.prompts_after(130);
    assert!(place.is_free("job"));
}

/// Its command is a bash: a dash that is stopped while it starts a program hangs, also when it is started directly.
#[test]
fn a_stopped_job_runs_on_in_the_background_and_kill_ends_it() {
    let place = Place::shared(Kind::File);
    let script = "echo started; until [ -e go-on ]; do sleep 0.02; done; echo went on; exec sleep 1000";
    let shell = Shell::start(&place, &[("goes-on", script)]);
    shell.terminal.enters("dlock run -k job -- bash goes-on");
    shell.terminal.shows("started");
    shell.terminal.types(CTRL_Z);
    shell.says_stopped();
    shell.runs("bg");
    shell.terminal.enters("jobs");
    shell.terminal.shows("Running");
    shell.prompts_after(0);
    std::fs::write(shell.directory.path().join("go-on"), "").expect("it is ours");
    shell.terminal.shows("went on");
    assert!(!place.is_free("job"));
    // At its next prompt the shell would forget a job that has ended by then.
    shell.terminal.enters("kill %1; wait %1");
    shell.prompts_after(143);
    assert!(place.is_free("job"));
}

#[test]
fn kill_ends_a_job_that_is_stopped() {
    let place = Place::shared(Kind::File);
    let shell = Shell::start(&place, &[("tree", TREE)]);
    shell.terminal.enters("dlock run -k job -- sh tree");
    shell.terminal.shows("started");
    shell.terminal.types(CTRL_Z);
    shell.says_stopped();
    shell.terminal.enters("kill %1");
    eventually("only the shell is left", || shell.terminal.session.job().len() == 1);
    // It says so before a prompt, once it has heard of it, which may be a little later.
    eventually("the shell says how it ended", || {
        shell.terminal.enters("");
        shell.terminal.everything().contains("Terminated")
    });
    assert!(place.is_free("job"));
}

#[test]
fn stopped_while_it_waits_it_gives_up_its_place_and_queues_anew() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    let shell = Shell::start(&place, &[]);
    shell.terminal.enters("dlock run -k job -- echo go''t it");
    for _ in 0..2 {
        eventually("it waits", || place.waiters("job") == 1);
        shell.terminal.types(CTRL_Z);
        shell.says_stopped();
        assert_eq!(place.waiters("job"), 0);
        shell.terminal.enters("fg");
    }
    eventually("it waits", || place.waiters("job") == 1);
    holder.let_go();
    shell.terminal.shows("got it");
    shell.prompts_after(0);
}

/// Nor does the key that somebody else is to hear end a wait, or the command before it has begun.
#[test]
fn a_key_that_is_ignored_from_the_start_is_nothing_to_a_wait() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    let shell = Shell::start(&place, &[]);
    shell.terminal.enters("(trap '' INT; dlock run -k job -- echo go''t it)");
    eventually("it waits", || place.waiters("job") == 1);
    shell.terminal.types(CTRL_C);
    shell.terminal.shows("^C");
    holder.let_go();
    shell.terminal.shows("got it");
    shell.prompts_after(0);
}

/// The command has turned off echo and line editing, as an editor does, and had no chance to turn them on again.
#[test]
fn after_a_lost_lease_the_tree_is_gone_and_the_terminal_as_before() {
    let place = Place::shared(Kind::Redis);
    let shell = Shell::start(&place, &[]);
    shell.runs("stty -a >before");
    shell.terminal.enters(
        &format!("dlock run -k job --ttl 3s -- bash -c 'stty raw -echo; {TREE} # bash'")
            .replace("started", "start''ed"),
    );
    shell.terminal.shows("started");
    eventually("the whole tree runs", || {
        shell.terminal.session.job().iter().filter(|p| p.comm == "sleep").count() == 2
    });
    let key = format!("{}:job", place.namespace);
    let () = ::redis::cmd("DEL").arg(&key).query(&mut place.redis()).expect("the server serves");
    shell.terminal.shows("lost");
    shell.prompts_after(79);
    let left = shell.terminal.session.job();
    assert_eq!(left.len(), 1, "only the shell is left: {left:?}");
    shell.runs("stty -a >after");
    assert_eq!(shell.read("after"), shell.read("before"));
    shell.terminal.enters("echo it wo''rks");
    shell.terminal.shows("it works");
}
