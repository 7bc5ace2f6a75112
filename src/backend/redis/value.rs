//! The value of a lock, as `docs/protocol.md` lays it out. What breaks it: trusting bytes that anybody may have written.

use std::str::SplitAsciiWhitespace;
use std::time::{Duration, SystemTime};

use crate::lock::token::public_id;
use crate::lock::{FencingToken, Holder, HolderEntry, Mode, OwnerToken, Phase};

/// What a string at a main key says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LockValue {
    Ours(Record),
    /// Another program's, or a later version's: held, and nothing more is known.
    Foreign,
}

/// The parts of a value of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The owner's token, or the generation of a shared lock.
    pub(super) token: String,
    pub(super) mode: Mode,
    pub(super) phase: Phase,
    pub(super) since: ServerTime,
    pub(super) ttl: Duration,
    pub(super) fence: Option<FencingToken>,
    /// What others are kept out for beyond the lease itself.
    delay: Duration,
    /// How many masters it is one lock with.
    pub(super) masters: u32,
    pub(super) holder: Holder,
}

/// An instant of the server's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerTime(u64);

impl ServerTime {
    pub(super) fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// `None` when the digits that were stored are beyond every calendar.
    pub(super) fn wall(self) -> Option<SystemTime> {
        // Formatting a time stamp goes no further than the year 9999.
        const END_OF_9999_MICROS: u64 = 253_402_300_799_000_000;
        (self.0 <= END_OF_9999_MICROS).then(|| SystemTime::UNIX_EPOCH + Duration::from_micros(self.0))
    }
}

impl LockValue {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Record::parse(bytes).map_or(Self::Foreign, Self::Ours)
    }
}

impl Record {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut words, json) = split(bytes)?;
        let token = words.next().filter(|word| is_token(word))?.to_owned();
        if words.next()? != "dlock/1" {
            return None;
        }
        let mode = words.next()?.parse().ok()?;
        let phase = parse_phase(words.next()?);
        let since = ServerTime(words.next()?.parse().ok()?);
        let ttl = Duration::from_millis(words.next()?.parse().ok()?);
        let fence = words.next()?.parse().ok().filter(|number| *number > 0).map(FencingToken);
        let masters = words.clone().find_map(|word| word.strip_prefix("masters=")?.parse().ok()).unwrap_or(1);
        let holder = Holder::from_json(json);
        Some(Self { token, mode, phase, since, ttl, fence, delay: delay(words), masters, holder })
    }

    /// How `status` shows it.
    pub(super) fn entry(&self, now: ServerTime, remaining: Option<Duration>) -> HolderEntry {
        HolderEntry {
            id: public_id(self.token.as_bytes()),
            holder: self.holder.clone(),
            since: self.since.wall(),
            held_for: Some(now.since(self.since)),
            ttl: Some(self.ttl),
            remaining,
            phase: if has_lapsed(self.delay, remaining) { Phase::LockDelay } else { self.phase },
            fence: self.fence,
        }
    }
}

/// One holder of a shared lock or of slots, from its entry behind the end of its lease and the phase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sharer {
    pub(super) since: ServerTime,
    pub(super) ttl: Duration,
    delay: Duration,
    pub(super) holder: Holder,
}

impl Sharer {
    /// `<since µs> <ttl ms> [<name>=<value> …] <holder data>`.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut words, json) = split(bytes)?;
        let since = ServerTime(words.next()?.parse().ok()?);
        let ttl = Duration::from_millis(words.next()?.parse().ok()?);
        Some(Self { since, ttl, delay: delay(words), holder: Holder::from_json(json) })
    }

    /// How `status` shows the holder whose entry is `<end ms> <phase> …`; one that cannot be read holds all the same.
    pub(super) fn shown(token: &[u8], entry: &[u8], now: ServerTime) -> HolderEntry {
        let mut parts = entry.splitn(3, |byte| *byte == b' ');
        let mut word = || parts.next().and_then(|word| std::str::from_utf8(word).ok());
        let ends = word().and_then(|digits| digits.parse::<u64>().ok());
        let phase = word().map_or(Phase::Running, parse_phase);
        let rest = parts.next().and_then(Self::parse);
        let remaining = ends.map(|ends| ServerTime(ends.saturating_mul(1000)).since(now));
        let delay = rest.as_ref().map_or(Duration::ZERO, |rest| rest.delay);
        HolderEntry {
            id: public_id(token),
            since: rest.as_ref().and_then(|rest| rest.since.wall()),
            held_for: rest.as_ref().map(|rest| now.since(rest.since)),
            ttl: rest.as_ref().map(|rest| rest.ttl),
            remaining,
            phase: if has_lapsed(delay, remaining) { Phase::LockDelay } else { phase },
            fence: None,
            holder: rest.map(|rest| rest.holder).unwrap_or_default(),
        }
    }
}

/// What a waiter left about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) mode: Mode,
    pub(super) since: ServerTime,
    pub(super) holder: Holder,
}

impl Waiter {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut words, json) = split(bytes)?;
        if words.next()? != "dlock/1" {
            return None;
        }
        let mode = words.next()?.parse().ok()?;
        let since = ServerTime(words.next()?.parse().ok()?);
        Some(Self { mode, since, holder: Holder::from_json(json) })
    }
}

/// The words before the holder data, and those data. They may be cut or hold anything; the words are plain ASCII.
fn split(bytes: &[u8]) -> Option<(SplitAsciiWhitespace<'_>, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'{').unwrap_or(bytes.len());
    let (head, json) = bytes.split_at(end);
    Some((std::str::from_utf8(head).ok()?.split_ascii_whitespace(), json))
}

/// The lock delay that one of the words names.
pub(super) fn delay(mut words: SplitAsciiWhitespace<'_>) -> Duration {
    words.find_map(|word| word.strip_prefix("delay=")?.parse().ok()).map(Duration::from_millis).unwrap_or_default()
}

/// Whether nothing but the delay is left.
pub(super) fn has_lapsed(delay: Duration, remaining: Option<Duration>) -> bool {
    delay > Duration::ZERO && remaining.is_some_and(|left| left <= delay)
}

fn is_token(word: &str) -> bool {
    word.len() == OwnerToken::LEN && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn parse_phase(word: &str) -> Phase {
    match word {
        "one-shot" => Phase::OneShot,
        "revoked" => Phase::Revoked,
        "held-at-least" => Phase::HeldAtLeast,
        "lock-delay" => Phase::LockDelay,
        // `running`; `offered`, which is about to be; and words of later versions, which hold the key all the same.
        _ => Phase::Running,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn record(rest: &str) -> Record {
        match LockValue::parse(format!("{TOKEN} {rest}").as_bytes()) {
            LockValue::Ours(record) => record,
            LockValue::Foreign => panic!("{rest} reads as foreign"),
        }
    }

    #[test]
    fn a_value_of_today_is_read_whole() {
        let value = record(r#"dlock/1 exclusive running 1700000000000000 30000 77 {"host":"web-3","pid":8}"#);
        assert_eq!(value.token, TOKEN);
        assert_eq!((value.mode, value.phase), (Mode::Exclusive, Phase::Running));
        assert_eq!(value.ttl, Duration::from_secs(30));
        assert_eq!(value.fence, Some(FencingToken(77)));
        assert_eq!(value.holder.host.as_deref(), Some("web-3"));
        let entry = value.entry(ServerTime(1_700_000_002_000_000), Some(Duration::from_secs(28)));
        assert_eq!(entry.held_for, Some(Duration::from_secs(2)));
    }

    #[test]
    fn the_forms_of_later_versions_are_held_with_their_mode_and_phase() {
        for (rest, mode, phase) in [
            ("dlock/1 shared running 1 1 0", Mode::Shared, Phase::Running),
            ("dlock/1 slots:5 running 1 1 0", Mode::Slots(5), Phase::Running),
            ("dlock/1 exclusive one-shot 1 1 9 {}", Mode::Exclusive, Phase::OneShot),
            ("dlock/1 exclusive revoked 1 1 9 {}", Mode::Exclusive, Phase::Revoked),
            ("dlock/1 exclusive held-at-least 1 1 9 until=5 {}", Mode::Exclusive, Phase::HeldAtLeast),
            ("dlock/1 exclusive lock-delay 1 1 9 delay=5 {}", Mode::Exclusive, Phase::LockDelay),
            ("dlock/1 exclusive unheard-of 1 1 9 new=word {}", Mode::Exclusive, Phase::Running),
        ] {
            let value = record(rest);
            assert_eq!((value.mode, value.phase), (mode, phase), "{rest}");
        }
    }

    #[test]
    fn a_lease_that_has_only_its_delay_left_shows_as_lock_delay() {
        let value = record("dlock/1 exclusive running 1 30000 9 delay=5000 {}");
        let shown = |left| value.entry(ServerTime(2), Some(Duration::from_millis(left))).phase;
        assert_eq!((shown(5001), shown(5000)), (Phase::Running, Phase::LockDelay));
    }

    #[test]
    fn a_sharer_is_shown_as_far_as_its_entry_can_be_read() {
        let now = ServerTime(1_000_000);
        let shown = |entry: &str| Sharer::shown(b"token", entry.as_bytes(), now);
        let whole = shown(r#"3000 one-shot 400000 30000 new=word {"host":"web-3"}"#);
        assert_eq!((whole.phase, whole.remaining), (Phase::OneShot, Some(Duration::from_secs(2))));
        assert_eq!((whole.ttl, whole.held_for), (Some(Duration::from_secs(30)), Some(Duration::from_millis(600))));
        assert_eq!((whole.holder.host.as_deref(), whole.fence), (Some("web-3"), None));
        assert_eq!(shown("3000 running 1 30000 delay=2500 {}").phase, Phase::LockDelay);
        let broken = shown("soon");
        assert_eq!((broken.phase, broken.remaining, broken.since), (Phase::Running, None, None));
        assert_eq!(broken.id, whole.id);
    }

    #[test]
    fn everything_else_is_foreign() {
        for value in [
            "",
            "locked",
            TOKEN,
            "0123456789abcdef0123456789abcdef dlock/2 exclusive running 1 1 1 {}",
            "0123456789ABCDEF0123456789ABCDEF dlock/1 exclusive running 1 1 1 {}",
            "0123456789abcdef dlock/1 exclusive running 1 1 1 {}",
            "0123456789abcdef0123456789abcdef dlock/1 exclusive running",
            "0123456789abcdef0123456789abcdef dlock/1 exclusive running x 1 1 {}",
        ] {
            assert_eq!(LockValue::parse(value.as_bytes()), LockValue::Foreign, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut value = format!("{TOKEN} dlock/1 exclusive running ").into_bytes();
            value.extend(&bytes);
            for bytes in [&bytes, &value] {
                if let LockValue::Ours(record) = LockValue::parse(bytes) {
                    record.entry(ServerTime(1), None);
                }
                Waiter::parse(bytes);
                Sharer::shown(b"token", bytes, ServerTime(1));
            }
        }
    }
}
