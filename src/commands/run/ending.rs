//! How a run ends: what the front makes of the keeper's word or death, and of a command that could not be started.

use crate::child::{SpawnError, Verdict};
use crate::commands::failed;
use crate::error::Error;
use crate::exit_code::Ending;
use crate::report::Stderr;
use crate::settings::RunSettings;
use crate::sys::process::Exit;

/// How the front ends.
pub(super) fn mirror(verdict: Verdict, settings: &RunSettings, stderr: Stderr) -> Ending {
    let reason = match verdict {
        Verdict::Ended(exit) => return exit.into(),
        Verdict::KeeperDiedEarly => {
            let killed = std::io::Error::other("it was killed before the command started");
            return failed(&Error::system("go on without the keeper process", killed), stderr);
        }
        Verdict::KeeperDied => "the process that held it was killed, and so was the command",
        Verdict::DeadlinePassed => "its lease ran out, and the command was killed",
    };
    failed(&Error::Lost { key: settings.key.clone(), reason: reason.to_owned() }, stderr)
}

/// Nothing of the command runs, and the lock is free again.
pub(super) fn not_started(error: SpawnError, settings: &RunSettings) -> Error {
    let program = settings.program.clone();
    match error {
        SpawnError::NotFound => Error::CommandNotFound { program },
        SpawnError::NotExecutable(source) => Error::CommandNotExecutable { program, source },
        SpawnError::System(source) => Error::system("start the command", source),
        SpawnError::TooLate => Error::Lost {
            key: settings.key.clone(),
            reason: "its lease ran out before the command was started".to_owned(),
        },
    }
}

impl From<Exit> for Ending {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Signal(signal) => Self::Signal(signal),
            // What wait reports of an exit fits a byte.
            Exit::Code(code) => Self::Status(u8::try_from(code & 0xff).expect("masked to a byte")),
        }
    }
}

impl From<Ending> for Exit {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Status(status) => Self::Code(i32::from(status)),
            Ending::Signal(signal) => Self::Signal(signal),
        }
    }
}
