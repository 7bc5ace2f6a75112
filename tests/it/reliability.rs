//! That each known trap and each rule has a test: `docs/reliability.md` names them.

use std::collections::{BTreeMap, BTreeSet};

use crate::rows::{have_tests_that_are_there, rows_of};

fn table(title: &str) -> BTreeMap<String, Vec<String>> {
    rows_of(include_str!("../../docs/reliability.md"), title)
}

fn numbers(last: u32, further: Option<&str>) -> BTreeSet<String> {
    (1..=last).map(|number| number.to_string()).chain(further.map(str::to_owned)).collect()
}

#[test]
fn every_trap_and_every_rule_has_a_row() {
    assert_eq!(table("Traps").into_keys().collect::<BTreeSet<_>>(), numbers(52, Some("26b")));
    assert_eq!(table("Rules").into_keys().collect::<BTreeSet<_>>(), numbers(32, None));
}

#[test]
fn the_tests_that_are_named_are_there() {
    have_tests_that_are_there(&table("Traps"));
    have_tests_that_are_there(&table("Rules"));
}

/// A name in two rows would be taken for one row.
#[test]
fn no_number_comes_twice() {
    let text = include_str!("../../docs/reliability.md");
    for (title, count) in [("Traps", 53), ("Rules", 32)] {
        let (_, rest) = text.split_once(&format!("## {title}\n")).expect("there is such a section");
        let table = rest.split("\n## ").next().unwrap_or_default();
        assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), count + 1, "{title}");
    }
}
