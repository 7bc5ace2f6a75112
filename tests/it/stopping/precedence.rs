//! Two things at once: "when two apply, the first of: 70; 79 …; 124 …; else CMD's own. A decision is not revised by what
//! happens later".

use nix::sys::signal::Signal;

use crate::support::{Kind, Place, Running, eventually, sentences};

sentences! {
    redis: Place::shared(Kind::Redis), [
        a_lock_found_gone_at_the_release_was_lost,
        a_signal_before_a_loss_does_not_hide_the_loss,
    ];
    zookeeper: Place::shared(Kind::ZooKeeper), [
        a_loss_after_the_time_ran_out_comes_first,
        a_lock_found_gone_at_the_release_was_lost,
        a_signal_before_a_loss_does_not_hide_the_loss,
    ];
    redis_alone: Place::private(Kind::Redis), [
        time_that_runs_out_after_a_loss_changes_nothing,
        a_release_that_fails_leaves_the_commands_status,
    ];
    zookeeper_alone: Place::private(Kind::ZooKeeper), [
        time_that_runs_out_after_a_loss_changes_nothing,
        a_release_that_fails_leaves_the_commands_status,
    ];
}

/// Says when it is asked to end, and goes on for as long as its input is open.
const DAWDLES: &str = "trap 'echo asked' TERM; echo ready; while :; do read -r _ || [ $? -gt 128 ] || exit 0; done";

fn dawdle<const N: usize>(place: &Place, options: [&str; N]) -> Running {
    let call = ["run", "-k", "job"].into_iter().chain(options).chain(["--", "bash", "-c", DAWDLES]);
    let run = place.dlock_with(call).stdin_open().start();
    run.says("ready");
    run
}

/// The server falls silent, dlock asks the command to end, and the command ends with 0 at once.
#[test]
fn a_command_that_ends_when_it_is_asked_to_for_a_loss_was_lost() {
    let place = Place::private(Kind::Redis);
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let run = place.dlock(["run", "-k", "job", "--ttl", "4s", "--", "sh", "-c", script]).start();
    run.says("ready");
    place.server().freeze();
    run.wait().exits_with(79);
}

/// The node is deleted while the command uses the grace that `--max-runtime` gave it.
fn a_loss_after_the_time_ran_out_comes_first(place: &Place) {
    let run = dawdle(place, ["--ttl", "20s", "--max-runtime", "1s", "--kill-after", "4s"]);
    run.says("asked");
    place.take_away("job");
    let ended = run.wait().exits_with(79);
    assert!(ended.stderr().contains("--max-runtime"), "{}", ended.account());
}

/// The lease ends first; that the time runs out within the grace makes it no other story.
fn time_that_runs_out_after_a_loss_changes_nothing(place: &Place) {
    let run = dawdle(place, ["--ttl", "5s", "--max-runtime", "6s"]);
    place.server().freeze();
    run.wait().exits_with(79);
    place.server().thaw();
}

/// Nothing was known of a loss until the owner check at the release said "not yours".
fn a_lock_found_gone_at_the_release_was_lost(place: &Place) {
    let run = dawdle(place, ["--ttl", "60s"]);
    // ZooKeeper's own watch tells at once; Redis is asked again in 20 s.
    place.take_away("job");
    run.let_go();
    run.wait().exits_with(79).mentions(&["lost \"job\""]);
}

fn a_signal_before_a_loss_does_not_hide_the_loss(place: &Place) {
    let run = dawdle(place, ["--ttl", "4s"]);
    run.signal(Signal::SIGTERM);
    run.says("asked");
    place.take_away("job");
    run.wait().exits_with(79);
}

/// "A release whose outcome is unknown is retried …, then warned about: the status stays CMD's and the lease lapses"
fn a_release_that_fails_leaves_the_commands_status(place: &Place) {
    let run = place.dlock(["run", "-k", "job", "--ttl", "20s", "--", "sh", "-c", "echo ready; cat; exit 6"]);
    let run = run.stdin_open().start();
    run.says("ready");
    place.server().freeze();
    run.let_go();
    let ended = run.wait().exits_with(6).mentions(&["cannot release \"job\"", "stays taken for"]);
    assert!(run.job().is_empty(), "{}", ended.account());
    place.server().thaw();
}

#[test]
fn a_signal_that_ended_the_command_before_its_time_ran_out_is_what_dlock_dies_of() {
    let place = Place::shared(Kind::File);
    let run = place.dlock(["run", "-k", "job", "--max-runtime", "1h", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    let run = run.start();
    run.says("ready");
    run.signal(Signal::SIGTERM);
    run.wait().dies_of(Signal::SIGTERM).says_nothing_on_stderr();
}

/// "A decision is not revised by what happens later": the time has run out, then the user wants it ended, too.
#[test]
fn a_signal_after_the_time_ran_out_changes_nothing() {
    let place = Place::shared(Kind::File);
    let run = dawdle(&place, ["--max-runtime", "0.5", "--kill-after", "30s"]);
    run.says("asked");
    run.signal(Signal::SIGUSR1);
    run.wait().exits_with(124);
    let run = dawdle(&place, ["--max-runtime", "0.5", "--kill-after", "30s"]);
    run.says("asked");
    run.signal(Signal::SIGTERM);
    eventually("the second request is passed on too", || run.stdout().matches("asked").count() == 2);
    run.let_go();
    run.wait().exits_with(124);
}
