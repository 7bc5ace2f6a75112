//! Programs that start programs: before dlock, and between dlock and the command.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::{EITHER_WAY, SLEEPS, TELLS_SIGNALS, at, directory_with, front_of, is_root_for, script};
use crate::support::{Dlock, Kind, Place, eventually, processes_with, program};

#[test]
fn timeout_ends_dlock_and_the_command_either_way_round() {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[]);
    for line in ["timeout 0.3 dlock run -k job -- sh -c 'sleep 100; :'", "dlock run -k job -- timeout 0.3 sleep 100"] {
        let run = script(&place, directory.path(), "sh", line).start();
        let mark = run.mark();
        let ended = run.wait().exits_with(124);
        assert!(ended.took < Duration::from_secs(10) && ended.stderr().is_empty(), "{}", ended.account());
        assert!(processes_with(&mark).is_empty(), "{line}");
        assert!(place.is_free("job"), "{line}");
    }
}

#[test]
fn a_session_of_its_own_before_or_behind_dlock_changes_nothing() {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[("tells", TELLS_SIGNALS)]);
    for line in ["exec setsid -w dlock run -k job -- bash tells", "exec dlock run -k job -- setsid bash tells"] {
        let run = script(&place, directory.path(), "sh", line).start();
        run.says("started");
        assert!(!place.is_free("job"), "{line}");
        for (signal, word) in [(Signal::SIGTERM, "got TERM"), (Signal::SIGINT, "got INT"), (Signal::SIGHUP, "got HUP")]
        {
            front_of(&run).signal(signal);
            run.says(word);
        }
        front_of(&run).signal(Signal::SIGUSR2);
        let ended = run.wait().exits_with(3);
        assert_eq!(ended.said(), "started\ngot TERM\ngot INT\ngot HUP", "{line}: each once");
        assert!(place.is_free("job"), "{line}");
    }
}

#[test]
fn sudo_before_dlock_locks_as_the_other_user() {
    if !is_root_for("sudo to another user") {
        return;
    }
    let directory = directory_with(&[]);
    let binary = directory.path().join("dlock");
    crate::support::install_program(program().as_ref(), &binary);
    let locks = directory.path().join("locks");
    std::fs::create_dir(&locks).expect("it is ours");
    for path in [directory.path(), &locks] {
        nix::unistd::chown(path, Some(65534.into()), Some(65534.into())).expect("root may give away");
    }
    let line = format!(
        "exec sudo -n -u nobody {} run --dir {} -k job -- sh -c 'id -u; exit 3'",
        binary.display(),
        locks.display()
    );
    let run = Dlock::of_program("sh".as_ref(), ["-c", &line]).finish().exits_with(3);
    assert_eq!((run.said(), run.stderr()), ("65534", ""), "{}", run.account());
}

#[test]
fn sudo_behind_dlock_passes_status_and_signals() {
    if !is_root_for("sudo to another user") {
        return;
    }
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[]);
    for prefix in EITHER_WAY {
        let line = format!("exec {prefix} sudo -n -u nobody sh -c 'id -u; exit 3'");
        let run = script(&place, directory.path(), "sh", &line).finish().exits_with(3);
        assert_eq!((run.said(), run.stderr()), ("65534", ""), "{}", run.account());
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let line = format!("exec {prefix} sudo -n -u nobody sh -c '{SLEEPS}'");
            let run = script(&place, directory.path(), "sh", &line).start();
            run.says("started");
            run.signal(signal);
            run.wait().dies_of(signal);
            assert!(place.is_free("job"));
        }
    }
}

#[test]
fn an_empty_environment_is_enough_and_stays_empty_but_for_dlocks_own() {
    let place = Place::shared(Kind::File);
    let args = ["-i", program(), "run"].map(str::to_owned).into_iter().chain(place.options());
    let args = args.chain(["-k", "job", "--", "env"].map(str::to_owned));
    let run = Dlock::of_program("env".as_ref(), args).finish().succeeds();
    let names: Vec<&str> = run.said().lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.contains(&"DLOCK_KEY"), "{}", run.account());
    assert!(names.iter().all(|name| name.starts_with("DLOCK_")), "{}", run.account());
    assert_eq!(run.stderr(), "");
}

#[test]
fn xargs_runs_one_at_a_time() {
    let place = Place::shared(Kind::File);
    let alone = "mkdir busy || exit 9; echo $1 >>done; sleep 0.02; rmdir busy";
    let directory = directory_with(&[("alone", alone)]);
    let line = "seq 12 | xargs -P4 -I{} dlock run -k job -- sh alone {}";
    script(&place, directory.path(), "sh", line).finish().succeeds().says_nothing();
    let done = std::fs::read_to_string(directory.path().join("done")).expect("they noted it");
    let mut done: Vec<u32> = done.lines().map(|line| line.parse().expect("a number")).collect();
    done.sort_unstable();
    assert_eq!(done, Vec::from_iter(1..=12));
}

/// The environment and the descriptors that cron gives. It mails every line that is said.
#[test]
fn cron_gets_nothing_to_mail_but_what_the_command_says() {
    let place = Place::shared(Kind::File);
    let line = |wait: &str| {
        let options = place.options().join(" ");
        format!("{} run {options} -k job {wait} -- sh -c 'echo from the command; exit 3' | cat; echo ended", program())
    };
    let cron = |line: &str| {
        let call = Dlock::of_program("/bin/sh".as_ref(), ["-c", line]);
        [("PATH", "/usr/bin:/bin"), ("SHELL", "/bin/sh"), ("LOGNAME", "root")]
            .into_iter()
            .fold(call, |call, (name, value)| call.env(name, value))
            .cwd("/".as_ref())
    };
    let run = cron(&line("")).finish().succeeds();
    assert_eq!((run.said(), run.stderr()), ("from the command\nended", ""), "{}", run.account());
    let holder = place.hold("job");
    let run = cron(&line("-n -E 0")).finish().succeeds();
    assert_eq!((run.said(), run.stderr()), ("ended", ""), "{}", run.account());
    holder.let_go();
    holder.wait().succeeds();
}

/// What cron's bare environment lacks does not decide where the lock is.
#[test]
fn cron_and_a_login_shell_meet_in_the_default_directory() {
    let place = Place::shared(Kind::File);
    let call = |script: &str| {
        let args = ["run", "-q", "--namespace", &place.namespace, "-k", "job", "-n", "--", "sh", "-c", script];
        Dlock::new(args)
    };
    let login = ["XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME", "TMPDIR"]
        .into_iter()
        .fold(call("echo ready; cat"), |call, name| {
            call.env(name, place.dir()).env("USER", "root").env("LANG", "C.UTF-8")
        })
        .stdin_open()
        .start();
    login.says("ready");
    call("echo both").env("PATH", "/usr/bin:/bin").cwd("/".as_ref()).finish().exits_with(75).says_nothing();
    login.let_go();
    login.wait().succeeds();
    let uid = nix::unistd::geteuid();
    let made = ["/run/lock", "/tmp"].map(|base| format!("{base}/dlock-{uid}/{}", place.namespace));
    let made: Vec<&String> = made.iter().filter(|path| std::path::Path::new(path).is_dir()).collect();
    assert_eq!(made.len(), 1, "the lock was in the default directory: {made:?}");
    std::fs::remove_dir_all(made[0]).expect("it is ours");
}

#[test]
fn under_strace_status_and_signals_pass() {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[("tells", TELLS_SIGNALS)]);
    let traced = |command: &[&str]| {
        let args = ["-f", "-o", "/dev/null", "dlock", "run", "-k", "job", "--"].iter().chain(command);
        at(&place, Dlock::of_program("strace".as_ref(), args)).cwd(directory.path())
    };
    traced(&["sh", "-c", "exit 3"]).finish().exits_with(3).says_nothing();
    traced(&["sh", "-c", "kill -TERM $$"]).finish().dies_of(Signal::SIGTERM).says_nothing();
    let run = traced(&["bash", "tells"]).start();
    run.says("started");
    for (signal, word) in [(Signal::SIGTERM, "got TERM"), (Signal::SIGINT, "got INT")] {
        front_of(&run).signal(signal);
        run.says(word);
    }
    front_of(&run).signal(Signal::SIGUSR2);
    run.wait().exits_with(3);
    assert!(place.is_free("job"));
}

/// `exec dlock` inherits the children of the program before it; they are none of dlock's business.
#[test]
fn a_child_from_before_is_neither_counted_nor_killed() {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[("sleeps", SLEEPS)]);
    let run = script(&place, directory.path(), "sh", "sleep 1003 & exec dlock run -k job -- sh -c 'exit 3'").start();
    let mark = run.mark();
    assert_eq!(run.wait().exits_with(3).stderr(), "");
    let left = processes_with(&mark);
    assert!(left.len() == 1 && left[0].comm == "sleep", "{left:?}");

    let run = script(&place, directory.path(), "sh", "sleep 1003 & exec dlock run -k job -- sh sleeps").start();
    run.says("started");
    let keeper = run.job().into_iter().find(|process| process.comm == "lock-keeper").expect("it has a keeper");
    keeper.signal(Signal::SIGKILL);
    eventually("dlock ends", || run.has_ended());
    let left = run.job();
    assert!(left.len() == 1 && left[0].comm == "sleep", "{left:?}");
    assert!(place.is_free("job"));
}
