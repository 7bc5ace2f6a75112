//! How a backend fails, sorted by what the caller can do about it.

use thiserror::Error;

/// One failure of a backend.
///
/// The message is a fragment that follows `cannot <verb> "<key>": ` — lower case, no full stop, names the endpoint
/// with its password masked, and says what to do where there is something to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct BackendError {
    pub kind: ErrorKind,
    pub message: String,
}

/// What sort of failure it is; `exit_code` gives each its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Unreachable, silent or refusing service for now; trying again may help.
    Unavailable,
    /// The credentials or permissions do not do.
    Denied,
    /// The set-up is wrong: another type or layout at the key, a missing directory, a TTL out of range.
    Misconfigured,
    /// What is stored of the lock cannot be read; [`mend`](super::LockBackend::mend) rewrites it.
    Corrupt,
    /// The key or an option makes no sense to this backend.
    Usage,
    /// The operating system refused a descriptor or process.
    System,
}

impl BackendError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    pub fn misconfigured(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Misconfigured, message)
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    pub fn system(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::System, message)
    }

    /// Whether a contender that already waits should go on trying.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.kind == ErrorKind::Unavailable
    }

    /// Whether the outcome is known and will not be another: the user or the set-up was refused.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self.kind, ErrorKind::Denied | ErrorKind::Misconfigured | ErrorKind::Corrupt | ErrorKind::Usage)
    }
}
