//! What front, keeper and guard see at once, without a word to each other: a message would wake a process that has nothing
//! to do about it, and is lost to one that is stopped and has left hundreds unread.

use crate::sys::boottime::BootInstant;
use crate::sys::process::Exit;
use crate::sys::shared_page::SharedWord;

/// The instant after which nothing of the command may live.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(pub(super) SharedWord);

/// When the command was about to exist, once it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldSince(SharedWord);

/// How dlock is to end, once the keeper has decided it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome(SharedWord);

const NEVER: u64 = u64::MAX;
const NOT_YET: u64 = 0;

const BY_CODE: u64 = 1 << 32;
const BY_SIGNAL: u64 = 2 << 32;

pub(super) fn share() -> nix::Result<(Deadline, HeldSince, Outcome)> {
    let [deadline, held_since, outcome] = SharedWord::several([NEVER, NOT_YET, NOT_YET])?;
    Ok((Deadline(deadline), HeldSince(held_since), Outcome(outcome)))
}

impl Deadline {
    /// Publishes the deadline; `None`: there is none (any more).
    pub fn set(self, instant: Option<BootInstant>) {
        self.0.store(instant.map_or(NEVER, BootInstant::as_nanos));
    }

    #[must_use]
    pub fn get(self) -> Option<BootInstant> {
        let nanos = self.0.load();
        (nanos != NEVER).then(|| BootInstant::from_nanos(nanos))
    }

    #[must_use]
    pub fn has_passed(self) -> bool {
        self.get().is_some_and(BootInstant::has_passed)
    }
}

impl HeldSince {
    pub(super) fn set(self, instant: BootInstant) {
        self.0.store(instant.as_nanos());
    }

    pub(super) fn get(self) -> Option<BootInstant> {
        let nanos = self.0.load();
        (nanos != NOT_YET).then(|| BootInstant::from_nanos(nanos))
    }
}

impl Outcome {
    pub(super) fn set(self, exit: Exit) {
        self.0.store(match exit {
            Exit::Code(code) => BY_CODE | u64::from(code.cast_unsigned()),
            Exit::Signal(signal) => BY_SIGNAL | u64::from(signal.cast_unsigned()),
        });
    }

    pub(super) fn get(self) -> Option<Exit> {
        let word = self.0.load();
        let number = u32::try_from(word & u64::from(u32::MAX)).expect("masked to as many bits").cast_signed();
        match word & !u64::from(u32::MAX) {
            BY_CODE => Some(Exit::Code(number)),
            BY_SIGNAL => Some(Exit::Signal(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_is_read_as_it_was_decided() {
        let (_, _, outcome) = share().expect("there is a page");
        assert_eq!(outcome.get(), None);
        for exit in [Exit::Code(0), Exit::Code(255), Exit::Code(-1), Exit::Signal(9), Exit::Signal(64)] {
            outcome.set(exit);
            assert_eq!(outcome.get(), Some(exit));
        }
    }

    #[test]
    fn there_is_no_deadline_and_no_command_before_there_is_one() {
        let (deadline, held_since, _) = share().expect("there is a page");
        assert_eq!((deadline.get(), deadline.has_passed(), held_since.get()), (None, false, None));
        let now = BootInstant::now();
        deadline.set(Some(now));
        held_since.set(now);
        assert_eq!((deadline.get(), deadline.has_passed(), held_since.get()), (Some(now), true, Some(now)));
        deadline.set(None);
        assert_eq!((deadline.get(), held_since.get()), (None, Some(now)));
    }
}
