//! Taking a lock back in `top`: who it is, and whether he is meant.

use crate::error::phrase::Quoted;
use crate::lock::{HolderEntry, LockKey, LockStatus, Phase, Revocation};
use crate::report::{overview, revocation};

/// The question on the screen, about the holders as they were when it was asked.
#[derive(Debug, Clone)]
pub(super) struct Taking {
    key: LockKey,
    holders: Vec<HolderEntry>,
    /// Which of them is meant.
    chosen: usize,
}

impl Taking {
    /// `Err`: why there is nobody to take it from, for the line at the bottom.
    pub(super) fn from(status: &LockStatus) -> Result<Self, String> {
        if status.holders.is_empty() {
            return Err(revocation::nobody_holds(&status.key));
        }
        Ok(Self { key: status.key.clone(), holders: status.holders.clone(), chosen: 0 })
    }

    pub(super) fn up(&mut self) {
        self.chosen = self.chosen.saturating_sub(1);
    }

    pub(super) fn down(&mut self) {
        self.chosen = (self.chosen + 1).min(self.holders.len() - 1);
    }

    pub(super) fn key(&self) -> &LockKey {
        &self.key
    }

    pub(super) fn holder(&self) -> &HolderEntry {
        &self.holders[self.chosen]
    }

    /// All that is asked, a line each. Words of ours fit into 40 columns.
    pub(super) fn lines(&self) -> Vec<String> {
        let holder = self.holder();
        let mut lines = vec![format!("take {} back?", Quoted(self.key.as_str())), String::new()];
        if self.holders.len() > 1 {
            lines.push(format!("{} of {} holders; j, k for another", self.chosen + 1, self.holders.len()));
        }
        lines.extend(overview::holder_lines(holder));
        lines.push(String::new());
        let what_happens: &[&str] = match holder.phase {
            Phase::Running | Phase::Revoked => &["its command is stopped first; the lock", "stays taken until then"],
            Phase::OneShot | Phase::Foreign => &["nobody can be asked to give it up;", "it is freed at once"],
            Phase::HeldAtLeast | Phase::LockDelay => &["nothing runs under it any more;", "it is freed at once"],
        };
        lines.extend(what_happens.iter().map(|line| (*line).to_owned()));
        lines
    }

    /// For the line at the bottom; what matters comes first, since the line is cut.
    pub(super) fn told(&self, revocation: Revocation) -> String {
        let told = match (revocation, self.holder().phase) {
            (Revocation::Asked, _) => "asked, its command is being stopped",
            (Revocation::Freed, Phase::OneShot | Phase::Foreign) => "freed, what ran under it may run on",
            (Revocation::Freed, _) => "freed",
            (Revocation::Changed, _) => "changed hands, nothing was done",
        };
        format!("{told}: {}", Quoted(self.key.as_str()))
    }
}
