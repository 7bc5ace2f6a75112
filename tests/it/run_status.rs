//! The exit status of `run`: the command's own, whatever it is, and dlock's where there is none.

use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt as _;

use crate::support::{Dlock, Kind, Place, program};

#[test]
fn the_status_is_the_commands_own() {
    let place = Place::shared(Kind::File);
    // Those that dlock has a meaning for are among them.
    for code in [0, 1, 2, 42, 64, 70, 75, 79, 124, 126, 127, 128, 137, 255] {
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", &format!("exit {code}")]).finish();
        run.exits_with(code).says_nothing();
    }
    assert!(place.is_free("job"));
}

#[test]
fn a_command_killed_by_a_signal_makes_dlock_die_of_the_same_signal_without_a_core() {
    let place = Place::shared(Kind::File);
    for (name, signal) in [
        ("TERM", Signal::SIGTERM),
        ("KILL", Signal::SIGKILL),
        ("SEGV", Signal::SIGSEGV),
        ("ABRT", Signal::SIGABRT),
        ("INT", Signal::SIGINT),
        ("PIPE", Signal::SIGPIPE),
        ("USR1", Signal::SIGUSR1),
    ] {
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", &format!("kill -{name} $$")]).finish();
        let run = run.dies_of(signal);
        assert!(!run.status.core_dumped(), "{}", run.account());
        assert!(place.is_free("job"));
    }
}

#[test]
fn a_shell_sees_128_and_the_signals_number() {
    let place = Place::shared(Kind::File);
    let options = place.options().join(" ");
    let script = format!("\"$0\" run {options} -k job -- sh -c 'kill -TERM $$'; echo $?");
    let shell = Dlock::of_program("/bin/sh".as_ref(), ["-c", &script, program()]).finish();
    assert_eq!(shell.said(), "143", "{}", shell.account());
}

/// "71: the system refused a process or descriptor; the lock was released"
#[test]
fn where_descriptors_run_out_there_is_one_sentence_and_the_lock_is_free() {
    let place = Place::shared(Kind::File);
    let options = place.options().join(" ");
    let mut refused = 0;
    for limit in 3..16 {
        let script = format!("ulimit -n {limit}; exec \"$0\" run {options} -k job -- echo it ran");
        let run = Dlock::of_program("/bin/sh".as_ref(), ["-c", &script, program()]).finish();
        if run.said() == "it ran" {
            assert_eq!(run.succeeds().stderr(), "");
        } else {
            refused += 1;
            let run = run.exits_with(71);
            assert_eq!(run.stderr().lines().count(), 1, "{}", run.account());
        }
        assert!(place.is_free("job"));
    }
    assert!((1..13).contains(&refused), "some limits are too low and some are not: {refused} of 13");
}

#[test]
fn a_command_line_is_run_by_the_users_shell() {
    let place = Place::shared(Kind::File);
    let run = place.dlock(["run", "-k", "job", "-c", "echo one; echo $((1 + 1)) | cat; exit 7"]).finish();
    assert_eq!(run.exits_with(7).said(), "one\n2");
    let run = place.dlock(["run", "-k", "job", "-c", "does not matter"]).env("SHELL", "/bin/echo").finish();
    assert_eq!(run.succeeds().said(), "-c does not matter");
}

#[test]
fn without_c_no_shell_is_involved() {
    let place = Place::shared(Kind::File);
    let run = place.dlock(["run", "-k", "job", "--", "echo", "$HOME; exit 3", "*"]).finish();
    assert_eq!(run.succeeds().said(), "$HOME; exit 3 *");
}

/// Without any backend named, the lock is this host's, and one notice says so and where; asked for, in whatever way, it
/// is silent.
#[test]
fn the_embedded_default_says_once_that_it_covers_this_host_only() {
    let place = Place::shared(Kind::File);
    let run = || Dlock::new(["run", "--namespace", &place.namespace, "-k", "job", "--", "true"]);
    let said = run().finish().succeeds().complains(&["this host"]);
    let directory = said.stderr().split([' ', ',', ';', '\n']).find(|word| word.contains("/dlock-"));
    let directory = directory.unwrap_or_else(|| panic!("it names the directory: {}", said.account()));
    run().env("DLOCK_QUIET", "1").finish().succeeds().says_nothing();
    run().env("DLOCK_BACKEND", "file").finish().succeeds().says_nothing();
    run().env("DLOCK_DIR", place.dir()).finish().succeeds().says_nothing();
    // It is the user's own directory, where other locks may live: only this test's part goes.
    let ours = std::path::Path::new(directory).join(&place.namespace);
    std::fs::remove_dir_all(&ours).unwrap_or_else(|e| panic!("the lock was in {}: {e}", ours.display()));
}
