//! `--hold-at-least`: the lock stays taken until a minimum time after its grant, whatever became of the command.

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

use super::is_token;
use crate::support::{Place, Running, eventually, program, sentences, within};

sentences! {
    file: Place::shared(Kind::File), [
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        who_waits_gets_in_at_the_end_of_the_minimum_and_not_before,
        nobody_gets_in_early_among_many_who_contend,
        a_minimum_that_is_over_when_the_command_ends_leaves_nothing,
        a_command_that_cannot_be_started_holds_nothing,
        a_command_that_took_too_long_or_was_signalled_holds_all_the_same,
        the_token_of_a_lock_that_is_only_held_at_least_owns_nothing,
        readers_and_slots_are_held_like_any_other_lock,
        of_several_keys_each_is_held,
        after_a_crash_only_the_lease_protects,
        a_run_inside_holds_nothing_of_its_own,
        it_can_come_from_the_environment_and_nonsense_is_refused,
        an_operator_may_free_it_and_what_was_taken_back_is_not_held,
    ];
    redis: Place::shared(Kind::Redis), [
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        who_waits_gets_in_at_the_end_of_the_minimum_and_not_before,
        nobody_gets_in_early_among_many_who_contend,
        a_minimum_that_is_over_when_the_command_ends_leaves_nothing,
        a_command_that_cannot_be_started_holds_nothing,
        a_command_that_took_too_long_or_was_signalled_holds_all_the_same,
        the_token_of_a_lock_that_is_only_held_at_least_owns_nothing,
        readers_and_slots_are_held_like_any_other_lock,
        of_several_keys_each_is_held,
        after_a_crash_only_the_lease_protects,
        a_run_inside_holds_nothing_of_its_own,
        it_can_come_from_the_environment_and_nonsense_is_refused,
        an_operator_may_free_it_and_what_was_taken_back_is_not_held,
        after_a_lost_lease_nothing_is_held,
    ];
    zookeeper: Place::shared(Kind::ZooKeeper), [
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        who_waits_gets_in_at_the_end_of_the_minimum_and_not_before,
        nobody_gets_in_early_among_many_who_contend,
        a_minimum_that_is_over_when_the_command_ends_leaves_nothing,
        a_command_that_cannot_be_started_holds_nothing,
        a_command_that_took_too_long_or_was_signalled_holds_all_the_same,
        the_token_of_a_lock_that_is_only_held_at_least_owns_nothing,
        readers_and_slots_are_held_like_any_other_lock,
        of_several_keys_each_is_held,
        after_a_crash_only_the_lease_protects,
        a_run_inside_holds_nothing_of_its_own,
        it_can_come_from_the_environment_and_nonsense_is_refused,
        an_operator_may_free_it_and_what_was_taken_back_is_not_held,
        after_a_lost_lease_nothing_is_held,
    ];
    sentinel: Watched::shared(), [
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        who_waits_gets_in_at_the_end_of_the_minimum_and_not_before,
    ];
    cluster: Place::on_cluster(), [
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        who_waits_gets_in_at_the_end_of_the_minimum_and_not_before,
        readers_and_slots_are_held_like_any_other_lock,
    ];
    masters: crate::contract::three_masters(), [
        an_operator_may_free_it_and_what_was_taken_back_is_not_held,
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        the_token_of_a_lock_that_is_only_held_at_least_owns_nothing,
        after_a_crash_only_the_lease_protects,
    ];
    both: Place::both(), [
        an_operator_may_free_it_and_what_was_taken_back_is_not_held,
        a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over,
        who_waits_gets_in_at_the_end_of_the_minimum_and_not_before,
        the_token_of_a_lock_that_is_only_held_at_least_owns_nothing,
        after_a_crash_only_the_lease_protects,
    ];
}

/// Longer than what is done meanwhile takes on a busy machine, so that it is seen while it lasts.
const MINIMUM: Duration = Duration::from_secs(4);
const MINIMUM_OPTION: &str = "4s";

/// Longer than any test.
const LONG: &str = "1h";

/// Long enough for two busy cores to renew in time.
const TTL: Duration = Duration::from_secs(4);
const TTL_OPTION: &str = "4s";

/// CLOCK_BOOTTIME in nanoseconds, as a command would write it down.
fn boottime() -> u128 {
    Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).expect("Linux has it")).as_nanos()
}

#[track_caller]
fn phase_of(place: &Place, key: &str) -> String {
    let status = place.status(key);
    status["holders"][0]["phase"].as_str().unwrap_or_else(|| panic!("{key} is held: {status}")).to_owned()
}

fn a_command_that_ends_early_leaves_the_lock_taken_until_the_minimum_is_over(place: &Place) {
    let began = boottime();
    let args =
        ["run", "-k", "job", "--hold-at-least", MINIMUM_OPTION, "--label", "nightly", "--", "sh", "-c", "exit 7"];
    place.dlock(args).finish().exits_with(7).says_nothing();
    let status = place.status("job");
    let holder = &status["holders"][0];
    assert_eq!((&status["state"], &holder["phase"]), (&"held".into(), &"held-at-least".into()), "{status}");
    assert_eq!((&holder["label"], &holder["command"]), (&"nightly".into(), &"sh".into()), "{status}");
    let left = holder["remaining_ms"].as_u64().expect("its end is known");
    assert!(left > 0 && u128::from(left) <= MINIMUM.as_millis(), "{status}");
    let refused = place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish();
    refused.exits_with(75).complains(&["cannot acquire \"job\": ", "held by", "nightly"]);
    place.dlock(["status", "job", "--exit-code"]).finish().exits_with(75);
    eventually("it is free in the end", || place.is_free("job"));
    assert!(boottime() - began >= MINIMUM.as_nanos(), "it was free after {:?}", boottime() - began);
    assert_eq!(place.status("job")["state"], "free");
}

fn who_waits_gets_in_at_the_end_of_the_minimum_and_not_before(place: &Place) {
    let script = "echo ready; cat >/dev/null";
    let args = ["run", "-k", "job", "--hold-at-least", MINIMUM_OPTION, "--", "sh", "-c", script];
    let granted_after = boottime();
    let holder = place.dlock(args).stdin_open().start();
    holder.says("ready");
    let before = place.queue_up("job");
    holder.let_go();
    holder.wait().succeeds();
    let behind = place.queue_up("job");
    assert_eq!(phase_of(place, "job"), "held-at-least");
    within(MINIMUM + Duration::from_secs(5), "the first waiter gets in", || before.stdout() == "ready\n");
    assert!(boottime() - granted_after >= MINIMUM.as_nanos(), "after {:?}", boottime() - granted_after);
    assert_eq!(behind.stdout(), "", "and it alone");
    before.let_go();
    before.wait().succeeds();
    within(Duration::from_secs(5), "then the next", || behind.stdout() == "ready\n");
    behind.let_go();
    behind.wait().succeeds();
}

fn nobody_gets_in_early_among_many_who_contend(place: &Place) {
    const CONTENDERS: usize = 4;
    let minimum = Duration::from_secs(1);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let path = log.to_str().expect("temporary directories have plain names");
    // The kernel's own clock, in hundredths of a second since boot; the first one is the grant at the earliest.
    let note = r#"read now _ </proc/uptime; echo "$now" >>"$1""#;
    let args = ["run", "-k", "job", "--hold-at-least", "1s", "--", "sh", "-c", note, "sh", path];
    let runs: Vec<Running> = (0..CONTENDERS).map(|_| place.dlock(args).start()).collect();
    // Others who try all the time must not find a gap either.
    let mut intruders = 0;
    while !runs.iter().all(Running::has_ended) {
        let intruder = ["run", "-k", "job", "-n", "--hold-at-least", "1s", "--", "sh", "-c", note, "sh", path];
        intruders += usize::from(place.dlock(intruder).finish().status.code() == Some(0));
    }
    for run in runs {
        run.wait().succeeds();
    }
    let text = std::fs::read_to_string(&log).expect("somebody ran");
    let began: Vec<f64> = text.lines().map(|line| line.parse().expect("seconds")).collect();
    assert_eq!(began.len(), CONTENDERS + intruders);
    // A command starts a little after its grant, from which the minimum counts.
    let least = minimum.as_secs_f64() * 0.5;
    assert!(began.windows(2).all(|pair| pair[1] - pair[0] >= least), "{began:?}");
}

fn a_minimum_that_is_over_when_the_command_ends_leaves_nothing(place: &Place) {
    place.dlock(["run", "-k", "job", "--hold-at-least", "10ms", "--", "sleep", "0.1"]).finish().succeeds();
    assert_eq!(place.status("job")["state"], "free");
    assert!(place.is_free("job"));
    place.dlock(["run", "-k", "job", "--hold-at-least", "0", "--", "true"]).finish().succeeds();
    assert!(place.is_free("job"));
}

fn a_command_that_cannot_be_started_holds_nothing(place: &Place) {
    for (command, code) in [("/no/such/command", 127), ("/tmp", 126)] {
        place.dlock(["run", "-k", "job", "--hold-at-least", LONG, "--", command]).finish().exits_with(code);
        assert!(place.is_free("job"), "{command}");
    }
}

fn a_command_that_took_too_long_or_was_signalled_holds_all_the_same(place: &Place) {
    let args = ["run", "-k", "long", "--hold-at-least", LONG, "--max-runtime", "0.1", "--", "sleep", "60"];
    place.dlock(args).finish().exits_with(124);
    assert_eq!(phase_of(place, "long"), "held-at-least");
    let args = ["run", "-k", "told", "--hold-at-least", LONG, "--", "sh", "-c", "echo ready; exec sleep 60"];
    let run = place.dlock(args).start();
    run.says("ready");
    run.signal(Signal::SIGTERM);
    run.wait().dies_of(Signal::SIGTERM);
    assert_eq!(phase_of(place, "told"), "held-at-least");
}

fn the_token_of_a_lock_that_is_only_held_at_least_owns_nothing(place: &Place) {
    let args = ["run", "-k", "job", "--hold-at-least", LONG, "--", "sh", "-c", "echo $DLOCK_TOKEN"];
    let run = place.dlock(args).finish().succeeds();
    let token = run.said();
    assert!(is_token(token));
    place.dlock(["release", "-k", "job", "--token", token]).finish().exits_with(79);
    place.dlock(["renew", "-k", "job", "--token", token, "--ttl", "1s"]).finish().exits_with(79);
    assert_eq!(phase_of(place, "job"), "held-at-least");
}

fn readers_and_slots_are_held_like_any_other_lock(place: &Place) {
    place.dlock(["run", "-k", "read", "-s", "--hold-at-least", MINIMUM_OPTION, "--", "true"]).finish().succeeds();
    assert_eq!(phase_of(place, "read"), "held-at-least");
    place.dlock(["run", "-k", "read", "-s", "-n", "--", "true"]).finish().succeeds();
    place.dlock(["run", "-k", "read", "-n", "--", "true"]).finish().exits_with(75);
    let call = ["run", "-k", "two", "--slots", "2", "-n", "--hold-at-least", MINIMUM_OPTION, "--", "true"];
    place.dlock(call).finish().succeeds();
    place.dlock(call).finish().succeeds();
    place.dlock(call).finish().exits_with(75);
    let status = place.status("two");
    assert_eq!(status["slots"]["used"], 2, "{status}");
    let waiter = place.queue_up_with("two", ["run", "-k", "two", "--slots", "2", "--", "true"]);
    waiter.wait().succeeds();
    place.dlock(["run", "-k", "two", "-w", "20", "--", "true"]).finish().succeeds();
    place.dlock(["run", "-k", "read", "-w", "20", "--", "true"]).finish().succeeds();
    assert!(place.is_free("two") && place.is_free("read"));
}

fn of_several_keys_each_is_held(place: &Place) {
    place.dlock(["run", "-k", "b", "-k", "a", "--hold-at-least", LONG, "--", "true"]).finish().succeeds();
    assert_eq!([phase_of(place, "a"), phase_of(place, "b")], ["held-at-least", "held-at-least"]);
}

fn after_a_crash_only_the_lease_protects(place: &Place) {
    let args = [
        "run",
        "-k",
        "job",
        "--ttl",
        TTL_OPTION,
        "--hold-at-least",
        LONG,
        "--",
        "sh",
        "-c",
        "echo ready; exec sleep 60",
    ];
    let run = place.dlock(args).start();
    run.says("ready");
    let (front, keeper) = (run.front(), run.keeper());
    keeper.signal(Signal::SIGKILL);
    front.signal(Signal::SIGKILL);
    within(TTL * 2 + Duration::from_secs(8), "it is free", || place.is_free("job"));
}

fn a_run_inside_holds_nothing_of_its_own(place: &Place) {
    let script = format!(r#""{}" run -n -k job --hold-at-least {LONG} -- true"#, program());
    place.dlock(["run", "-k", "job", "--", "sh", "-c", &script]).finish().succeeds();
    assert!(place.is_free("job"));
}

fn it_can_come_from_the_environment_and_nonsense_is_refused(place: &Place) {
    place.dlock(["run", "-k", "job", "--", "true"]).env("DLOCK_HOLD_AT_LEAST", LONG).finish().succeeds();
    assert_eq!(phase_of(place, "job"), "held-at-least");
    for length in ["soon", "-1", "367d", ""] {
        let run = place.dlock(["run", "-k", "free", "--hold-at-least", length, "--", "true"]).finish();
        run.exits_with(64).complains(&["--hold-at-least"]);
    }
    assert!(place.is_free("free"));
}

fn after_a_lost_lease_nothing_is_held(place: &Place) {
    let script = "echo ready; exec sleep 60";
    let args = ["run", "-k", "job", "--ttl", TTL_OPTION, "--hold-at-least", LONG, "--", "sh", "-c", script];
    let run = place.dlock(args).start();
    run.says("ready");
    place.take_away("job");
    run.wait().exits_with(79);
    assert!(place.is_free("job"));
}

fn an_operator_may_free_it_and_what_was_taken_back_is_not_held(place: &Place) {
    place.dlock(["run", "-k", "job", "--hold-at-least", LONG, "--", "true"]).finish().succeeds();
    assert_eq!(phase_of(place, "job"), "held-at-least");
    place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
    assert!(place.is_free("job"));
    let script = "echo ready; exec sleep 60";
    let run = place.dlock(["run", "-k", "job", "--ttl", TTL_OPTION, "--hold-at-least", LONG, "--", "sh", "-c", script]);
    let run = run.start();
    run.says("ready");
    place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
    run.wait().exits_with(79);
    assert!(place.is_free("job"));
}
