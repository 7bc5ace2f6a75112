//! Leases that nobody renews: taken, prolonged and given up in single steps.

use std::time::{Duration, Instant};

use super::is_token;
use crate::support::{Dlock, Kind, Place, eventually, program, sentences, sentences_of_the_contract};

sentences_of_the_contract![
    acquire_prints_a_token_of_32_hexadecimal_digits_and_nothing_else,
    acquire_as_json_tells_token_fence_and_expiry,
    acquire_as_exports_can_be_evaluated_by_a_shell,
    a_held_lock_is_refused_at_once_with_75_and_says_who_has_it,
    quiet_says_nothing_of_a_refusal,
    release_frees_the_lock,
    release_with_a_token_that_is_not_the_holders_is_79_and_changes_nothing,
    release_of_what_was_released_is_79,
    release_and_renew_read_token_and_key_from_the_environment,
    renew_sets_the_lease_from_now,
    renew_without_a_lease_is_79_and_makes_none,
    renew_of_a_lock_that_a_run_holds_never_shortens_it,
    a_one_shot_lease_ends_at_its_ttl_and_a_waiter_behind_it_gets_in,
    a_one_shot_lease_outlives_the_process_that_took_it,
    acquire_waits_for_its_turn,
    a_server_that_hangs_up_is_no_signal_to_die_of,
];

sentences! {
    cluster: Place::on_cluster(), [
        acquire_prints_a_token_of_32_hexadecimal_digits_and_nothing_else,
        acquire_as_json_tells_token_fence_and_expiry,
        acquire_as_exports_can_be_evaluated_by_a_shell,
        a_held_lock_is_refused_at_once_with_75_and_says_who_has_it,
        quiet_says_nothing_of_a_refusal,
        release_frees_the_lock,
        release_with_a_token_that_is_not_the_holders_is_79_and_changes_nothing,
        release_of_what_was_released_is_79,
        release_and_renew_read_token_and_key_from_the_environment,
        renew_sets_the_lease_from_now,
        renew_without_a_lease_is_79_and_makes_none,
        renew_of_a_lock_that_a_run_holds_never_shortens_it,
        a_one_shot_lease_ends_at_its_ttl_and_a_waiter_behind_it_gets_in,
        a_one_shot_lease_outlives_the_process_that_took_it,
        acquire_waits_for_its_turn,
    ];
}

fn acquire_prints_a_token_of_32_hexadecimal_digits_and_nothing_else(place: &Place) {
    let acquired = place.dlock(["acquire", "-k", "job", "--ttl", "30s"]).finish().succeeds();
    assert!(is_token(acquired.said()), "{}", acquired.account());
    assert_eq!(acquired.stdout.len(), 33, "the token and a line break: {}", acquired.account());
    let other = place.acquire("other", "30s");
    assert_ne!(acquired.said(), other, "two acquisitions never share a token");
}

fn acquire_as_json_tells_token_fence_and_expiry(place: &Place) {
    let acquired = place.dlock(["acquire", "-k", "job", "--ttl", "30s", "--json"]).finish().succeeds();
    let said: serde_json::Value = serde_json::from_str(acquired.said()).expect("--json prints JSON");
    assert!(said["token"].as_str().is_some_and(is_token), "{said}");
    assert_eq!(said["namespace"], place.namespace, "{said}");
    assert_eq!(said["ttl_ms"], 30_000, "{said}");
    assert!(said["expires_at"].as_str().is_some_and(|time| time.ends_with('Z') && time.contains('T')), "{said}");
    assert_eq!(said["keys"][0]["key"], "job", "{said}");
    assert!(said["keys"][0]["fence"].as_u64().is_some_and(|fence| fence > 0), "{said}");
    assert!(said["backend"].is_string(), "{said}");
}

fn acquire_as_exports_can_be_evaluated_by_a_shell(place: &Place) {
    // The key would do harm if it were not quoted.
    let key = "it's $(touch /harm) `x` \"q\"";
    let mut words = vec!["acquire".to_owned()];
    words.extend(place.options());
    words.extend(["-k", key, "--ttl", "30s", "-n", "--export"].map(str::to_owned));
    let script = r#"eval "$("$@")" && printf '%s\n%s\n%s\n' "$DLOCK_KEY" "$DLOCK_TOKEN" "$DLOCK_FENCE""#;
    let mut args = vec!["-c".to_owned(), script.to_owned(), "sh".to_owned(), program().to_owned()];
    args.extend(words);
    let shell = Dlock::of_program("/bin/sh".as_ref(), &args).finish().succeeds();
    let lines: Vec<&str> = shell.said().lines().collect();
    assert_eq!(lines[0], key, "{}", shell.account());
    assert!(is_token(lines[1]) && lines[2].parse::<u64>().is_ok(), "{}", shell.account());
    let refused = Dlock::of_program("/bin/sh".as_ref(), &args).finish();
    // The shell that evaluates the failure sees it: `eval "$(…)" && …` ends with dlock's status.
    refused.exits_with(75);
}

fn a_held_lock_is_refused_at_once_with_75_and_says_who_has_it(place: &Place) {
    place.acquire("job", "30s");
    let refused = place.dlock(["acquire", "-k", "job", "--ttl", "30s", "-n"]).finish().exits_with(75);
    assert!(refused.stdout.is_empty(), "{}", refused.account());
    refused.complains(&["cannot acquire \"job\": ", "held by", "pid "]);
}

fn quiet_says_nothing_of_a_refusal(place: &Place) {
    place.acquire("job", "30s");
    place.dlock(["acquire", "-k", "job", "--ttl", "30s", "-n", "-q"]).finish().exits_with(75).says_nothing();
    place.dlock(["run", "-k", "job", "-n", "-q", "--", "true"]).finish().exits_with(75).says_nothing();
}

fn release_frees_the_lock(place: &Place) {
    let token = place.acquire("job", "30s");
    assert!(!place.is_free("job"));
    let released = place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
    assert!(released.stdout.is_empty(), "{}", released.account());
    assert_eq!(place.status("job")["state"], "free");
    assert!(place.is_free("job"));
}

fn release_with_a_token_that_is_not_the_holders_is_79_and_changes_nothing(place: &Place) {
    let token = place.acquire("job", "30s");
    let other = "0123456789abcdef0123456789abcdef";
    let refused = place.dlock(["release", "-k", "job", "--token", other]).finish();
    refused.exits_with(79).complains(&["cannot release \"job\": "]);
    assert!(!place.is_free("job"));
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
}

fn release_of_what_was_released_is_79(place: &Place) {
    let token = place.acquire("job", "30s");
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
    let next = place.acquire("job", "30s");
    place.dlock(["release", "-k", "job", "--token", &token]).finish().exits_with(79);
    place.dlock(["renew", "-k", "job", "--token", &token]).finish().exits_with(79);
    place.dlock(["release", "-k", "job", "--token", &next]).finish().succeeds();
}

fn release_and_renew_read_token_and_key_from_the_environment(place: &Place) {
    let token = place.acquire("job", "30s");
    place.dlock(["renew"]).env("DLOCK_KEY", "job").env("DLOCK_TOKEN", &token).finish().succeeds();
    place.dlock(["release"]).env("DLOCK_KEY", "job").env("DLOCK_TOKEN", &token).finish().succeeds();
    assert!(place.is_free("job"));
}

/// What is left of the lease; where only a write could tell that (ZooKeeper's clock), what it was last set to.
fn remaining_ms(place: &Place, key: &str) -> u64 {
    let status = place.status(key);
    let held = &status["holders"][0];
    let told = held["remaining_ms"].as_u64().or(held["ttl_ms"].as_u64().filter(|_| place.kind == Kind::ZooKeeper));
    told.unwrap_or_else(|| panic!("a lease has an end: {status}"))
}

fn renew_sets_the_lease_from_now(place: &Place) {
    let token = place.acquire("job", "30s");
    assert!(remaining_ms(place, "job") <= 30_000);
    place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", "5m"]).finish().succeeds();
    let prolonged = remaining_ms(place, "job");
    assert!((200_000..=300_000).contains(&prolonged), "{prolonged}");
    place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", "20s"]).finish().succeeds();
    let shortened = remaining_ms(place, "job");
    assert!((1..=20_000).contains(&shortened), "{shortened}");
    assert!(!place.is_free("job"));
}

fn renew_without_a_lease_is_79_and_makes_none(place: &Place) {
    let nobodys = "0123456789abcdef0123456789abcdef";
    let refused = place.dlock(["renew", "-k", "job", "--token", nobodys, "--ttl", "30s"]).finish();
    refused.exits_with(79).complains(&["cannot renew \"job\": "]);
    assert!(place.is_free("job"));
    place.acquire("job", "30s");
    place.dlock(["renew", "-k", "job", "--token", nobodys]).finish().exits_with(79);
}

fn renew_of_a_lock_that_a_run_holds_never_shortens_it(place: &Place) {
    let run =
        place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_TOKEN; echo ready; cat"]).stdin_open().start();
    run.says("ready");
    let token = run.stdout().lines().next().expect("the command printed it").to_owned();
    place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", "1s"]).finish().succeeds().mentions(&["job"]);
    let status = place.status("job");
    let left = status["holders"][0]["remaining_ms"].as_u64();
    assert!(left.is_none_or(|left| left > 5_000), "{status}");
    run.let_go();
    run.wait().succeeds();
}

fn a_one_shot_lease_ends_at_its_ttl_and_a_waiter_behind_it_gets_in(place: &Place) {
    let ttl = Duration::from_secs(2);
    let before = Instant::now();
    let token = place.acquire("job", "2s");
    let waiter = place.queue_up("job");
    waiter.says("ready");
    let waited = before.elapsed();
    assert!(waited >= ttl, "the lease was cut short: {waited:?}");
    assert!(waited < ttl + Duration::from_secs(4), "the waiter learnt of its end too late: {waited:?}");
    // The old owner is nobody now, and cannot take the lock from the new one.
    place.dlock(["release", "-k", "job", "--token", &token]).finish().exits_with(79);
    assert!(!place.is_free("job"));
    waiter.let_go();
    waiter.wait().succeeds();
}

fn a_one_shot_lease_outlives_the_process_that_took_it(place: &Place) {
    let token = place.acquire("job", "30s");
    let status = place.status("job");
    assert_eq!(status["state"], "held", "{status}");
    place.dlock(["run", "-k", "job", "-w", "1s", "--", "true"]).finish().exits_with(75);
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
}

fn acquire_waits_for_its_turn(place: &Place) {
    let holder = place.hold("job");
    let waiter = place.dlock(["acquire", "-k", "job", "--ttl", "30s", "-w", "20s"]).start();
    eventually("the waiter stands in the queue", || place.waiters("job") == 1);
    holder.let_go();
    holder.wait().succeeds();
    let acquired = waiter.wait().succeeds();
    assert!(is_token(acquired.said()), "{}", acquired.account());
    assert_eq!(place.status("job")["holders"][0]["phase"], "one-shot");
}

/// A client crate that writes to a connection which has ended brings SIGPIPE, and dlock would end without a word.
fn a_server_that_hangs_up_is_no_signal_to_die_of(place: &Place) {
    let holder = place.hold("job");
    let waiter = place.dlock(["acquire", "-k", "job", "--ttl", "5s"]).start();
    eventually("the waiter stands in the queue", || place.waiters("job") == 1);
    let status = std::fs::read_to_string(format!("/proc/{}/status", waiter.front_pid())).expect("it lives");
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t")).expect("the kernel's line");
    let blocked = u64::from_str_radix(blocked, 16).expect("hexadecimal");
    assert_eq!(blocked >> (libc::SIGPIPE - 1) & 1, 1, "{blocked:x}");
    holder.let_go();
    holder.wait().succeeds();
    waiter.wait().succeeds();
}
