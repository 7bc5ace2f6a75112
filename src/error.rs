//! Every way dlock can fail, and its sentence.

pub mod phrase;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::time::Duration;

use thiserror::Error;

use crate::exit_code;
use crate::lock::{BackendError, Contention, FencingToken, Keys, LockKey, Namespace};
use phrase::{Exact, HeldBy, Listed, OsReason, Quoted, Rough};

/// One variant for each outcome that a caller can tell apart; `exit_code` gives each its status.
#[derive(Debug, Error)]
pub enum Error {
    /// A bad option, value or combination, on the command line or in the environment.
    #[error("{0}")]
    Usage(String),

    /// Something that the options name is missing or wrong.
    #[error("{0}")]
    Configuration(String),

    /// A file that the options name cannot be read or written.
    #[error("cannot {what}: {}", OsReason(.source))]
    File { what: String, source: io::Error },

    /// A resource has seen a later holder than the one that asks.
    #[error(
        "{} has seen fencing token {recorded}, and {presented} is below it: somebody else got the lock later, so \
         write nothing",
        Quoted(.file)
    )]
    Fenced { file: String, recorded: FencingToken, presented: FencingToken },

    /// Somebody else has the lock, and the time to wait is over.
    #[error("{0}")]
    NotAcquired(Box<Refusal>),

    /// The lease was lost while the command ran.
    #[error("lost {}: {reason}", Listed(.keys))]
    Lost { keys: Keys, reason: String },

    /// The backend answered that the token does not hold the key.
    #[error("cannot {attempt}: the token does not hold it; it was released already, or its lease ran out")]
    NotHeld { attempt: Attempt },

    /// The lock was to be taken from somebody who does not hold it.
    #[error("cannot take {} back: {reason}; nothing was done", Quoted(.key.as_str()))]
    NotTheHolder { key: LockKey, reason: String },

    #[error("cannot {attempt}: {source}")]
    Backend { attempt: Attempt, source: BackendError },

    #[error("cannot write to standard output: {}", OsReason(.source))]
    Output { source: io::Error },

    /// The lock was granted, and nobody could be told its token.
    #[error("cannot write the token of {} to standard output: {}; {fate}", Listed(.keys), OsReason(.source))]
    Token { keys: Keys, source: io::Error, fate: Fate },

    /// The system refused a process, a descriptor or the like.
    #[error("cannot {what}: {}", OsReason(.source))]
    System { what: String, source: io::Error },

    #[error("cannot run {}: command not found", Quoted(&.program.to_string_lossy()))]
    CommandNotFound { program: OsString },

    #[error("cannot run {}: {}", Quoted(&.program.to_string_lossy()), OsReason(.source))]
    CommandNotExecutable { program: OsString, source: io::Error },

    /// A signal ended the wait for the lock.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// What was asked of the backend, as it follows "cannot".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    Acquire(LockKey),
    Renew(LockKey),
    Release(LockKey),
    /// From its holder.
    TakeBack(LockKey),
    Status(LockKey),
    List(Namespace),
    /// Where the locks live, as a whole.
    Examine,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acquire(key) => write!(f, "acquire {}", Quoted(key.as_str())),
            Self::Renew(key) => write!(f, "renew {}", Quoted(key.as_str())),
            Self::Release(key) => write!(f, "release {}", Quoted(key.as_str())),
            Self::TakeBack(key) => write!(f, "take {} back", Quoted(key.as_str())),
            Self::Status(key) => write!(f, "look up {}", Quoted(key.as_str())),
            Self::List(namespace) => write!(f, "list namespace {}", Quoted(namespace.as_str())),
            Self::Examine => f.write_str("examine this deployment"),
        }
    }
}

/// Why a contender left without the lock.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub key: LockKey,
    pub obstacle: Obstacle,
    /// `None`: it was not to wait at all.
    pub gave_up_after: Option<Duration>,
    /// 75, or what `-E` put in its place.
    pub status: u8,
}

/// What stood between a contender and the lock.
#[derive(Debug, Clone)]
pub enum Obstacle {
    HeldBy(Contention),
    /// And so many wait for it already.
    Crowd(Contention, usize),
    /// The time was too short to hear from this endpoint at all.
    NoAnswerYet(String),
}

impl Refusal {
    /// Unless `-E` puts another in its place.
    pub const STATUS: u8 = exit_code::NOT_ACQUIRED;
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot acquire {}: ", Quoted(self.key.as_str()))?;
        match &self.obstacle {
            Obstacle::HeldBy(contention) => write!(f, "{}", HeldBy(contention))?,
            Obstacle::Crowd(contention, 1) => write!(f, "{}, and 1 other waits already", HeldBy(contention))?,
            Obstacle::Crowd(contention, waiting) => {
                write!(f, "{}, and {waiting} others wait already", HeldBy(contention))?;
            }
            Obstacle::NoAnswerYet(endpoint) => write!(f, "{endpoint} has not answered yet")?,
        }
        match self.gave_up_after {
            Some(waited) => write!(f, "; gave up after {}", Exact(waited)),
            None => Ok(()),
        }
    }
}

/// What became of a lock whose token could not be handed out.
#[derive(Debug)]
pub enum Fate {
    ReleasedAgain,
    /// The release was not confirmed either.
    StaysFor {
        ttl: Duration,
        because: BackendError,
    },
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReleasedAgain => f.write_str("the lock was released again"),
            Self::StaysFor { ttl, because } => {
                write!(f, "releasing it again failed as well ({because}): it may stay taken for {}", Rough(*ttl))
            }
        }
    }
}

impl Error {
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self::Usage(sentence.into())
    }

    pub fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { what: what.into(), source: source.into() }
    }

    pub fn file(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::File { what: what.into(), source: source.into() }
    }

    #[must_use]
    pub fn backend(attempt: Attempt, source: BackendError) -> Self {
        Self::Backend { attempt, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Holder;

    #[test]
    fn a_refusal_names_the_holder_since_when_and_how_long_we_waited() {
        let holder = Holder {
            host: Some("web-3".into()),
            pid: Some(812),
            user: Some("root".into()),
            command: Some("backup.sh".into()),
            label: None,
        };
        let refusal = Refusal {
            key: LockKey::new("job").expect("a key"),
            obstacle: Obstacle::HeldBy(Contention {
                others: 0,
                holder: Some(holder),
                since: None,
                held_for: Some(Duration::from_secs(250)),
                ahead: Some(2),
            }),
            gave_up_after: Some(Duration::from_secs(30)),
            status: 75,
        };
        assert_eq!(
            Error::NotAcquired(Box::new(refusal)).to_string(),
            r#"cannot acquire "job": held by root@web-3 pid 812 (backup.sh) for 4m 10s; gave up after 30s"#
        );
    }

    #[test]
    fn an_unwritable_token_says_what_became_of_the_lock() {
        let key = LockKey::new("job").expect("a key");
        let source = io::Error::from_raw_os_error(28);
        assert_eq!(
            Error::Token { keys: key.into(), source, fate: Fate::ReleasedAgain }.to_string(),
            r#"cannot write the token of "job" to standard output: No space left on device; the lock was released again"#
        );
    }

    #[test]
    fn control_characters_of_a_key_are_escaped_in_every_sentence() {
        let key = LockKey::new("a\u{1b}[2Jb").expect("a key");
        assert_eq!(
            Error::NotHeld { attempt: Attempt::Release(key) }.to_string(),
            r#"cannot release "a\u{1b}[2Jb": the token does not hold it; it was released already, or its lease ran out"#
        );
    }
}
