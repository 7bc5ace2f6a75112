//! What `status` and `list` tell, to people and as JSON.

use super::listed;
use crate::support::{Dlock, Kind, Place, install_script, sentences, sentences_of_the_contract};

sentences_of_the_contract![
    status_of_a_free_key_is_free,
    status_tells_of_a_run_and_of_those_who_wait,
    status_tells_of_a_one_shot_lease,
    status_answers_for_several_keys_in_their_order,
    status_never_sends_control_characters_of_a_holder_to_the_terminal,
    list_shows_what_is_held_or_awaited_sorted_by_key,
    list_takes_a_pattern_whose_star_matches_a_slash,
    whoever_has_read_enough_may_close_the_pipe,
];

sentences! {
    cluster: Place::on_cluster(), [
        status_of_a_free_key_is_free,
        status_tells_of_a_run_and_of_those_who_wait,
        status_tells_of_a_one_shot_lease,
        status_answers_for_several_keys_in_their_order,
        status_never_sends_control_characters_of_a_holder_to_the_terminal,
        list_shows_what_is_held_or_awaited_sorted_by_key,
        list_takes_a_pattern_whose_star_matches_a_slash,
    ];
}

fn status_of_a_free_key_is_free(place: &Place) {
    let status = place.status("job");
    assert_eq!(status["key"], "job");
    assert_eq!(status["namespace"], place.namespace);
    assert_eq!(status["state"], "free");
    assert_eq!(status["holders"], serde_json::json!([]));
    assert_eq!(status["waiters"], serde_json::json!([]));
    let text = place.dlock(["status", "-k", "job"]).finish().succeeds();
    assert!(text.said().contains("job") && text.said().contains("free"), "{}", text.account());
    place.dlock(["status", "--exit-code", "job"]).finish().succeeds();
}

fn status_tells_of_a_run_and_of_those_who_wait(place: &Place) {
    let holder = place.hold("job");
    let waiter = place.queue_up("job");
    let status = place.status("job");
    assert_eq!(status["state"], "held", "{status}");
    assert_eq!(status["mode"], "exclusive", "{status}");
    assert!(status["fence"].is_u64(), "{status}");
    let held = &status["holders"][0];
    assert_eq!(held["phase"], "running", "{status}");
    assert_eq!(held["command"], "sh", "a file name, never arguments: {status}");
    let host = nix::unistd::gethostname().expect("a machine has a name").into_string().expect("a plain one");
    assert_eq!(held["host"], host, "{status}");
    let pid = held["pid"].as_i64().expect("the holder has a pid");
    assert!(holder.job().iter().any(|process| i64::from(process.pid) == pid), "{status}");
    assert!(held["id"].as_str().is_some_and(|id| id.len() == 8), "{status}");
    assert!(held["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{status}");
    let waits = &status["waiters"][0];
    assert_eq!(waits["position"], 1, "{status}");
    let pid = waits["pid"].as_i64().expect("the waiter has a pid");
    assert!(waiter.job().iter().any(|process| i64::from(process.pid) == pid), "{status}");
    let text = place.dlock(["status", "-k", "job"]).finish().succeeds();
    assert!(text.said().contains(&host) && text.said().contains("sh"), "{}", text.account());
    place.dlock(["status", "--exit-code", "-k", "job"]).finish().exits_with(75);
    holder.let_go();
    holder.wait().succeeds();
}

fn status_tells_of_a_one_shot_lease(place: &Place) {
    let token = place.acquire("job", "30s");
    let status = place.status("job");
    let held = &status["holders"][0];
    assert_eq!(held["phase"], "one-shot", "{status}");
    assert_eq!(held["ttl_ms"], 30_000, "{status}");
    // Only a write could tell it from ZooKeeper's clock, and status writes nothing.
    let left = held["remaining_ms"].as_u64().or((place.kind == Kind::ZooKeeper).then_some(1));
    assert!(left.is_some_and(|left| (1..=30_000).contains(&left)), "{status}");
    assert!(!status.to_string().contains(&token), "the token is a secret: {status}");
}

fn status_answers_for_several_keys_in_their_order(place: &Place) {
    place.acquire("b", "30s");
    let answer = place.dlock(["status", "--json", "c", "b", "a"]).finish().succeeds();
    let keys: Vec<serde_json::Value> = serde_json::from_str(answer.said()).expect("an array");
    let told: Vec<_> = keys.iter().map(|key| (key["key"].as_str(), key["state"].as_str())).collect();
    let wanted = [("c", "free"), ("b", "held"), ("a", "free")].map(|(key, state)| (Some(key), Some(state)));
    assert_eq!(told, wanted, "{}", answer.account());
    place.dlock(["status", "--exit-code", "a", "b"]).finish().exits_with(75);
}

fn status_never_sends_control_characters_of_a_holder_to_the_terminal(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let command = directory.path().join("ev\u{1b}[31mil\rname");
    install_script("#!/bin/sh\necho ready; cat\n", &command);
    let path = command.to_str().expect("it is text");
    let run = place.dlock(["run", "-k", "job", "--", path]).stdin_open().start();
    run.says("ready");
    let status = place.dlock(["status", "-k", "job"]).finish().succeeds();
    assert!(status.said().contains("il"), "the holder's command is shown: {}", status.account());
    let raw = |bytes: &[u8]| bytes.iter().any(|byte| byte.is_ascii_control() && *byte != b'\n');
    assert!(!raw(&status.stdout), "{:?}", status.said());
    let refused = place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(75);
    assert!(!raw(refused.stderr().as_bytes()), "{:?}", refused.stderr());
    run.let_go();
    run.wait().succeeds();
}

fn list_shows_what_is_held_or_awaited_sorted_by_key(place: &Place) {
    let released = place.acquire("free", "30s");
    place.dlock(["release", "-k", "free", "--token", &released]).finish().succeeds();
    place.acquire("b", "30s");
    place.acquire("a", "30s");
    let run = place.hold("c");
    let _waiter = place.queue_up("a");
    assert_eq!(listed(place, "*"), ["a", "b", "c"]);
    let text = place.dlock(["list"]).finish().succeeds();
    let at = |key: &str| text.said().find(key).unwrap_or_else(|| panic!("{key} is listed: {}", text.account()));
    assert!(!text.said().contains("free"), "{}", text.account());
    at("a");
    at("b");
    at("c");
    run.let_go();
    run.wait().succeeds();
}

fn whoever_has_read_enough_may_close_the_pipe(place: &Place) {
    let holder = place.hold("job");
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("there are descriptors");
        drop(reader);
        writer
    };
    let looks: [&[&str]; 4] = [&["list", "--json"], &["list"], &["status", "job"], &["doctor", "--json"]];
    for call in looks {
        let ended = place.dlock_with(call.iter().copied()).stdout_to(closed()).start().wait();
        assert!(matches!(ended.status.code(), Some(0 | 1)), "{}", ended.account());
        ended.says_nothing_on_stderr();
    }
    let verdict = place.dlock(["status", "--exit-code", "job"]).stdout_to(closed()).start().wait();
    verdict.exits_with(75).says_nothing_on_stderr();
    for call in ["man", "help"] {
        Dlock::new([call]).stdout_to(closed()).start().wait().succeeds().says_nothing_on_stderr();
    }
    holder.let_go();
    holder.wait().succeeds();
}

fn list_takes_a_pattern_whose_star_matches_a_slash(place: &Place) {
    for key in ["deploy/web/1", "deploy/db", "backup"] {
        place.acquire(key, "30s");
    }
    assert_eq!(listed(place, "deploy*"), ["deploy/db", "deploy/web/1"]);
    assert_eq!(listed(place, "*b"), ["deploy/db"]);
    assert_eq!(listed(place, "nothing"), Vec::<String>::new());
    place.dlock(["list", "nothing"]).finish().succeeds();
}
