//! A command under the lock: what it gets, who waits for it, and which keys are which.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{is_token, listed};
use crate::support::{Dlock, Place, eventually, sentences, sentences_of_the_contract, within};

sentences_of_the_contract![
    fences_rise_with_every_grant_whoever_gets_it,
    run_passes_on_status_arguments_input_output_and_directory,
    run_says_nothing_of_its_own,
    run_tells_its_command_what_it_holds,
    run_refuses_at_once_when_it_is_not_to_wait,
    run_gives_up_when_its_patience_ends,
    run_takes_a_status_of_the_users_for_a_conflict,
    a_waiter_gets_in_after_a_release,
    every_waiter_gets_its_turn,
    two_keys_do_not_disturb_each_other,
    namespaces_are_apart,
    any_text_is_a_key,
    a_command_that_cannot_be_started_leaves_the_lock_free,
    every_setting_can_come_from_the_environment,
];

sentences! {
    cluster: Place::on_cluster(), [
        fences_rise_with_every_grant_whoever_gets_it,
        run_passes_on_status_arguments_input_output_and_directory,
        run_says_nothing_of_its_own,
        run_tells_its_command_what_it_holds,
        run_refuses_at_once_when_it_is_not_to_wait,
        run_gives_up_when_its_patience_ends,
        run_takes_a_status_of_the_users_for_a_conflict,
        a_waiter_gets_in_after_a_release,
        every_waiter_gets_its_turn,
        two_keys_do_not_disturb_each_other,
        a_command_that_cannot_be_started_leaves_the_lock_free,
        every_setting_can_come_from_the_environment,
    ];
}

fn fences_rise_with_every_grant_whoever_gets_it(place: &Place) {
    let mut fences = Vec::new();
    for _ in 0..3 {
        let acquired = place.dlock(["acquire", "-k", "job", "--ttl", "30s", "--json"]).finish().succeeds();
        let said: serde_json::Value = serde_json::from_str(acquired.said()).expect("--json prints JSON");
        fences.push(said["keys"][0]["fence"].as_u64().expect("an exclusive grant has a fence"));
        assert_eq!(place.status("job")["fence"], *fences.last().expect("just pushed"));
        let token = said["token"].as_str().expect("a token is text");
        place.dlock(["release", "-k", "job", "--token", token]).finish().succeeds();
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_FENCE"]).finish().succeeds();
        fences.push(run.said().parse().expect("DLOCK_FENCE is a number"));
    }
    assert!(fences.is_sorted_by(|earlier, later| earlier < later), "{fences:?}");
}

fn run_passes_on_status_arguments_input_output_and_directory(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let script = r#"for arg; do printf '<%s>' "$arg"; done; pwd; cat; echo to-stderr >&2; exit 42"#;
    let input: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let run = place
        .dlock(["run", "-k", "job", "sh", "-c", script, "sh", "two words", "", "-n", "--help", "$HOME", "*"])
        .cwd(directory.path())
        .stdin(input.clone())
        .finish()
        .exits_with(42);
    let real = directory.path().canonicalize().expect("it is there");
    let head = format!("<two words><><-n><--help><$HOME><*>{}\n", real.display());
    assert_eq!(run.stdout, [head.as_bytes(), &input[..]].concat());
    assert_eq!(run.stderr(), "to-stderr\n");
}

fn run_says_nothing_of_its_own(place: &Place) {
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
}

fn run_tells_its_command_what_it_holds(place: &Place) {
    let run = place.dlock(["run", "-k", "a job", "--", "env"]).env("KEEP", "me").finish().succeeds();
    let variable = |name: &str| {
        let line = run.said().lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name} is set: {}", run.account())).to_owned()
    };
    assert_eq!(variable("DLOCK_KEY"), "a job");
    assert!(is_token(&variable("DLOCK_TOKEN")));
    assert!(variable("DLOCK_FENCE").parse::<u64>().is_ok_and(|fence| fence > 0));
    assert!(!variable("DLOCK_HOLDER").is_empty());
    assert_eq!(variable("DLOCK_NAMESPACE"), place.namespace, "a nested dlock looks in the same place");
    assert_eq!(variable("KEEP"), "me");
}

fn run_refuses_at_once_when_it_is_not_to_wait(place: &Place) {
    let holder = place.hold("job");
    for flags in [["-n", "-v"], ["-w", "0"]] {
        let refused = place.dlock(["run", "-k", "job", flags[0], flags[1], "--", "sh", "-c", "echo it ran"]).finish();
        let refused = refused.exits_with(75).mentions(&["cannot acquire \"job\": ", "held by", "(sh)"]);
        assert!(refused.stdout.is_empty(), "{}", refused.account());
        assert!(refused.took < Duration::from_secs(5), "{}", refused.account());
    }
    holder.let_go();
    holder.wait().succeeds();
}

fn run_gives_up_when_its_patience_ends(place: &Place) {
    place.acquire("job", "30s");
    let refused = place.dlock(["run", "-k", "job", "-w", "0.7", "--", "sh", "-c", "echo it ran"]).finish();
    let refused = refused.exits_with(75).mentions(&["cannot acquire \"job\": ", "gave up after"]);
    assert!(refused.stdout.is_empty(), "{}", refused.account());
    assert!(refused.took >= Duration::from_millis(700), "{}", refused.account());
    assert!(refused.took < Duration::from_secs(5), "{}", refused.account());
    eventually("nobody is left in the queue", || place.waiters("job") == 0);
}

fn run_takes_a_status_of_the_users_for_a_conflict(place: &Place) {
    place.acquire("job", "30s");
    for code in [3, 255] {
        let refused = place.dlock(["run", "-k", "job", "-n", "-E", &code.to_string(), "--", "true"]).finish();
        refused.exits_with(code).complains(&["cannot acquire \"job\": "]);
    }
    place.dlock(["run", "-k", "job", "-n", "-E", "0", "--", "true"]).finish().exits_with(0).says_nothing();
    place.dlock(["run", "-k", "free", "-n", "-E", "3", "--", "true"]).finish().exits_with(0);
}

fn a_waiter_gets_in_after_a_release(place: &Place) {
    let holder = place.hold("job");
    let waiter = place.queue_up("job");
    assert_eq!(waiter.stdout(), "");
    holder.let_go();
    holder.wait().succeeds();
    // A lost wake-up would be repaired by the lease check after ten seconds: this is about the wake-up.
    within(Duration::from_secs(3), "the waiter gets in", || waiter.stdout() == "ready\n");
    waiter.let_go();
    waiter.wait().succeeds();
    assert!(place.is_free("job"));
}

fn every_waiter_gets_its_turn(place: &Place) {
    let holder = place.hold("job");
    let waiters: Vec<_> =
        (0..4).map(|_| place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_FENCE"]).start()).collect();
    eventually("all stand in the queue", || place.waiters("job") == 4);
    holder.let_go();
    holder.wait().succeeds();
    let fences: BTreeSet<String> = waiters.into_iter().map(|run| run.wait().succeeds().said().to_owned()).collect();
    assert_eq!(fences.len(), 4, "{fences:?}");
    let status = place.status("job");
    assert_eq!((&status["state"], place.waiters("job")), (&"free".into(), 0), "{status}");
}

fn two_keys_do_not_disturb_each_other(place: &Place) {
    let one = place.hold("one");
    let two = place.acquire("two", "30s");
    assert!(place.is_free("three"));
    one.let_go();
    one.wait().succeeds();
    assert!(place.is_free("one") && !place.is_free("two"));
    place.dlock(["release", "-k", "one", "--token", &two]).finish().exits_with(79);
    place.dlock(["release", "-k", "two", "--token", &two]).finish().succeeds();
}

fn namespaces_are_apart(place: &Place) {
    place.acquire("job", "30s");
    let elsewhere = format!("{}-x", place.namespace);
    let run = place.dlock(["run", "-k", "job", "-n", "--", "true"]);
    run.finish().exits_with(75);
    let mut other = place.elsewhere();
    other.namespace = elsewhere;
    assert!(other.is_free("job"));
    other.acquire("job", "30s");
    assert_eq!(listed(place, "*"), ["job"]);
    assert_eq!(listed(&other, "*"), ["job"]);
}

fn any_text_is_a_key(place: &Place) {
    let long = "x".repeat(512);
    let long_and_wide = "é".repeat(256);
    let mut keys = vec![
        "with space",
        "a/b//c",
        "/",
        "/lead",
        ".",
        "..",
        ".hidden",
        "100%",
        "%41",
        "A",
        "a:b",
        "{x}y",
        "a}b",
        "*?[x]",
        "tab\there",
        "'\"\\",
        "ключ",
        "日本",
        "-n",
        "%clock",
        "~",
        &long,
        &long_and_wide,
    ];
    for key in &keys {
        let option = format!("--key={key}");
        let acquired = place.dlock(["acquire", &option, "--ttl", "60s", "-n"]).finish().succeeds();
        assert!(is_token(acquired.said()), "{}", acquired.account());
        place.dlock(["run", &option, "-n", "-q", "--", "true"]).finish().exits_with(75);
    }
    keys.sort_unstable();
    assert_eq!(listed(place, "*"), keys);
    // A key that only looks like another one's stored name is another key.
    for other in ["%2E", "with%20space", "X", "e\u{301}"] {
        assert!(place.is_free(other), "{other:?}");
    }
}

fn a_command_that_cannot_be_started_leaves_the_lock_free(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "echo no\n").expect("a fresh directory takes files");
    let plain = plain.to_str().expect("temporary directories have plain names");
    for (command, code) in [("no-such-command-anywhere", 127), ("/no/such/path", 127), (plain, 126), ("/tmp", 126)] {
        place.dlock(["run", "-k", "job", "--", command]).finish().exits_with(code).complains(&[command]);
        assert!(place.is_free("job"), "{command}");
    }
}

fn every_setting_can_come_from_the_environment(place: &Place) {
    place.acquire("job", "30s");
    let call = |key: &str| {
        let mut call = Dlock::new(["run", "-k", key, "--", "true"]).env("DLOCK_NAMESPACE", &place.namespace);
        for pair in place.options().chunks(2) {
            let name = format!("DLOCK_{}", pair[0].trim_start_matches('-').to_uppercase());
            call = call.env(&name, &pair[1]);
        }
        call
    };
    call("job").env("DLOCK_NONBLOCK", "yes").finish().exits_with(75).complains(&["held by"]);
    call("job").env("DLOCK_WAIT", "0.1").finish().exits_with(75).complains(&["gave up after"]);
    call("job").env("DLOCK_WAIT", "0").env("DLOCK_CONFLICT_EXIT_CODE", "9").finish().exits_with(9);
    call("job").env("DLOCK_WAIT", "0").env("DLOCK_QUIET", "1").finish().exits_with(75).says_nothing();
    call("free").env("DLOCK_TTL", "20s").env("DLOCK_NONBLOCK", "").finish().succeeds();
    call("free").env("DLOCK_TTL", "soon").finish().exits_with(64).complains(&["soon"]);
}
