//! The scripts' replies, as each script's head lists them. What breaks it: something between that is not the script.

use std::time::Duration;

use redis::Value;

use super::value::ServerTime;

/// What acquire.lua and wait.lua say.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Granted {
        /// 0 for a sharer.
        fence: u64,
        now: ServerTime,
    },
    /// Others hold or await so many slots, and we asked for another number.
    OtherSlots(u32),
    /// The token was released before the request arrived.
    Undone,
    /// Free, but others wait: wait.lua decides.
    Awaited,
    /// Kept for us until a lease that vanished is over.
    Vanished(Duration),
    Held(Held),
}

/// Who is in the way.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The first bytes of the lock's value; empty when it is only known to be taken.
    pub(super) value: Vec<u8>,
    /// `None`: it has no expiry.
    pub(super) left: Option<Duration>,
    pub(super) now: ServerTime,
    pub(super) ahead: usize,
    /// The entry of the one that has shared the lock for longest, without its end and phase; empty without sharers.
    pub(super) sharer: Vec<u8>,
    pub(super) sharers: usize,
    pub(super) turn: Turn,
    /// Seen holders that have given the lock up.
    pub(super) given_up: Vec<String>,
    /// Our own in the queue; empty without a place there.
    pub(super) ticket: String,
}

/// How a waiter will learn that it is its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Nobody that lives comes before us.
    pub(super) next: bool,
    /// When that may let us in: a lease has ended by then.
    pub(super) due: Option<Duration>,
    /// Messages or the count of listeners are refused, so nobody may be able to tell us.
    pub(super) deaf: bool,
}

/// What masters/take.lua says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Granted {
        /// The highest number that was recorded here.
        fence: u64,
        now: ServerTime,
    },
    Held {
        value: Vec<u8>,
        now: ServerTime,
    },
    OtherNumber(u64),
    /// Held by this very token.
    Twice,
    Undone,
}

/// What renew.lua says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewed {
    Lost,
    Ours(ServerTime),
    Revoked(ServerTime),
}

/// What prolong.lua says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    NotOurs,
    Ttl(Duration, ServerTime),
    HeldByRun,
}

/// What status.lua says of one key.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) value: RawValue,
    pub(super) left: Option<Duration>,
    /// Which marker the sharers belong to.
    pub(super) generation: Vec<u8>,
    /// Token and entry of each holder of a shared lock or of slots that lives, whatever became of their marker.
    pub(super) sharers: Vec<[Vec<u8>; 2]>,
    /// Token, lease and entry of each waiter, in their order.
    pub(super) waiters: Vec<[Vec<u8>; 3]>,
}

#[derive(Debug)]
pub(super) enum RawValue {
    Absent,
    Text(Vec<u8>),
    /// Another type, by its name.
    Other(Vec<u8>),
}

// Each reader gives `None` for a reply that is not the script's.

/// What acquire_together.lua says: the time of the grant and the fence of each, 0 for a sharer; `Some(None)`: not all can be
/// had at once.
pub(super) fn together(reply: &Value) -> Option<Option<(ServerTime, Vec<u64>)>> {
    let Value::Array(parts) = reply else { return None };
    let (word, rest) = parts.split_first()?;
    Some(match (bytes(word)?, rest) {
        (b"granted", [now, fences @ ..]) => Some((time(now)?, fences.iter().map(whole).collect::<Option<_>>()?)),
        (b"apart", []) => None,
        _ => return None,
    })
}

pub(super) fn answer(reply: &Value) -> Option<Answer> {
    let Value::Array(parts) = reply else { return None };
    let (word, rest) = parts.split_first()?;
    Some(match (bytes(word)?, rest) {
        (b"granted", [fence, now]) => Answer::Granted { fence: whole(fence)?, now: time(now)? },
        (b"undone", []) => Answer::Undone,
        (b"awaited", []) => Answer::Awaited,
        (b"vanished", [left]) => Answer::Vanished(Duration::from_millis(whole(left)?)),
        (b"mismatch", [slots]) => Answer::OtherSlots(u32::try_from(whole(slots)?).ok()?),
        (b"held", [value, left, now, ahead, sharer, sharers, rest @ ..]) => Answer::Held(Held {
            value: bytes(value)?.to_vec(),
            left: whole(left).map(Duration::from_millis),
            now: time(now)?,
            ahead: usize::try_from(whole(ahead)?).ok()?,
            sharer: bytes(sharer)?.to_vec(),
            sharers: usize::try_from(whole(sharers)?).ok()?,
            turn: Turn {
                next: rest.first().is_some_and(|next| *next == Value::Int(1)),
                deaf: rest.get(1).is_some_and(|deaf| *deaf == Value::Int(1)),
                due: rest.get(3).and_then(whole).map(Duration::from_millis),
            },
            given_up: rest.get(2).map(texts).unwrap_or_default(),
            ticket: rest.get(4).and_then(text).unwrap_or_default(),
        }),
        _ => return None,
    })
}

pub(super) fn taken(reply: &Value) -> Option<Taken> {
    let Value::Array(parts) = reply else { return None };
    let (word, rest) = parts.split_first()?;
    Some(match (bytes(word)?, rest) {
        (b"granted", [fence, now]) => Taken::Granted { fence: whole(fence)?, now: time(now)? },
        (b"held", [value, _, now]) => Taken::Held { value: bytes(value)?.to_vec(), now: time(now)? },
        (b"masters", [number]) => Taken::OtherNumber(whole(number)?),
        (b"twice", []) => Taken::Twice,
        (b"undone", []) => Taken::Undone,
        _ => return None,
    })
}

pub(super) fn renewed(reply: &Value) -> Option<Renewed> {
    let Value::Array(parts) = reply else { return None };
    Some(match parts.as_slice() {
        [Value::Int(0), _] => Renewed::Lost,
        [Value::Int(1), now] => Renewed::Ours(time(now)?),
        [Value::Int(2), now] => Renewed::Revoked(time(now)?),
        _ => return None,
    })
}

pub(super) fn set(reply: &Value) -> Option<Set> {
    let Value::Array(parts) = reply else { return None };
    Some(match parts.as_slice() {
        [Value::Int(0)] => Set::NotOurs,
        [Value::Int(1), ttl, now] => Set::Ttl(Duration::from_millis(whole(ttl)?), time(now)?),
        [Value::Int(2)] => Set::HeldByRun,
        _ => return None,
    })
}

pub(super) fn statuses(reply: &Value) -> Option<(ServerTime, Vec<Raw>)> {
    let Value::Array(parts) = reply else { return None };
    let (now, keys) = parts.split_first()?;
    Some((time(now)?, keys.iter().map(raw).collect::<Option<_>>()?))
}

/// One step of `SCAN`: the next cursor and the names.
pub(super) fn scanned(reply: &Value) -> Option<(Vec<u8>, Vec<&[u8]>)> {
    match reply {
        Value::Array(parts) => match parts.as_slice() {
            [cursor, Value::Array(names)] => Some((bytes(cursor)?.to_vec(), names.iter().filter_map(bytes).collect())),
            _ => None,
        },
        _ => None,
    }
}

fn raw(reply: &Value) -> Option<Raw> {
    let Value::Array(parts) = reply else { return None };
    let [value, kind, left, generation, sharers, waiters] = parts.as_slice() else { return None };
    let text = bytes(value)?.to_vec();
    Some(Raw {
        value: match kind {
            Value::Int(1) => RawValue::Text(text),
            Value::Int(0) => RawValue::Other(text),
            _ => RawValue::Absent,
        },
        left: whole(left).map(Duration::from_millis),
        generation: bytes(generation)?.to_vec(),
        sharers: groups(sharers)?,
        waiters: groups(waiters)?,
    })
}

/// A flat list taken apart into groups of `N`.
fn groups<const N: usize>(list: &Value) -> Option<Vec<[Vec<u8>; N]>> {
    let Value::Array(items) = list else { return None };
    let (groups, _) = items.as_chunks::<N>();
    let group = |items: &[Value; N]| items.each_ref().map(|item| bytes(item).unwrap_or_default().to_vec());
    Some(groups.iter().map(group).collect())
}

pub(super) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

fn texts(value: &Value) -> Vec<String> {
    let Value::Array(items) = value else { return Vec::new() };
    items.iter().filter_map(text).collect()
}

fn text(value: &Value) -> Option<String> {
    String::from_utf8(bytes(value)?.to_vec()).ok()
}

pub(super) fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

pub(super) fn time(value: &Value) -> Option<ServerTime> {
    whole(value).map(ServerTime::from_micros)
}

/// What a Sentinel watches over, out of its answer to ROLE; `None`: it is no Sentinel.
pub(super) fn services_of_sentinel(role: &Value) -> Option<Vec<String>> {
    let Value::Array(parts) = role else { return None };
    let text = |value: &Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    match &parts[..] {
        [role, Value::Array(names)] if text(role).as_deref() == Some("sentinel") => {
            Some(names.iter().filter_map(text).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(reply: &str) -> Option<Answer> {
        answer(&redis::parse_redis_value(reply.replace(' ', "\r\n").as_bytes()).expect("a well-formed reply"))
    }

    #[test]
    fn every_answer_of_the_scripts_is_told_apart() {
        assert_eq!(read("*3 $7 granted :7 :9 "), Some(Answer::Granted { fence: 7, now: ServerTime::from_micros(9) }));
        assert_eq!(read("*1 $6 undone "), Some(Answer::Undone));
        assert_eq!(read("*1 $7 awaited "), Some(Answer::Awaited));
        assert_eq!(read("*2 $8 vanished :20 "), Some(Answer::Vanished(Duration::from_millis(20))));
        let held = |turn, given_up, left| {
            Some(Answer::Held(Held {
                value: b"v".to_vec(),
                left,
                now: ServerTime::from_micros(9),
                ahead: 2,
                sharer: Vec::new(),
                sharers: 0,
                turn,
                given_up,
                ticket: String::new(),
            }))
        };
        let five = Some(Duration::from_millis(5));
        assert_eq!(read("*7 $4 held $1 v :5 :9 :2 $0  :0 "), held(Turn::default(), vec![], five));
        assert_eq!(
            read("*11 $4 held $1 v :-1 :9 :2 $0  :0 :1 :0 *1 $2 ab :5 "),
            held(Turn { next: true, deaf: false, due: five }, vec!["ab".into()], None)
        );
        assert_eq!(read("*2 $8 mismatch :3 "), Some(Answer::OtherSlots(3)));
    }

    #[test]
    fn a_reply_that_is_not_the_scripts_is_none_and_never_a_grant() {
        for reply in ["+OK ", ":1 ", "*0 ", "*1 $7 granted ", "*3 $7 granted $1 7 :9 ", "*3 $7 granted :-7 :9 ", "$-1 "]
        {
            assert_eq!(read(reply), None, "{reply}");
        }
    }
}
