use std::time::Duration;

use super::*;
use crate::lock::{Contention, LockKey};

const ALL: [Name; 16] = [
    Name::Waiting,
    Name::Acquired,
    Name::Renewed,
    Name::RenewalFailed,
    Name::Lost,
    Name::Signalled,
    Name::TimedOut,
    Name::OutOfReach,
    Name::NotEnding,
    Name::LeftRunning,
    Name::Released,
    Name::NotReleased,
    Name::NotAcquired,
    Name::Notice,
    Name::Detail,
    Name::Error,
];

fn line(event: impl Into<Event>, severity: Severity) -> String {
    event.into().line(severity, SystemTime::UNIX_EPOCH, 4096)
}

fn key(name: &str) -> LockKey {
    LockKey::new(name).expect("a key")
}

#[test]
fn an_event_is_one_object_on_one_line() {
    let event = Event::new(Name::Acquired, "acquired \"a\"").of_key(&key("a")).with("fence", 7).on("redis r1:6379");
    assert_eq!(
        line(event, Severity::Info),
        "{\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"acquired\",\"level\":\"info\",\
         \"message\":\"acquired \\\"a\\\" on redis r1:6379\",\"key\":\"a\",\"fence\":7,\"endpoint\":\"redis r1:6379\"}\n"
    );
}

#[test]
fn a_sentence_alone_is_called_after_how_it_was_said() {
    for (severity, name) in [(Severity::Info, "detail"), (Severity::Warning, "notice"), (Severity::Error, "error")] {
        assert!(line("so it is", severity).contains(&format!("\"event\":\"{name}\"")));
    }
}

#[test]
fn a_refusal_tells_who_is_in_the_way_and_what_status_follows() {
    let contention = Contention {
        holder: Some(Holder { host: Some("web-3".into()), ..Holder::default() }),
        held_for: Some(Duration::from_secs(2)),
        ahead: Some(1),
        ..Contention::default()
    };
    let refusal = Refusal {
        key: key("job"),
        obstacle: Obstacle::HeldBy(contention),
        gave_up_after: Some(Duration::from_millis(500)),
        status: 75,
    };
    let error = Error::NotAcquired(Box::new(refusal));
    let value: Value = serde_json::from_str(&line(&error, Severity::Error)).expect("JSON");
    assert_eq!(value["event"], "not_acquired");
    assert_eq!(value["holder"]["host"], "web-3");
    assert_eq!((&value["held_ms"], &value["waited_ms"], &value["ahead"]), (&json!(2000), &json!(500), &json!(1)));
    assert_eq!((&value["key"], &value["status"]), (&json!("job"), &json!(75)));
}

#[test]
fn a_line_is_never_longer_than_a_pipe_takes_at_once() {
    let long = "x".repeat(10_000);
    let hostile = "\u{1b}".repeat(512);
    for event in [
        Event::new(Name::Notice, long.clone()).of_key(&key("job")),
        Event::new(Name::Notice, "short").with("error", long.as_str()),
        Event::new(Name::Notice, hostile.clone()).of_key(&key(&hostile)),
        Event::new(Name::Notice, "ä\u{202e}".repeat(4000)),
    ] {
        let line = event.line(Severity::Error, SystemTime::UNIX_EPOCH, 4096);
        assert!(line.len() <= 4096 && line.ends_with("}\n"), "{} bytes", line.len());
        let value: Value = serde_json::from_str(&line).expect("whole JSON");
        assert_eq!(value["event"], "notice");
        assert!(!line.trim_end().contains(char::is_control) && !line.contains('\u{202e}'));
    }
    let cut = Event::new(Name::Notice, long).of_key(&key("job")).line(Severity::Error, SystemTime::UNIX_EPOCH, 4096);
    let value: Value = serde_json::from_str(&cut).expect("whole JSON");
    assert_eq!(value["key"], "job", "the fields stay where they have room");
}

#[test]
fn the_documents_know_every_event_and_no_other() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/log-events.md");
    let text = std::fs::read_to_string(path).expect("it is there");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: Vec<&str> = rows.map(|(name, _)| name).filter(|name| !COMMON.contains(name)).collect();
    let known: Vec<&str> = ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(documented, known, "docs/log-events.md, in the order of `Name`");
}

/// Rows about what every event has.
const COMMON: [&str; 4] = ["time", "event", "level", "message"];
