//! How a run ends: what the front makes of the keeper's word or death, and of a command that could not be started.

use super::give_up::GivenUp;
use super::hold::Held;
use crate::child::{SpawnError, Verdict};
use crate::commands::failed;
use crate::error::Error;
use crate::error::phrase::Grace;
use crate::exit_code::{self, Ending};
use crate::lock::pace;
use crate::lock::several::Holding;
use crate::report::Stderr;
use crate::settings::RunSettings;
use crate::sys::process::Exit;
use crate::sys::seeded::seeded;

/// How a keeper ends that panics.
const DEFECT: Exit = Exit::Code(exit_code::DEFECT as i32);

const LOST: Exit = Exit::Code(exit_code::LOST as i32);
const TIMED_OUT: Exit = Exit::Code(exit_code::TIMED_OUT as i32);

/// Whether dlock has ended the command, and not the command itself.
pub(super) fn is_dlocks_own(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Ended(exit) => exit == LOST || exit == TIMED_OUT,
        Verdict::KeeperDied(_) | Verdict::DeadlinePassed => true,
        Verdict::KeeperDiedEarly(_) => false,
    }
}

/// How the front ends.
pub(super) fn mirror(verdict: Verdict, settings: &RunSettings, stderr: Stderr) -> Ending {
    let reason = match verdict {
        Verdict::Ended(exit) => return exit.into(),
        // It has said so itself.
        Verdict::KeeperDied(Some(DEFECT)) | Verdict::KeeperDiedEarly(Some(DEFECT)) => return DEFECT.into(),
        Verdict::KeeperDiedEarly(_) => {
            let killed = std::io::Error::other("it was killed before the command started");
            return failed(&Error::system("go on without the keeper process", killed), stderr);
        }
        Verdict::KeeperDied(_) => "the process that held it was killed, and so was the command",
        Verdict::DeadlinePassed => "its lease ran out, and the command was killed",
    };
    failed(&Error::Lost { keys: settings.keys.clone(), reason: reason.to_owned() }, stderr)
}

/// What a run ends with: a lost lease before a run that took too long, and either before what the command returned.
pub(super) fn status(held: Held, given_up: GivenUp) -> Exit {
    if (held.lost || given_up == GivenUp::NotOurs) && !seeded!("keeps-quiet-about-a-loss") {
        LOST
    } else if held.timed_out {
        TIMED_OUT
    } else {
        held.exit
    }
}

/// Refuses a grace for which the lease that was granted turns out to be too short. Only a session's length is known so
/// late; `settings` has checked the rest.
pub(super) fn check_grace(settings: &RunSettings, holding: &Holding<'_>) -> Result<(), Error> {
    let upkeep = settings.deployment.backend.upkeep();
    let (Some(grace), Some(upkeep), Some(ttl)) = (settings.stopping.kill_after, upkeep, holding.ttl()) else {
        return Ok(());
    };
    pace::check_grace(ttl, grace, upkeep).map_err(|sums| Error::Configuration(Grace(&sums).to_string()))
}

/// Nothing of the command runs, and the lock is free again.
pub(super) fn not_started(error: SpawnError, settings: &RunSettings) -> Error {
    let program = settings.program.clone();
    match error {
        SpawnError::NotFound => Error::CommandNotFound { program },
        SpawnError::NotExecutable(source) => Error::CommandNotExecutable { program, source },
        SpawnError::System(source) => Error::system("start the command", source),
        SpawnError::Interrupted(signal) => Error::Interrupted(signal),
        SpawnError::TooLate => Error::Lost {
            keys: settings.keys.clone(),
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
