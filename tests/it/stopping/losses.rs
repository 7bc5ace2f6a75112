//! `--on-lost`: a lease that is lost while the command runs.

use nix::sys::signal::Signal;

use crate::support::{Place, Running, eventually, sentences, within};

sentences! {
    redis: Place::shared(Kind::Redis), [
        a_loss_that_is_only_told_leaves_the_command_alone,
        a_killed_dlock_kills_also_where_a_loss_is_only_told,
    ];
    zookeeper: Place::shared(Kind::ZooKeeper), [
        a_loss_that_is_only_told_leaves_the_command_alone,
        a_killed_dlock_kills_also_where_a_loss_is_only_told,
    ];
    redis_alone: Place::private(Kind::Redis), [a_server_that_is_away_beyond_the_lease_is_told_at_its_end];
    zookeeper_alone: Place::private(Kind::ZooKeeper), [a_server_that_is_away_beyond_the_lease_is_told_at_its_end];
}

const HOLD: &str = "trap 'echo asked' TERM; echo ready; while read -r line; do echo \"$line\"; done; exit 5";

fn hold_and_only_tell(place: &Place) -> Running {
    let call = ["run", "-k", "job", "--ttl", "4s", "--on-lost", "warn", "--", "sh", "-c", HOLD];
    let run = place.dlock(call).stdin_open().start();
    run.says("ready");
    run
}

/// Ends it as its input ends, and looks at what was said: one line, at the instant of the loss.
fn is_told_once(run: &Running) {
    assert!(!run.has_ended() && !run.stdout().contains("asked"), "the command is left alone: {}", run.stderr());
    run.let_go();
    let ended = run.wait().exits_with(79).mentions(&["lost \"job\"", "\"sh\" runs on without it"]);
    let losses = ended.stderr().lines().filter(|line| line.contains("lost")).count();
    assert_eq!(losses, 1, "{}", ended.account());
}

fn a_loss_that_is_only_told_leaves_the_command_alone(place: &Place) {
    let run = hold_and_only_tell(place);
    place.take_away("job");
    eventually("it is told", || run.stderr().contains("lost"));
    // Nothing is acquired again, and the next holder is left alone at the end.
    let thief = place.hold("job");
    is_told_once(&run);
    assert!(!place.is_free("job"));
    thief.let_go();
    thief.wait().succeeds();
}

fn a_server_that_is_away_beyond_the_lease_is_told_at_its_end(place: &Place) {
    let run = hold_and_only_tell(place);
    place.server().freeze();
    eventually("it is told", || run.stderr().contains("lost \"job\""));
    place.server().thaw();
    // Who gets the lock now is the server's to say: a session that it had no time to end may live on.
    is_told_once(&run);
    eventually("the lock is free", || place.is_free("job"));
}

/// "The death of a dlock process kills in both."
fn a_killed_dlock_kills_also_where_a_loss_is_only_told(place: &Place) {
    for front_dies in [true, false] {
        let run = hold_and_only_tell(place);
        let victim = if front_dies { run.front() } else { run.keeper() };
        victim.signal(Signal::SIGKILL);
        within(std::time::Duration::from_secs(4), "nothing of the job is left", || run.job().is_empty());
        run.wait();
        eventually("the lock is free", || place.is_free("job"));
    }
}
