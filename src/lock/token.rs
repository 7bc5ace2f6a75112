//! The two tokens of a grant: one proves who owns it, the other lets a resource refuse a late writer.

use std::fmt;

use sha2::{Digest, Sha256};
use thiserror::Error;

/// The secret that owns one acquisition: 128 random bits as 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OwnerToken(String);

/// The text is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an owner token is 32 hexadecimal digits, as printed by dlock acquire")]
pub struct InvalidToken;

impl OwnerToken {
    /// The length of every token, in characters.
    pub const LEN: usize = 32;

    /// A fresh token; two acquisitions never share one.
    #[must_use]
    pub fn random() -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("Linux always has random numbers");
        Self(uuid::Uuid::from_bytes(bits).simple().to_string())
    }

    /// # Errors
    /// [`InvalidToken`] for anything but 32 hexadecimal digits; upper case is accepted and lowered.
    pub fn parse(text: &str) -> Result<Self, InvalidToken> {
        if text.len() != Self::LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidToken);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// The token itself: for the backend, the command's environment and `acquire`'s output, and nowhere else.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// A short digest that names the holder in public without giving the token away.
    #[must_use]
    pub fn id(&self) -> String {
        public_id(self.0.as_bytes())
    }
}

/// The length of every public id, in characters.
pub const ID_LEN: usize = 8;

/// The short digest shown for a holder whose secret is `secret` (also a foreign one's, which is no [`OwnerToken`]).
#[must_use]
pub fn public_id(secret: &[u8]) -> String {
    hex::encode(&Sha256::digest(secret)[..ID_LEN / 2])
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerToken({}…)", self.id())
    }
}

/// A number that rises with every exclusive grant of a key; a resource that has seen a higher one refuses a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FencingToken(pub u64);

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
