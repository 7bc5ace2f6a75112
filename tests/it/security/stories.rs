//! What a holder says of itself, where another one's terminal would obey it.

use std::fs;

use ::redis::Commands as _;
use zookeeper_client::{Acls, CreateMode};

use crate::support::{Finished, Kind, Place, Terminal, eventually, program, sentences_for_every_backend};

sentences_for_every_backend![
    labels_and_keys_are_escaped_wherever_a_person_reads_them,
    a_terminal_that_waits_watches_or_asks_gets_no_escape_of_a_holder,
];

/// A title, a colour, what clears the screen, the same in one byte, text from right to left, a line of its own.
const STORY: &str = "\u{1b}]0;owned\u{7}\u{1b}[31m\u{1b}[2J\u{9b}2J\u{202e}txt\rdlock: all is well";

/// Whether a terminal would do more than show it.
fn obeyed(text: &str) -> bool {
    text.contains(|c: char| {
        (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

#[track_caller]
fn shown(finished: &Finished, words: &str) {
    let all = format!("{}{}", String::from_utf8_lossy(&finished.stdout), finished.stderr());
    assert!(!obeyed(&all), "{all:?}");
    assert!(all.contains(words), "it is shown: {}", finished.account());
}

fn labels_and_keys_are_escaped_wherever_a_person_reads_them(place: &Place) {
    let key = format!("job{}", STORY.replace('\n', ""));
    for words in [["acquire", "-k", key.as_str()], ["acquire", "-k", "job"]] {
        place.dlock_with([&words[..], &["--ttl", "1h", "--label", STORY]].concat()).finish().succeeds();
        shown(&place.dlock(["status", "-k", words[2]]).finish().succeeds(), "all is well");
        shown(&place.dlock(["run", "-n", "-k", words[2], "--", "true"]).finish().exits_with(75), "all is well");
        shown(&place.dlock(["release", "--force", "-k", words[2]]).finish().exits_with(64), "");
    }
    shown(&place.dlock(["list"]).finish().succeeds(), "all is well");
    shown(&place.dlock(["list", "-v"]).finish().succeeds(), "all is well");
    shown(&place.dlock(["release", "-k", &key, "--token", &"0".repeat(32)]).finish().exits_with(79), "all is well");
    let json = place.dlock(["list", "--json"]).finish().succeeds();
    assert!(!obeyed(json.said()), "JSON has escapes of its own: {:?}", json.said());
    let json: serde_json::Value = serde_json::from_str(json.said()).expect("JSON");
    assert_eq!(json[1]["key"], key.as_str(), "and a program reads what was written");
    assert_eq!(json[1]["holders"][0]["label"], json[0]["holders"][0]["label"]);
    for key in [key.as_str(), "job"] {
        place.dlock(["release", "--force", "--yes", "-k", key]).finish().succeeds();
    }
}

fn a_terminal_that_waits_watches_or_asks_gets_no_escape_of_a_holder(place: &Place) {
    place.dlock(["acquire", "-k", "job", "--ttl", "1h", "--label", STORY]).finish().succeeds();
    for (words, cue, keys) in [
        (&["run", "-w", "2", "-k", "job", "--", "true"][..], "gave up", ""),
        (&["release", "--force", "-k", "job"], "all is well", "n\r"),
        (&["top"], "all is well", "q"),
        (&["status", "--watch", "-k", "job"], "all is well", "\u{3}"),
    ] {
        let (verb, rest) = words.split_first().expect("a subcommand");
        let options = place.options();
        let program = [program(), verb];
        let args: Vec<&str> =
            program.into_iter().chain(options.iter().map(String::as_str)).chain(rest.iter().copied()).collect();
        let terminal = Terminal::start(&args, |call| call.env("TERM", "xterm").env("NO_COLOR", "1"));
        terminal.shows(cue);
        terminal.types(keys);
        eventually("it ends", || terminal.session.has_ended());
        let everything = terminal.everything();
        for escape in ["\u{1b}]0;", "\u{7}", "\u{1b}[31m", "\rdlock: all"] {
            assert!(!everything.contains(escape), "{words:?}: {escape:?} in {everything:?}");
        }
        // A byte that is no ASCII is shown as ?: what begins a sequence in one byte would be one.
        assert!(!everything.contains("?2J"), "{words:?}: {everything:?}");
    }
    place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
}

/// Not written by a dlock, whose own data have bounds: by whoever may write there.
#[test]
fn data_that_no_dlock_would_write_are_cut_and_escaped_on_redis() {
    let place = Place::shared(Kind::Redis);
    let token = "0123456789abcdef0123456789abcdef";
    let long = "\\u001b[2J".repeat(100_000);
    let holder = format!(r#"{{"host":"{long}","user":"\u001b[31mroot","label":"{long}","command":"\r\n\u0007"}}"#);
    for holder in [holder.as_str(), &holder[..5000], "{", "", "{}", "[[[[[[[[", "{\"label\":{}}", "{\"pid\":1e999}"] {
        let value = format!("{token} dlock/1 exclusive running 1700000000000000 30000 1700000000000000 {holder}");
        let () = place.redis().set_ex(format!("{}:job", place.namespace), value, 60).expect("it serves");
        for words in [&["status", "-k", "job"][..], &["status", "-k", "job", "--json"], &["list"]] {
            let finished = place.dlock_with(words.iter().copied()).finish().succeeds();
            shown(&finished, "");
            assert!(finished.stdout.len() < 200_000, "{} bytes", finished.stdout.len());
        }
        let refused = place.dlock(["run", "-n", "-k", "job", "--", "true"]).finish().exits_with(75);
        shown(&refused, "held by");
        assert!(refused.stderr().len() <= 4096, "a line of a log has an end: {}", refused.stderr().len());
    }
}

/// As much as a node can hold.
#[test]
fn a_node_of_a_megabyte_is_cut_and_escaped_on_zookeeper() {
    let place = Place::shared(Kind::ZooKeeper);
    let node = format!("/{}/job/_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-0000000000", place.namespace);
    place.zookeeper(async |client| {
        let open = Acls::anyone_all();
        for path in [format!("/{}", place.namespace), format!("/{}/job", place.namespace)] {
            client.create(&path, b"", &CreateMode::Container.with_acls(open)).await.expect("a node");
        }
        let data = format!(r#"{{"host":"h","label":"{}"}}"#, "\\u001b[2J".repeat(100_000));
        assert!(data.len() > 900_000);
        client.create(&node, data.as_bytes(), &CreateMode::Persistent.with_acls(open)).await.expect("it takes it");
    });
    for words in [&["status", "-k", "job"][..], &["status", "-k", "job", "--json"], &["list"]] {
        let finished = place.dlock_with(words.iter().copied()).finish().succeeds();
        shown(&finished, "job");
        assert!(finished.stdout.len() < 200_000, "{} bytes", finished.stdout.len());
    }
    let refused = place.dlock(["run", "-n", "-k", "job", "--", "true"]).finish().exits_with(75);
    shown(&refused, "held by");
    assert!(refused.stderr().len() <= 4096, "{}", refused.stderr().len());
    place.zookeeper(async |client| client.delete(&node, None).await.expect("it is open to all"));
}

/// The table of a lock file, which every user of a shared directory may write to.
#[test]
fn records_that_no_dlock_would_write_are_refused_in_a_file() {
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "job", "--label", STORY, "--", "true"]).finish().succeeds();
    let file = place.dir().join(&place.namespace).join("job");
    let whole = fs::read(&file).expect("it is ours");
    for at in (0..whole.len().min(4096)).step_by(61) {
        let mut damaged = whole.clone();
        damaged[at..].iter_mut().for_each(|byte| *byte ^= 0x1b);
        fs::write(&file, &damaged).expect("it is ours");
        let finished = place.dlock(["status", "-k", "job"]).finish();
        assert!(matches!(finished.status.code(), Some(0 | 78)), "{at}: {}", finished.account());
        shown(&finished, "job");
    }
}
