//! That each row of the contract has a test: `tests/rows.md` names them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::Dlock;

/// Each row of the section and the tests in its last cell.
pub(crate) fn rows_of(text: &str, title: &str) -> BTreeMap<String, Vec<String>> {
    let (_, rest) = text.split_once(&format!("## {title}\n")).expect("there is such a section");
    let table = rest.split("\n## ").next().unwrap_or_default();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let row = cells[0].trim().trim_matches('`').to_owned();
        let tests = cells[1..]
            .last()
            .map_or_else(Vec::new, |cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect());
        (row, tests)
    })
    .collect()
}

fn section(title: &str) -> BTreeMap<String, Vec<String>> {
    rows_of(include_str!("../rows.md"), title)
}

fn names(section: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    section.keys().cloned().collect()
}

fn help(words: &[&str]) -> String {
    Dlock::new(words.iter().copied().chain(["--help"])).finish().succeeds().said().to_owned()
}

fn subcommands() -> BTreeSet<String> {
    let help = help(&[]);
    let (_, rest) = help.split_once("Commands:\n").expect("they are listed");
    let listed = rest.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
    listed.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn every_subcommand_has_a_test() {
    assert_eq!(names(&section("Subcommands")), subcommands());
}

#[test]
fn every_option_has_a_test() {
    let of_all: BTreeSet<String> = subcommands()
        .iter()
        .flat_map(|subcommand| {
            let help = help(&[subcommand]);
            let options = help.lines().filter_map(|line| {
                let line = line.trim_start();
                let line = line
                    .strip_prefix('-')
                    .filter(|rest| !rest.starts_with('-'))
                    .map_or(line, |rest| rest.split_once(", ").map_or("", |(_, long)| long));
                let long = line.strip_prefix("--")?;
                Some(format!("--{}", long.split([' ', '[', '.', '=']).next().unwrap_or_default()))
            });
            options.map(|option| option.trim_end_matches(',').to_owned()).collect::<Vec<_>>()
        })
        .filter(|option| option != "--help" && option != "--")
        .collect();
    assert!(of_all.len() > 40, "{of_all:?}");
    assert_eq!(names(&section("Options")), of_all);
}

#[test]
fn every_exit_status_has_a_test() {
    let rows = names(&section("Exit status"));
    let readme = include_str!("../../README.md");
    let (_, table) = readme.split_once("\n| status | meaning |\n").expect("the README has the table");
    let told = table.lines().take_while(|line| line.starts_with('|')).skip(1);
    let told: BTreeSet<String> =
        told.map(|line| line.trim_matches('|').split(" | ").next().unwrap_or_default().trim().to_owned()).collect();
    assert_eq!(rows, told);
}

/// The file of `a::b::name` says `fn name`, and the file of an option's test says the option.
#[test]
fn the_tests_that_are_named_are_there() {
    for title in ["Subcommands", "Options", "Exit status", "The child", "Backends"] {
        have_tests_that_are_there(&section(title));
    }
}

#[track_caller]
pub(crate) fn have_tests_that_are_there(rows: &BTreeMap<String, Vec<String>>) {
    let mut missing = Vec::new();
    for (row, tests) in rows {
        assert!(!tests.is_empty(), "{row} has no test");
        for test in tests {
            if !is_there(test) {
                missing.push(format!("{row}: {test}"));
            }
        }
    }
    assert!(missing.is_empty(), "these tests are nowhere: {missing:#?}");
}

/// Whether the file of `a::b::name` says `fn name`.
pub(crate) fn is_there(test: &str) -> bool {
    let name = test.rsplit("::").next().unwrap_or_default();
    code_of(test).contains(&format!("fn {name}("))
}

/// The file of a test: below `tests/it`, or beside the code, whose module `tests` may have a file of its own.
fn code_of(test: &str) -> String {
    let (module, _) = test.rsplit_once("::").unwrap_or_else(|| panic!("{test} is no path"));
    let path =
        |room: &str, module: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(room).join(module.replace("::", "/"));
    let mut files = vec![path("tests/it", module), path("tests", module), path("src", module)];
    files.extend(module.strip_suffix("::tests").map(|parent| path("src", parent)));
    let found = files
        .iter()
        .flat_map(|file| [file.with_extension("rs"), file.join("mod.rs")])
        .find_map(|path| fs::read_to_string(path).ok());
    found.unwrap_or_else(|| panic!("there is no module {module}"))
}

#[test]
fn an_option_is_used_in_the_file_of_its_test() {
    let mut unused = Vec::new();
    for (option, tests) in section("Options") {
        let short = match option.as_str() {
            "--key" => "-k",
            "--backend" => "-b",
            "--exclusive" => "-x",
            "--shared" => "-s",
            "--nonblock" => "-n",
            "--wait" => "-w",
            "--conflict-exit-code" => "-E",
            "--command" => "-c",
            "--quiet" => "-q",
            "--verbose" => "-v",
            // What calls the binary is not in the test itself.
            "--out" => continue,
            _ => option.as_str(),
        };
        let used = |test: &String| {
            let code = code_of(test);
            code.contains(&format!("\"{option}"))
                || code.contains(&format!("\"{short}"))
                || code.contains(&format!("{option} "))
        };
        if !tests.iter().any(used) {
            unused.push(format!("{option} in {tests:?}"));
        }
    }
    assert!(unused.is_empty(), "no test of these uses them: {unused:#?}");
}
