//! Waiting: what is told too early, too late, or by nobody, and those who die in the queue.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{scripts_run, tell_the_waiter};

use crate::support::{
    Kind, LOOK_FOR_ANOTHER_JOB, Place, Retainer, Running, STUBBORN, eventually, sentences_for_every_backend, within,
};

sentences_for_every_backend![ten_killed_waiters_hold_the_eleventh_up_no_longer_than_one_would];

/// Soon on two busy cores, and far less than the time after which a waiter would look by itself.
const SOON: Duration = Duration::from_secs(3);

fn ten_killed_waiters_hold_the_eleventh_up_no_longer_than_one_would(place: &Place) {
    let holder = place.hold("job");
    let call = ["run", "-k", "job", "--ttl", "6s", "--", "true"];
    let dead: Vec<Running> = (0..10).map(|_| place.queue_up_with("job", call)).collect();
    let lives = place.queue_up("job");
    for process in dead.iter().flat_map(Running::job) {
        process.signal(Signal::SIGKILL);
    }
    dead.iter().for_each(Running::leaves_no_process);
    let died_at = Instant::now();
    holder.let_go();
    holder.wait().succeeds();
    // A session ends when its time is over, all of them at once; nobody else is waited for at all.
    let limit = if place.kind == Kind::ZooKeeper { Duration::from_secs(6) + SOON } else { SOON * 2 };
    within(limit, "the eleventh gets in", || lives.stdout() == "ready\n");
    assert!(died_at.elapsed() < Duration::from_secs(20), "{:?}", died_at.elapsed());
    lives.let_go();
    lives.wait().succeeds();
}

/// Between the refusal and the subscription nobody would be told of a release: whoever has subscribed looks once more.
#[test]
fn a_release_between_the_refusal_and_the_subscription_is_not_missed() {
    let place = Place::shared(Kind::Redis);
    let holder = place.hold("job");
    let retainer = Retainer::before(place.port(), b"SUBSCRIBE".to_vec());
    let call = ["run", "-k", "job", "--", "echo", "it ran"];
    let waiter = place.through(retainer.port).dlock(call).start();
    eventually("it has been refused, and subscribes", || retainer.has_caught());
    holder.let_go();
    holder.wait().succeeds();
    let free_since = Instant::now();
    retainer.let_go();
    assert_eq!(waiter.wait().succeeds().said(), "it ran");
    assert!(free_since.elapsed() < SOON, "it would look by itself in 10 s: {:?}", free_since.elapsed());
}

/// The one ahead goes between the list of the queue and the watch on it.
#[test]
fn a_release_between_the_list_and_the_watch_is_not_missed() {
    let place = Place::shared(Kind::ZooKeeper);
    let holder = place.hold("job");
    // A name with its number: of those ahead, in what is asked about them.
    let retainer = Retainer::before(place.port(), b"-lock-0000000000".to_vec());
    let call = ["run", "-k", "job", "--ttl", "20s", "--", "echo", "it ran"];
    let waiter = place.through(retainer.port).dlock(call).start();
    eventually("it has read the queue, and watches", || retainer.has_caught());
    holder.let_go();
    holder.wait().succeeds();
    let free_since = Instant::now();
    retainer.let_go();
    assert_eq!(waiter.wait().succeeds().said(), "it ran");
    assert!(free_since.elapsed() < SOON, "nobody would have told it: {:?}", free_since.elapsed());
}

/// "A message is a hint and carries no right": each is worth one look, whatever it says, and none makes it look for ever.
#[test]
fn a_message_that_nobody_meant_makes_a_waiter_look_once_and_start_nothing() {
    let place = Place::private(Kind::Redis);
    let holder = place.hold_for("job", "1m");
    let waiter = place.queue_up("job");
    for words in ["look", "granted", "", "0123456789abcdef0123456789abcdef dlock/1 exclusive running"] {
        let before = scripts_run(&place);
        tell_the_waiter(&place, words);
        eventually("it looks: was it offered the lock, and where does it stand", || scripts_run(&place) == before + 2);
    }
    let before = scripts_run(&place);
    // What a busy loop would use: the time for thousands of looks.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(scripts_run(&place), before, "it goes on looking");
    assert_eq!(waiter.stdout(), "", "the lock is held");
    holder.let_go();
    holder.wait().succeeds();
    waiter.says("ready");
    waiter.let_go();
    waiter.wait().succeeds();
}

/// Somebody deletes the lock and tells the waiter, as other tools force a lock open: the holder's command may run until
/// its lease is over, and the waiter, which saw it, leaves it that time.
#[test]
fn a_lock_that_is_deleted_and_announced_is_left_to_its_holder_for_the_rest_of_its_lease() {
    let place = Place::shared(Kind::Redis);
    let holder = place.dlock(["run", "-k", "job", "--ttl", "6s", "--", "sh", "-c", STUBBORN]).stdin_open().start();
    holder.says("ready");
    let mark = holder.mark();
    let next = place.queue_up_with("job", ["run", "-k", "job", "--", "sh", "-c", LOOK_FOR_ANOTHER_JOB, "sh", &mark]);
    place.take_away("job");
    tell_the_waiter(&place, "look");
    holder.wait().exits_with(79).mentions(&["lost", "job"]);
    within(Duration::from_secs(6) + SOON, "the next one gets in", || next.stdout().contains("ready"));
    assert_eq!(next.stdout(), "ready\n", "nothing of the holder's job is left");
    next.let_go();
    next.wait().succeeds();
}

/// Whoever does not know the queue may come first. Nobody in it takes the lock beside such a holder, or stays behind it.
#[test]
fn a_plain_client_may_overtake_the_queue_and_is_waited_for_like_any_holder() {
    let place = Place::shared(Kind::Redis);
    let key = format!("{}:job", place.namespace);
    let mut redis = place.redis();
    let () = ::redis::cmd("SET").arg(&key).arg("theirs").arg("PX").arg(60_000).query(&mut redis).expect("it answers");
    let waiter = place.queue_up("job");
    // It unlocks and locks again before the waiter can look.
    let again = "redis.call('DEL', KEYS[1]) return redis.call('SET', KEYS[1], 'theirs again', 'NX', 'PX', 60000)";
    let () = ::redis::cmd("EVAL").arg(again).arg(1).arg(&key).query(&mut redis).expect("it answers");
    eventually("the waiter has looked", || scripts_run(&place) > 0 && place.waiters("job") == 1);
    place.dlock(["run", "-n", "-k", "job", "--", "true"]).finish().exits_with(75);
    assert_eq!(waiter.stdout(), "");
    let () = ::redis::cmd("DEL").arg(&key).query(&mut redis).expect("it answers");
    within(SOON, "the first waiter notices", || waiter.stdout() == "ready\n");
    waiter.let_go();
    waiter.wait().succeeds();
}
