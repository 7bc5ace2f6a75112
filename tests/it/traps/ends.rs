//! How a command is ended: asked first where there is time for it, and killed at once where there is none.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{Kind, Place, Process, Running, STUBBORN, eventually};

/// Says when it is asked to end, and does not.
const SAYS_WHEN_ASKED: &str = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";

fn start(place: &Place) -> Running {
    let run = place.dlock(["run", "-k", "job", "--ttl", "5s", "--", "sh", "-c", SAYS_WHEN_ASKED]).start();
    run.says("ready");
    run
}

/// Its output, once all of it is over.
fn said(run: &Running) -> String {
    run.wait();
    run.leaves_no_process();
    run.stdout()
}

/// The lock may be another's already.
#[test]
fn a_lock_that_is_found_to_be_anothers_leaves_no_time_to_ask() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::shared(kind);
        let run = start(&place);
        place.take_away("job");
        assert_eq!(said(&run), "ready\n", "{kind:?}");
        run.wait().exits_with(79);
    }
}

/// With the keeper nobody renews any more, nor knows for how long the lease can be believed.
#[test]
fn a_dead_keeper_leaves_no_time_to_ask() {
    for kind in [Kind::File, Kind::Redis] {
        let place = Place::shared(kind);
        let run = start(&place);
        run.keeper().signal(Signal::SIGKILL);
        assert_eq!(said(&run), "ready\n", "{kind:?}");
    }
}

/// Somebody still renews, or the lease can be believed a while longer: the command is asked first.
#[test]
fn a_lease_that_is_still_believed_leaves_time_to_ask() {
    let place = Place::private(Kind::Redis);
    let run = start(&place);
    run.front().signal(Signal::SIGKILL);
    run.leaves_no_process();
    assert_eq!(run.stdout().lines().next_back(), Some("asked"), "the front died: {}", run.stdout());
    eventually("the lock is free", || place.is_free("job"));
    let run = start(&place);
    place.server().freeze();
    assert_eq!(said(&run).lines().next_back(), Some("asked"), "the deadline came near: {}", run.stdout());
    place.server().thaw();
    run.wait().exits_with(79);
}

/// A lease of Redis is believed for nearly all of its time, a session for two thirds: with nobody left to renew, the
/// command is dead when the first of the two is over.
#[test]
fn of_two_leases_the_one_that_ends_first_counts() {
    let place = Place::both();
    let run = place.hold_for("job", "12s");
    let stopped_at = Instant::now();
    run.keeper().signal(Signal::SIGSTOP);
    eventually("the command is dead", || run.tree().is_empty());
    let took = stopped_at.elapsed();
    assert!(took < Duration::from_secs(10), "the session was believed until {took:?}");
    run.wait().exits_with(79);
    eventually("both are free again", || place.is_free("job"));
}

/// A kernel lock would be free in the instant of the keeper's death, and what it leaves is dead a little later: the front
/// holds the same open file until then.
#[test]
fn a_kernel_lock_outlives_its_keeper_until_the_front_has_killed_what_that_left() {
    let place = Place::shared(Kind::File);
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", STUBBORN]).stdin_open().start();
    run.says("ready");
    eventually("the whole tree runs", || run.tree().iter().filter(|process| process.comm == "sleep").count() == 4);
    let (front, keeper) = (run.front(), run.keeper());
    front.signal(Signal::SIGSTOP);
    keeper.signal(Signal::SIGKILL);
    eventually("the keeper is dead", || Process::find(keeper.pid).is_none());
    assert!(!run.tree().is_empty() && !place.is_free("job"), "{:?}", run.tree());
    front.signal(Signal::SIGCONT);
    run.wait().exits_with(79);
    assert!(run.job().is_empty() && place.is_free("job"), "{:?}", run.job());
}

/// "The keeper obeys only the front."
#[test]
fn a_signal_that_is_sent_to_the_keeper_changes_nothing() {
    let place = Place::shared(Kind::Redis);
    let run = place.hold_for("job", "2s");
    let keeper = run.keeper();
    assert!(!keeper.comm.contains("dlock"), "pkill dlock would hit both: {}", keeper.comm);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGALRM] {
        keeper.signal(signal);
    }
    let since = Instant::now();
    eventually("a lease passes", || since.elapsed() > Duration::from_secs(3));
    assert!(!run.has_ended() && !place.is_free("job"), "{}", run.stderr());
    run.let_go();
    run.wait().succeeds().says_nothing_on_stderr();
}

/// Every timer that a deadline hangs on runs while the machine sleeps, and a wall clock that is set wakes the renewer.
#[test]
fn deadlines_are_watched_by_a_clock_that_runs_while_the_machine_sleeps() {
    const BOOTTIME: &str = "clockid: 7";
    const REALTIME: &str = "clockid: 0";
    let place = Place::shared(Kind::Redis);
    let run = place.hold("job");
    let timers = |pid: i32| -> Vec<String> {
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("it lives").flatten();
        let told = descriptors.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
        told.filter(|info| info.contains("clockid:")).collect()
    };
    let (front, keeper) = (run.front_pid(), run.keeper().pid);
    eventually("the front has an alarm", || timers(front).iter().any(|info| info.contains(BOOTTIME)));
    assert!(timers(front).iter().all(|info| info.contains(BOOTTIME)), "{:?}", timers(front));
    eventually("the keeper watches both clocks", || {
        let timers = timers(keeper);
        timers.iter().any(|info| info.contains(BOOTTIME))
            // TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET
            && timers.iter().any(|info| info.contains(REALTIME) && info.contains("settime flags: 03"))
    });
    let others = |info: &String| !info.contains(BOOTTIME) && !info.contains("settime flags: 03");
    assert!(!timers(keeper).iter().any(others), "{:?}", timers(keeper));
    run.let_go();
    run.wait().succeeds();
}
