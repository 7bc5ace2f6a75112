//! Very many keys that are held: by commands that run, 64 keys each.

use std::time::{Duration, Instant};

use super::costs::{pss_kb, requests, stored_kb};
use super::{dlock, sentences_of_load, size};
use crate::support::{Place, Running};

sentences_of_load![one_more_costs_what_the_first_cost];

/// The most of one run.
const EACH: usize = 64;

/// How often an acquisition is measured.
const TIMES: usize = 21;

fn one_more_costs_what_the_first_cost(place: &Place) {
    let count = size("DLOCK_TEST_KEYS", 640);
    let alone = Cost::measured(place);
    let before = stored_kb(place);
    let began = Instant::now();
    let keys: Vec<String> = (0..count).map(|number| format!("key{number:05}")).collect();
    let holders: Vec<Running> = keys.chunks(EACH).map(|some| hold(place, some)).collect();
    let taking = began.elapsed();
    let stored = stored_kb(place).saturating_sub(before);
    let crowded = Cost::measured(place);
    let memory = holders[0].job().iter().map(pss_kb).sum::<u64>();

    let began = Instant::now();
    let listed = dlock(place, &["list", "--json"]).finish().succeeds();
    let listing = began.elapsed();
    let listed: serde_json::Value = serde_json::from_str(listed.said()).expect("JSON");
    let held = listed.as_array().expect("an array").iter().filter(|key| key["state"] == "held");
    assert_eq!(held.filter_map(|key| key["key"].as_str()).collect::<Vec<_>>(), keys, "sorted, and all of them");

    // The holders renew meanwhile: each key once or twice.
    assert!(crowded.requests <= alone.requests + 2.0 * count as f64 / TIMES as f64, "{crowded:?} after {alone:?}");
    assert!(crowded.time < alone.time * 4 + Duration::from_millis(100), "{crowded:?} after {alone:?}");
    holders.iter().for_each(Running::let_go);
    holders.iter().for_each(|holder| drop(holder.wait().succeeds()));
    for key in [&keys[0], &keys[count - 1]] {
        assert!(place.is_free(key), "{key}");
    }
    super::tell(&format!(
        "| {:?} | {count} keys | {:.1} s | {stored} kB | {memory} kB PSS | {} | {} | {:.0} ms |",
        place.kind,
        taking.as_secs_f64(),
        alone,
        crowded,
        listing.as_secs_f64() * 1000.0
    ));
}

fn hold(place: &Place, keys: &[String]) -> Running {
    let mut words = vec!["run", "-q", "--ttl", "60s"];
    words.extend(keys.iter().flat_map(|key| ["-k", key]));
    words.extend(["--", "sh", "-c", "echo ready; cat >/dev/null"]);
    let run = dlock(place, &words).stdin_open().start();
    run.says("ready");
    run
}

/// What `dlock run -k other -- true` takes.
#[derive(Debug)]
struct Cost {
    /// Of one run in the middle.
    time: Duration,
    /// Of one run, on the average.
    requests: f64,
}

impl Cost {
    fn measured(place: &Place) -> Self {
        let asked = requests(place);
        let run =
            |_| dlock(place, &["run", "-n", "-k", "other", "--ttl", "60s", "--", "true"]).finish().succeeds().took;
        let mut times: Vec<Duration> = (0..TIMES).map(run).collect();
        times.sort();
        Self { time: times[TIMES / 2], requests: (requests(place) - asked) as f64 / TIMES as f64 }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.1} ms, {:.1} requests", self.time.as_secs_f64() * 1000.0, self.requests)
    }
}
