//! Servers that forget a lock while it is held: a clock that steps, memory that runs out, scripts that are thrown away.

use std::time::Duration;

use super::tell_the_waiter;

use crate::support::{
    Dlock, Kind, LOOK_FOR_ANOTHER_JOB, Place, Running, STUBBORN, Server, SteppedClock, eventually, within,
};

const HOLD: &str = "echo ready; cat >/dev/null";

/// A run whose tree does not want to die, and somebody behind it who looks for what is left of it.
fn holder_and_successor(place: &Place) -> (Running, Running) {
    let call = ["run", "-k", "job", "--ttl", "6s", "--", "sh", "-c", STUBBORN];
    let holder = place.dlock(call).stdin_open().start();
    holder.says("ready");
    let mark = holder.mark();
    let look = ["run", "-k", "job", "--ttl", "6s", "--", "sh", "-c", LOOK_FOR_ANOTHER_JOB, "sh", &mark];
    let next = place.queue_up_with("job", look);
    (holder, next)
}

#[track_caller]
fn loses_it_and_the_next_one_finds_nothing_left(holder: &Running, next: &Running) {
    holder.wait().exits_with(79).mentions(&["lost", "job"]);
    within(Duration::from_secs(12), "the next one gets in", || next.stdout().contains("ready"));
    assert_eq!(next.stdout(), "ready\n");
    next.let_go();
    next.wait().succeeds();
}

/// Its leases all end at once, though no time has passed for those who hold them.
#[test]
fn a_server_whose_clock_steps_ahead_gives_the_lock_to_nobody_before_its_holder_is_dead() {
    let clock = SteppedClock::new();
    let server = Server::redis_on(&clock);
    let place = Place::at_port(Kind::Redis, server.port);
    let (holder, next) = holder_and_successor(&place);
    clock.step(3_600_000);
    // It looks before the holder has found out.
    tell_the_waiter(&place, "look");
    let key = format!("{}:job", place.namespace);
    eventually("the lease is over for the server", || {
        let value: Option<String> = ::redis::cmd("GET").arg(&key).query(&mut place.redis()).expect("it answers");
        value.is_none_or(|value| value.contains(" offered "))
    });
    loses_it_and_the_next_one_finds_nothing_left(&holder, &next);
}

#[test]
fn a_lock_that_is_evicted_is_found_lost_at_the_next_renewal() {
    let server = Server::redis(&["--appendonly", "no", "--maxmemory-policy", "allkeys-random"]);
    let place = Place::at_port(Kind::Redis, server.port);
    let holder = place.hold_for("job", "4s");
    let key = format!("{}:job", place.namespace);
    let used: String = server.command(&["INFO", "memory"]);
    let used = used.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("it is told");
    let limit = used.trim().parse::<u64>().expect("a number") + 200_000;
    server.command::<()>(&["CONFIG", "SET", "maxmemory", &limit.to_string()]);
    let mut flood = 0;
    eventually("the lock is thrown away", || {
        for _ in 0..200 {
            flood += 1;
            server.try_command::<()>(&["SET", &format!("flood-{flood}"), &"x".repeat(1_000)]).ok();
        }
        !server.command::<bool>(&["EXISTS", &key])
    });
    holder.wait().exits_with(79).mentions(&["lost", "job"]);
}

#[test]
fn a_server_that_forgets_its_scripts_renews_and_releases_all_the_same() {
    let place = Place::private(Kind::Redis);
    let holder = place.dlock(["run", "-v", "-k", "job", "--ttl", "3s", "--", "sh", "-c", HOLD]).stdin_open().start();
    holder.says("ready");
    let flush = || ::redis::cmd("SCRIPT").arg("FLUSH").exec(&mut place.redis()).expect("it answers");
    flush();
    eventually("it is renewed", || holder.stderr().contains("renewed"));
    flush();
    holder.let_go();
    holder.wait().succeeds();
    flush();
    assert!(place.is_free("job"));
}

/// With an even number of masters two contenders can have half of them each.
#[test]
fn contenders_for_four_masters_all_get_their_turn() {
    let masters = [(); 4].map(|()| Server::redis(&["--appendonly", "no"]));
    let urls = masters.each_ref().map(|master| format!("redis://127.0.0.1:{}", master.port)).join(",");
    let contend =
        || Dlock::new(["run", "-q", "--redis", &urls, "-k", "job", "--ttl", "4s", "--", "sleep", "0.05"]).start();
    for _ in 0..3 {
        let runs: Vec<Running> = (0..4).map(|_| contend()).collect();
        for run in runs {
            run.wait().succeeds();
        }
    }
}
