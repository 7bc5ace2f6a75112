//! `--lock-delay`: after a crash or a loss nobody gets the lock for a while beyond the lease; a release in good order frees it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{LOOK_FOR_ANOTHER_JOB, Place, Process, Proxy, Running, eventually, sentences, within};

sentences! {
    file: Place::shared(Kind::File), [
        a_release_in_good_order_frees_the_lock_at_once,
        after_a_crash_nobody_gets_in_before_the_delay_is_over,
        a_slot_of_a_crashed_holder_stays_taken_for_the_delay,
        when_the_front_dies_the_keeper_leaves_the_delay,
        when_the_front_dies_with_the_command_the_keeper_leaves_the_delay_too,
        when_the_command_is_dead_before_the_dying_front_the_keeper_leaves_the_delay_too,
        of_minimum_and_delay_the_later_counts,
        nonsense_is_refused_and_the_environment_is_asked,
        a_one_shot_lease_is_followed_by_the_delay_and_its_release_is_not,
    ];
    redis: Place::shared(Kind::Redis), [
        a_release_in_good_order_frees_the_lock_at_once,
        after_a_crash_nobody_gets_in_before_the_delay_is_over,
        a_slot_of_a_crashed_holder_stays_taken_for_the_delay,
        when_the_front_dies_the_keeper_leaves_the_delay,
        when_the_front_dies_with_the_command_the_keeper_leaves_the_delay_too,
        when_the_command_is_dead_before_the_dying_front_the_keeper_leaves_the_delay_too,
        of_minimum_and_delay_the_later_counts,
        nonsense_is_refused_and_the_environment_is_asked,
        a_one_shot_lease_is_followed_by_the_delay_and_its_release_is_not,
        what_the_holder_believes_in_is_the_lease_alone,
        the_delay_begins_when_a_silent_network_has_stopped_the_command,
    ];
    zookeeper: Place::shared(Kind::ZooKeeper), [
        a_release_in_good_order_frees_the_lock_at_once,
        after_a_crash_nobody_gets_in_before_the_delay_is_over,
        a_slot_of_a_crashed_holder_stays_taken_for_the_delay,
        when_the_front_dies_the_keeper_leaves_the_delay,
        when_the_front_dies_with_the_command_the_keeper_leaves_the_delay_too,
        when_the_command_is_dead_before_the_dying_front_the_keeper_leaves_the_delay_too,
        of_minimum_and_delay_the_later_counts,
        nonsense_is_refused_and_the_environment_is_asked,
        a_one_shot_lease_is_followed_by_the_delay_and_its_release_is_not,
        what_the_holder_believes_in_is_the_lease_alone,
        the_delay_begins_when_a_silent_network_has_stopped_the_command,
    ];
    cluster: Place::on_cluster(), [
        a_release_in_good_order_frees_the_lock_at_once,
        after_a_crash_nobody_gets_in_before_the_delay_is_over,
    ];
    masters: crate::contract::three_masters(), [
        a_one_shot_lease_is_followed_by_the_delay_and_its_release_is_not,
        a_release_in_good_order_frees_the_lock_at_once,
        when_the_front_dies_the_keeper_leaves_the_delay,
        when_the_front_dies_with_the_command_the_keeper_leaves_the_delay_too,
        when_the_command_is_dead_before_the_dying_front_the_keeper_leaves_the_delay_too,
    ];
    both: Place::both(), [
        a_one_shot_lease_is_followed_by_the_delay_and_its_release_is_not,
        a_release_in_good_order_frees_the_lock_at_once,
        when_the_front_dies_the_keeper_leaves_the_delay,
        when_the_front_dies_with_the_command_the_keeper_leaves_the_delay_too,
        when_the_command_is_dead_before_the_dying_front_the_keeper_leaves_the_delay_too,
    ];
}

/// Long enough for two busy cores to renew in time.
const TTL: Duration = Duration::from_secs(4);
const TTL_OPTION: &str = "4s";
const DELAY: Duration = Duration::from_secs(4);
const DELAY_OPTION: &str = "4s";
const LONG: &str = "1h";

/// What a session has beyond the lease: two thirds of it are the delay.
const BEYOND: Duration = Duration::from_secs(6);

/// How much later two busy cores may do things.
const LATE: Duration = Duration::from_secs(6);

/// One process, which dies with its parent.
const HOLD: &str = "echo ready; exec cat >/dev/null";

#[track_caller]
fn hold(place: &Place, options: &[&str]) -> Running {
    let head = ["run", "-k", "job", "--ttl", TTL_OPTION, "--lock-delay", DELAY_OPTION];
    let args = head.into_iter().chain(options.iter().copied()).chain(["--", "sh", "-c", HOLD]);
    let run = place.dlock_with(args).stdin_open().start();
    run.says("ready");
    run
}

/// Kills both processes of dlock as nearly at once as can be.
fn crash(run: &Running) {
    let (front, keeper) = (run.front(), run.keeper());
    keeper.signal(Signal::SIGKILL);
    front.signal(Signal::SIGKILL);
}

#[track_caller]
fn phase_of(place: &Place) -> String {
    let status = place.status("job");
    status["holders"][0]["phase"].as_str().unwrap_or_else(|| panic!("it is held: {status}")).to_owned()
}

/// Seen from the moment of the kill on: a busy machine may take long to look afterwards.
#[track_caller]
fn shows_the_delay(place: &Place) {
    eventually("the delay is shown", || place.status("job")["holders"][0]["phase"] == "lock-delay");
}

fn a_release_in_good_order_frees_the_lock_at_once(place: &Place) {
    let run = hold(place, &[]);
    assert!(!place.is_free("job"));
    run.let_go();
    run.wait().succeeds().says_nothing_on_stderr();
    assert_eq!(place.status("job")["state"], "free");
    assert!(place.is_free("job"));
}

fn after_a_crash_nobody_gets_in_before_the_delay_is_over(place: &Place) {
    let run = hold(place, &[]);
    let next = place.queue_up("job");
    let crashed = Instant::now();
    crash(&run);
    eventually("nothing of the job is left", || run.job().is_empty());
    place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    within(TTL + BEYOND + LATE, "the next gets in", || next.stdout() == "ready\n");
    assert!(crashed.elapsed() >= DELAY, "after {:?}", crashed.elapsed());
    next.let_go();
    next.wait().succeeds();
    assert!(place.is_free("job"));
}

fn a_slot_of_a_crashed_holder_stays_taken_for_the_delay(place: &Place) {
    let slots = ["--slots", "2"];
    let (crashes, stays) = (hold(place, &slots), hold(place, &slots));
    let crashed = Instant::now();
    crash(&crashes);
    eventually("nothing of the job is left", || crashes.job().is_empty());
    let call = ["run", "-k", "job", "--slots", "2", "-n", "--", "true"];
    place.dlock(call).finish().exits_with(75);
    place.dlock(["run", "-k", "job", "--slots", "2", "--", "true"]).finish().succeeds();
    assert!(crashed.elapsed() >= DELAY, "after {:?}", crashed.elapsed());
    place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    crash(&stays);
    eventually("nothing of the job is left", || stays.job().is_empty());
    let crashed = Instant::now();
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    assert!(crashed.elapsed() >= DELAY - Duration::from_secs(1), "after {:?}", crashed.elapsed());
    place.dlock(call).finish().succeeds();
}

fn when_the_front_dies_the_keeper_leaves_the_delay(place: &Place) {
    let run = hold(place, &[]);
    let killed = Instant::now();
    run.front().signal(Signal::SIGKILL);
    shows_the_delay(place);
    eventually("nothing of the job is left", || run.job().is_empty());
    place.dlock(["run", "-k", "job", "-w", "30", "--", "true"]).finish().succeeds();
    assert!(killed.elapsed() >= DELAY, "after {:?}", killed.elapsed());
}

fn when_the_front_dies_with_the_command_the_keeper_leaves_the_delay_too(place: &Place) {
    let run = hold(place, &[]);
    // It hears of both at once.
    let keeper = run.keeper();
    keeper.signal(Signal::SIGSTOP);
    for process in run.tree() {
        process.signal(Signal::SIGKILL);
    }
    run.front().signal(Signal::SIGKILL);
    keeper.signal(Signal::SIGCONT);
    shows_the_delay(place);
    eventually("nothing of the job is left", || run.job().is_empty());
    place.dlock(["run", "-k", "job", "-w", "30", "--", "true"]).finish().succeeds();
}

/// What kills a whole group kills one after the other, and a process takes a while to die.
fn when_the_command_is_dead_before_the_dying_front_the_keeper_leaves_the_delay_too(place: &Place) {
    let run = hold(place, &[]);
    let front = run.front();
    front.signal(Signal::SIGSTOP);
    let tree = run.tree();
    for process in &tree {
        process.signal(Signal::SIGKILL);
    }
    eventually("the keeper has heard of the command's end", || tree.iter().all(Process::is_reaped));
    front.signal(Signal::SIGKILL);
    shows_the_delay(place);
    eventually("nothing of the job is left", || run.job().is_empty());
}

fn of_minimum_and_delay_the_later_counts(place: &Place) {
    let run = hold(place, &["--hold-at-least", "1ms"]);
    run.front().signal(Signal::SIGKILL);
    shows_the_delay(place);
    eventually("nothing of the job is left", || run.job().is_empty());
    place.dlock(["run", "-k", "job", "-w", "30", "--", "true"]).finish().succeeds();
    let run = hold(place, &["--hold-at-least", LONG]);
    run.front().signal(Signal::SIGKILL);
    eventually("nothing of the job is left", || run.job().is_empty());
    assert_eq!(phase_of(place), "held-at-least");
}

fn nonsense_is_refused_and_the_environment_is_asked(place: &Place) {
    for length in ["soon", "-1", "367d"] {
        let run = place.dlock(["run", "-k", "job", "--lock-delay", length, "--", "true"]).finish();
        run.exits_with(64).complains(&["--lock-delay"]);
    }
    let variables = place.dlock(["run", "-k", "job", "--ttl", TTL_OPTION, "--", "sh", "-c", HOLD]);
    let run = variables.env("DLOCK_LOCK_DELAY", DELAY_OPTION).stdin_open().start();
    run.says("ready");
    run.front().signal(Signal::SIGKILL);
    shows_the_delay(place);
    eventually("nothing of the job is left", || run.job().is_empty());
}

fn what_the_holder_believes_in_is_the_lease_alone(place: &Place) {
    let run = hold(place, &[]);
    let status = place.status("job");
    assert_eq!(status["holders"][0]["ttl_ms"], u64::try_from(TTL.as_millis()).expect("it is short"), "{status}");
    assert_eq!(status["holders"][0]["phase"], "running", "{status}");
    // Renewed at the lease's own pace: it is held beyond what one renewal is worth.
    let began = Instant::now();
    within(TTL * 3, "time passes", || began.elapsed() > TTL + TTL / 2);
    assert!(!run.has_ended(), "{}", run.stderr());
    run.let_go();
    run.wait().succeeds();
}

fn the_delay_begins_when_a_silent_network_has_stopped_the_command(place: &Place) {
    let proxy = Proxy::before(place.port());
    let run = hold(&place.through(proxy.port), &[]);
    let mark = run.mark();
    let args = ["run", "-k", "job", "--", "sh", "-c", LOOK_FOR_ANOTHER_JOB, "sh", &mark];
    let next = place.queue_up_with("job", args);
    proxy.fall_silent();
    within(TTL + LATE, "the command is dead", || run.tree().is_empty());
    let dead = Instant::now();
    run.wait().exits_with(79).mentions(&["lost", "job"]);
    within(TTL + BEYOND + LATE, "the next gets in", || next.stdout().contains("ready"));
    // The command was dead before its deadline, and the lease ended after it.
    assert!(dead.elapsed() >= DELAY, "after {:?}", dead.elapsed());
    assert_eq!(next.stdout(), "ready\n");
    next.let_go();
    next.wait().succeeds();
}

fn a_one_shot_lease_is_followed_by_the_delay_and_its_release_is_not(place: &Place) {
    let acquire = ["acquire", "-k", "job", "--ttl", TTL_OPTION, "--lock-delay", DELAY_OPTION, "-n", "--json"];
    let began = Instant::now();
    let acquired = place.dlock(acquire).finish().succeeds();
    let said: serde_json::Value = serde_json::from_str(acquired.said()).expect("JSON");
    assert_eq!(said["ttl_ms"], u64::try_from(TTL.as_millis()).expect("it is short"), "{said}");
    assert_eq!(phase_of(place), "one-shot");
    within(TTL + LATE, "the lease ends", || phase_of(place) == "lock-delay");
    place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    place.dlock(["run", "-k", "job", "-w", "30", "--", "true"]).finish().succeeds();
    assert!(began.elapsed() >= TTL + DELAY, "after {:?}", began.elapsed());
    let acquired = place.dlock(acquire).finish().succeeds();
    let said: serde_json::Value = serde_json::from_str(acquired.said()).expect("JSON");
    let token = said["token"].as_str().expect("a token");
    place.dlock(["renew", "-k", "job", "--token", token, "--ttl", "1h"]).finish().succeeds();
    assert_eq!(phase_of(place), "one-shot");
    place.dlock(["release", "-k", "job", "--token", token]).finish().succeeds();
    assert!(place.is_free("job"));
}
