//! The round trips of each command: over a network they are what it costs. One of each is the client crate's, which pings
//! once to see that the session stands.

use std::time::Duration;

use super::counts::tapped_from_afar;
use super::wiretap::Wiretap;
use crate::support::{Dlock, Finished, eventually};

/// Far more than it takes to send what is sent together.
const WAY: Duration = Duration::from_millis(100);

/// Calls of dlock by way of a tap, in a namespace of their own.
struct Caller {
    tap: Wiretap,
    namespace: &'static str,
}

impl Caller {
    fn new(namespace: &'static str) -> Self {
        Self { tap: tapped_from_afar(WAY), namespace }
    }

    fn dlock(&self, words: &[&str]) -> Dlock {
        let (command, rest) = words.split_first().expect("a command");
        let address = self.tap.address();
        Dlock::new([&[*command, "--zk", &address, "--namespace", self.namespace], rest].concat())
    }

    fn trips_of(&self, words: &[&str], judge: impl FnOnce(Finished) -> Finished) -> Vec<String> {
        self.tap.take_trips();
        judge(self.dlock(words).finish());
        self.tap.take_trips()
    }

    fn trips(&self, words: &[&str]) -> Vec<String> {
        self.trips_of(words, Finished::succeeds)
    }

    /// Of a run that finds its keys' directories there: once a minute the server removes those that are empty.
    fn trips_with_directories(&self, words: &[&str]) -> Vec<String> {
        let mut trips = std::iter::repeat_with(|| self.trips(words)).take(3);
        let found = trips.find(|trips| !trips.iter().any(|trip| trip.contains("create-container")));
        found.expect("a directory that was made is there a moment later")
    }
}

#[test]
fn a_run_that_nobody_contends_with_makes_four() {
    let caller = Caller::new("trips-run");
    let first = caller.trips(&["run", "-k", "alone", "--", "true"]);
    assert!(first.contains(&"create-container".to_owned()), "{first:?}");
    let again = caller.trips_with_directories(&["run", "-k", "alone", "--", "true"]);
    assert_eq!(again, ["connect", "ping", "create + list", "delete + close"]);
    // Who may not wait looks first, so as not to stand in anybody's way.
    let refusing = caller.trips_with_directories(&["run", "-n", "-k", "alone", "--", "true"]);
    assert_eq!(refusing, ["connect", "ping", "list", "create + list", "delete + close"]);
    let several = caller.trips(&["run", "-k", "alone", "-k", "other", "--", "true"]);
    assert_eq!(several.last().map(String::as_str), Some("delete + delete + close"));
    // The same with the directories of both there.
    let several = caller.trips_with_directories(&["run", "-k", "alone", "-k", "other", "--", "true"]);
    assert_eq!(several, ["connect", "ping", "create + list", "create + list", "delete + delete + close"]);
}

#[test]
fn one_that_is_refused_makes_five_and_leaves_nothing_in_the_way() {
    let caller = Caller::new("trips-refused");
    let holder =
        caller.dlock(&["run", "-k", "held", "--", "sh", "-c", "echo ready; cat >/dev/null"]).stdin_open().start();
    holder.says("ready");
    let other = Caller::new("trips-refused");
    let trips = other.trips_of(&["run", "-n", "-k", "held", "--", "true"], |run| run.exits_with(75));
    // Whether the lease of the one in the way has ended, and who it is.
    assert_eq!(trips, ["connect", "ping", "list", "get + get", "close"]);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn acquire_renew_release_status_and_list() {
    let caller = Caller::new("trips-steps");
    caller.trips(&["run", "-k", "step", "--", "true"]);
    caller.trips_with_directories(&["run", "-k", "step", "--", "true"]);
    let mut token = String::new();
    let acquired = caller.trips_of(&["acquire", "-k", "step", "--ttl", "5s"], |call| {
        let call = call.succeeds();
        token = call.said().trim().to_owned();
        call
    });
    let renewed = caller.trips(&["renew", "-k", "step", "--token", &token, "--ttl", "20s"]);
    let status = caller.trips(&["status", "-k", "step"]);
    let listed = caller.trips(&["list"]);
    let released = caller.trips(&["release", "-k", "step", "--token", &token]);
    let free = caller.trips(&["status", "-k", "step"]);
    // The server allows no TTL nodes, so that the second conversion is the one that works; the stamps are read apart.
    assert_eq!(acquired, ["connect", "ping", "create + list", "multi", "multi", "exists", "close"]);
    assert_eq!(renewed, ["connect", "ping", "list", "get", "set", "close"]);
    // Of a lease that the leader's clock ends the rest is told; the first one to ask makes the clock.
    assert_eq!(status, ["connect", "ping", "list", "get", "set", "create", "close"]);
    // The namespace, its keys, their holders.
    assert_eq!(listed, ["connect", "ping", "list", "read-many", "read-many", "set", "close"]);
    assert_eq!(released, ["connect", "ping", "list", "get", "delete", "close"]);
    assert_eq!(free, ["connect", "ping", "list", "close"]);
}

#[test]
fn a_list_asks_about_sixty_four_keys_at_once_and_an_old_server_about_one_after_the_other() {
    const KEYS: usize = 130;
    let caller = Caller::new("trips-list");
    let keys: Vec<String> = (0..KEYS).map(|number| format!("key{number:03}")).collect();
    for some in keys.chunks(64) {
        let words: Vec<&str> = some.iter().flat_map(|key| ["-k", key]).collect();
        Caller { tap: super::counts::tapped(), ..caller }.trips(&[&["acquire", "--ttl", "60s"], &words[..]].concat());
    }
    let listed = |finished: Finished| {
        let finished = finished.succeeds();
        let listed: serde_json::Value = serde_json::from_str(finished.said()).expect("JSON");
        let held = listed.as_array().expect("an array").iter().filter(|key| key["state"] == "held");
        assert_eq!(held.filter_map(|key| key["key"].as_str()).collect::<Vec<_>>(), keys);
        finished
    };
    let trips = caller.trips_of(&["list", "--json"], listed);
    // The first one by itself, since an old server would hang up on it.
    assert_eq!(trips[2..7], ["list", "read-many", "read-many + read-many", "read-many", "read-many + read-many"]);
    assert_eq!(trips[trips.len() - 1], "close");

    let old = Caller { tap: super::counts::tapped_as_if_old(), ..caller };
    let requests = old.trips_of(&["list", "--json"], listed).join(" + ");
    assert_eq!(requests.matches("get").count(), KEYS, "{requests}");
}

#[test]
fn a_hand_over_takes_the_next_one_two_from_the_word_to_the_command() {
    let caller = Caller::new("trips-hand-over");
    let hold = ["run", "-k", "passed", "--ttl", "60s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = caller.dlock(&hold).stdin_open().start();
    holder.says("ready");
    let next = Caller::new("trips-hand-over");
    let waiter = next.dlock(&[&["run", "-v"], &hold[1..]].concat()).stdin_open().start();
    eventually("it is told whom it waits for", || waiter.stderr().contains("waiting"));
    next.tap.take_trips();
    holder.let_go();
    holder.wait().succeeds();
    waiter.says("ready");
    // Who is ahead now, and the committed write that confirms its own entry.
    assert_eq!(next.tap.take_trips(), ["list", "set"]);
    waiter.let_go();
    waiter.wait().succeeds();
}
