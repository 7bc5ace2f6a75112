//! What a torture showed: a line for people, a line of JSON for the table, and the window of what went wrong.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use serde_json::json;

use super::checker::{SECOND, Verdict, Violation};
use super::history::{History, Nanos, window};

pub(super) struct Outcome<'a> {
    pub(super) name: &'a str,
    pub(super) seed: u64,
    pub(super) history: &'a History,
    pub(super) verdict: &'a Verdict,
}

fn millis(nanos: Nanos) -> Nanos {
    nanos / 1_000_000
}

impl Outcome<'_> {
    fn overlaps(&self) -> usize {
        self.verdict.violations.iter().filter(|violation| violation.kind == "overlap").count()
    }

    /// The share of the quiet hand-overs, in per cent, that was not slower.
    fn hand_over(&self, percent: usize) -> Option<Nanos> {
        let all = &self.verdict.hand_overs;
        all.get((all.len() * percent / 100).min(all.len().checked_sub(1)?)).copied().map(millis)
    }

    /// To standard error, and to `results.jsonl` beside the histories.
    pub(super) fn tell(&self, directory: &Path) {
        let verdict = self.verdict;
        let line = json!({
            "topology": self.name,
            "seed": self.seed,
            "seconds": (self.history.until - self.history.from) / SECOND,
            "runs": self.history.jobs.len(),
            "grants": verdict.grants,
            "lost": verdict.lost,
            "faults": verdict.faults,
            "overlaps": self.overlaps(),
            "unprevented": verdict.unprevented.len(),
            "violations": verdict.violations.len(),
            "worst_recovery_ms": millis(verdict.worst_recovery),
            "longest_wait_ms": millis(verdict.longest_wait),
            "hand_overs": verdict.hand_overs.len(),
            "hand_over_p50_ms": self.hand_over(50),
            "hand_over_p99_ms": self.hand_over(99),
            "left": self.history.left.len(),
        });
        writeln!(std::io::stderr(), "{line}").expect("standard error is open");
        let results = OpenOptions::new().create(true).append(true).open(directory.join("results.jsonl"));
        let mut results = results.expect("histories can be kept there");
        results.write_all(format!("{line}\n").as_bytes()).expect("histories can be kept there");
        let apart: String = verdict.unprevented.iter().map(|overlap| format!("{overlap}\n")).collect();
        let path = directory.join(format!("{}-{}.unprevented", self.name, self.seed));
        std::fs::write(path, apart).expect("histories can be kept there");
    }

    /// What is wrong, each kind with its shortest example.
    pub(super) fn complaint(&self, text: &str, kept: &Path) -> String {
        let mut kinds: Vec<&str> = self.verdict.violations.iter().map(|violation| violation.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let mut complaint = format!(
            "torture: {} went wrong: {}\nseed {}, history {}\n",
            self.name,
            kinds.join(" "),
            self.seed,
            kept.display()
        );
        for kind in kinds {
            let of_kind = self.verdict.violations.iter().filter(|violation| violation.kind == kind);
            let count = of_kind.clone().count();
            let Some(shortest) = of_kind.min_by_key(|violation| violation.until - violation.from) else { continue };
            complaint += &format!("\n{kind} ({count} times), the shortest: {}\n", shortest.what);
            complaint += &self.show(text, shortest);
        }
        complaint
    }

    fn show(&self, text: &str, violation: &Violation) -> String {
        if violation.until == 0 {
            return String::new();
        }
        // A little before and after, by which one sees how it came and how it went on.
        let margin = SECOND / 5;
        let (from, until) = (violation.from.saturating_sub(margin), violation.until + margin);
        window(text, self.history, &violation.key, from, until)
    }
}
