//! Locks that several hold at once: readers, and a number of slots.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::is_token;
use crate::support::{Dlock, Kind, Place, Running, eventually, sentences, soak_time, within};

sentences! {
    file: Place::shared(Kind::File), [
        readers_run_together_and_a_writer_after_the_last_of_them,
        a_reader_waits_behind_a_waiting_writer,
        so_many_slots_run_together_and_no_more,
        another_number_of_slots_is_a_wrong_configuration,
        a_sharer_has_no_fence_and_tells_its_command_the_mode,
        one_shots_are_shared_renewed_and_released_one_by_one,
        status_shows_all_who_hold_and_answers_for_each_mode,
        nobody_ends_a_sharer_of_this_host_from_outside,
        the_mode_can_come_from_the_environment,
        whoever_is_killed_never_are_there_more_than_the_mode_allows,
    ];
    zookeeper: Place::shared(Kind::ZooKeeper), [
        readers_run_together_and_a_writer_after_the_last_of_them,
        a_reader_waits_behind_a_waiting_writer,
        so_many_slots_run_together_and_no_more,
        another_number_of_slots_is_a_wrong_configuration,
        a_sharer_has_no_fence_and_tells_its_command_the_mode,
        one_shots_are_shared_renewed_and_released_one_by_one,
        status_shows_all_who_hold_and_answers_for_each_mode,
        a_sharer_that_loses_its_lease_ends_alone,
        the_mode_can_come_from_the_environment,
        whoever_is_killed_never_are_there_more_than_the_mode_allows,
    ];
    redis: Place::shared(Kind::Redis), [
        readers_run_together_and_a_writer_after_the_last_of_them,
        a_reader_waits_behind_a_waiting_writer,
        so_many_slots_run_together_and_no_more,
        another_number_of_slots_is_a_wrong_configuration,
        a_sharer_has_no_fence_and_tells_its_command_the_mode,
        one_shots_are_shared_renewed_and_released_one_by_one,
        status_shows_all_who_hold_and_answers_for_each_mode,
        a_sharer_that_loses_its_lease_ends_alone,
        the_mode_can_come_from_the_environment,
        whoever_is_killed_never_are_there_more_than_the_mode_allows,
    ];
    cluster: Place::on_cluster(), [
        readers_run_together_and_a_writer_after_the_last_of_them,
        a_reader_waits_behind_a_waiting_writer,
        so_many_slots_run_together_and_no_more,
        another_number_of_slots_is_a_wrong_configuration,
        one_shots_are_shared_renewed_and_released_one_by_one,
        status_shows_all_who_hold_and_answers_for_each_mode,
        a_sharer_that_loses_its_lease_ends_alone,
    ];
    sentinel: Watched::shared(), [
        readers_run_together_and_a_writer_after_the_last_of_them,
        a_reader_waits_behind_a_waiting_writer,
        so_many_slots_run_together_and_no_more,
        another_number_of_slots_is_a_wrong_configuration,
        a_sharer_has_no_fence_and_tells_its_command_the_mode,
        one_shots_are_shared_renewed_and_released_one_by_one,
        status_shows_all_who_hold_and_answers_for_each_mode,
        a_sharer_that_loses_its_lease_ends_alone,
        the_mode_can_come_from_the_environment,
        whoever_is_killed_never_are_there_more_than_the_mode_allows,
    ];
}

const HOLD: &str = "echo ready; cat >/dev/null";

/// A run in this mode that holds until it is let go; it has begun when this returns.
#[track_caller]
fn hold(place: &Place, mode: &str) -> Running {
    let run = place.dlock(["run", "-k", "job", mode, "--", "sh", "-c", HOLD]).stdin_open().start();
    run.says("ready");
    run
}

#[track_caller]
fn queue_up(place: &Place, mode: &str) -> Running {
    place.queue_up_with("job", ["run", "-k", "job", mode, "--", "sh", "-c", HOLD])
}

#[track_caller]
fn end(run: &Running) {
    run.let_go();
    run.wait().succeeds();
}

#[track_caller]
fn gets_in(run: &Running) {
    // A lost wake-up would be repaired by the lease check after ten seconds: this is about the wake-up.
    within(Duration::from_secs(3), "it gets in", || run.stdout() == "ready\n");
}

fn refused(place: &Place, mode: &str) -> bool {
    let attempt = place.dlock(["run", "-k", "job", mode, "-n", "--", "true"]).finish();
    match attempt.status.code() {
        Some(0) => false,
        Some(75) => true,
        _ => panic!("neither free nor held: {}", attempt.account()),
    }
}

fn readers_run_together_and_a_writer_after_the_last_of_them(place: &Place) {
    let readers = [hold(place, "-s"), hold(place, "--shared")];
    let refusal = place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish();
    // Who does not enter the queue learns no time from ZooKeeper to compare the holder's with.
    let since = if place.kind == Kind::ZooKeeper { "(sh) and 1 more since " } else { "(sh) and 1 more for " };
    refusal.exits_with(75).complains(&["held by ", since]);
    let writer = queue_up(place, "-x");
    end(&readers[0]);
    assert_eq!(writer.stdout(), "");
    end(&readers[1]);
    gets_in(&writer);
    assert!(refused(place, "-s") && refused(place, "-x"));
    end(&writer);
    assert!(place.is_free("job"));
}

fn a_reader_waits_behind_a_waiting_writer(place: &Place) {
    let first = hold(place, "-s");
    let writer = queue_up(place, "-x");
    assert!(refused(place, "-s"), "it would starve the writer");
    let readers = [queue_up(place, "-s"), queue_up(place, "-s")];
    end(&first);
    gets_in(&writer);
    assert!(readers.iter().all(|reader| reader.stdout().is_empty()));
    end(&writer);
    for reader in &readers {
        gets_in(reader);
    }
    readers.iter().for_each(end);
}

fn so_many_slots_run_together_and_no_more(place: &Place) {
    let holders = [hold(place, "--slots=2"), hold(place, "--slots=2")];
    assert!(refused(place, "--slots=2") && refused(place, "-x") && refused(place, "-s"));
    let next = queue_up(place, "--slots=2");
    let last = queue_up(place, "--slots=2");
    end(&holders[1]);
    gets_in(&next);
    assert_eq!(last.stdout(), "");
    end(&holders[0]);
    gets_in(&last);
    end(&next);
    end(&last);
    assert!(place.is_free("job"));
}

fn another_number_of_slots_is_a_wrong_configuration(place: &Place) {
    let holder = hold(place, "--slots=2");
    for patience in ["-n", "-w5"] {
        let differs = place.dlock(["run", "-k", "job", "--slots", "3", patience, "--", "true"]).finish();
        differs.exits_with(78).complains(&["cannot acquire \"job\": ", "--slots 2"]);
    }
    end(&holder);
    assert!(!refused(place, "--slots=3"));
}

fn a_sharer_has_no_fence_and_tells_its_command_the_mode(place: &Place) {
    let script = "echo \"${DLOCK_FENCE-none}\"; echo \"$DLOCK_HELD\"";
    for (option, mode) in [("-s", "shared"), ("--slots=3", "slots:3")] {
        let run = place.dlock(["run", "-k", "job", option, "--", "sh", "-c", script]).env("DLOCK_FENCE", "7");
        let run = run.finish().succeeds();
        let lines: Vec<&str> = run.said().lines().collect();
        assert_eq!(lines[0], "none", "{}", run.account());
        assert_eq!(lines[1].split(' ').nth(3), Some(mode), "{}", run.account());
    }
}

fn one_shots_are_shared_renewed_and_released_one_by_one(place: &Place) {
    let acquire = || {
        let acquired = place.dlock(["acquire", "-k", "job", "-s", "-n", "--ttl", "20s", "--json"]).finish().succeeds();
        let said: Value = serde_json::from_str(acquired.said()).expect("--json prints JSON");
        assert_eq!(said["keys"], json!([{"key": "job", "fence": null}]), "{said}");
        said["token"].as_str().filter(|token| is_token(token)).expect("a token").to_owned()
    };
    let tokens = [acquire(), acquire()];
    let call = |subcommand, token: &str| place.dlock([subcommand, "-k", "job", "--token", token]).finish();
    place.dlock(["renew", "-k", "job", "--token", &tokens[0], "--ttl", "5m"]).finish().succeeds();
    let left: Vec<u64> =
        place.status("job")["holders"].as_array().expect("a list").iter().filter_map(remaining).collect();
    assert!(left[0] > 200_000 && left[1] <= 20_000, "{left:?}");
    call("release", &tokens[0]).succeeds();
    call("release", &tokens[0]).exits_with(79);
    call("renew", &tokens[0]).exits_with(79);
    assert!(refused(place, "-x"));
    call("release", &tokens[1]).succeeds();
    assert!(!refused(place, "-x"));
}

fn remaining(holder: &Value) -> Option<u64> {
    holder["remaining_ms"].as_u64()
}

fn status_shows_all_who_hold_and_answers_for_each_mode(place: &Place) {
    let verdict = |mode: &str, code| {
        place.dlock(["status", "job", "--exit-code", mode]).finish().exits_with(code);
    };
    place.dlock(["status", "job", "-s"]).finish().exits_with(64).complains(&["--exit-code"]);
    let holders = [hold(place, "--slots=3"), hold(place, "--slots=3")];
    let status = place.status("job");
    assert_eq!((&status["state"], &status["mode"]), (&json!("held"), &json!("slots")), "{status}");
    assert_eq!(status["slots"], json!({"total": 3, "used": 2}), "{status}");
    assert_eq!(status["fence"], Value::Null, "{status}");
    for (holder, shown) in holders.iter().zip(status["holders"].as_array().expect("a list")) {
        let pid = shown["pid"].as_i64().expect("a holder has a pid");
        assert!(holder.job().iter().any(|process| i64::from(process.pid) == pid), "{status}");
        assert!(shown["since"].is_string() && shown["id"].is_string(), "{status}");
        // The kernel's locks and sessions have no end that others could see.
        assert_eq!(shown["remaining_ms"].is_u64(), place.kind == Kind::Redis, "{status}");
        assert_eq!(shown["phase"], "running", "{status}");
    }
    verdict("--slots=3", 0);
    verdict("-x", 75);
    verdict("-s", 75);
    let waits = queue_up(place, "-s");
    let status = place.status("job");
    assert_eq!((&status["waiters"][0]["mode"], &status["waiters"][0]["position"]), (&json!("shared"), &json!(1)));
    verdict("--slots=3", 75);
    let table = place.dlock(["status", "job"]).finish().succeeds();
    assert!(table.said().contains("slots/3") && table.said().contains("waiting 1"), "{}", table.account());
    let listed = place.dlock(["list", "--json"]).finish().succeeds();
    assert!(listed.said().contains(r#""slots":{"total":3,"used":2}"#), "{}", listed.account());
    holders.iter().for_each(end);
    gets_in(&waits);
    verdict("-s", 0);
    end(&waits);
}

fn a_sharer_that_loses_its_lease_ends_alone(place: &Place) {
    let script = "echo $DLOCK_TOKEN; echo ready; cat";
    let call = ["run", "-k", "job", "-s", "--ttl", "3s", "--", "sh", "-c", script];
    let loser = place.dlock(call).stdin_open().start();
    loser.says("ready");
    let other = place.dlock(call).stdin_open().start();
    other.says("ready");
    let token = loser.stdout().lines().next().expect("the command printed it").to_owned();
    place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
    loser.wait().exits_with(79).mentions(&["lost \"job\": "]);
    assert!(!other.has_ended() && refused(place, "-x"));
    other.let_go();
    other.wait().succeeds();
}

fn nobody_ends_a_sharer_of_this_host_from_outside(place: &Place) {
    let script = "echo $DLOCK_TOKEN; echo ready; cat";
    let call = ["run", "-k", "job", "-s", "--", "sh", "-c", script];
    let runs = [place.dlock(call).stdin_open().start(), place.dlock(call).stdin_open().start()];
    for run in &runs {
        run.says("ready");
        let token = run.stdout().lines().next().expect("the command printed it").to_owned();
        let release = place.dlock(["release", "-k", "job", "--token", &token]).finish();
        release.exits_with(64).complains(&["the kernel keeps this lock"]);
        place.dlock(["renew", "-k", "job", "--token", &token]).finish().succeeds();
        assert!(!run.has_ended() && refused(place, "-x"));
    }
    runs.iter().for_each(end);
    assert!(place.is_free("job"));
}

fn the_mode_can_come_from_the_environment(place: &Place) {
    let holder = hold(place, "-s");
    let run = |name: &str, value: &str| place.dlock(["run", "-k", "job", "-n", "--", "true"]).env(name, value).finish();
    run("DLOCK_SHARED", "yes").succeeds();
    run("DLOCK_SHARED", "no").exits_with(75);
    run("DLOCK_SLOTS", "3").exits_with(75);
    run("DLOCK_SLOTS", "0").exits_with(64).complains(&["DLOCK_SLOTS", "from 1"]);
    let typed = place.dlock(["run", "-k", "job", "-n", "-s", "--", "true"]).env("DLOCK_SLOTS", "3");
    typed.finish().succeeds();
    end(&holder);
}

/// Notes when it began and, unless it is killed, when it ended.
const NOTE_TIMES: &str = r#"
echo "$1 $2 began $(date +%s%N)" >>"$3"
sleep 0.05
echo "$1 $2 ended $(date +%s%N)" >>"$3"
"#;

fn whoever_is_killed_never_are_there_more_than_the_mode_allows(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let path = log.to_str().expect("temporary directories have plain names");
    let began = Instant::now();
    let mut number = 0;
    while began.elapsed() < soak_time() || number == 0 {
        let mut start = |mode: &str| -> Running {
            number += 1;
            let (name, options) = (number.to_string(), place.options());
            let words = ["-k", "job", mode, "--ttl", "2s", "--", "sh", "-c", NOTE_TIMES, "sh", &name, mode, path];
            Dlock::new(["run"].into_iter().chain(options.iter().map(String::as_str)).chain(words)).start()
        };
        let mut runs = Vec::new();
        for mode in ["-s", "--slots=2", "--slots=2", "-x", "-s", "-s", "--slots=2", "--slots=2", "--slots=2", "-s"] {
            runs.push(start(mode));
        }
        // Front, keeper and command at once: nobody is left to release.
        for victim in [1, 4, 6] {
            runs[victim].job().iter().for_each(|process| process.signal(Signal::SIGKILL));
        }
        for (at, run) in runs.into_iter().enumerate() {
            let ended = run.wait();
            assert!([1, 4, 6].contains(&at) || ended.status.success(), "{}", ended.account());
        }
    }
    never_too_many(&fs::read_to_string(&log).expect("somebody ran"));
    eventually("the leases of the killed end", || place.is_free("job"));
}

/// Replays what was written down. Whoever did not end was killed at an unknown time, and counts only at its beginning.
#[track_caller]
fn never_too_many(log: &str) {
    let mut events: Vec<Vec<&str>> = log.lines().map(|line| line.split(' ').collect()).collect();
    events.sort_by_key(|words| words[3].parse::<u128>().unwrap_or_else(|e| panic!("{words:?}: {e}")));
    let ends = |name: &str| events.iter().any(|words| words[0] == name && words[2] == "ended");
    let mut inside: Vec<(&str, &str)> = Vec::new();
    for words in &events {
        let (name, mode) = (words[0], words[1]);
        if words[2] == "ended" {
            inside.retain(|(other, _)| *other != name);
            continue;
        }
        let allowed = match mode {
            "-x" => inside.is_empty(),
            "-s" => inside.iter().all(|(_, other)| *other == mode),
            _ => inside.len() < 2 && inside.iter().all(|(_, other)| *other == mode),
        };
        assert!(allowed, "{name} ({mode}) began beside {inside:?}\n{log}");
        if ends(name) {
            inside.push((name, mode));
        }
    }
}
