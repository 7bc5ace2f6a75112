//! Signals to `run`: forwarded once each while the command runs, a clean way out while it waits.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Dlock, Kind, Place, Running, eventually, program, sentences_for_every_backend, within};

sentences_for_every_backend![
    a_signal_while_waiting_leaves_no_place_in_the_queue_and_is_what_dlock_dies_of,
    after_term_the_rest_of_the_tree_is_stopped_before_the_release,
];

const FORWARDED: [(&str, Signal); 4] =
    [("TERM", Signal::SIGTERM), ("INT", Signal::SIGINT), ("HUP", Signal::SIGHUP), ("QUIT", Signal::SIGQUIT)];

/// Counts TERM, INT, HUP and QUIT until it is let go, and ends with 3. Each round is shorter than a signal's way.
const COUNTS_SIGNALS: &str = r#"
for signal in TERM INT HUP QUIT USR1 USR2; do trap "echo got $signal" $signal; done
echo ready
until [ -e let-go ]; do sleep 0.02; done
exit 3
"#;

fn times(run: &Running, line: &str) -> usize {
    run.stdout().lines().filter(|said| *said == line).count()
}

#[test]
fn each_signal_reaches_the_command_once_also_the_second_time() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", COUNTS_SIGNALS]).cwd(directory.path()).start();
    run.says("ready");
    for round in 1..=2 {
        for (name, signal) in FORWARDED {
            run.signal(signal);
            eventually(&format!("the command got {name}"), || times(&run, &format!("got {name}")) >= round);
        }
    }
    std::fs::write(directory.path().join("let-go"), "").expect("it is ours");
    let ended = run.wait().exits_with(3);
    let wanted: String = [1, 2].map(|_| FORWARDED.map(|(name, _)| format!("got {name}\n")).concat()).concat();
    assert_eq!(ended.said().to_owned() + "\n", "ready\n".to_owned() + &wanted, "each once, in order");
    assert!(place.is_free("job"));
}

#[test]
fn a_command_that_dies_of_the_signal_makes_dlock_die_of_it() {
    let place = Place::shared(Kind::File);
    for (name, signal) in FORWARDED {
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo ready; exec sleep 1000"]).start();
        run.says("ready");
        run.signal(signal);
        let ended = run.wait().dies_of(signal);
        assert!(ended.took < Duration::from_secs(10), "{name}: {}", ended.account());
        assert!(place.is_free("job"), "{name}");
    }
}

#[test]
fn a_command_that_handles_the_signal_decides_the_status() {
    let place = Place::shared(Kind::File);
    for (name, signal) in FORWARDED {
        let script = format!("trap 'exit 3' {name}; echo ready; while :; do sleep 0.02; done");
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", &script]).start();
        run.says("ready");
        run.signal(signal);
        run.wait().exits_with(3);
        assert!(place.is_free("job"), "{name}");
    }
}

#[test]
fn the_lock_is_held_until_the_command_has_finished_what_the_signal_began() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let script = "trap 'echo cleaning; until [ -e let-go ]; do sleep 0.02; done; exit 5' TERM
        echo ready; while :; do sleep 0.02; done";
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", script]).cwd(directory.path()).start();
    run.says("ready");
    run.signal(Signal::SIGTERM);
    run.says("cleaning");
    assert!(!place.is_free("job"), "the command still runs");
    std::fs::write(directory.path().join("let-go"), "").expect("it is ours");
    run.wait().exits_with(5);
    assert!(place.is_free("job"));
}

/// Signals the whole group, the front in it, and lives until it is told to end: the front can still see whose child it is.
const SIGNALS_ITS_GROUP: &str = r#"
$| = 1;
$SIG{USR1} = sub { print "got it\n" };
$SIG{USR2} = sub { print "got the other\n" };
print "ready\n";
if (!fork) { $SIG{USR1} = "IGNORE"; $SIG{USR2} = "IGNORE"; kill "USR1", 0; sleep 1000; }
while (1) { sleep 1 }
"#;

/// It has reached the command already, from there.
#[test]
fn a_signal_of_the_commands_own_tree_is_not_passed_on() {
    let place = Place::shared(Kind::File);
    let mut words = vec![program().to_owned(), "run".to_owned()];
    words.extend(place.options());
    words.extend(["-k", "job", "--", "perl", "-e", SIGNALS_ITS_GROUP].map(str::to_owned));
    // A group of its own: in the test's the signal would be everybody's.
    let run = Dlock::of_program("setsid".as_ref(), words).start();
    run.says("got it");
    run.signal(Signal::SIGUSR2);
    run.says("got the other");
    assert_eq!(run.stdout().matches("got it").count(), 1, "{}", run.stdout());
    run.signal(Signal::SIGTERM);
    run.wait().dies_of(Signal::SIGTERM);
}

/// `nohup dlock run …` means what it says.
#[test]
fn a_signal_that_is_ignored_from_the_start_stays_ignored_in_the_command() {
    let place = Place::shared(Kind::File);
    let options = place.options().join(" ");
    let script = format!(
        "trap '' HUP; exec \"$0\" run {options} -k job -- sh -c 'grep SigIgn /proc/self/status; echo ready; cat'"
    );
    let run = Dlock::of_program("/bin/sh".as_ref(), ["-c", &script, program()]).stdin_open().start();
    run.says("ready");
    let line = run.stdout().lines().next().expect("grep found it").to_owned();
    let mask = line.split_whitespace().last().expect("a mask follows");
    assert_eq!(u64::from_str_radix(mask, 16).expect("it is hexadecimal") & 1, 1, "HUP is signal 1: {line}");
    run.signal(Signal::SIGHUP);
    run.let_go();
    run.wait().succeeds();
}

/// Nor does it end a dlock that waits, or reach a command that would listen: nobody would have sent it that, either.
#[test]
fn a_signal_that_is_ignored_from_the_start_is_nothing_to_dlock() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    let options = place.options().join(" ");
    let listens = "$| = 1; $SIG{HUP} = sub { print \"got HUP\\n\" }; $SIG{USR1} = sub { print \"got USR1\\n\"; exit 0 }; \
                   print \"ready\\n\"; sleep 1 while 1";
    let script = format!("trap '' HUP; exec \"$0\" run {options} -k job -- perl -e \"$1\"");
    let words = ["-c", &script, program(), listens];
    let run = Dlock::of_program("/bin/sh".as_ref(), words).start();
    eventually("it waits", || place.waiters("job") == 1);
    run.signal(Signal::SIGHUP);
    holder.let_go();
    holder.wait().succeeds();
    run.says("ready");
    run.signal(Signal::SIGHUP);
    run.signal(Signal::SIGUSR1);
    let ended = run.wait().succeeds();
    assert_eq!(ended.said(), "ready\ngot USR1", "{}", ended.account());
}

fn a_signal_while_waiting_leaves_no_place_in_the_queue_and_is_what_dlock_dies_of(place: &Place) {
    let holder = place.hold("job");
    for (_, signal) in FORWARDED {
        let waiter = place.queue_up("job");
        let keeper = waiter.keeper();
        waiter.signal(signal);
        let mark = waiter.mark();
        let ended = waiter.wait().dies_of(signal);
        assert!(ended.took < Duration::from_secs(10), "{}", ended.account());
        assert!(!ended.status.success() && ended.stdout.is_empty(), "the command never started: {}", ended.account());
        within(Duration::from_secs(2), "the keeper is gone", || crate::support::Process::find(keeper.pid).is_none());
        assert!(crate::support::processes_with(&mark).is_empty());
        within(Duration::from_secs(2), "the place in the queue is gone", || place.waiters("job") == 0);
    }
    holder.let_go();
    holder.wait().succeeds();
    assert!(place.is_free("job"));
}

/// The shell dies of TERM; what it started, which ignores TERM, would run on beside the next holder.
fn after_term_the_rest_of_the_tree_is_stopped_before_the_release(place: &Place) {
    let script = "(trap '' TERM; sleep 1000; :) & setsid sleep 1001 & echo ready; wait";
    let run = place.dlock(["run", "-k", "job", "--ttl", "5s", "--", "sh", "-c", script]).start();
    run.says("ready");
    eventually("the whole tree runs", || run.tree().len() >= 4);
    run.signal(Signal::SIGTERM);
    let mark = run.mark();
    run.wait().dies_of(Signal::SIGTERM);
    let left = crate::support::processes_with(&mark);
    assert!(left.is_empty(), "{left:?}");
    assert!(place.is_free("job"));
}
