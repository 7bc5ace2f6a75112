//! Every status dlock ends with, and why that number.
//!
//! The numbers from 64 to 78 are those of BSD's sysexits.h where it has the case; 126 and 127 are those of
//! env(1) and every shell.

use crate::error::Error;
use crate::lock::ErrorKind;

/// The question was answered, or the thing done.
pub const SUCCESS: u8 = 0;
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
            Error::Lost { .. } | Error::NotHeld { .. } => LOST,
            Error::Backend { source, .. } => match source.kind {
                ErrorKind::Unavailable => UNAVAILABLE,
                ErrorKind::Denied => DENIED,
                ErrorKind::Misconfigured => CONFIGURATION,
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
