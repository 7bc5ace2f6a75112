//! What a contender tells the scripts about itself.

use super::{first_expiry, millis};
use crate::lock::{Claim, LeaseKind, Mode, Parting, Retention};
use crate::sys::seeded::seeded;

/// The first six ARGV of acquire.lua and wait.lua.
pub(super) struct Contender<'a> {
    token: &'a str,
    ttl: String,
    first_expiry: String,
    phase: &'static str,
    /// Behind `hold=<ms> delay=<ms>`, where they are asked for: alone.lua makes words of the value of them.
    holder: String,
    mode: String,
}

impl<'a> Contender<'a> {
    pub(super) fn of(claim: &'a Claim) -> Self {
        Self {
            token: claim.token.secret(),
            ttl: millis(claim.ttl.duration()),
            first_expiry: millis(first_expiry(claim) + claim.retention.lock_delay),
            phase: match claim.kind {
                LeaseKind::Running => "running",
                LeaseKind::OneShot => "one-shot",
            },
            holder: words(claim.retention) + &claim.holder.to_json(),
            mode: match claim.mode {
                Mode::Slots(total) if seeded!("one-slot-too-many") => Mode::Slots(total + 1).to_string(),
                mode => mode.to_string(),
            },
        }
    }

    pub(super) fn args(&self) -> Vec<&str> {
        vec![self.token, &self.ttl, &self.first_expiry, self.phase, &self.holder, &self.mode]
    }
}

/// What alone.lua turns into words of the value.
pub(super) fn words(Retention { hold_at_least, lock_delay }: Retention) -> String {
    let words = [("hold", hold_at_least), ("delay", lock_delay)].into_iter().filter(|(_, length)| !length.is_zero());
    words.map(|(name, length)| format!("{name}={} ", millis(length))).collect()
}

/// Which of these words count when the holder parts so.
pub(super) fn kept_words(parting: Parting) -> &'static str {
    match parting {
        Parting::Unused => "",
        Parting::Done => "until",
        Parting::Orphaned => "until delay",
        Parting::Lost => "delay",
    }
}
