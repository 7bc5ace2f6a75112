//! What a running holder leaves behind, as it is written at its grant; pure. Breaks when it is measured by a clock that stands
//! still while the machine sleeps.

use std::time::Duration;

use super::records::WrittenPhase;
use crate::lock::{Parting, Retention};
use crate::sys::boottime::BootInstant;

/// For how long a running holder wants others to be kept out beyond its own time, as it is written at the grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) hold_until_boot_ns: Option<u64>,
    pub(super) lock_delay_ms: Option<u64>,
}

impl Kept {
    /// Of a lock that is granted `now`.
    pub(super) fn of(retention: Retention, now: BootInstant) -> Self {
        let Retention { hold_at_least, lock_delay } = retention;
        Self {
            hold_until_boot_ns: (!hold_at_least.is_zero()).then(|| (now + hold_at_least).as_nanos()),
            lock_delay_ms: (!lock_delay.is_zero()).then(|| millis(lock_delay)),
        }
    }

    /// What is left of it when the holder parts so, and until when; the later of the two.
    pub(super) fn left_by(self, parting: Parting, now: BootInstant) -> Option<(WrittenPhase, BootInstant)> {
        let minimum = self.hold_until_boot_ns.filter(|_| parting.keeps_the_minimum()).map(BootInstant::from_nanos);
        let delay = self.lock_delay_ms.filter(|_| parting.delays()).map(|delay| now + Duration::from_millis(delay));
        match (minimum.filter(|until| now < *until), delay) {
            (Some(until), delay) if delay.is_none_or(|delay| delay < until) => Some((WrittenPhase::HeldAtLeast, until)),
            (_, delay) => delay.map(|until| (WrittenPhase::LockDelay, until)),
        }
    }
}

/// Whole milliseconds, rounded up: nobody is promised more than is kept.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
