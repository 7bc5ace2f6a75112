//! Every status dlock ends with, and why that number.
//!
//! The numbers from 64 to 78 are those of BSD's sysexits.h where it has the case; 126 and 127 are those of
//! env(1) and every shell.

use std::io;

use crate::error::Error;
use crate::lock::ErrorKind;

/// The question was answered, or the thing done.
pub const SUCCESS: u8 = 0;
/// "No" to a question: a check of `doctor` failed, or somebody was asked and does not want it.
pub const NO: u8 = 1;
/// EX_USAGE: a bad option, value or combination.
pub const USAGE: u8 = 64;
/// EX_UNAVAILABLE: the backend is unreachable or refuses service; the same command may work later.
pub const UNAVAILABLE: u8 = 69;
/// EX_SOFTWARE: a defect in dlock, or output that could not be written: what dlock should have said is lost.
pub const DEFECT: u8 = 70;
/// EX_OSERR: the system refused a process or descriptor; the lock was released.
pub const SYSTEM: u8 = 71;
/// EX_TEMPFAIL: not acquired. lockf(1) and lckdo(1) use it too; flock(1)'s 1 cannot be told from the command's own.
pub const NOT_ACQUIRED: u8 = 75;
/// EX_NOPERM: authentication or permission refused.
pub const DENIED: u8 = 77;
/// EX_CONFIG: configuration or server set-up wrong; the same command will fail again until somebody mends it.
pub const CONFIGURATION: u8 = 78;
/// The lease was lost. The first number that sysexits.h leaves free.
pub const LOST: u8 = 79;
/// `--max-runtime` was reached, as timeout(1) has it.
pub const TIMED_OUT: u8 = 124;
/// The command was found but could not be executed, as in a shell.
pub const NOT_EXECUTABLE: u8 = 126;
/// The command was not found, as in a shell.
pub const NOT_FOUND: u8 = 127;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Status(u8),
    /// Of this signal, so that whoever started dlock sees what it would have seen of the command (or of any program
    /// that was interrupted): `exit(128 + n)` is not the same to a parent.
    Signal(i32),
}

impl Ending {
    pub const SUCCESS: Self = Self::Status(SUCCESS);

    /// The number that a shell has in `$?` afterwards.
    #[must_use]
    pub fn as_seen_by_a_shell(self) -> i32 {
        match self {
            Self::Status(status) => i32::from(status),
            Self::Signal(signal) => 128 + signal,
        }
    }
}

impl From<&Error> for Ending {
    fn from(error: &Error) -> Self {
        Self::Status(match error {
            Error::Usage(_) => USAGE,
            Error::Configuration(_) => CONFIGURATION,
            Error::NotAcquired(refusal) => refusal.status,
            Error::NotTheHolder { .. } => NOT_ACQUIRED,
            Error::Lost { .. } | Error::NotHeld { .. } | Error::Fenced { .. } => LOST,
            Error::File { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => DENIED,
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory => CONFIGURATION,
                _ => DEFECT,
            },
            Error::Backend { source, .. } => match source.kind {
                ErrorKind::Unavailable => UNAVAILABLE,
                ErrorKind::Denied => DENIED,
                ErrorKind::Misconfigured | ErrorKind::Corrupt => CONFIGURATION,
                ErrorKind::Usage => USAGE,
                ErrorKind::System => SYSTEM,
            },
            Error::Output { .. } | Error::Token { .. } => DEFECT,
            Error::System { .. } => SYSTEM,
            Error::CommandNotExecutable { .. } => NOT_EXECUTABLE,
            Error::CommandNotFound { .. } => NOT_FOUND,
            Error::Interrupted(signal) => return Self::Signal(*signal),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Attempt, Fate, Obstacle, Refusal};
    use crate::lock::{BackendError, Contention, FencingToken, LockKey};

    fn key() -> LockKey {
        LockKey::new("job").expect("a key")
    }

    fn backend(error: BackendError) -> Error {
        Error::backend(Attempt::Acquire(key()), error)
    }

    fn os() -> std::io::Error {
        std::io::Error::from_raw_os_error(12)
    }

    #[test]
    fn every_failure_has_the_status_that_the_manual_gives_it() {
        let obstacle = Obstacle::HeldBy(Contention::default());
        let refusal = Refusal { key: key(), obstacle, gave_up_after: None, status: 42 };
        for (error, status) in [
            (Error::usage("x"), 64),
            (backend(BackendError::usage("x")), 64),
            (backend(BackendError::unavailable("x")), 69),
            (Error::Output { source: os() }, 70),
            (Error::Token { keys: key().into(), source: os(), fate: Fate::ReleasedAgain }, 70),
            (Error::file("x", std::io::Error::from_raw_os_error(28)), 70),
            (Error::file("x", std::io::Error::from_raw_os_error(13)), 77),
            (Error::file("x", std::io::Error::from_raw_os_error(2)), 78),
            (Error::Fenced { file: "x".into(), recorded: FencingToken(2), presented: FencingToken(1) }, 79),
            (Error::system("x", os()), 71),
            (backend(BackendError::system("x")), 71),
            (Error::NotAcquired(Box::new(refusal)), 42),
            (Error::NotTheHolder { key: key(), reason: "x".into() }, 75),
            (backend(BackendError::denied("x")), 77),
            (backend(BackendError::misconfigured("x")), 78),
            (backend(BackendError::corrupt("x")), 78),
            (Error::Configuration("x".into()), 78),
            (Error::Lost { keys: key().into(), reason: "x".into() }, 79),
            (Error::NotHeld { attempt: Attempt::Release(key()) }, 79),
            (Error::CommandNotExecutable { program: "x".into(), source: os() }, 126),
            (Error::CommandNotFound { program: "x".into() }, 127),
        ] {
            assert_eq!(Ending::from(&error), Ending::Status(status), "{error}");
        }
        assert_eq!(Ending::from(&Error::Interrupted(15)), Ending::Signal(15));
    }

    #[test]
    fn a_shell_sees_a_signal_as_128_and_its_number() {
        assert_eq!(Ending::Signal(15).as_seen_by_a_shell(), 143);
        assert_eq!(Ending::Status(75).as_seen_by_a_shell(), 75);
    }
}
