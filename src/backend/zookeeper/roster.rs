//! Which nodes a session keeps, and what was last proved of each; pure. What breaks it: a check of other nodes that is
//! taken for one of this node, and one from before the node was touched.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::sys::boottime::BootInstant;

/// The nodes of one session that hold a lock, by path.
#[derive(Debug, Default)]
pub(super) struct Roster(BTreeMap<String, Kept>);

#[derive(Debug, Clone, Copy)]
struct Kept {
    /// Only a check that was sent later is news.
    heard: BootInstant,
    /// When the last committed check that this node was part of was sent.
    proved: Option<BootInstant>,
    standing: Standing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Firm,
    Gone,
    /// What cannot be checked and is not gone may not fail the check of all others.
    Apart,
}

/// What is known of a node when its owner asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It was found to be gone.
    Gone,
    /// It was there in a committed check, of which its owner has not heard yet.
    Proved(BootInstant),
    /// A check has to be made that is sent after this instant, together with the others.
    Ask(BootInstant),
    /// The same, by itself.
    AskAlone,
}

impl Roster {
    /// From now on the node is checked with the others.
    pub(super) fn enter(&mut self, path: &str, now: BootInstant) {
        self.0.insert(path.to_owned(), Kept { heard: now, proved: None, standing: Standing::Firm });
    }

    /// Its owner gives it up.
    pub(super) fn leave(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// Somebody has touched it: what was found before says nothing any more.
    pub(super) fn touch(&mut self, path: &str, now: BootInstant) {
        if let Some(kept) = self.0.get_mut(path) {
            kept.heard = now;
        }
    }

    /// Those that one check asks about together.
    pub(super) fn firm(&self) -> Vec<String> {
        let firm = self.0.iter().filter(|(_, kept)| kept.standing == Standing::Firm);
        firm.map(|(path, _)| path.clone()).collect()
    }

    /// A check of all of `paths`, sent at `sent`, was committed.
    pub(super) fn committed(&mut self, paths: &[String], sent: BootInstant) {
        for path in paths {
            if let Some(kept) = self.0.get_mut(path) {
                kept.proved = Some(sent).max(kept.proved);
            }
        }
    }

    /// A check found the node gone.
    pub(super) fn gone(&mut self, path: &str) {
        self.stand(path, Standing::Gone);
    }

    /// The node could not be checked.
    pub(super) fn apart(&mut self, path: &str) {
        self.stand(path, Standing::Apart);
    }

    /// Its owner has heard of the check that was sent at `sent`.
    pub(super) fn told(&mut self, path: &str, sent: BootInstant) {
        if let Some(kept) = self.0.get_mut(path) {
            kept.heard = kept.heard.max(sent);
        }
    }

    /// What is known of the node; a proof older than `beat` is none.
    pub(super) fn word(&self, path: &str, now: BootInstant, beat: Duration) -> Word {
        let Some(kept) = self.0.get(path) else { return Word::AskAlone };
        match (kept.standing, kept.proved) {
            (Standing::Gone, _) => Word::Gone,
            (Standing::Apart, _) => Word::AskAlone,
            (Standing::Firm, Some(sent)) if sent > kept.heard && now.since(sent) < beat => Word::Proved(sent),
            (Standing::Firm, _) => Word::Ask(kept.heard),
        }
    }

    fn stand(&mut self, path: &str, standing: Standing) {
        if let Some(kept) = self.0.get_mut(path) {
            kept.standing = standing;
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

    fn of(paths: &[&str]) -> Roster {
        let mut roster = Roster::default();
        paths.iter().for_each(|path| roster.enter(path, at(0)));
        roster
    }

    #[test]
    fn a_check_of_all_is_news_to_each_of_them_once() {
        let mut roster = of(&["/a", "/b"]);
        assert_eq!(roster.firm(), ["/a", "/b"]);
        roster.committed(&roster.firm(), at(1_000));
        for path in ["/a", "/b"] {
            assert_eq!(roster.word(path, at(1_001), BEAT), Word::Proved(at(1_000)));
            roster.told(path, at(1_000));
            assert_eq!(roster.word(path, at(1_002), BEAT), Word::Ask(at(1_000)));
        }
    }

    #[test]
    fn a_node_that_was_no_part_of_a_check_is_not_proved_by_it() {
        let mut roster = of(&["/a"]);
        let asked = roster.firm();
        roster.enter("/b", at(900));
        roster.committed(&asked, at(1_000));
        assert_eq!(roster.word("/b", at(1_001), BEAT), Word::Ask(at(900)));
    }

    #[test]
    fn what_was_found_before_a_node_was_touched_is_not_believed() {
        let mut roster = of(&["/a", "/b"]);
        roster.committed(&roster.firm(), at(1_000));
        roster.touch("/a", at(1_001));
        assert_eq!(roster.word("/a", at(1_002), BEAT), Word::Ask(at(1_001)));
        assert_eq!(roster.word("/b", at(1_002), BEAT), Word::Proved(at(1_000)));
    }

    #[test]
    fn an_old_proof_is_none() {
        let mut roster = of(&["/a"]);
        roster.committed(&roster.firm(), at(1_000));
        assert_eq!(roster.word("/a", at(1_500), BEAT), Word::Ask(at(0)));
    }

    #[test]
    fn one_that_is_gone_or_cannot_be_checked_is_left_out_of_the_check_of_the_others() {
        let mut roster = of(&["/a", "/b", "/c", "/d"]);
        roster.gone("/b");
        roster.apart("/c");
        roster.leave("/d");
        assert_eq!(roster.firm(), ["/a"]);
        let words = ["/b", "/c", "/d"].map(|path| roster.word(path, at(1), BEAT));
        assert_eq!(words, [Word::Gone, Word::AskAlone, Word::AskAlone]);
    }
}
