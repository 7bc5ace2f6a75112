//! The README from top to bottom, as somebody who tries its commands in the first five minutes.

use std::fs;
use std::path::Path;

use super::{Host, LASTS, NOTES};
use crate::support::{Dlock, Kind, Place, eventually};

const SCRIPTS: [&str; 8] =
    ["backup.sh", "deploy.sh", "build.sh", "report.sh", "import.sh", "encode.sh", "move-stock.sh", "make-reports"];

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there")
}

/// The blocks of lines that are set apart as code.
fn blocks(text: &str) -> Vec<Vec<&str>> {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(code) => blocks.last_mut().expect("there is one").push(code),
            None => blocks.push(Vec::new()),
        }
    }
    blocks.into_iter().filter(|block| !block.is_empty()).collect()
}

/// A copy of the project's directory with scripts in the place of its users', locking at `place`.
fn checkout(place: &Place) -> Host<'_> {
    let programs: Vec<(&str, &str)> = SCRIPTS.iter().map(|name| (*name, NOTES)).collect();
    Host::new(place, &programs)
}

/// The line at the prompt of somebody who has told dlock in the environment where to lock.
fn typed(host: &Host<'_>, line: &str) -> Dlock {
    let bin = host.directory.path().join("bin");
    let call = host.sh(&line.replace("./", &format!("{}/", bin.display())));
    host.place.environment().into_iter().fold(call, |call, (name, value)| call.env(name, value))
}

/// Each line but those of the transcript, which is a test of its own.
#[test]
fn its_commands_run_as_they_stand() {
    let readme = readme();
    let places = [Kind::File, Kind::Redis, Kind::ZooKeeper].map(Place::shared);
    let mut count = 0;
    for block in blocks(&readme).into_iter().filter(|block| !block[0].starts_with("$ ")) {
        // Steps of one shell.
        let block = if block[0].starts_with("eval ") {
            vec![block.join("\n")]
        } else {
            block.iter().map(ToString::to_string).collect()
        };
        for line in block.iter().filter(|line| line.contains("dlock ")) {
            let line = line.trim().trim_start_matches("- ").trim_start_matches("./install.sh && ");
            let line = line.trim_start_matches("*/5 * * * *  ");
            let place = match () {
                () if line.contains("--zk") => &places[2],
                () if line.contains("--redis") => &places[1],
                () => &places[0],
            };
            let host = checkout(place);
            let server = &place.environment()[0].1;
            let line = host.fitted(&line.replace("redis://r1", server));
            let ended = typed(&host, &line).finish().succeeds();
            assert!(ended.stderr().is_empty(), "{}", ended.account());
            count += 1;
        }
    }
    assert_eq!(count, 12, "the commands are found");
}

/// Words that differ each time, as what they stand for.
fn in_general(line: &str) -> String {
    let general = |word: &str| {
        let bare = word.trim_end_matches([',', ';']);
        let is_hex = bare.bytes().all(|letter| letter.is_ascii_hexdigit());
        let time = bare.trim_end_matches(|letter: char| letter.is_ascii_lowercase());
        match bare {
            _ if bare.contains('@') => "WHO",
            _ if is_hex && bare.len() == 32 => "TOKEN",
            _ if is_hex && bare.len() == 8 => "ID",
            _ if bare.bytes().all(|letter| letter.is_ascii_digit()) && bare.len() > 2 => "NUMBER",
            _ if time.bytes().all(|letter| letter.is_ascii_digit()) && !time.is_empty() && bare != time => "TIME",
            _ => bare,
        }
        .to_owned()
    };
    line.split_whitespace().map(general).collect::<Vec<_>>().join(" ")
}

#[test]
fn its_transcript_is_what_is_shown() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("deploy.sh", LASTS)]);
    let job = "dlock run --key deploy/web -- ./deploy.sh";
    let mut others = Vec::new();
    let mut token = String::new();
    let readme = readme();
    let transcript =
        blocks(&readme).into_iter().filter(|block| block[0].starts_with("$ ")).collect::<Vec<_>>().concat();
    let mut lines = transcript.iter().copied().peekable();
    let mut count = 0;
    while let Some(call) = lines.next() {
        let command = call.strip_prefix("$ ").expect("a command");
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            expected.push(in_general(line));
        }
        if command == "dlock list" {
            others.push(typed(&host, job).start());
            host.has_started();
            others.push(typed(&host, job).start());
            eventually("the other one waits", || place.waiters("deploy/web") == 1);
        }
        let command = match command.split_once("--token ") {
            Some((before, _)) => format!("{before}--token {token}"),
            None => command.to_owned(),
        };
        let ended = typed(&host, &format!("{{ {command}; }} 2>&1")).finish().succeeds();
        let shown: Vec<String> = ended.said().lines().map(in_general).collect();
        assert_eq!(shown, expected, "{}", ended.account());
        if command.starts_with("dlock acquire") {
            ended.said().clone_into(&mut token);
        }
        count += 1;
    }
    assert_eq!(count, 5);
    for job in others {
        host.lets_go();
        job.wait().succeeds();
    }
}

/// `README.md` says where each page is; none of `docs/` is forgotten.
#[test]
fn every_page_can_be_found_from_it() {
    let mut known = readme();
    known += &super::example("README.md");
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).expect("it is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(known.contains(&format!("{name})")) || entry.path().is_dir(), "docs/{name} is linked to");
    }
}
