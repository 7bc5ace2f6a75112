//! `--max-runtime`, `--kill-after`, `--stop-signal`, and the sums that a lease has room for.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{
    A_WHILE, Dlock, Kind, LOOK_FOR_ANOTHER_JOB, Place, Process, eventually, sentences_for_every_backend, within,
};

sentences_for_every_backend![
    max_runtime_stops_the_whole_tree_before_anybody_else_gets_the_lock,
    what_outlives_its_grace_keeps_the_lock_until_it_is_dead,
    what_outlives_a_command_that_ends_when_asked_keeps_the_lock_until_it_is_dead,
];

/// Ignores TERM, and so does what it started, in a session of its own.
const STUBBORN: &str = r#"
trap '' TERM
setsid sh -c "trap '' TERM; while :; do sleep 1; done" &
echo ready
while :; do sleep 1; done
"#;

/// "TERM, then KILL, the whole tree after D, renewing meanwhile; status 124".
fn max_runtime_stops_the_whole_tree_before_anybody_else_gets_the_lock(place: &Place) {
    let call = ["run", "-k", "job", "--ttl", "4s", "--max-runtime", "1s", "--", "sh", "-c", STUBBORN];
    let run = place.dlock(call).start();
    run.says("ready");
    let next = place.queue_up("job");
    within(A_WHILE, "the next one gets in", || next.stdout() == "ready\n");
    assert!(run.tree().is_empty(), "{:?}", run.tree());
    let ended = run.wait().exits_with(124).mentions(&["\"sh\"", "--max-runtime 1s"]);
    assert_eq!(ended.stderr().lines().count(), 1, "{}", ended.account());
    next.let_go();
    next.wait().succeeds();
}

/// A grace that is longer than the lease at hand: on a server the lease is renewed meanwhile.
fn what_outlives_its_grace_keeps_the_lock_until_it_is_dead(place: &Place) {
    let grace = if place.kind == Kind::File { "6s" } else { "1s" };
    let call = [
        "run",
        "-k",
        "job",
        "--ttl",
        "5s",
        "--max-runtime",
        "500ms",
        "--kill-after",
        grace,
        "--",
        "sh",
        "-c",
        "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done",
    ];
    let run = place.dlock(call).start();
    run.says("asked");
    assert!(!place.is_free("job"), "it still runs");
    run.wait().exits_with(124);
    assert!(place.is_free("job"));
}

/// The command goes at once, and a part of it that left its session and ignores TERM does not.
fn what_outlives_a_command_that_ends_when_asked_keeps_the_lock_until_it_is_dead(place: &Place) {
    let script = r#"
        setsid sh -c "trap '' TERM; echo ready; while :; do sleep 0.05; done" &
        trap 'exit 0' TERM
        while :; do sleep 0.05; done"#;
    let call = ["run", "-k", "job", "--ttl", "5s", "--max-runtime", "1s", "--", "sh", "-c", script];
    let run = place.dlock(call).start();
    run.says("ready");
    let look = ["run", "-k", "job", "--", "sh", "-c", LOOK_FOR_ANOTHER_JOB, "sh", &run.mark()];
    let next = place.queue_up_with("job", look);
    within(A_WHILE, "the next one gets in", || next.stdout().contains("ready"));
    assert_eq!(next.stdout(), "ready\n", "nothing of the first job is left");
    run.wait().exits_with(124);
    next.let_go();
    next.wait().succeeds();
}

#[test]
fn a_command_that_ends_well_when_asked_has_timed_out_all_the_same() {
    let place = Place::shared(Kind::File);
    let script = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
    place.dlock(["run", "-k", "job", "--max-runtime", "0.3", "--", "sh", "-c", script]).finish().exits_with(124);
    let script = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let run = place.dlock(["run", "-k", "job", "--max-runtime", "1h", "--", "sh", "-c", script]).start();
    eventually("it runs", || !run.tree().is_empty());
    // Nobody's limit was reached: it was asked by its user.
    eventually("the trap is set", || {
        run.signal(Signal::SIGTERM);
        run.has_ended()
    });
}

/// "(stopped time included)"
#[test]
fn a_command_that_is_stopped_runs_out_of_time_too() {
    let place = Place::shared(Kind::File);
    let call = ["run", "-k", "job", "--max-runtime", "2s", "--", "sh", "-c", "echo $$; echo ready; exec sleep 1000"];
    let run = place.dlock(call).start();
    run.says("ready");
    let pid = run.stdout().lines().next().and_then(|line| line.parse().ok()).expect("it said its pid");
    Process::find(pid).expect("it runs").signal(Signal::SIGSTOP);
    eventually("the front stops with it", || run.has_ended() || run.front().is_stopped());
    run.wait().exits_with(124);
    assert!(place.is_free("job") && run.job().is_empty());
}

#[test]
fn the_stop_signal_is_the_users_and_a_stopped_process_gets_it_too() {
    let place = Place::shared(Kind::File);
    for name in ["INT", "SIGUSR1", "rtmin+2", "3"] {
        let script = format!(
            "trap 'echo asked; exit 0' {}; trap 'echo wrong' TERM; while :; do sleep 0.02; done",
            match name {
                "rtmin+2" => "RTMIN+2",
                "3" => "QUIT",
                name => name.trim_start_matches("SIG"),
            }
        );
        let call = ["run", "-k", "job", "--max-runtime", "0.4", "--stop-signal", name, "--", "bash", "-c", &script];
        let ended = place.dlock(call).finish().exits_with(124);
        assert_eq!(ended.said(), "asked", "{name}: {}", ended.account());
    }
    let call = ["run", "-k", "job", "--max-runtime", "0.3", "--stop-signal", "KILL", "--", "sh", "-c", STUBBORN];
    place.dlock(call).finish().exits_with(124);
    // What is stopped acts on a signal only once it is continued.
    let script = "trap 'echo asked; exit 0' TERM; echo $$; echo ready; while :; do sleep 0.02; done";
    let call = ["run", "-k", "job", "--max-runtime", "1.5", "--", "sh", "-c", script];
    let run = place.dlock(call).start();
    run.says("ready");
    let pid = run.stdout().lines().next().and_then(|line| line.parse().ok()).expect("it said its pid");
    Process::find(pid).expect("it runs").signal(Signal::SIGSTOP);
    run.wait().exits_with(124);
    assert!(run.stdout().ends_with("asked\n"), "{}", run.stdout());
}

#[test]
fn the_grace_is_what_the_user_gave() {
    let place = Place::shared(Kind::File);
    let script = "trap '' TERM; while :; do sleep 0.02; done";
    let call = ["run", "-k", "job", "--max-runtime", "0.2", "--kill-after", "0.1", "--", "sh", "-c", script];
    let ended = place.dlock(call).finish().exits_with(124);
    assert!(ended.took < Duration::from_secs(3), "the default grace is 5 s here: {}", ended.account());
    let call = ["run", "-k", "job", "--max-runtime", "0.2", "--kill-after", "1.5", "--", "sh", "-c", script];
    let ended = place.dlock(call).finish().exits_with(124);
    assert!(ended.took > Duration::from_millis(1700), "{}", ended.account());
}

/// "an explicit value that does not fit is refused with the arithmetic and the TTL that would do: 64, or 78 when only the
/// granted session timeout shows it. File: never refused"
#[test]
fn a_grace_that_does_not_fit_is_refused_with_the_ttl_that_would_do() {
    let file = Place::shared(Kind::File);
    file.dlock(["run", "-k", "job", "--ttl", "5s", "--kill-after", "1h", "--", "true"]).finish().succeeds();
    for (kind, ttl, fits) in [(Kind::Redis, "10s", "14s 900ms"), (Kind::ZooKeeper, "15s", "20s 300ms")] {
        let place = Place::shared(kind);
        let words = ["does not fit a lease of", "renewing takes up to", fits];
        let call = ["run", "-k", "job", "--ttl", ttl, "--kill-after", "5s", "--", "true"];
        place.dlock(call).finish().exits_with(64).complains(&words);
        let call = ["run", "-k", "job", "--ttl", fits, "--kill-after", "5s", "--", "true"];
        place.dlock(call).finish().succeeds().says_nothing();
    }
    let place = Place::shared(Kind::ZooKeeper);
    let before = place.footprint();
    let late = place.dlock(["run", "-k", "job", "--kill-after", "20s", "--", "echo", "it ran"]).finish();
    let late = late.exits_with(78).complains(&["does not fit a lease of", "--ttl"]);
    assert!(late.stdout.is_empty(), "{}", late.account());
    assert!(place.is_free("job"), "it was given back; before: {before:?}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_locked() {
    let place = Place::shared(Kind::File);
    for (option, value, word) in [
        ("--max-runtime", "0", "no time"),
        ("--max-runtime", "soon", "duration"),
        ("--max-runtime", "-1", "duration"),
        ("--kill-after", "never", "duration"),
        ("--stop-signal", "STOP", "ends no process"),
        ("--stop-signal", "TERMINATE", "no such signal"),
        ("--stop-signal", "0", "no such signal"),
        ("--on-lost", "ignore", "kill"),
        ("--on-lost", "", "kill"),
        ("--descendants", "all", "wait"),
    ] {
        let refused = place.dlock(["run", "-k", "job", option, value, "--", "echo", "it ran"]).finish();
        let refused = refused.exits_with(64).complains(&[option, word]);
        assert!(refused.stdout.is_empty(), "{}", refused.account());
        // An empty variable is unset.
        if value.is_empty() {
            continue;
        }
        let variable = format!("DLOCK_{}", option.trim_start_matches('-').to_uppercase().replace('-', "_"));
        let refused = place.dlock(["run", "-k", "job", "--", "true"]).env(&variable, value).finish();
        refused.exits_with(64).complains(&[&variable, word]);
    }
    assert!(place.footprint().len() <= 1, "{:?}", place.footprint());
}

/// A time that no timer can hold is as good as none.
#[test]
fn a_limit_beyond_all_counting_is_no_limit() {
    let place = Place::shared(Kind::File);
    for limit in ["500000000y", "9223372036854775807s", "18446744073709549568"] {
        place.dlock(["run", "-k", "job", "--max-runtime", limit, "-w", limit, "--", "true"]).finish().succeeds();
    }
    let everything = Dlock::new(["run", "--help"]).finish().succeeds();
    assert!(everything.said().contains("--max-runtime"), "{}", everything.account());
}
