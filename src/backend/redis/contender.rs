//! What a contender tells the scripts about itself.

use super::{first_expiry, millis};
use crate::lock::{Claim, LeaseKind};

/// The first six ARGV of acquire.lua and wait.lua.
pub(super) struct Contender<'a> {
    token: &'a str,
    ttl: String,
    first_expiry: String,
    phase: &'static str,
    holder: String,
    mode: String,
}

impl<'a> Contender<'a> {
    pub(super) fn of(claim: &'a Claim) -> Self {
        Self {
            token: claim.token.secret(),
            ttl: millis(claim.ttl.duration()),
            first_expiry: millis(first_expiry(claim)),
            phase: match claim.kind {
                LeaseKind::Running => "running",
                LeaseKind::OneShot => "one-shot",
            },
            holder: claim.holder.to_json(),
            mode: claim.mode.to_string(),
        }
    }

    pub(super) fn args(&self) -> Vec<&str> {
        vec![self.token, &self.ttl, &self.first_expiry, self.phase, &self.holder, &self.mode]
    }
}
