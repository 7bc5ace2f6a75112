//! Anything may die or freeze at any moment: nothing of the job outlives the lease, and the lock is free within it.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::{
    A_WHILE, ExecGate, Kind, LOOK_FOR_ANOTHER_JOB, Place, Proxy, Running, STUBBORN, eventually, sentences, within,
};

sentences! {
    file: Place::shared(Kind::File), [
        a_killed_front_leaves_no_process_and_no_lock,
        a_front_killed_while_the_keeper_has_not_noticed_the_start_leaves_no_process_and_no_lock,
        a_killed_keeper_leaves_no_process_and_no_lock,
        a_killed_command_frees_the_lock_at_once,
        a_killed_waiter_is_in_nobodys_way,
    ];
    redis: Place::shared(Kind::Redis), [
        a_killed_front_leaves_no_process_and_no_lock,
        a_front_killed_while_the_keeper_has_not_noticed_the_start_leaves_no_process_and_no_lock,
        a_killed_keeper_leaves_no_process_and_no_lock,
        a_killed_command_frees_the_lock_at_once,
        a_killed_waiter_is_in_nobodys_way,
        a_frozen_keeper_does_not_keep_the_command_alive,
        a_dlock_that_was_frozen_beyond_its_lease_kills_at_once_when_it_wakes,
        a_network_that_falls_silent_kills_the_command_before_the_next_holder_starts,
        a_connection_that_is_cut_costs_nothing,
        a_lock_that_was_taken_away_kills_the_command_and_is_left_to_the_thief,
        a_lock_released_with_its_token_from_outside_kills_the_command,
    ];
    zookeeper: Place::shared(Kind::ZooKeeper), [
        a_killed_front_leaves_no_process_and_no_lock,
        a_front_killed_while_the_keeper_has_not_noticed_the_start_leaves_no_process_and_no_lock,
        a_killed_keeper_leaves_no_process_and_no_lock,
        a_killed_command_frees_the_lock_at_once,
        a_killed_waiter_is_in_nobodys_way,
        a_frozen_keeper_does_not_keep_the_command_alive,
        a_dlock_that_was_frozen_beyond_its_lease_kills_at_once_when_it_wakes,
        a_network_that_falls_silent_kills_the_command_before_the_next_holder_starts,
        a_connection_that_is_cut_costs_nothing,
        a_lock_that_was_taken_away_kills_the_command_and_is_left_to_the_thief,
        a_lock_released_with_its_token_from_outside_kills_the_command,
    ];
    redis_alone: Place::private(Kind::Redis), [
        a_killed_server_ends_the_command_before_the_lease_and_dlock_with_79,
        a_frozen_server_ends_the_command_before_the_lease_and_dlock_with_79,
        a_server_restarted_within_the_ttl_costs_nothing,
    ];
    zookeeper_alone: Place::private(Kind::ZooKeeper), [
        a_killed_server_ends_the_command_before_the_lease_and_dlock_with_79,
        a_frozen_server_ends_the_command_before_the_lease_and_dlock_with_79,
        a_server_restarted_within_the_ttl_costs_nothing,
    ];
}

/// Long enough for two busy cores to renew in time, short enough to wait for.
const TTL: Duration = Duration::from_secs(4);
const TTL_OPTION: &str = "4s";

/// A run whose command is [`STUBBORN`] and has started all of it.
#[track_caller]
fn hold_stubbornly(place: &Place) -> Running {
    let run = place.dlock(["run", "-k", "job", "--ttl", TTL_OPTION, "--", "sh", "-c", STUBBORN]).stdin_open().start();
    run.says("ready");
    eventually("the whole tree runs", || run.tree().iter().filter(|process| process.comm == "sleep").count() == 4);
    run
}

/// A contender behind `holder` that sees whether anything of it is left when it gets the lock.
#[track_caller]
fn successor(place: &Place, holder: &Running) -> Running {
    let mark = holder.mark();
    let args = ["run", "-k", "job", "--ttl", TTL_OPTION, "--", "sh", "-c", LOOK_FOR_ANOTHER_JOB, "sh", &mark];
    place.queue_up_with("job", args)
}

/// The successor gets the lock, at most a TTL and what two busy cores need later, and is alone.
#[track_caller]
fn gets_in_alone(successor: &Running) {
    within(TTL + Duration::from_secs(5), "the successor gets in", || successor.stdout().contains("ready"));
    assert_eq!(successor.stdout(), "ready\n");
    successor.let_go();
    successor.wait().succeeds();
}

fn a_killed_front_leaves_no_process_and_no_lock(place: &Place) {
    let run = hold_stubbornly(place);
    let next = successor(place, &run);
    run.front().signal(Signal::SIGKILL);
    within(TTL, "nothing of the job is left", || run.job().is_empty());
    gets_in_alone(&next);
    assert!(place.is_free("job"));
}

/// A keeper stands still until its command is executed, and on a loaded machine the command may have come far before it
/// goes on. Dead with its front in that moment, it would leave to themselves what the command has started.
fn a_front_killed_while_the_keeper_has_not_noticed_the_start_leaves_no_process_and_no_lock(place: &Place) {
    let mut gate = ExecGate::before("/bin/sh");
    let shell = gate.program.to_str().expect("a plain name");
    let run = place.dlock(["run", "-k", "job", "--ttl", "60s", "--", shell, "-c", STUBBORN]).stdin_open().start();
    gate.is_reached();
    let keeper = run.keeper();
    // It takes effect when the exec is done.
    keeper.signal(Signal::SIGSTOP);
    gate.open();
    run.says("ready");
    run.front().signal(Signal::SIGKILL);
    keeper.signal(Signal::SIGCONT);
    run.leaves_no_process();
    assert!(place.is_free("job"));
}

fn a_killed_keeper_leaves_no_process_and_no_lock(place: &Place) {
    let run = hold_stubbornly(place);
    let next = successor(place, &run);
    run.keeper().signal(Signal::SIGKILL);
    within(TTL, "nothing of the tree is left", || run.tree().is_empty());
    gets_in_alone(&next);
    assert!(run.job().is_empty());
    let ended = run.wait();
    assert!(!ended.status.success(), "{}", ended.account());
    ended.mentions(&["job"]);
}

fn a_killed_command_frees_the_lock_at_once(place: &Place) {
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $$; echo ready; cat"]).stdin_open().start();
    run.says("ready");
    let next = place.queue_up("job");
    let pid = run.stdout().lines().next().and_then(|line| line.parse().ok()).expect("the command said its pid");
    crate::support::Process::find(pid).expect("it runs").signal(Signal::SIGKILL);
    run.wait().dies_of(Signal::SIGKILL);
    within(Duration::from_secs(3), "the waiter gets in", || next.stdout() == "ready\n");
    next.let_go();
    next.wait().succeeds();
}

fn a_killed_waiter_is_in_nobodys_way(place: &Place) {
    let holder = place.hold("job");
    let call = ["run", "-k", "job", "--ttl", TTL_OPTION, "--", "true"];
    let front_dies = place.queue_up_with("job", call);
    let keeper_dies = place.queue_up_with("job", call);
    let lives = place.queue_up_with("job", call);
    front_dies.front().signal(Signal::SIGKILL);
    eventually("its keeper leaves the queue at once", || place.waiters("job") == 2);
    keeper_dies.keeper().signal(Signal::SIGKILL);
    eventually("nothing is left of the killed", || front_dies.job().is_empty() && keeper_dies.job().is_empty());
    holder.let_go();
    holder.wait().succeeds();
    let waited = lives.wait().succeeds();
    assert!(waited.took < A_WHILE, "{}", waited.account());
    within(TTL + Duration::from_secs(5), "their places lapse", || place.waiters("job") == 0);
    assert!(place.is_free("job"));
}

/// A stopped keeper renews nothing: the front, on its own timer, ends the job.
fn a_frozen_keeper_does_not_keep_the_command_alive(place: &Place) {
    let run = hold_stubbornly(place);
    let next = successor(place, &run);
    run.keeper().signal(Signal::SIGSTOP);
    within(TTL, "nothing of the tree is left", || run.tree().is_empty());
    gets_in_alone(&next);
    run.wait().exits_with(79).mentions(&["lost", "job"]);
}

/// With front and keeper stopped nothing is left that could end the command in time: the exception that the README
/// names. But what wakes up looks at the deadline first: it neither renews nor takes the lock from the next holder.
fn a_dlock_that_was_frozen_beyond_its_lease_kills_at_once_when_it_wakes(place: &Place) {
    let run = hold_stubbornly(place);
    let next = place.queue_up("job");
    let (front, keeper) = (run.front(), run.keeper());
    front.signal(Signal::SIGSTOP);
    keeper.signal(Signal::SIGSTOP);
    within(TTL + Duration::from_secs(5), "the successor gets in", || next.stdout() == "ready\n");
    keeper.signal(Signal::SIGCONT);
    front.signal(Signal::SIGCONT);
    within(Duration::from_secs(2), "nothing of the tree is left", || run.tree().is_empty());
    run.wait().exits_with(79).mentions(&["lost", "job"]);
    assert!(!next.has_ended() && !place.is_free("job"), "{}", next.stderr());
    next.let_go();
    next.wait().succeeds();
}

fn a_network_that_falls_silent_kills_the_command_before_the_next_holder_starts(place: &Place) {
    let proxy = Proxy::before(place.port());
    let run = hold_stubbornly(&place.through(proxy.port));
    let next = successor(place, &run);
    proxy.fall_silent();
    gets_in_alone(&next);
    run.wait().exits_with(79).mentions(&["lost", "job"]);
}

/// Waits until the lease that stood at `since` must have been renewed, and sees the same holder in its place.
#[track_caller]
fn holds_on_beyond(ttl: Duration, place: &Place, run: &Running, since: Instant) {
    let id = place.status("job")["holders"][0]["id"].clone();
    within(ttl * 3, "a TTL passes", || since.elapsed() > ttl + ttl / 2);
    let status = place.status("job");
    assert!(!run.has_ended(), "{}", run.stderr());
    assert_eq!(status["holders"][0]["id"], id, "{status}");
    assert!(!place.is_free("job"));
}

fn a_connection_that_is_cut_costs_nothing(place: &Place) {
    let proxy = Proxy::before(place.port());
    let run = place.through(proxy.port).hold_for("job", TTL_OPTION);
    let connections = proxy.accepted();
    let cut = Instant::now();
    proxy.hang_up();
    holds_on_beyond(TTL, place, &run, cut);
    assert!(proxy.accepted() > connections, "it connected again");
    run.let_go();
    run.wait().succeeds();
    assert!(place.is_free("job"));
}

fn a_lock_that_was_taken_away_kills_the_command_and_is_left_to_the_thief(place: &Place) {
    let run = hold_stubbornly(place);
    let began = Instant::now();
    match place.kind {
        Kind::Redis => {
            let key = format!("{}:job", place.namespace);
            let () = ::redis::cmd("SET").arg(&key).arg("thief").query(&mut place.redis()).expect("the server serves");
        }
        Kind::ZooKeeper => place.take_away("job"),
        Kind::File => unreachable!("nobody can take a kernel lock away"),
    }
    // The next renewal tells; it comes after a third of the TTL, on ZooKeeper a tenth.
    let ended = run.wait().exits_with(79).mentions(&["lost", "job"]);
    assert!(began.elapsed() < TTL, "{}", ended.account());
    if place.kind == Kind::Redis {
        let key = format!("{}:job", place.namespace);
        let value: String = ::redis::cmd("GET").arg(&key).query(&mut place.redis()).expect("the server serves");
        assert_eq!(value, "thief");
        let () = ::redis::cmd("DEL").arg(&key).query(&mut place.redis()).expect("the server serves");
    }
    assert!(place.is_free("job"));
}

fn a_lock_released_with_its_token_from_outside_kills_the_command(place: &Place) {
    let script = "echo $DLOCK_TOKEN; echo ready; cat >/dev/null";
    let run = place.dlock(["run", "-k", "job", "--ttl", TTL_OPTION, "--", "sh", "-c", script]).stdin_open().start();
    run.says("ready");
    let token = run.stdout().lines().next().expect("the command printed it").to_owned();
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
    let released = Instant::now();
    let ended = run.wait().exits_with(79).mentions(&["lost", "job"]);
    assert!(released.elapsed() < TTL, "{}", ended.account());
}

/// The command is told first, and what ignores that is killed, all before the lease that the server had last granted
/// can pass; then somebody else gets the lock.
#[track_caller]
fn ends_before_the_lease(run: &Running, server_gone: Instant) {
    within(TTL, "nothing of the tree is left", || run.tree().is_empty());
    // dlock itself may take its time to say so.
    let ended = run.wait().exits_with(79).mentions(&["lost", "job"]);
    assert!(server_gone.elapsed() < TTL * 2, "{}", ended.account());
}

fn a_killed_server_ends_the_command_before_the_lease_and_dlock_with_79(place: &Place) {
    let run = hold_stubbornly(place);
    let gone = Instant::now();
    place.server().crash();
    ends_before_the_lease(&run, gone);
    place.server().start_again();
    place.dlock(["run", "-k", "job", "-w", "15s", "--", "true"]).finish().succeeds();
}

fn a_frozen_server_ends_the_command_before_the_lease_and_dlock_with_79(place: &Place) {
    let run = hold_stubbornly(place);
    let next = successor(place, &run);
    let gone = Instant::now();
    place.server().freeze();
    ends_before_the_lease(&run, gone);
    place.server().thaw();
    gets_in_alone(&next);
}

/// Java takes its time to start, on a busy machine seconds.
fn a_server_restarted_within_the_ttl_costs_nothing(place: &Place) {
    let run = place.hold_for("job", "18s");
    let next = place.queue_up("job");
    let gone = Instant::now();
    place.server().crash();
    place.server().start_again();
    holds_on_beyond(Duration::from_secs(18), place, &run, gone);
    assert_eq!(next.stdout(), "", "the waiter still waits");
    run.let_go();
    run.wait().succeeds();
    eventually("the waiter, whose connection was lost too, gets in", || next.stdout() == "ready\n");
    next.let_go();
    next.wait().succeeds();
}
