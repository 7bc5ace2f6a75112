//! What a session's deadline stands on; pure. What breaks it: two writes sent together that are taken for two proofs.

use std::time::Duration;

use crate::sys::boottime::BootInstant;

/// The instants before the proofs of life were sent on which the deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proofs {
    /// When the current beat began: writes for several keys, sent close together, prove no more than one.
    beat: BootInstant,
    pub(super) last: BootInstant,
    /// The last one of the beat before.
    pub(super) before: BootInstant,
}

impl Proofs {
    pub(super) fn since(attached: BootInstant) -> Self {
        Self { beat: attached, last: attached, before: attached }
    }

    /// With one more; a new beat begins when the current one is older than `beat`.
    pub(super) fn and(self, sent: BootInstant, beat: Duration) -> Self {
        if sent <= self.last {
            self
        } else if sent.since(self.beat) >= beat {
            Self { beat: sent, last: sent, before: self.last }
        } else {
            Self { last: sent, ..self }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> BootInstant {
        BootInstant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn each_beat_stands_on_the_one_before() {
        let proofs = Proofs::since(at(0)).and(at(10), BEAT);
        assert_eq!((proofs.before, proofs.last), (at(0), at(10)), "the first write stands on the attach");
        let proofs = proofs.and(at(1_000), BEAT).and(at(2_000), BEAT);
        assert_eq!((proofs.before, proofs.last), (at(1_000), at(2_000)));
    }

    #[test]
    fn two_keys_heartbeats_are_one_proof_after_a_pause() {
        let proofs = Proofs::since(at(0)).and(at(1_000), BEAT).and(at(9_000), BEAT).and(at(9_001), BEAT);
        assert_eq!((proofs.before, proofs.last), (at(1_000), at(9_001)), "the pause is not forgotten");
    }

    #[test]
    fn a_stream_of_writes_does_not_keep_the_deadline_back() {
        let proofs = (1..100).fold(Proofs::since(at(0)), |proofs, n| proofs.and(at(n * 100), BEAT));
        assert!(proofs.last.since(proofs.before) <= BEAT + Duration::from_millis(100));
    }

    #[test]
    fn an_answer_that_comes_late_takes_nothing_back() {
        let proofs = Proofs::since(at(0)).and(at(2_000), BEAT);
        assert_eq!(proofs.and(at(1_000), BEAT), proofs);
    }
}
