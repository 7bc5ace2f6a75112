//! Commands that do what commands rarely do: each ends as it would without dlock, and the lock is free afterwards.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{Dlock, Kind, Place, eventually, install_script, program};

/// What a command prints and returns, started by `env` as `execvp` does it, and under dlock.
#[track_caller]
fn assert_same_end(place: &Place, directory: &Path, command: &[&str]) {
    let direct = Dlock::of_program("env".as_ref(), command).env("HOME", "/").cwd(directory).finish();
    let options = place.options();
    let words = ["run"].into_iter().chain(options.iter().map(String::as_str)).chain(["-k", "job", "--"]);
    let under = Dlock::new(words.chain(command.iter().copied())).env("HOME", "/").cwd(directory).finish();
    assert_eq!(under.status, direct.status, "{}\n{}", direct.account(), under.account());
    assert_eq!(under.stdout, direct.stdout, "{}\n{}", direct.account(), under.account());
    assert!(place.is_free("job"), "{command:?}");
}

#[test]
fn a_command_that_replaces_itself_closes_everything_or_ends_at_once_ends_as_it_would_by_itself() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    for script in [
        "exec sh -c 'exec sh -c \"exit 9\"'",
        "exec 0<&- 1>&- 2>&-; exit 8",
        "exit 7",
        "kill -KILL $$",
        // What is left behind ends by itself, unseen: the command's end is the end.
        "(:) & exit 6",
        "setsid true; exit 5",
    ] {
        assert_same_end(&place, directory.path(), &["sh", "-c", script]);
    }
    let closes = "use POSIX; POSIX::close($_) for 0 .. 1023; sleep 0.1; POSIX::_exit(4)";
    for script in ["setpgrp; exit 3", "use POSIX; setsid; exit 2", "use POSIX; setpgrp; kill KILL => $$", closes] {
        assert_same_end(&place, directory.path(), &["perl", "-e", script]);
    }
}

#[test]
fn a_script_without_a_shebang_is_run_as_execvp_runs_it() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    install_script("echo \"$0\" \"$#\" \"$@\"; cat /proc/$$/comm; exit 3\n", &directory.path().join("script"));
    assert_same_end(&place, directory.path(), &["./script"]);
    let arguments: Vec<String> = (0..5000).map(|number| number.to_string()).collect();
    let words = ["./script", "*", "", "a b"].into_iter().chain(arguments.iter().map(String::as_str));
    assert_same_end(&place, directory.path(), &words.collect::<Vec<_>>());
    // An empty file is an empty script.
    install_script("", &directory.path().join("nothing"));
    assert_same_end(&place, directory.path(), &["./nothing"]);
    install_script("#!/bin/sh\necho \"$0\" \"$@\"\n", &directory.path().join("with"));
    assert_same_end(&place, directory.path(), &["./with", "one"]);
}

#[test]
fn what_cannot_be_executed_has_the_status_that_a_shell_gives_it() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    install_script("#!/no/such/interpreter\n", &directory.path().join("orphan"));
    install_script("\u{7f}ELF nonsense", &directory.path().join("broken"));
    std::fs::write(directory.path().join("text"), "echo never").expect("it is ours");
    for name in ["./orphan", "./text", "./no-such", ".", "/", "./text/below", ""] {
        let direct = Command::new("env").arg(name).current_dir(directory.path()).output().expect("env runs");
        let run = place.dlock(["run", "-k", "job", "--", name]).cwd(directory.path()).finish();
        let wanted = if name.is_empty() { Some(127) } else { direct.status.code() };
        assert_eq!(run.status.code(), wanted, "{name}: {}", run.account());
        assert_eq!(run.stderr().lines().count(), 1, "{}", run.account());
        assert!(place.is_free("job"));
    }
}

/// Names the signals by number, in the order in which they come.
const COUNTS: &str = r#"
use POSIX; $| = 1; my @seen;
for my $number (@ARGV) { POSIX::sigaction($number, POSIX::SigAction->new(sub { push @seen, $number })) or die $! }
print "ready\n";
while () { print "got ", shift @seen, "\n" while @seen; select undef, undef, undef, 0.05 }
"#;

#[test]
fn signals_that_mean_nothing_to_dlock_reach_the_command_once_each_the_queued_ones_included() {
    let place = Place::shared(Kind::File);
    let numbers =
        ["10", "12", "28", "14", "23", "29", "30", "34", "40", "50", "64", "4", "5", "6", "7", "8", "11", "31"];
    let options = place.options();
    let words = ["run"].into_iter().chain(options.iter().map(String::as_str));
    let words = words.chain(["-k", "job", "--", "perl", "-e", COUNTS]).chain(numbers);
    let run = Dlock::new(words).start();
    run.says("ready");
    let mut wanted = String::new();
    for _ in 0..2 {
        for number in numbers {
            let sent = Command::new("perl").args(["-e", "kill @ARGV", number, &run.front().pid.to_string()]).status();
            assert!(sent.is_ok_and(|status| status.success()));
            wanted += &format!("got {number}\n");
            eventually(&format!("signal {number} arrives"), || run.stdout() == format!("ready\n{wanted}"));
        }
    }
    run.signal(Signal::SIGKILL);
    run.wait().dies_of(Signal::SIGKILL);
}

/// `perl -e 'alarm 60; exec @ARGV' job` is the classic time limit: the clock outlives the exec, in the process that
/// dlock has become, and the kernel rings it there.
#[test]
fn an_alarm_that_was_set_before_dlock_rings_at_the_command() {
    let place = Place::shared(Kind::File);
    let options = place.options();
    let mut words = vec!["-e", "alarm 1; exec @ARGV", program(), "run", "-k", "job"];
    words.extend(options.iter().map(String::as_str));
    words.extend(["--", "sleep", "50"]);
    Dlock::of_program("perl".as_ref(), words).finish().dies_of(Signal::SIGALRM);
    assert!(place.is_free("job"));
}

#[test]
fn a_mirrored_fault_leaves_no_core_of_dlocks_own() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let options = place.options().join(" ");
    for (name, signal) in [("SEGV", Signal::SIGSEGV), ("QUIT", Signal::SIGQUIT), ("ABRT", Signal::SIGABRT)] {
        // The command itself may leave one: it is told not to, so that any core is dlock's.
        let script = format!(
            "ulimit -c unlimited; exec \"$0\" run {options} -k job -- sh -c 'ulimit -Sc 0; kill -{name} $$; sleep 9'"
        );
        let call = Dlock::of_program("/bin/sh".as_ref(), ["-c", &script, program()]);
        let ended = call.cwd(directory.path()).finish().dies_of(signal);
        assert!(!ended.status.core_dumped(), "{}", ended.account());
    }
    let left: Vec<_> = directory.path().read_dir().expect("it is ours").flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
