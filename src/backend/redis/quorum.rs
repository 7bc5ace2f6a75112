//! Several independent masters as one lock: who is asked next, what the answers add up to, until when that is believed.
//! Pure. What breaks it: two contenders that both count a majority.

use sha2::{Digest, Sha256};

use crate::sys::boottime::BootInstant;
use crate::sys::seeded::seeded;

/// So many masters, of which more than half have to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quorum {
    masters: usize,
}

/// What the answers to one question add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A majority says "yours".
    Ours,
    /// So many say "not yours" that no majority can be left, whatever the silent ones would say.
    NotOurs,
    /// Only time can tell.
    Unknown,
}

impl Quorum {
    pub fn of(masters: usize) -> Self {
        Self { masters }
    }

    pub fn majority(self) -> usize {
        if seeded!("half-is-a-majority") {
            return self.masters / 2;
        }
        self.masters / 2 + 1
    }

    pub fn verdict(self, ours: usize, not_ours: usize) -> Verdict {
        if ours >= self.majority() {
            Verdict::Ours
        } else if self.masters.saturating_sub(not_ours) < self.majority() {
            Verdict::NotOurs
        } else {
            Verdict::Unknown
        }
    }

    /// The instant up to which a majority keeps everybody else out, when each master that said "yours" does so until one
    /// of `deadlines`. `None`: they are no majority.
    pub fn valid_until(self, mut deadlines: Vec<BootInstant>) -> Option<BootInstant> {
        deadlines.sort_unstable_by(|one, other| other.cmp(one));
        deadlines.get(self.majority() - 1).copied()
    }
}

/// A number above every one that any earlier holder can have recorded, when `seen` are those of a majority.
pub fn next_fence(seen: impl Iterator<Item = u64>) -> u64 {
    1 + seen.max().unwrap_or_default()
}

/// The order in which every contender asks the masters of these names: whoever has the first one is refused by none, so
/// that no vote is split however many try at once.
pub fn agreed_order<T>(masters: Vec<T>, name: impl Fn(&T) -> String) -> Vec<T> {
    let mut ranked: Vec<(Vec<u8>, T)> =
        masters.into_iter().map(|master| (Sha256::digest(name(&master)).to_vec(), master)).collect();
    ranked.sort_by(|(one, _), (other, _)| one.cmp(other));
    ranked.into_iter().map(|(_, master)| master).collect()
}

/// One master's answer to a contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vote {
    Granted,
    Refused,
    /// It did not answer in time, or could not serve.
    Silent,
}

/// What a contender does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask these, at once.
    Ask(Vec<usize>),
    /// A majority granted it, and all have been asked.
    Won,
    /// Somebody else has it, or is about to.
    Refused,
    /// Too few can answer.
    Unreachable,
}

/// One try to get the votes of a majority.
#[derive(Debug)]
pub struct Attempt {
    quorum: Quorum,
    /// The masters in the order in which this contender asks them.
    order: Vec<usize>,
    votes: Vec<Option<Vote>>,
}

impl Attempt {
    /// Masters that were `silent` of late come last: what they cost in time is paid only by whoever has a majority of
    /// the others.
    pub fn new(quorum: Quorum, silent: impl Fn(usize) -> bool) -> Self {
        let (late, early): (Vec<usize>, Vec<usize>) = (0..quorum.masters).partition(|master| silent(*master));
        Self { quorum, order: [early, late].concat(), votes: vec![None; quorum.masters] }
    }

    pub fn record(&mut self, master: usize, vote: Vote) {
        self.votes[master] = Some(vote);
    }

    pub fn next(&self) -> Step {
        let unasked: Vec<usize> = self.order.iter().copied().filter(|master| self.votes[*master].is_none()).collect();
        if self.count(Vote::Granted) >= self.quorum.majority() {
            // Whoever comes later is refused by these, too, and some of the others may fail.
            return if unasked.is_empty() { Step::Won } else { Step::Ask(unasked) };
        }
        if self.count(Vote::Refused) > 0 {
            return Step::Refused;
        }
        // One after the other, as everybody does.
        match unasked.first() {
            Some(next) if self.quorum.masters - self.count(Vote::Silent) >= self.quorum.majority() => {
                Step::Ask(vec![*next])
            }
            _ => Step::Unreachable,
        }
    }

    /// Masters on which something may have been left, or may yet arrive.
    pub fn touched(&self) -> Vec<usize> {
        let may_hold = |master: &usize| matches!(self.votes[*master], Some(Vote::Granted | Vote::Silent));
        (0..self.quorum.masters).filter(may_hold).collect()
    }

    pub fn granted(&self) -> Vec<usize> {
        (0..self.quorum.masters).filter(|master| self.votes[*master] == Some(Vote::Granted)).collect()
    }

    fn count(&self, vote: Vote) -> usize {
        self.votes.iter().filter(|known| **known == Some(vote)).count()
    }
}

#[cfg(test)]
mod tests;
