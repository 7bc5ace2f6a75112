//! What the command leaves behind, and trees that are hard to end.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::{
    Dlock, Kind, Place, compiled, eventually, install_program, program, run_out_of_reach, sentences,
    sentences_for_every_backend,
};

sentences_for_every_backend![what_is_left_behind_is_ignored_awaited_or_stopped_as_the_user_says];

sentences! {
    redis_lost: Place::shared(Kind::Redis), [
        a_lease_lost_while_the_rest_is_awaited_kills_it_and_the_status_stays,
        a_lock_that_was_ours_after_the_end_and_is_gone_with_the_rest_leaves_the_status,
    ];
    zookeeper_lost: Place::shared(Kind::ZooKeeper), [
        a_lease_lost_while_the_rest_is_awaited_kills_it_and_the_status_stays,
    ];
}

/// Leaves two processes behind, one of them an orphan in a session of its own.
const LEAVES_TWO: &str = "sleep 1000 & (setsid sleep 1001 &); echo ready; exit 6";

fn what_is_left_behind_is_ignored_awaited_or_stopped_as_the_user_says(place: &Place) {
    let call =
        |action| place.dlock(["run", "-k", "job", "--descendants", action, "--", "sh", "-c", LEAVES_TWO]).start();
    let ignored = call("ignore");
    ignored.wait().exits_with(6).complains(&["\"sh\" ended and left 2 processes running"]);
    assert!(place.is_free("job") && ignored.tree().len() == 2, "{:?}", ignored.tree());

    let stopped = call("kill");
    stopped.wait().exits_with(6).says_nothing_on_stderr();
    assert!(place.is_free("job") && stopped.tree().is_empty(), "{:?}", stopped.tree());

    let awaited = call("wait");
    eventually("two are left", || {
        awaited.stdout() == "ready\n" && awaited.tree().iter().all(|left| left.comm == "sleep")
    });
    for last in [false, true] {
        assert!(!awaited.has_ended() && !place.is_free("job"), "{:?}", awaited.tree());
        let left = awaited.tree();
        assert_eq!(left.len(), if last { 1 } else { 2 });
        left[0].signal(Signal::SIGKILL);
        eventually("it is gone", || awaited.tree().len() < left.len());
    }
    awaited.wait().exits_with(6).says_nothing_on_stderr();
    assert!(place.is_free("job") && awaited.job().is_empty());
}

#[test]
fn whoever_interrupts_what_is_awaited_stops_it() {
    let place = Place::shared(Kind::File);
    let script = "(trap '' TERM; sleep 1000; :) & echo ready; exit 6";
    let call = ["run", "-k", "job", "--descendants", "wait", "--kill-after", "0.2", "--", "sh", "-c", script];
    let run = place.dlock(call).start();
    run.says("ready");
    eventually("the command itself has ended", || {
        run.tree().iter().filter(|process| process.comm == "sh").count() == 1
    });
    run.signal(Signal::SIGTERM);
    run.wait().exits_with(6);
    assert!(place.is_free("job") && run.job().is_empty());
}

/// "a CMD reaped in time with the lock still ours is never 79"
fn a_lease_lost_while_the_rest_is_awaited_kills_it_and_the_status_stays(place: &Place) {
    let script = "sleep 1000 & echo ready; exit 6";
    // Redis is asked at the next renewal; ZooKeeper tells at once, where it is not slower than a renewal may be.
    let ttl = if place.kind == Kind::Redis { "4s" } else { "20s" };
    let run =
        place.dlock(["run", "-k", "job", "--ttl", ttl, "--descendants", "wait", "--", "sh", "-c", script]).start();
    run.says("ready");
    eventually("the command itself has ended", || !run.tree().iter().any(|process| process.comm == "sh"));
    place.take_away("job");
    run.wait().exits_with(6).mentions(&["lost \"job\" after \"sh\" had ended", "stopping what it left running"]);
    assert!(run.job().is_empty());
}

/// Redis tells nobody: the next to know is the release.
fn a_lock_that_was_ours_after_the_end_and_is_gone_with_the_rest_leaves_the_status(place: &Place) {
    let script = "sleep 1000 & echo ready; exit 6";
    // Between two renewals there is time to take it away and to end what is left, beside a test that forks as fast as it can.
    let call = ["run", "-v", "-k", "job", "--ttl", "24s", "--descendants", "wait", "--", "sh", "-c", script];
    let run = place.dlock(call).start();
    run.says("ready");
    eventually("the command itself has ended", || !run.tree().iter().any(|process| process.comm == "sh"));
    let renewals = || run.stderr().matches("renewed \"job\"").count();
    let before = renewals();
    // The first one may have been asked for before the end.
    eventually("it is renewed twice", || renewals() >= before + 2);
    place.take_away("job");
    run.tree()[0].signal(Signal::SIGKILL);
    run.wait().exits_with(6).mentions(&["\"job\" was taken away after the command had ended"]);
}

/// A chain of processes each of which starts the next and ends: at no two moments is it the same one.
const CHAIN: &str = r#"
$SIG{TERM} = 'IGNORE'; $| = 1; print "ready\n"; close(STDOUT);
for (;;) { my $pid = fork; die unless defined $pid; exit 0 if $pid; }
"#;

/// Doubles until there are too many, each of which then goes on trying.
const BOMB: &str = r#"
$SIG{TERM} = 'IGNORE'; $SIG{CHLD} = 'IGNORE'; $| = 1;
my $start = time;
for (1 .. 7) { fork }
print "ready\n";
for (;;) { my $pid = fork; exit 0 if defined $pid && !$pid; exit 0 if time > $start + 50 }
"#;

#[test]
fn processes_that_fork_while_the_tree_is_walked_are_killed_too() {
    let place = Place::shared(Kind::File);
    for program in [CHAIN, BOMB] {
        let call = [
            "run",
            "-k",
            "job",
            "--max-runtime",
            "1s",
            "--kill-after",
            "0.1",
            "--descendants",
            "wait",
            "--",
            "perl",
            "-e",
            program,
        ];
        let run = place.dlock(call).start();
        run.says("ready");
        let ended = run.wait().exits_with(124);
        assert!(run.job().is_empty(), "{:?}\n{}", run.job(), ended.account());
        assert!(place.is_free("job"));
    }
}

/// As fast as processes can be: each lives shorter than a look at all those that have ended takes.
const FAST_CHAIN: &str = "#include <signal.h>
#include <unistd.h>
int main(void) {
    signal(SIGTERM, SIG_IGN);
    if (write(1, \"ready\\n\", 6) != 6) return 1;
    close(1);
    for (;;) if (fork() != 0) _exit(0);
}
";

/// Those that have ended are there until they are reaped: walks that met them again and again took ever longer, and never met
/// the one that lived.
#[test]
fn a_fast_chain_of_processes_is_killed_at_once() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let chain = compiled(FAST_CHAIN, directory.path(), "chain", &[]);
    for _ in 0..6 {
        let chain = chain.to_str().expect("a temporary directory has a plain name");
        let options = ["--max-runtime", "100ms", "--kill-after", "0.1", "--descendants", "wait"];
        let run = place.dlock_with([&["run", "-k", "job"][..], &options[..], &["--", chain][..]].concat()).start();
        run.says("ready");
        let ended = run.wait().exits_with(124);
        assert!(run.job().is_empty(), "{:?}\n{}", run.job(), ended.account());
        assert!(place.is_free("job"));
    }
}

/// In a space of process numbers of its own, lets a process have the number of the command, which has ended.
const HEIR: &str = r#"
my $command = $$;
unless (fork) {
    select undef, undef, undef, 0.01 while -e "/proc/$command";
    open my $last, '>', '/proc/sys/kernel/ns_last_pid' or die $!;
    syswrite $last, $command - 1;
    my ($parent, $heir) = ($$, fork);
    unless ($heir) { select undef, undef, undef, 0.01 while getppid == $parent; exit 3 }
    syswrite STDOUT, $heir == $command ? "inherited
" : "$heir, not $command
";
    exit 4;
}
exit 6;
"#;

#[test]
fn a_later_process_with_the_number_of_the_command_is_not_taken_for_it() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make such a space.
        return;
    }
    let place = Place::shared(Kind::File);
    let mut words = vec!["--pid", "--fork", "--mount-proc", program(), "run", "-k", "job"];
    let options = place.options();
    words.extend(options.iter().map(String::as_str));
    words.extend(["--descendants", "wait", "--", "perl", "-e", HEIR]);
    let run = Dlock::of_program(Path::new("unshare"), words).finish();
    assert_eq!(run.exits_with(6).said(), "inherited");
}

/// A name that is no UTF-8, or that looks like the end of a name in /proc, hides nobody.
#[test]
fn a_process_is_found_whatever_it_is_called() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let sleep = ["/usr/bin/sleep", "/bin/sleep"].map(Path::new).into_iter().find(|path| path.exists());
    for name in [&b"\xff\xfe"[..], b"a) R 1 (b", b"new\nline"] {
        let program = directory.path().join(std::ffi::OsStr::from_bytes(name));
        install_program(sleep.expect("coreutils are installed"), &program);
    }
    let script = "trap '' TERM; for program in ./*; do setsid \"$program\" 1000 & done; echo ready; wait";
    let call = ["run", "-k", "job", "--max-runtime", "1s", "--kill-after", "0.1", "--", "sh", "-c", script];
    let run = place.dlock(call).cwd(directory.path()).start();
    run.says("ready");
    eventually("all of them run", || run.tree().len() >= 4);
    run.wait().exits_with(124);
    assert!(run.job().is_empty(), "{:?}", run.job());
}

/// "What dlock may not signal (`dlock run -- sudo job`) cannot be killed: one warning at start; at a stop it is named, the
/// lease is renewed while it stands, 79 when it is lost."
#[test]
fn what_may_not_be_killed_is_named_and_keeps_the_lock() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make a program that becomes another user.
        return;
    }
    let place = Place::shared(Kind::Redis);
    let (_programs, run) = run_out_of_reach(&place, &["-v", "-k", "job", "--ttl", "6s", "--max-runtime", "2s"]);
    eventually("a warning tells how to write it", || run.stderr().contains("write: sudo dlock run"));
    eventually("at the stop it is named", || run.stderr().contains("not permitted"));
    let renewed = || run.stderr().matches("renewed").count();
    let before = renewed();
    // Every third of the lease: between the first of these and the last all of it passes.
    eventually("it is renewed all the same", || renewed() >= before + 4);
    assert!(!run.has_ended() && !place.is_free("job"), "what lives still holds the lock: {}", run.stderr());
    let said = run.stderr();
    assert_eq!(said.matches("cannot end process").count(), 1, "once a minute: {said}");
    assert!(said.contains("\"job\" stays held until then"), "{said}");
    for process in run.tree() {
        process.signal(Signal::SIGKILL);
    }
    run.wait().exits_with(124);
    assert!(place.is_free("job"));
}
