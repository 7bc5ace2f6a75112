//! What is said on standard error, to whom and in which form: events for programs, colours for people, silence with -q.

use std::fs;
use std::io::Read as _;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Dlock, Kind, Place, Pty, Running, eventually, sentences_for_every_backend};

sentences_for_every_backend![
    a_run_and_a_one_shot_tell_what_they_take_and_give_up,
    what_keeps_others_out_after_the_release_is_told_with_it,
    whoever_waits_and_whoever_gives_up_tells_who_is_in_the_way,
];

/// Every line as the event that it is.
#[track_caller]
fn events(stderr: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    let events: Vec<Value> = stderr.lines().map(parse).collect();
    for event in &events {
        for field in ["time", "event", "level", "message"] {
            assert!(event[field].is_string(), "{field} is a text: {event}");
        }
    }
    events
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().expect("a name")).collect()
}

/// The first event of this name; the lines before it may not be complete yet.
#[track_caller]
fn told(run: &Running, name: &str) -> Value {
    let mut found = None;
    eventually(&format!("{name} is told"), || {
        let stderr = run.stderr();
        let whole = stderr.rsplit_once('\n').map_or("", |(whole, _)| whole);
        found = events(whole).into_iter().find(|event| event["event"] == name);
        found.is_some()
    });
    found.expect("it was just found")
}

const JSON: &str = "--log-format=json";

fn a_run_and_a_one_shot_tell_what_they_take_and_give_up(place: &Place) {
    let run = place.dlock(["run", "-k", "job", JSON, "--", "sh", "-c", "echo $DLOCK_FENCE $DLOCK_HOLDER"]).finish();
    let told = events(run.stderr());
    assert_eq!(names(&told), ["acquired", "released"], "{}", run.account());
    let (fence, holder) = run.said().split_once(' ').expect("two words");
    assert_eq!(told[0]["fence"].to_string(), fence);
    assert_eq!((&told[0]["holder_id"], &told[0]["key"]), (&Value::from(holder), &Value::from("job")));
    assert!(told[0]["ttl_ms"].is_u64() && told[0]["endpoint"].is_string(), "{}", told[0]);
    assert!(told.iter().all(|event| event["level"] == "info"));

    let acquire = place.dlock(["acquire", "-k", "job", "--ttl", "30s", JSON]).finish().succeeds();
    assert_eq!(names(&events(acquire.stderr())), ["acquired"]);
    let release = place.dlock(["release", "-k", "job", "--token", acquire.said(), JSON]).finish().succeeds();
    assert_eq!(names(&events(release.stderr())), ["released"]);
    let lost = place.dlock(["release", "-k", "job", "--token", acquire.said(), JSON]).finish().exits_with(79);
    let told = events(lost.stderr());
    assert_eq!(names(&told), ["error"]);
    assert_eq!((&told[0]["status"], &told[0]["key"]), (&Value::from(79), &Value::from("job")));

    // As text it is silence, unless somebody wants to know.
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
    let verbose = place.dlock(["run", "-v", "-k", "job", "--", "true"]).finish().succeeds();
    assert_eq!(verbose.stderr().lines().count(), 2, "{}", verbose.account());
    verbose.mentions(&["acquired \"job\" with fencing token", " on "]).mentions(&["released \"job\""]);
    place.dlock(["run", "-q", "-k", "job", JSON, "--", "true"]).finish().succeeds().says_nothing();
}

fn what_keeps_others_out_after_the_release_is_told_with_it(place: &Place) {
    let run = place.dlock(["run", "-k", "job", "--hold-at-least", "1h", JSON, "--", "true"]).finish().succeeds();
    let told = events(run.stderr());
    assert_eq!(names(&told), ["acquired", "released"], "{}", run.account());
    let stays = told[1]["stays_taken_ms"].as_u64().expect("a number");
    assert!((3_500_000..3_600_000).contains(&stays), "{}", told[1]);
    place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
    let run = place.dlock(["run", "-v", "-k", "job", "--hold-at-least", "1h", "--", "true"]).finish().succeeds();
    run.mentions(&["released \"job\", which stays taken for another 59m"]);
    place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
    let run = place.dlock(["run", "-v", "-k", "job", "--lock-delay", "20s", "--", "true"]).finish().succeeds();
    assert!(!run.stderr().contains("stays taken"), "{}", run.account());
}

fn whoever_waits_and_whoever_gives_up_tells_who_is_in_the_way(place: &Place) {
    let holder = place.hold("job");
    let contend = |more: &[&str]| {
        let words = ["run", "-k", "job", JSON].into_iter().chain(more.iter().copied()).chain(["--", "true"]);
        place.dlock_with(words).finish()
    };
    let refused = contend(&["-w", "1.5"]).exits_with(75);
    let told = events(refused.stderr());
    assert_eq!(names(&told), ["waiting", "not_acquired"], "{}", refused.account());
    for event in &told {
        assert_eq!((&event["key"], &event["holder"]["command"]), (&Value::from("job"), &Value::from("sh")), "{event}");
    }
    assert!(told[0]["waited_ms"].as_u64().is_some_and(|waited| waited >= 1000), "{}", told[0]);
    assert_eq!((&told[1]["waited_ms"], &told[1]["status"]), (&Value::from(1500), &Value::from(75)));
    assert_eq!(names(&events(contend(&["-n"]).exits_with(75).stderr())), ["not_acquired"]);
    contend(&["-n", "-q"]).exits_with(75).says_nothing();
    contend(&["-w", "1.2", "-q"]).exits_with(75).says_nothing();
    contend(&["-n", "-E", "0"]).exits_with(0).says_nothing();
    holder.let_go();
    holder.wait().succeeds();
}

const HOLD: &str = "echo ready; cat >/dev/null";

#[test]
fn renewals_are_told_with_v_and_the_loss_at_its_instant() {
    let place = Place::shared(Kind::Redis);
    // Renewed every 3 s, each time with most of a second for the answer: enough for a busy machine.
    let run = |more: &str| place.dlock(["run", "-k", "job", "--ttl", "9s", JSON, more, "--", "sh", "-c", HOLD]);
    let verbose = run("-v").stdin_open().start();
    verbose.says("ready");
    assert_eq!(told(&verbose, "renewed")["key"], "job");
    place.take_away("job");
    let lost = told(&verbose, "lost");
    assert_eq!((&lost["reason"], &lost["action"]), (&Value::from("not_held"), &Value::from("kill")), "{lost}");
    assert_eq!((&lost["level"], &lost["key"]), (&Value::from("error"), &Value::from("job")));
    verbose.wait().exits_with(79);

    // With -q nobody hears of renewals; that the lease is lost is a failure, and speaks.
    let quiet = run("-q").stdin_open().start();
    quiet.says("ready");
    place.take_away("job");
    let ended = quiet.wait().exits_with(79);
    assert_eq!(names(&events(ended.stderr())), ["lost"], "{}", ended.account());
}

#[test]
fn a_renewal_that_fails_is_a_warning_with_what_is_left_and_silent_with_q() {
    for (more, expected) in [("--color=never", true), ("-q", false)] {
        let place = Place::private(Kind::Redis);
        let run = place.dlock(["run", "-k", "job", "--ttl", "3s", JSON, more, "--", "sh", "-c", HOLD]).stdin_open();
        let run = run.start();
        run.says("ready");
        place.server().crash();
        let ended = run.wait().exits_with(79);
        let told = events(ended.stderr());
        assert_eq!(names(&told).contains(&"renewal_failed"), expected, "{}", ended.account());
        assert!(names(&told).contains(&"lost"), "{}", ended.account());
        for event in told.iter().filter(|event| event["event"] == "renewal_failed") {
            assert!(event["lease_left_ms"].is_u64() && event["error"].is_string(), "{event}");
            assert_eq!(event["level"], "warning");
        }
        let lost = told.iter().find(|event| event["event"] == "lost").expect("it was just found");
        assert_eq!(lost["reason"], "unrenewed", "{lost}");
    }
}

#[test]
fn signals_and_limits_are_told() {
    let place = Place::shared(Kind::File);
    let script = "trap 'echo got' USR1; echo ready; while ! read -r line; do :; done";
    let run = place.dlock(["run", "-k", "job", JSON, "--", "bash", "-c", script]).stdin_open().start();
    run.says("ready");
    run.signal(Signal::SIGUSR1);
    let signalled = told(&run, "signalled");
    assert_eq!((&signalled["signal"], &signalled["forwarded"]), (&Value::from("SIGUSR1"), &Value::from(true)));
    assert_eq!((&signalled["while"], &signalled["keys"]), (&Value::from("holding"), &Value::from(vec!["job"])));

    let waiter = place.queue_up_with("job", ["run", "-k", "job", JSON, "--", "true"]);
    waiter.signal(Signal::SIGTERM);
    let ended = waiter.wait().dies_of(Signal::SIGTERM);
    let told_of = events(ended.stderr());
    let signalled = told_of.iter().find(|event| event["event"] == "signalled").expect("it is told");
    assert_eq!((&signalled["signal"], &signalled["while"]), (&Value::from("SIGTERM"), &Value::from("waiting")));
    run.signal(Signal::SIGKILL);
    run.wait();

    let limited = ["run", "-k", "other", "--max-runtime", "0.2", JSON, "--", "sleep", "60"];
    let limited = place.dlock(limited).finish().exits_with(124);
    let told = events(limited.stderr());
    assert_eq!(names(&told), ["acquired", "timed_out", "released"], "{}", limited.account());
    assert_eq!((&told[1]["limit_ms"], &told[1]["command"]), (&Value::from(200), &Value::from("sleep")));

    let leaves = place.dlock(["run", "-k", "other", JSON, "--", "sh", "-c", "sleep 1004 >/dev/null 2>&1 & :"]).start();
    let ended = leaves.wait().succeeds();
    let told = events(ended.stderr());
    assert_eq!(names(&told), ["acquired", "left_running", "released"], "{}", ended.account());
    assert_eq!(told[1]["processes"], 1);
}

#[test]
fn mistakes_speak_in_the_form_that_was_asked_for_wherever_that_was() {
    let one_event = |call: Dlock, status: i32| {
        let ended = call.finish().exits_with(status);
        let told = events(ended.stderr());
        assert_eq!(names(&told), ["error"], "{}", ended.account());
        assert_eq!(told[0]["status"], status, "{}", ended.account());
    };
    one_event(Dlock::new(["run", JSON]), 64);
    one_event(Dlock::new(["run", "--log-format", "json", "--nonsense"]), 64);
    one_event(Dlock::new(["dance", JSON]), 64);
    one_event(Dlock::new(["run", "-k", "job", "--ttl", "soon", "true"]).env("DLOCK_LOG_FORMAT", "json"), 64);
    one_event(Dlock::new(["list", "--redis", "redis://127.0.0.1:1", JSON]), 69);
    one_event(Dlock::new(["list", "--config", "/nonexistent", JSON]), 78);
    one_event(Dlock::new(["fence-check", "--file", "/nonexistent/x", JSON]).env("DLOCK_FENCE", "7"), 78);
    let file = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
    fs::write(file.path(), "log-format = 'json'\n").expect("there is room");
    let path = file.path().to_str().expect("a plain name");
    one_event(Dlock::new(["run", "--config", path, "true"]), 64);
    Dlock::new(["list", "--log-format", "xml"]).finish().exits_with(64).complains(&["--log-format \"xml\""]);
    Dlock::new(["list", "--color", "blue"]).finish().exits_with(64).complains(&["--color \"blue\""]);
}

const RED: &str = "\u{1b}[1;31mdlock:\u{1b}[0m ";

#[test]
fn colours_are_for_terminals_and_for_whoever_asks() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    let refused = |more: &[&str], variables: &[(&str, &str)]| {
        let words = ["run", "-k", "job", "-n"].into_iter().chain(more.iter().copied()).chain(["--", "true"]);
        let call = place.dlock_with(words);
        variables.iter().fold(call, |call, (name, value)| call.env(name, value))
    };
    let plain = refused(&[], &[]).finish().exits_with(75);
    assert!(plain.stderr().starts_with("dlock: cannot"), "{}", plain.account());
    let always = refused(&["--color", "always"], &[("NO_COLOR", "1")]).finish().exits_with(75);
    assert!(always.stderr().starts_with(&format!("{RED}cannot acquire")), "{}", always.account());

    let on_terminal = |more: &[&str], variables: &[(&str, &str)]| {
        let mut terminal = Pty::open();
        let call = refused(more, variables).stderr_to(terminal.programs.try_clone().expect("there are descriptors"));
        call.finish().exits_with(75);
        let mut shown = [0; 4096];
        let read = terminal.user.read(&mut shown).expect("something was said");
        String::from_utf8_lossy(&shown[..read]).into_owned()
    };
    assert!(on_terminal(&[], &[]).starts_with(RED));
    for (more, variables) in [
        (&["--color", "never"][..], &[][..]),
        (&[], &[("NO_COLOR", "1")]),
        (&[], &[("TERM", "dumb")]),
        (&["--color=auto"], &[("NO_COLOR", "yes")]),
    ] {
        let shown = on_terminal(more, variables);
        assert!(shown.starts_with("dlock: cannot"), "{more:?} {variables:?}: {shown:?}");
    }
    let json = on_terminal(&[JSON, "--color", "always"], &[]);
    assert_eq!(names(&events(json.trim_end())), ["not_acquired"], "an event has no colour: {json:?}");
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn a_waiting_line_for_programs_is_an_event_on_a_terminal_too() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    let mut terminal = Pty::open();
    let call = place.dlock(["run", "-k", "job", JSON, "-w", "1.3", "--", "true"]);
    call.stderr_to(terminal.programs.try_clone().expect("there are descriptors")).finish().exits_with(75);
    let mut shown = [0; 8192];
    let read = terminal.user.read(&mut shown).expect("something was said");
    let shown = String::from_utf8_lossy(&shown[..read]).into_owned();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert!(shown.contains("\"event\":\"waiting\""), "{shown:?}");
    holder.let_go();
    holder.wait().succeeds();
}

/// What another host's holder says of itself goes to a log that a person may look at.
#[test]
fn a_hostile_holder_is_escaped_in_events_too() {
    let place = Place::shared(Kind::Redis);
    let label = "\u{1b}]0;owned\u{7}\u{202e}\u{9b}2J";
    place.dlock(["acquire", "-k", "job", "--ttl", "30s", "--label", label]).finish().succeeds();
    let refused = place.dlock(["run", "-k", "job", "-n", JSON, "--", "true"]).finish().exits_with(75);
    let raw = refused.stderr().trim_end();
    assert!(!raw.contains(|c: char| c.is_control() || c == '\u{202e}'), "{raw:?}");
    assert_eq!(events(raw)[0]["holder"]["label"], label);
}
