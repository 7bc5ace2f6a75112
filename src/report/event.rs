//! What dlock has to say, as one event: a sentence for people, and for programs what it is about.

use std::fmt;
use std::time::SystemTime;

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Value, json};

use super::json;
use crate::error::{Attempt, Error, Obstacle, Refusal};
use crate::exit_code::Ending;
use crate::lock::{BackendError, Contention, ErrorKind, Holder, Keys, LockKey};

/// The kinds of events. What they are called, and their fields, is told in `docs/log-events.md`; fields are only ever
/// added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    Waiting,
    Acquired,
    Renewed,
    RenewalFailed,
    Lost,
    Signalled,
    TimedOut,
    OutOfReach,
    NotEnding,
    LeftRunning,
    Released,
    NotReleased,
    NotAcquired,
    Notice,
    Detail,
    Error,
}

impl Name {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Acquired => "acquired",
            Self::Renewed => "renewed",
            Self::RenewalFailed => "renewal_failed",
            Self::Lost => "lost",
            Self::Signalled => "signalled",
            Self::TimedOut => "timed_out",
            Self::OutOfReach => "out_of_reach",
            Self::NotEnding => "not_ending",
            Self::LeftRunning => "left_running",
            Self::Released => "released",
            Self::NotReleased => "not_released",
            Self::NotAcquired => "not_acquired",
            Self::Notice => "notice",
            Self::Detail => "detail",
            Self::Error => "error",
        }
    }

    /// What a log of events wants to have even where a person would not be told.
    #[must_use]
    pub const fn is_milestone(self) -> bool {
        matches!(self, Self::Acquired | Self::Released | Self::Signalled)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Severity {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing to say.
#[derive(Debug, Clone)]
pub struct Event {
    /// `None`: what the loudness makes of it, a notice, a detail or an error.
    name: Option<Name>,
    sentence: String,
    fields: Vec<(&'static str, Value)>,
}

impl Event {
    #[must_use]
    pub fn new(name: Name, sentence: impl Into<String>) -> Self {
        Self { name: Some(name), sentence: sentence.into(), fields: Vec::new() }
    }

    /// With what a program may want to know apart from the sentence.
    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((field, value.into()));
        self
    }

    #[must_use]
    pub fn of_key(self, key: &LockKey) -> Self {
        self.with("key", key.as_str())
    }

    #[must_use]
    pub fn of_keys(self, keys: &Keys) -> Self {
        let keys: Vec<&str> = keys.as_slice().iter().map(LockKey::as_str).collect();
        self.with("keys", keys)
    }

    /// And where: as the backend is called in messages.
    #[must_use]
    pub fn on(mut self, endpoint: &str) -> Self {
        self.sentence = format!("{} on {endpoint}", self.sentence);
        self.with("endpoint", endpoint)
    }

    #[must_use]
    pub fn is_milestone(&self) -> bool {
        self.name.is_some_and(Name::is_milestone)
    }

    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The event as one object of at most `room` bytes: where it would be longer the sentence is cut, and in the end the
    /// fields are left out.
    pub(super) fn line(&self, severity: Severity, now: SystemTime, room: usize) -> String {
        let mut sentence = self.sentence.as_str();
        loop {
            for fields in [&self.fields[..], &[]] {
                let line = json::line(&Line { event: self, severity, now, sentence, fields });
                if line.len() <= room {
                    return line;
                }
                // The fields tell more than the second half of a long sentence.
                if sentence.len() > SHORT_ENOUGH {
                    break;
                }
            }
            let half = (0..=sentence.len() / 2).rev().find(|&end| sentence.is_char_boundary(end)).unwrap_or(0);
            sentence = &sentence[..half];
        }
    }
}

/// Below this it is not the sentence that makes a line too long.
const SHORT_ENOUGH: usize = 64;

struct Line<'a> {
    event: &'a Event,
    severity: Severity,
    now: SystemTime,
    sentence: &'a str,
    fields: &'a [(&'static str, Value)],
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let by_loudness = match self.severity {
            Severity::Info => Name::Detail,
            Severity::Warning => Name::Notice,
            Severity::Error => Name::Error,
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &humantime::format_rfc3339_millis(self.now).to_string())?;
        map.serialize_entry("event", self.event.name.unwrap_or(by_loudness).as_str())?;
        map.serialize_entry("level", self.severity.as_str())?;
        map.serialize_entry("message", self.sentence)?;
        for (field, value) in self.fields {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

impl From<String> for Event {
    fn from(sentence: String) -> Self {
        Self { name: None, sentence, fields: Vec::new() }
    }
}

impl From<&str> for Event {
    fn from(sentence: &str) -> Self {
        sentence.to_owned().into()
    }
}

impl From<&String> for Event {
    fn from(sentence: &String) -> Self {
        sentence.clone().into()
    }
}

impl From<fmt::Arguments<'_>> for Event {
    fn from(sentence: fmt::Arguments<'_>) -> Self {
        sentence.to_string().into()
    }
}

impl From<&Error> for Event {
    fn from(error: &Error) -> Self {
        let name = match error {
            Error::NotAcquired(_) => Name::NotAcquired,
            Error::Lost { .. } => Name::Lost,
            _ => Name::Error,
        };
        let event = Self::new(name, error.to_string());
        let event = match error {
            Error::NotAcquired(refusal) => event.of_key(&refusal.key).of_refusal(refusal),
            Error::Lost { keys, .. } | Error::Token { keys, .. } => event.of_keys(keys),
            Error::NotHeld { attempt } => event.of_attempt(attempt),
            Error::Backend { attempt, source } => event.of_attempt(attempt).with("kind", kind(source)),
            _ => event,
        };
        match Ending::from(error) {
            Ending::Status(status) => event.with("status", status),
            Ending::Signal(signal) => event.with("signal", signal),
        }
    }
}

impl Event {
    fn of_attempt(self, attempt: &Attempt) -> Self {
        match attempt {
            Attempt::Acquire(key)
            | Attempt::Renew(key)
            | Attempt::Release(key)
            | Attempt::TakeBack(key)
            | Attempt::Status(key) => self.of_key(key),
            Attempt::List(_) | Attempt::Examine => self,
        }
    }

    fn of_refusal(self, refusal: &Refusal) -> Self {
        let event = match &refusal.obstacle {
            Obstacle::HeldBy(contention) | Obstacle::Crowd(contention, _) => self.of_contention(contention),
            Obstacle::NoAnswerYet(endpoint) => self.with("endpoint", endpoint.as_str()),
        };
        event.with("waited_ms", refusal.gave_up_after.map(json::whole_ms))
    }

    /// Who holds it, and since when, as far as it is known.
    #[must_use]
    pub fn of_contention(self, contention: &Contention) -> Self {
        self.with("holder", contention.holder.as_ref().map(holder))
            .with("others", u64::try_from(contention.others).unwrap_or(u64::MAX))
            .with("held_ms", contention.held_for.map(json::whole_ms))
            .with("since", contention.since.and_then(json::rfc3339))
            .with("ahead", contention.ahead.and_then(|ahead| u64::try_from(ahead).ok()))
    }
}

fn holder(holder: &Holder) -> Value {
    let Holder { host, pid, user, command, label } = holder;
    json!({"host": host, "pid": pid, "user": user, "command": command, "label": label})
}

fn kind(error: &BackendError) -> &'static str {
    match error.kind {
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Denied => "denied",
        ErrorKind::Misconfigured | ErrorKind::Corrupt => "misconfigured",
        ErrorKind::Usage => "usage",
        ErrorKind::System => "system",
    }
}

#[cfg(test)]
mod tests;
