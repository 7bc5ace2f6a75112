//! Every command of dlock's that a page or the manual shows, as far as the command line goes: that the real definition
//! understands it. What is run besides is in the rooms beside this one.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use dlock::commands;

const SUBCOMMANDS: [&str; 11] =
    ["run", "acquire", "renew", "release", "status", "list", "top", "doctor", "bench", "fence-check", "completions"];

/// All files below `directory` with this ending.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut unseen = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)];
    while let Some(next) = unseen.pop() {
        for path in fs::read_dir(&next).expect("a directory of the project").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                unseen.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found
}

/// What stands set apart as code, and what stands between backquotes.
fn code(page: &str) -> Vec<String> {
    let apart =
        page.lines().filter(|line| line.starts_with("    ") || (line.starts_with("  ") && !line.starts_with("  *")));
    let spans = page.split("\n\n").filter(|paragraph| !paragraph.starts_with("  "));
    let spans = spans.flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2)).map(|span| span.replace('\n', " "));
    apart.map(str::to_owned).chain(spans).collect()
}

/// The calls of dlock in a piece of shell: their words up to whatever ends a command there.
fn calls(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("dlock ") {
        let before = code[..at].trim_end();
        let begins = before.is_empty()
            || before.ends_with(" -")
            || before.ends_with(['$', '(', '&', '|', ';', '!', '"', '{'])
            || before.ends_with("exec")
            || code[..at].ends_with("  ");
        let end = code[at..].find([';', '|', '&', ')', '>', '<']).map_or(code.len(), |end| at + end);
        let comment = code[at..end].find(" #").map_or(end, |comment| at + comment);
        // A word about it may stand beside it, in a column of its own; but options may be in columns, too.
        let said = code[at..comment].find("   ").map_or(comment, |said| at + said);
        let text = if code[at..comment].contains(" --") { &code[at..comment] } else { &code[at..said] };
        if begins && !text.contains(['…', '[']) {
            found.extend(shlex::split(text).map(|words| words.into_iter().collect()));
        }
    }
    found
}

#[test]
fn every_command_that_a_page_shows_is_understood() {
    let pages =
        [files("docs", ".md"), files("man", ".1"), vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")]];
    let (mut seen, mut refused) = (BTreeSet::new(), Vec::new());
    for page in pages.concat() {
        let text = fs::read_to_string(&page)
            .expect("it was just listed")
            .replace("\\-", "-")
            .replace("\\(aq", "'")
            .replace("\\*(Aq", "'");
        for code in code(&text) {
            let typed: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("dlock: ")).collect();
            for words in calls(&typed.join("\n")) {
                // A sentence may speak of "dlock itself", and help is no call to be understood.
                let is_call = words.get(1).is_some_and(|word| SUBCOMMANDS.contains(&word.as_str()));
                if !is_call || words.iter().any(|word| word == "--help") {
                    continue;
                }
                let typed: Vec<OsString> = words.iter().map(OsString::from).collect();
                if commands::parse(&typed).is_err() {
                    refused.push(format!("{}: {words:?}", page.display()));
                }
                seen.insert(words.join(" "));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(seen.len() > 100, "they are found: {}", seen.len());
}
