//! What a lock is called: the key that users type, the namespace it lives in, and its name as a file or node.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The longest key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 512;

/// The most keys of one acquisition.
pub const MOST_KEYS: usize = 64;

/// The longest namespace, in characters.
pub const MAX_NAMESPACE_LEN: usize = 64;

/// Longest encoded name that is used as it stands; longer ones are cut and carry a digest. A file or node name may
/// have 255 bytes, and ZooKeeper's contenders and the file backend's siblings add up to 55 to it.
const MAX_NAME_BYTES: usize = 200;

/// How much of a long name stays readable before its digest.
const READABLE_BYTES: usize = 130;

const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');

/// The name of a lock: non-empty UTF-8 of at most 512 bytes without NUL or newline, compared byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockKey(String);

/// Why a text cannot be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKey {
    #[error("a key cannot be empty")]
    Empty,
    #[error("a key has at most {MAX_KEY_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    #[error("a key cannot contain a newline or a NUL byte")]
    ControlByte,
}

impl LockKey {
    /// # Errors
    /// [`InvalidKey`] says which rule the text breaks.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidKey> {
        let text = text.into();
        if text.is_empty() {
            return Err(InvalidKey::Empty);
        }
        if text.len() > MAX_KEY_BYTES {
            return Err(InvalidKey::TooLong(text.len()));
        }
        if text.contains(['\n', '\0']) {
            return Err(InvalidKey::ControlByte);
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as the name of a file or node, as `docs/protocol.md` defines it.
    ///
    /// Names that are longer than 200 bytes cannot be turned back: whoever stores them stores the whole key inside.
    #[must_use]
    pub fn encoded(&self) -> String {
        let mut name = percent_encode(self.0.as_bytes(), LITERAL).to_string();
        if let Some(rest) = name.strip_prefix('.') {
            name = format!("%2E{rest}");
        }
        if name.len() > MAX_NAME_BYTES {
            name.truncate(READABLE_BYTES);
            name.push('~');
            name.push_str(&hex::encode(Sha256::digest(self.0.as_bytes())));
        }
        name
    }

    /// The key that `name` encodes; `None` when it is no encoded key or was cut.
    #[must_use]
    pub fn decode(name: &str) -> Option<Self> {
        let text = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
        let key = Self::new(text).ok()?;
        (key.encoded() == name).then_some(key)
    }
}

/// The keys of one acquisition: at least one, each once, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys(Vec<LockKey>);

/// Why keys cannot be taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidKeys {
    #[error("at least one is needed")]
    None,
    #[error("at most {MOST_KEYS} can be held together, these are {0}")]
    TooMany(usize),
}

impl Keys {
    /// A key that is given twice counts once.
    ///
    /// # Errors
    /// [`InvalidKeys`] when there is none, or there are more than 64.
    pub fn new(given: impl IntoIterator<Item = LockKey>) -> Result<Self, InvalidKeys> {
        let mut keys = Vec::new();
        for key in given {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        match keys.len() {
            0 => Err(InvalidKeys::None),
            1..=MOST_KEYS => Ok(Self(keys)),
            more => Err(InvalidKeys::TooMany(more)),
        }
    }

    #[must_use]
    pub fn as_slice(&self) -> &[LockKey] {
        &self.0
    }

    #[must_use]
    pub fn first(&self) -> &LockKey {
        &self.0[0]
    }

    /// In the order in which everybody takes them: that of their bytes.
    #[must_use]
    pub fn in_order(&self) -> Vec<&LockKey> {
        let mut keys: Vec<_> = self.0.iter().collect();
        keys.sort();
        keys
    }
}

impl From<LockKey> for Keys {
    fn from(key: LockKey) -> Self {
        Self(vec![key])
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part of a backend that dlock's keys live in; empty to share keys with other programs exactly as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(String);

/// Why a text cannot be a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a namespace has at most {MAX_NAMESPACE_LEN} of the characters A-Z a-z 0-9 . _ - and does not begin with a dot"
)]
pub struct InvalidNamespace;

impl Namespace {
    /// # Errors
    /// [`InvalidNamespace`] when the text breaks the rule.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidNamespace> {
        let text = text.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.len() > MAX_NAMESPACE_LEN || text.starts_with('.') || !text.bytes().all(allowed) {
            return Err(InvalidNamespace);
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Which keys `list` shows: a glob whose `*` matches `/` too.
#[derive(Debug, Clone)]
pub struct KeyPattern(glob::Pattern);

impl KeyPattern {
    /// # Errors
    /// When the text is no glob.
    pub fn new(text: &str) -> Result<Self, glob::PatternError> {
        glob::Pattern::new(text).map(Self)
    }

    #[must_use]
    pub fn matches(&self, key: &LockKey) -> bool {
        self.0.matches(key.as_str())
    }
}
