//! Several keys at once: all or none.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::is_token;
use crate::support::{Kind, Place, eventually, sentences_for_every_backend, soak_time, within};

sentences_for_every_backend! {
    a_command_runs_with_all_of_its_keys_and_tells_them_in_the_order_given,
    one_key_that_is_held_leaves_all_of_them_free,
    the_wait_covers_all_keys_together,
    two_that_name_the_same_keys_in_other_orders_never_block_each_other,
    what_is_taken_is_kept_while_the_next_is_awaited,
    a_wait_that_is_interrupted_gives_back_what_was_taken,
    killing_a_process_of_dlock_frees_all_keys,
    several_keys_are_acquired_renewed_and_released_by_one_token,
    acquire_that_waited_for_its_last_key_leaves_the_first_its_whole_ttl,
    what_one_key_does_not_permit_is_done_for_the_others,
    duplicates_count_once_and_sixty_five_are_too_many,
}

const HOLD: &str = "echo ready; cat >/dev/null";

fn a_command_runs_with_all_of_its_keys_and_tells_them_in_the_order_given(place: &Place) {
    let script = r#"printf '%s|' "$DLOCK_KEY" "$DLOCK_FENCE"; dlock_lines=$(printf '%s\n' "$DLOCK_HELD" | wc -l)
        echo "$dlock_lines"; echo ready; cat >/dev/null"#;
    let run =
        place.dlock(["run", "-k", "job b", "-k", "a", "-k", "job b", "--", "sh", "-c", script]).stdin_open().start();
    run.says("ready");
    let stdout = run.stdout();
    let mut parts = stdout.split('|');
    assert_eq!(parts.next(), Some("job b\na"));
    let fences: Vec<u64> = parts.next().expect("fences").lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(parts.next().expect("the count").lines().next().map(str::trim), Some("2"));
    for (key, fence) in [("job b", fences[0]), ("a", fences[1])] {
        let status = place.status(key);
        assert_eq!(status["state"], "held");
        assert_eq!(status["holders"][0]["fence"], fence, "{status}");
        assert!(!place.is_free(key));
    }
    assert_eq!(place.status("a")["holders"][0]["id"], place.status("job b")["holders"][0]["id"]);
    run.let_go();
    run.wait().succeeds().says_nothing_on_stderr();
    assert!(place.is_free("a") && place.is_free("job b"));
}

fn one_key_that_is_held_leaves_all_of_them_free(place: &Place) {
    let holder = place.hold("m");
    let refused = place.dlock(["run", "-n", "-k", "z", "-k", "a", "-k", "m", "--", "true"]).finish();
    refused.exits_with(75).complains(&["cannot acquire \"m\"", "held by"]);
    assert!(place.is_free("a") && place.is_free("z"));
    holder.let_go();
    holder.wait().succeeds();
    place.dlock(["run", "-n", "-k", "z", "-k", "a", "-k", "m", "--", "true"]).finish().succeeds();
}

fn the_wait_covers_all_keys_together(place: &Place) {
    let holder = place.hold("z");
    let refused = place.dlock(["run", "-w", "0.3", "-k", "a", "-k", "z", "--", "true"]).finish();
    refused.exits_with(75).complains(&["cannot acquire \"z\"", "gave up after 300ms"]);
    assert!(place.is_free("a"));
    assert_eq!(place.waiters("z"), 0);
    holder.let_go();
    holder.wait().succeeds();
}

fn two_that_name_the_same_keys_in_other_orders_never_block_each_other(place: &Place) {
    let ends = Instant::now() + soak_time() / 10;
    let orders = [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]];
    let contend = |[one, two, three]: [&str; 3]| {
        place.dlock(["run", "-w", "50", "-k", one, "-k", two, "-k", three, "--", "true"]).start()
    };
    let mut contenders = orders.map(contend);
    for round in 0.. {
        let turn = round % orders.len();
        contenders[turn].wait().succeeds().says_nothing();
        if Instant::now() > ends {
            break;
        }
        contenders[turn] = contend(orders[turn]);
    }
}

fn what_is_taken_is_kept_while_the_next_is_awaited(place: &Place) {
    let holder = place.hold("z");
    let both = place.queue_up_with("z", ["run", "-k", "z", "-k", "a", "--ttl", "2s", "--", "sh", "-c", HOLD]);
    // Longer than the lease of what it has.
    let refused = place.dlock(["run", "-w", "3", "-k", "a", "--", "true"]).finish();
    refused.exits_with(75).mentions(&["cannot acquire \"a\"", "gave up after 3s"]);
    holder.let_go();
    holder.wait().succeeds();
    both.says("ready");
    both.let_go();
    both.wait().succeeds();
}

fn a_wait_that_is_interrupted_gives_back_what_was_taken(place: &Place) {
    let holder = place.hold("z");
    let both = place.queue_up_with("z", ["run", "-k", "z", "-k", "a", "--", "true"]);
    assert!(!place.is_free("a"));
    both.signal(Signal::SIGTERM);
    both.wait().dies_of(Signal::SIGTERM);
    assert!(place.is_free("a"));
    assert_eq!(place.waiters("z"), 0);
    holder.let_go();
    holder.wait().succeeds();
}

fn killing_a_process_of_dlock_frees_all_keys(place: &Place) {
    for part in ["front", "keeper"] {
        let run =
            place.dlock(["run", "-k", "a", "-k", "b", "--ttl", "4s", "--", "sh", "-c", HOLD]).stdin_open().start();
        run.says("ready");
        let victim = if part == "front" { run.front() } else { run.keeper() };
        victim.signal(Signal::SIGKILL);
        run.leaves_no_process();
        within(Duration::from_secs(20), "both keys are free", || place.is_free("a") && place.is_free("b"));
    }
}

fn several_keys_are_acquired_renewed_and_released_by_one_token(place: &Place) {
    let acquired = place.dlock(["acquire", "-k", "b", "-k", "a", "--ttl", "30s", "--json"]).finish().succeeds();
    let acquired: Value = serde_json::from_str(acquired.said()).expect("one object");
    let token = acquired["token"].as_str().expect("a token").to_owned();
    assert!(is_token(&token));
    let keys: Vec<&str> = acquired["keys"].as_array().expect("keys").iter().filter_map(|k| k["key"].as_str()).collect();
    assert_eq!(keys, ["b", "a"]);
    assert!(acquired["keys"][0]["fence"].as_u64() > Some(0) && acquired["keys"][1]["fence"].as_u64() > Some(0));
    place.dlock(["renew", "-k", "a", "-k", "b", "--token", &token, "--ttl", "60s"]).finish().succeeds();
    for key in ["a", "b"] {
        assert!(place.status(key)["holders"][0]["remaining_ms"].as_u64() > Some(30_000), "{key}");
    }
    // As `eval "$(dlock acquire --export …)"` leaves them.
    place.dlock(["release"]).env("DLOCK_KEY", "b\na").env("DLOCK_TOKEN", &token).finish().succeeds().says_nothing();
    assert!(place.is_free("a") && place.is_free("b"));
}

fn acquire_that_waited_for_its_last_key_leaves_the_first_its_whole_ttl(place: &Place) {
    let holder = place.hold("z");
    let args = ["acquire", "-k", "a", "-k", "z", "--ttl", "6s", "--json"];
    let waiting = place.queue_up_with("z", args);
    let began = Instant::now();
    within(Duration::from_secs(20), "a third of its lease is over", || began.elapsed() > Duration::from_secs(3));
    holder.let_go();
    holder.wait().succeeds();
    let token = serde_json::from_str::<Value>(waiting.wait().succeeds().said()).expect("one object")["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let remaining = |key: &str| place.status(key)["holders"][0]["remaining_ms"].as_u64().expect("a lease");
    let (first, last) = (remaining("a"), remaining("z"));
    assert!(first + 1_500 > last, "a has {first} ms left, z {last}");
    place.dlock(["release", "-k", "a", "-k", "z", "--token", &token]).finish().succeeds();
}

fn what_one_key_does_not_permit_is_done_for_the_others(place: &Place) {
    let token = place.acquire("a", "30s");
    let args = ["renew", "-k", "b", "-k", "a", "--token", &token, "--ttl", "60s"];
    place.dlock(args).finish().exits_with(79).complains(&["cannot renew \"b\"", "does not hold it"]);
    assert!(place.status("a")["holders"][0]["remaining_ms"].as_u64() > Some(30_000));
    let args = ["release", "-k", "b", "-k", "a", "-k", "c", "--token", &token];
    let released = place.dlock(args).finish().exits_with(79);
    released.mentions(&["cannot release \"b\"", "does not hold it"]).mentions(&["cannot release \"c\""]);
    assert!(place.is_free("a"));
}

fn duplicates_count_once_and_sixty_five_are_too_many(place: &Place) {
    place.dlock(["run", "-n", "-k", "a", "-k", "a", "--", "true"]).finish().succeeds().says_nothing();
    let keys: Vec<String> = (0..65).map(|number| format!("-kjob-{number}")).collect();
    let call = |count: usize| {
        let keys = keys[..count].iter().map(String::as_str);
        place.dlock_with(["run", "-n"].into_iter().chain(keys).chain(["--", "true"])).finish()
    };
    call(65).exits_with(64).complains(&["at most 64", "these are 65"]);
    call(64).succeeds().says_nothing();
}

#[test]
fn one_lost_is_all_lost() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::shared(kind);
        let run =
            place.dlock(["run", "-k", "a", "-k", "b", "--ttl", "4s", "--", "sh", "-c", HOLD]).stdin_open().start();
        run.says("ready");
        place.take_away("b");
        run.wait().exits_with(79).mentions(&["lost \"b\"", "killing"]);
        eventually("the other is free as well", || place.is_free("a"));
    }
}

#[test]
fn with_on_lost_warn_the_others_stay_renewed() {
    let place = Place::shared(Kind::Redis);
    let args = ["run", "-k", "a", "-k", "b", "--ttl", "2s", "--on-lost", "warn", "--", "sh", "-c", HOLD];
    let run = place.dlock(args).stdin_open().start();
    run.says("ready");
    place.take_away("b");
    eventually("the loss is told", || run.stderr().contains("lost \"b\""));
    let refused = place.dlock(["run", "-w", "3", "-k", "a", "--", "true"]).finish();
    refused.exits_with(75).mentions(&["cannot acquire \"a\""]);
    run.let_go();
    run.wait().exits_with(79).complains(&["lost \"b\"", "runs on without it"]);
    assert!(place.is_free("a"));
}

#[test]
fn what_is_lost_while_another_is_awaited_is_taken_again_with_a_new_token() {
    let place = Place::shared(Kind::Redis);
    let holder = place.hold("z");
    let both = place.queue_up_with("z", ["run", "-k", "a", "-k", "z", "--ttl", "1s", "--", "sh", "-c", HOLD]);
    let before = place.status("a")["holders"][0]["id"].clone();
    place.take_away("a");
    eventually("it starts over", || {
        let now = place.status("a")["holders"][0]["id"].clone();
        now != Value::Null && now != before
    });
    eventually("and says so", || both.stderr().contains("lost \"a\" while another was awaited; starting over"));
    holder.let_go();
    holder.wait().succeeds();
    both.says("ready");
    both.let_go();
    both.wait().succeeds();
}
