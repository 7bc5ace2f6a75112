//! Taking a lock from its holder because an operator wants it back.

use super::HolderEntry;

/// How much the holder has to say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A mark in the lock: its dlock stops the command and gives the lock up, which stays taken until then. Whoever has
    /// nobody that could be asked, a one-shot lease or another program, is taken out at once.
    Asking,
    /// The key is free at once, whatever its holder still does.
    AtOnce,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Revocation {
    /// Whoever was shown does not hold the lock, or not any more; nothing was done.
    Changed,
    /// The holder does not hold the lock any more.
    Freed,
    /// The mark stands in the lock.
    Asked,
}

impl HolderEntry {
    /// Whether both are of one acquisition, as far as both tell.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        let fences = (self.fence, other.fence);
        self.id == other.id && !matches!(fences, (Some(one), Some(other)) if one != other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{FencingToken, Holder, Phase};

    #[test]
    fn a_holder_is_the_same_while_neither_id_nor_fence_says_otherwise() {
        let holder = |id: &str, fence: Option<u64>| HolderEntry {
            id: id.to_owned(),
            holder: Holder::default(),
            since: None,
            held_for: None,
            ttl: None,
            remaining: None,
            phase: Phase::Running,
            fence: fence.map(FencingToken),
        };
        assert!(holder("a", Some(7)).is_same_as(&holder("a", Some(7))));
        assert!(holder("a", None).is_same_as(&holder("a", Some(7))));
        assert!(!holder("a", Some(8)).is_same_as(&holder("a", Some(7))));
        assert!(!holder("a", None).is_same_as(&holder("b", None)));
    }
}
