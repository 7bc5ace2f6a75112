//! Every sentence that the program can print: that they are of one voice, and that `docs/messages.md` holds them all.

use std::fs;
use std::path::{Path, PathBuf};

/// Where sentences are written, and what the parts of the document are called.
const ROOMS: [(&str, &str); 9] = [
    ("src/settings", "Options, environment and files"),
    ("src/commands", "Subcommands"),
    ("src/error", "Failures"),
    ("src/report", "Notices, and what happens to a lock"),
    ("src/lock", "Keys, tokens and leases"),
    ("src/backend/file", "The file backend"),
    ("src/backend/redis", "Redis"),
    ("src/backend/zookeeper", "ZooKeeper"),
    ("src/backend/tls", "TLS"),
];

/// What servers, formats and shells say, which is compared and not printed.
const OF_OTHERS: [&str; 8] = [
    "user executing the script can't",
    "max number of clients",
    "invalid DB index",
    "srvr is not executed",
    "1 … … … … …",
    "_dlock_values && return 0",
    "if [ \"$funcstack[1]\" = \"_dlock\" ]; then",
    "…-l … -r",
];

/// Fewer words are names, verbs and fragments of something else.
const FEWEST_WORDS: usize = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The code of a room, file by file, without its unit tests.
fn code_of(room: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    let mut unseen = vec![root().join(room)];
    while let Some(next) = unseen.pop() {
        if next.is_dir() {
            unseen.extend(fs::read_dir(&next).expect("a room").flatten().map(|entry| entry.path()));
        } else if next.extension().is_some_and(|ending| ending == "rs") && !next.ends_with("tests.rs") {
            files.push(next);
        }
    }
    files.extend([root().join(format!("{room}.rs"))].into_iter().filter(|file| file.exists()));
    files.sort();
    assert!(!files.is_empty(), "{room} has files");
    let read = |file: &PathBuf| {
        let text = fs::read_to_string(file).expect("it was just listed");
        text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
    };
    files.iter().map(read).collect()
}

/// The string literals of a piece of Rust, each with what stands before it.
fn literals(code: &str) -> Vec<(String, String)> {
    let letters: Vec<char> = code.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        match letters[at] {
            '/' if letters.get(at + 1) == Some(&'/') => {
                while at < letters.len() && letters[at] != '\n' {
                    at += 1;
                }
            }
            // A character, and no lifetime: it is closed again.
            '\'' if letters.get(at + 1) == Some(&'\\') => at += 4,
            '\'' if letters.get(at + 2) == Some(&'\'') => at += 3,
            '"' => {
                let before: String = letters[at.saturating_sub(24)..at].iter().collect();
                let mut text = String::new();
                at += 1;
                while at < letters.len() && letters[at] != '"' {
                    if letters[at] == '\\' {
                        at += 1;
                        match letters[at] {
                            // The sentence goes on after the indentation of its next line.
                            '\n' => {
                                while letters[at + 1].is_whitespace() {
                                    at += 1;
                                }
                            }
                            'n' => text.push('\n'),
                            other => text.push(other),
                        }
                    } else {
                        text.push(letters[at]);
                    }
                    at += 1;
                }
                found.push((before, text));
                at += 1;
            }
            _ => at += 1,
        }
    }
    found
}

/// The sentence with a mark where a value is filled in.
fn with_gaps(text: &str) -> String {
    let mut rest = text;
    let mut shown = String::new();
    while let Some((before, after)) = rest.split_once('{') {
        shown += before;
        match after.split_once('}') {
            Some((name, after)) if name.chars().all(|letter| letter.is_alphanumeric() || "_:?#>$".contains(letter)) => {
                shown.push('…');
                rest = after;
            }
            _ => {
                shown.push('{');
                rest = after;
            }
        }
    }
    shown + rest
}

/// Whether our voice could begin like this: no capital letter but those of names.
fn is_ours(text: &str) -> bool {
    let begins_small = !text.starts_with(|letter: char| letter.is_uppercase());
    let of_others = OF_OTHERS.contains(&text) || text.starts_with("-----") || text.starts_with(['\n', '*']);
    (begins_small || ["DLOCK_", "ZooKeeper URLs"].iter().any(|name| text.starts_with(name))) && !of_others
}

fn sentences(room: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (before, text) in code_of(room).iter().flat_map(|code| literals(code)) {
        let said = !["expect(", "reason = "].iter().any(|call| before.trim_end().ends_with(call.trim_end()));
        let text = with_gaps(&text).trim().to_owned();
        let known = found.contains(&text);
        if said && !known && text.split_whitespace().count() >= FEWEST_WORDS && is_ours(&text) {
            found.push(text);
        }
    }
    found
}

const PREFACE: &str = "\
# Messages

Every message of dlock's is one line on standard error: `dlock: `, then what happened, to which key and where, and what to
do about it; lower case, without a full stop. A failure is the last line, and the exit status belongs to it (README, \"How
it ends\"). Values stand where … is written here. What a backend says follows `cannot acquire \"KEY\": `, `cannot renew \"KEY\": `,
`cannot release \"KEY\": `, `cannot look up \"KEY\": ` or `cannot list namespace \"NS\": `; what is wrong with a value follows
`invalid --OPTION \"VALUE\": `.

| status | its last line |
|---|---|
| 64 | names the option or variable: `invalid --ttl \"soon\": …`, `no --key given: …`, `--nonblock and --wait exclude each other` |
| 69 | `cannot acquire \"KEY\": SERVER …`: it cannot be reached, or refuses service for now |
| 70 | `cannot write …`, or `a defect in dlock, please report it: …` |
| 71 | `cannot start the keeper process: …` and the like: the system has none left |
| 75 | `cannot acquire \"KEY\": held by USER@HOST pid N (COMMAND) for TIME; gave up after TIME`; silent with `-q` |
| 77 | `cannot acquire \"KEY\": …` with who refuses whom, or `cannot open …: Permission denied` |
| 78 | names the file, line and column, or what is wrong at the server |
| 79 | `lost \"KEY\": why; what follows`, `cannot release \"KEY\": the token does not hold it; …`, `\"FILE\" has seen fencing token …` |
| 124 | `\"COMMAND\" has run for --max-runtime TIME; stopping it` |
| 126, 127 | `cannot run \"COMMAND\": Permission denied`, `cannot run \"COMMAND\": command not found` |

This list is made from the program: `DLOCK_WRITE_MESSAGES=1 cargo test --test it messages::` writes it anew.
";

fn document() -> String {
    let mut text = PREFACE.to_owned();
    for (room, title) in ROOMS {
        text += &format!("\n## {title}\n\n");
        text.extend(sentences(room).iter().map(|sentence| format!("- {}\n", sentence.replace('\n', " "))));
    }
    text
}

#[test]
fn the_document_holds_every_sentence() {
    let path = root().join("docs/messages.md");
    let document = document();
    if std::env::var_os("DLOCK_WRITE_MESSAGES").is_some() {
        fs::write(&path, &document).expect("it is ours");
    }
    let committed = fs::read_to_string(&path).expect("it is there");
    assert!(
        committed == document,
        "docs/messages.md is stale: run `DLOCK_WRITE_MESSAGES=1 cargo test --test it messages::` and commit what it writes"
    );
}

#[test]
fn all_sentences_are_of_one_voice() {
    let mut count = 0;
    for sentence in ROOMS.iter().flat_map(|(room, _)| sentences(room)) {
        count += 1;
        assert!(!sentence.ends_with(['.', '!']), "no full stop: {sentence}");
        let goes_on = |rest: &str| rest.starts_with(char::is_alphabetic);
        assert!(!sentence.split(". ").skip(1).any(goes_on) && !sentence.contains('!'), "one sentence: {sentence}");
        let small = sentence.to_lowercase();
        for word in ["error:", "failed!", "sorry", "oops", "unable to", "could not be able", "won't", "can not"] {
            assert!(!small.contains(word), "{word:?} is nobody's voice here: {sentence}");
        }
        // "(os error 2)" is for those who read Rust.
        assert!(!small.contains("os error …") || small == "(os error …)", "{sentence}");
    }
    assert!(count > 250, "the sentences are found: {count}");
}

#[test]
fn a_literal_is_read_as_the_compiler_reads_it() {
    let code = "say(\"one\\\n    and two {key} on {}\"); // \"no\"\nlet c = '\"'; x.expect(\"why it holds\"); f(\"a \\\"b\\\" c\")";
    let found: Vec<String> = literals(code).into_iter().map(|(_, text)| with_gaps(&text)).collect();
    assert_eq!(found, ["oneand two … on …", "why it holds", "a \"b\" c"]);
}
