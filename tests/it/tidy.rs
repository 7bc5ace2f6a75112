//! What the house asks of its own text: who may import whom, and that the papers agree with the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms a room may import. `commands`, `lib` and `main` may import all.
const IMPORTS: [(&str, &[&str]); 9] = [
    ("sys", &[]),
    ("lock", &["sys"]),
    ("child", &["sys"]),
    ("backend", &["lock", "sys"]),
    ("cli", &[]),
    ("error", &["lock", "exit_code"]),
    ("exit_code", &["error", "lock"]),
    ("settings", &["cli", "lock", "backend", "error", "exit_code", "sys"]),
    ("report", &["lock", "error", "settings", "exit_code", "sys"]),
];

/// The longest file that one still reads from top to bottom.
const MAX_LINES: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{} is there: {e}", path.display()))
}

/// Every file below `directory` with this ending, as paths from the root of the project.
fn files(directory: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut unseen = vec![root().join(directory)];
    while let Some(next) = unseen.pop() {
        for path in fs::read_dir(&next).expect("a directory of the project").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                unseen.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(root()).expect("it is below the root").to_owned());
            }
        }
    }
    assert!(!found.is_empty(), "{directory} has files that end in {ending}");
    found.sort();
    found
}

/// The code of a file without its comments; a `//` inside a literal ends the line, too, which hides nothing here.
fn code(path: &Path) -> String {
    let text = read(path);
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The part of the source tree that a file belongs to: `src/lock/key.rs` and `src/lock.rs` are both `lock`.
fn room(path: &Path) -> String {
    let first = path.components().nth(1).expect("a file below src").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn leading_word(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// The first word after every `prefix`, groups in braces taken apart.
fn words_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in code.split(prefix).skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(leading_word(rest).to_owned());
            continue;
        };
        let mut depth = 0;
        let mut item = String::new();
        for letter in group.chars() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    found.insert(leading_word(item.trim()).to_owned());
                    item.clear();
                }
                _ => item.push(letter),
            }
        }
        found.insert(leading_word(item.trim()).to_owned());
    }
    found.remove("");
    found
}

#[test]
fn imports_follow_the_table() {
    for path in files("src", ".rs") {
        let room = room(&path);
        // A room's own tests may make what they look at by way of another room.
        if ["lib", "main", "commands"].contains(&room.as_str()) || path.ends_with("tests.rs") {
            continue;
        }
        let (_, allowed) = IMPORTS
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{} is in no room of the import table", path.display()));
        let code = code(&path);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for imported in words_after(code, "crate::").union(&words_after(code, "dlock::")) {
            let own = *imported == room;
            let known = IMPORTS.iter().any(|(name, _)| name == imported) || imported == "commands";
            assert!(
                own || !known || allowed.contains(&imported.as_str()),
                "{} imports {imported}, which {room} may not",
                path.display()
            );
        }
        assert!(!code.contains("super::super::super"), "{} climbs out of its room", path.display());
    }
}

#[test]
fn lock_and_child_meet_in_the_run_command_alone() {
    for path in files("src", ".rs") {
        if room(&path) == "lib" || path.starts_with("src/child") || path.starts_with("src/commands/run") {
            continue;
        }
        if path == Path::new("src/commands/run.rs") {
            continue;
        }
        let code = code(&path);
        let imports: BTreeSet<String> =
            words_after(&code, "crate::").union(&words_after(&code, "dlock::")).cloned().collect();
        assert!(!imports.contains("child"), "{} knows of the child", path.display());
    }
}

#[test]
fn backends_never_import_each_other() {
    for path in files("src/backend", ".rs") {
        let Some(own) = path.components().nth(2).map(|part| part.as_os_str().to_string_lossy().into_owned()) else {
            continue;
        };
        let own = own.trim_end_matches(".rs");
        if own == "mod" {
            continue;
        }
        // TLS is no backend.
        for imported in words_after(&code(&path), "backend::").into_iter().filter(|imported| imported != "tls") {
            assert_eq!(imported, own, "{} imports another backend", path.display());
        }
    }
}

#[test]
fn every_file_opens_with_a_sentence_and_ends_before_one_tires() {
    for path in [files("src", ".rs"), files("tests", ".rs")].concat() {
        let text = read(&path);
        // Unit tests in a file of their own belong to the file above them.
        let named = path.file_name().is_some_and(|name| name == "tests.rs") || text.starts_with("//!");
        assert!(named, "{} does not say what it is", path.display());
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines, more than {MAX_LINES}", path.display());
    }
}

#[test]
fn nothing_is_left_half_done() {
    // Put together here, so that this file does not contain them.
    let forbidden = ["todo", "dbg", "unimplemented"].map(|name| format!("{name}!("));
    for path in [files("src", ".rs"), files("tests", ".rs")].concat() {
        let code = code(&path);
        for word in &forbidden {
            assert!(!code.contains(word), "{} contains {word}", path.display());
        }
        for (word, reason) in [
            (format!(".{}()", "unwrap"), "expect() says why it cannot fail"),
            (format!("#[{}", "allow("), "#[expect(…)] notices when it is no longer needed"),
            (format!("#[{}", "ignore"), "a test that does not run proves nothing"),
        ] {
            assert!(!code.contains(&word), "{} contains {word}: {reason}", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_in_one_place() {
    for path in files("src", ".rs") {
        // The symbol that the C library calls is `unsafe` to export, not to run.
        let uses = code(&path)
            .replace("#[unsafe(no_mangle)]", "")
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
            .any(|word| word == "unsafe");
        assert!(!uses || room(&path) == "sys", "{} is unsafe", path.display());
    }
}

#[test]
fn no_module_is_called_after_nothing_in_particular() {
    for path in [files("src", ".rs"), files("tests", ".rs")].concat() {
        for part in path.with_extension("").components() {
            let name = part.as_os_str().to_string_lossy();
            assert!(!["util", "utils", "helpers", "common", "misc", "types"].contains(&&*name), "{}", path.display());
        }
    }
}

/// The numbers that `exit_code.rs` knows, as it writes them: `pub const NAME: u8 = 75;`.
fn statuses() -> Vec<String> {
    let code = read("src/exit_code.rs");
    let numbers: Vec<String> = code
        .lines()
        .filter(|line| line.starts_with("pub const "))
        .filter_map(|line| line.split_once(": u8 = ")?.1.strip_suffix(';').map(str::to_owned))
        .collect();
    assert!(numbers.len() > 8, "the statuses are found: {numbers:?}");
    numbers
}

#[test]
fn every_exit_status_is_in_the_man_page_and_in_the_readme() {
    let man = files("man", ".1").iter().map(read).collect::<String>();
    let readme = read("README.md");
    for status in statuses() {
        let said = |text: &str| text.split(|letter: char| !letter.is_ascii_digit()).any(|word| word == status);
        assert!(said(&man), "status {status} is not in man/");
        assert!(said(&readme), "status {status} is not in README.md");
    }
}

#[test]
fn the_changelog_tells_of_this_version() {
    let changelog = read("CHANGELOG.md");
    let version = env!("CARGO_PKG_VERSION");
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## ")).expect("it has headings");
    assert!(newest == "Unreleased" || newest.contains(version), "{version} is missing");
}

#[test]
fn the_two_commands_of_the_readme_exist() {
    use std::os::unix::fs::PermissionsExt as _;

    let readme = read("README.md");
    let first_screen: String = readme.lines().take(40).collect::<Vec<_>>().join("\n");
    for command in ["./install.sh && dlock run --key hello -- echo hello", "./tests/run.sh"] {
        assert!(first_screen.contains(command), "{command} is not on the first screen");
    }
    for script in ["install.sh", "tests/run.sh", ".ci/run", "benches/run.sh"] {
        let mode = fs::metadata(root().join(script)).unwrap_or_else(|e| panic!("{script}: {e}")).permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script} can be executed");
    }
}

#[test]
fn the_readme_links_to_files_that_exist() {
    for link in read("README.md").split("](").skip(1) {
        let target = link.split([')', '#']).next().unwrap_or_default();
        if !target.is_empty() && !target.contains("://") {
            assert!(root().join(target).exists(), "README.md links to {target}");
        }
    }
}
