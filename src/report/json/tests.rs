use super::*;
use crate::lock::{LockKey, OwnerToken};
use crate::sys::boottime::BootInstant;

fn deployment() -> Deployment {
    Deployment::on_redis("redis://127.0.0.1")
}

fn second(second: u64) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
}

#[test]
fn a_held_key_shows_every_field_of_the_schema_in_its_order() {
    let key = LockKey::new("backup").expect("a key");
    let host = crate::lock::Holder { host: Some("web-3".into()), pid: Some(812), ..Default::default() };
    let status = LockStatus {
        key,
        state: LockState::Held(Mode::Exclusive),
        fence: Some(FencingToken(12)),
        holders: vec![HolderEntry {
            id: "deadbeef".into(),
            holder: host.clone(),
            since: second(1_700_000_000),
            held_for: Some(Duration::from_secs(1)),
            ttl: Some(Duration::from_secs(30)),
            remaining: Some(Duration::from_millis(27_400)),
            phase: Phase::OneShot,
            fence: Some(FencingToken(12)),
        }],
        waiters: vec![WaiterEntry {
            id: "cafebabe".into(),
            holder: host,
            since: None,
            waited_for: None,
            position: 1,
            mode: Mode::Exclusive,
        }],
        differences: vec![],
    };
    assert_eq!(
        statuses(&[status], &deployment()),
        concat!(
            r#"[{"key":"backup","backend":"redis","namespace":"dlock","layout":"dlock","state":"held","#,
            r#""mode":"exclusive","slots":null,"fence":12,"holders":[{"id":"deadbeef","host":"web-3","pid":812,"#,
            r#""user":null,"command":null,"label":null,"since":"2023-11-14T22:13:20.000Z","ttl_ms":30000,"#,
            r#""remaining_ms":27400,"phase":"one-shot","nested":null,"fence":12}],"#,
            r#""waiters":[{"id":"cafebabe","host":"web-3","pid":812,"user":null,"command":null,"label":null,"#,
            r#""since":null,"position":1,"mode":"exclusive"}]}]"#,
            "\n"
        )
    );
}

#[test]
fn a_free_key_has_a_state_and_nobody() {
    let status = LockStatus::free(LockKey::new("k").expect("a key"));
    let text = statuses(&[status], &deployment());
    assert!(
        text.contains(r#""state":"free","mode":null,"slots":null,"fence":null,"holders":[],"waiters":[]}"#),
        "{text}"
    );
    assert_eq!(statuses(&[], &deployment()), "[]\n");
}

#[test]
fn what_was_acquired_is_one_object() {
    let lease = Lease {
        key: LockKey::new("job").expect("a key"),
        token: OwnerToken::parse("0123456789abcdef0123456789abcdef").expect("a token"),
        ttl: Duration::from_secs(600),
        fence: Some(FencingToken(7)),
        requested_at: BootInstant::now(),
        valid_until: None,
        renew_every: None,
        expires_at: second(1_700_000_600),
    };
    assert_eq!(
        acquired(std::slice::from_ref(&lease), &deployment()),
        concat!(
            r#"{"backend":"redis","namespace":"dlock","token":"0123456789abcdef0123456789abcdef","ttl_ms":600000,"#,
            r#""expires_at":"2023-11-14T22:23:20.000Z","keys":[{"key":"job","fence":7}]}"#,
            "\n"
        )
    );
    let key = LockKey::new("other").expect("a key");
    let other = Lease { key, fence: None, expires_at: second(1_700_000_599), ..lease.clone() };
    let both = acquired(&[lease, other], &deployment());
    assert!(
        both.contains(
            r#""expires_at":"2023-11-14T22:23:19.000Z","keys":[{"key":"job","fence":7},{"key":"other","fence":null}]}"#
        ),
        "{both}"
    );
}

#[test]
fn impossible_times_are_unknown() {
    assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    assert_eq!(rfc3339(SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_800)), None);
}

#[test]
fn a_hostile_holder_reaches_the_terminal_in_no_form() {
    let hostile = "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{e0041}";
    let host = crate::lock::Holder { host: Some(hostile.into()), ..Default::default() };
    let mut status = LockStatus::free(LockKey::new("k").expect("a key"));
    status.waiters.push(WaiterEntry {
        id: "cafebabe".into(),
        holder: host,
        since: None,
        waited_for: None,
        position: 1,
        mode: Mode::Exclusive,
    });
    let text = statuses(&[status], &deployment());
    assert!(!text.trim_end().chars().any(is_hidden), "{text:?}");
    let read: serde_json::Value = serde_json::from_str(&text).expect("still JSON");
    assert_eq!(read[0]["waiters"][0]["host"], hostile);
}
