//! What the scripts of a layout say. What breaks it: something between that is not the script.

use std::time::Duration;

use redis::Value;

use super::super::reply::{bytes, time, whole};
use super::super::value::{ServerTime, delay, has_lapsed, parse_phase};
use super::Layout;
use crate::lock::token::public_id;
use crate::lock::{Contention, Holder, HolderEntry, LockKey, LockState, LockStatus, Mode, Phase};

/// What acquire.lua says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted(ServerTime),
    /// The token was released before the request arrived.
    Undone,
    Held(Held),
}

/// Who is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) owner: Vec<u8>,
    /// `None`: it has no expiry.
    pub(super) left: Option<Duration>,
    /// A release would not be told to us.
    pub(super) untold: bool,
    now: ServerTime,
    record: Option<Record>,
}

/// What a dlock that holds a lock of this layout has left about itself.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    since: ServerTime,
    phase: Phase,
    ttl: Duration,
    delay: Duration,
    holder: Holder,
}

/// What prolong.lua says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Set {
    NotOurs,
    Ttl(Duration, ServerTime),
    HeldByRun,
    TtlUnknown,
}

// Each reader gives `None` for a reply that is not the script's.

pub(super) fn answer(reply: &Value) -> Option<Answer> {
    let Value::Array(parts) = reply else { return None };
    let (word, rest) = parts.split_first()?;
    Some(match (bytes(word)?, rest) {
        (b"granted", [now]) => Answer::Granted(time(now)?),
        (b"undone", []) => Answer::Undone,
        (b"held", [owner, left, now, record, untold]) => Answer::Held(Held {
            owner: bytes(owner)?.to_vec(),
            left: whole(left).map(Duration::from_millis),
            untold: *untold == Value::Int(1),
            now: time(now)?,
            record: Record::parse(bytes(record)?),
        }),
        _ => return None,
    })
}

pub(super) fn set(reply: &Value) -> Option<Set> {
    let Value::Array(parts) = reply else { return None };
    Some(match parts.as_slice() {
        [Value::Int(0)] => Set::NotOurs,
        [Value::Int(1), ttl, now] => Set::Ttl(Duration::from_millis(whole(ttl)?), time(now)?),
        [Value::Int(2)] => Set::HeldByRun,
        [Value::Int(3)] => Set::TtlUnknown,
        _ => return None,
    })
}

pub(super) fn status(layout: Layout, key: LockKey, reply: &Value) -> Option<LockStatus> {
    let Value::Array(parts) = reply else { return None };
    let [now, kind, owner, left, record] = parts.as_slice() else { return None };
    let (now, owner) = (time(now)?, bytes(owner)?);
    let mut status = LockStatus::free(key);
    let id = match kind {
        Value::Int(1) => public_id(&layout.secret_of(owner)),
        Value::Int(0) => public_id(owner),
        _ => return Some(status),
    };
    let record = Record::parse(bytes(record)?);
    let remaining = whole(left).map(Duration::from_millis);
    let shown = |record: &Record| if has_lapsed(record.delay, remaining) { Phase::LockDelay } else { record.phase };
    status.state = LockState::Held(Mode::Exclusive);
    status.holders.push(HolderEntry {
        id,
        since: record.as_ref().and_then(|record| record.since.wall()),
        held_for: record.as_ref().map(|record| now.since(record.since)),
        ttl: record.as_ref().map(|record| record.ttl),
        remaining,
        phase: record.as_ref().map_or(Phase::Foreign, shown),
        holder: record.map(|record| record.holder).unwrap_or_default(),
        fence: None,
    });
    Some(status)
}

/// What stands at the lock's name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    OwnedBy(Vec<u8>),
    /// Data of another type, by its name.
    Other(String),
}

pub(super) fn found(reply: &Value) -> Option<Found> {
    let Value::Array(parts) = reply else { return None };
    let [_, kind, owner, _, _] = parts.as_slice() else { return None };
    let owner = bytes(owner)?.to_vec();
    Some(match kind {
        Value::Int(1) => Found::OwnedBy(owner),
        Value::Int(0) => Found::Other(String::from_utf8_lossy(&owner).into_owned()),
        _ => Found::Nothing,
    })
}

impl Held {
    /// Whom a contender waits for.
    pub(super) fn contention(&self) -> Contention {
        match &self.record {
            Some(record) => Contention {
                since: record.since.wall(),
                held_for: Some(self.now.since(record.since)),
                holder: Some(record.holder.clone()),
                ..Contention::default()
            },
            None => Contention::default(),
        }
    }
}

impl Record {
    fn parse(bytes: &[u8]) -> Option<Self> {
        // The holder data may be cut or hold anything; the words before them are plain ASCII.
        let end = bytes.iter().position(|byte| *byte == b'{').unwrap_or(bytes.len());
        let (head, json) = bytes.split_at(end);
        let mut words = std::str::from_utf8(head).ok()?.strip_prefix("dlock/1 exclusive ")?.split_ascii_whitespace();
        Some(Self {
            since: ServerTime::from_micros(words.next()?.parse().ok()?),
            phase: parse_phase(words.next()?),
            ttl: Duration::from_millis(words.next()?.parse().ok()?),
            delay: delay(words),
            holder: Holder::from_json(json),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(reply: &[u8]) -> Value {
        redis::parse_redis_value(reply).expect("a well-formed reply")
    }

    #[test]
    fn a_holder_with_a_record_is_named_and_one_without_is_foreign() {
        let key = || LockKey::new("job").expect("a valid key");
        let record = r#"dlock/1 exclusive 1700000000000000 one-shot 9000 {"host":"web-3"}"#;
        let reply = |record: &str| {
            let head = "*5\r\n:1700000002000000\r\n:1\r\n$2\r\nab\r\n:500\r\n";
            read(format!("{head}${}\r\n{record}\r\n", record.len()).as_bytes())
        };
        let status = |record| super::status(Layout::PythonRedisLock, key(), &reply(record)).expect("a status");
        let [ours] = &status(record).holders[..] else { panic!("one holder") };
        assert_eq!((ours.phase, ours.held_for), (Phase::OneShot, Some(Duration::from_secs(2))));
        assert_eq!(ours.holder.host.as_deref(), Some("web-3"));
        let [other] = &status("").holders[..] else { panic!("one holder") };
        assert_eq!((other.phase, other.remaining), (Phase::Foreign, Some(Duration::from_millis(500))));
    }

    #[test]
    fn a_reply_that_is_not_the_scripts_is_none_and_never_a_grant() {
        for reply in
            [&b"+OK\r\n"[..], b":1\r\n", b"*0\r\n", b"*1\r\n$7\r\ngranted\r\n", b"*2\r\n$7\r\ngranted\r\n$1\r\n7\r\n"]
        {
            assert_eq!(answer(&read(reply)), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Record::parse(&bytes);
            Record::parse(&[b"dlock/1 exclusive ", &bytes[..]].concat());
        }
    }
}
