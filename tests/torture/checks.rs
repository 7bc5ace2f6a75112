//! The checker looks at histories that were made up: each kind of wrong is found, and what is right is not.

use std::collections::BTreeSet;

use super::checker::{Quick, SECOND, Terms, Verdict, check};
use super::history::{History, window};

const TERMS: Terms = Terms {
    ttl: 3 * SECOND,
    unpreventable: &["flush"],
    may_refuse: false,
    queues: true,
    recovers_within: 10 * SECOND,
    quick: Some(Quick { within: 700 * SECOND / 1000, but: 20 }),
};

/// Lines whose first word is in milliseconds.
fn history(lines: &str) -> (String, History) {
    let in_nanos = |line: &str| {
        let (at, event) = line.trim().split_once(' ').expect("a time and an event");
        format!("{} {event}\n", at.parse::<u64>().expect("milliseconds") * 1_000_000)
    };
    let text: String = lines.lines().filter(|line| !line.trim().is_empty()).map(in_nanos).collect();
    let history = History::parse(&text);
    (text, history)
}

fn verdict(lines: &str) -> Verdict {
    check(&history(lines).1, TERMS)
}

fn kinds(lines: &str) -> Vec<&'static str> {
    verdict(lines).violations.iter().map(|violation| violation.kind).collect()
}

/// A job whose command is under the lock from `began` to `end`.
fn job(name: &str, fence: u64, began: u64, end: u64) -> String {
    let started = began - 50;
    format!(
        "{started} start {name} k exclusive 0 plain\n{began} began {name} {fence}\n{end} end {name}\n{} exit {name} code:0\n",
        end + 5
    )
}

#[test]
fn one_after_the_other_is_right() {
    let found = verdict(&[job("a", 1, 1000, 1100), job("b", 2, 1110, 1200)].concat());
    assert_eq!((found.grants, found.violations, found.unprevented), (2, vec![], vec![]));
}

#[test]
fn two_at_once_are_an_overlap_also_when_only_a_sign_of_life_shows_it() {
    assert_eq!(kinds(&[job("a", 1, 1000, 1100), job("b", 2, 1090, 1200)].concat()), ["overlap"]);
    let killed = "900 start a k exclusive 0 plain\n1000 began a 1\n1010 fault front-killed job:a\n\
                  1011 calm front-killed job:a\n1012 exit a signal:9\n1150 tick a\n";
    assert_eq!(kinds(&[killed, &job("b", 2, 1110, 1200)].concat()), ["overlap"]);
    assert_eq!(kinds(&[killed, &job("b", 2, 1160, 1200)].concat()), [""; 0]);
}

#[test]
fn an_overlap_after_a_flush_is_counted_apart_and_one_fence_for_two_is_not_forgiven() {
    let flush = "1050 fault flush server\n1051 calm flush server\n";
    let found = verdict(&[&job("a", 1, 1000, 1200), flush, &job("b", 2, 1090, 1200)].concat());
    assert_eq!((found.violations.len(), found.unprevented.len()), (0, 1), "{found:?}");
    assert_eq!(kinds(&[&job("a", 1, 1000, 1200), flush, &job("b", 1, 1090, 1200)].concat()), ["fence"]);
    // The lease of who was granted before the flush is over by then.
    assert_eq!(kinds(&[&job("a", 1, 1000, 9000), flush, &job("b", 2, 8000, 9000)].concat()), ["overlap"]);
}

#[test]
fn readers_stay_together_and_a_writer_alone() {
    let reader =
        |name: &str, began| job(name, 0, began, began + 100).replace("exclusive", "shared").replace(" 0\n", " -\n");
    assert_eq!(kinds(&[reader("a", 1000), reader("b", 1010)].concat()), [""; 0]);
    assert_eq!(kinds(&[reader("a", 1000), job("b", 1, 1010, 1020)].concat()), ["overlap"]);
}

#[test]
fn one_more_than_there_are_slots_is_an_overlap() {
    let slot =
        |name: &str, began| job(name, 0, began, began + 100).replace("exclusive", "slots:2").replace(" 0\n", " -\n");
    assert_eq!(kinds(&[slot("a", 1000), slot("b", 1010)].concat()), [""; 0]);
    let three = [slot("a", 1000), slot("b", 1010), slot("c", 1020)].concat();
    assert!(kinds(&three).contains(&"overlap"));
}

#[test]
fn a_fence_that_stays_or_falls_is_found() {
    assert_eq!(kinds(&[job("a", 5, 1000, 1100), job("b", 5, 1200, 1300)].concat()), ["fence"]);
    assert_eq!(kinds(&[job("a", 5, 1000, 1100), job("b", 4, 1200, 1300)].concat()), ["fence"]);
}

#[test]
fn a_status_has_to_be_true() {
    let ended = |how: &str| job("a", 1, 1000, 1100).replace("exit a code:0", &format!("exit a {how}"));
    for untrue in ["code:1", "code:69", "code:70", "code:79", "code:101", "signal:9", "signal:15", "code:75"] {
        assert_eq!(kinds(&ended(untrue)).len(), 1, "{untrue}");
    }
    let struck = "1050 fault keeper-stopped job:a\n1060 calm keeper-stopped job:a\n";
    assert_eq!(kinds(&[&ended("code:79"), struck].concat()), [""; 0]);
    let without_its_command = "1000 start a k exclusive 0 plain\n1010 exit a code:0\n";
    assert_eq!(kinds(without_its_command), ["status"]);
    let killed_in_the_middle = "1000 start a k exclusive 7 plain\n1010 began a 1\n1020 exit a code:7\n";
    assert_eq!(kinds(killed_in_the_middle), ["status"]);
}

#[test]
fn whoever_passes_by_is_refused_only_where_somebody_is() {
    let passes = "9000 start p k exclusive 0 passes\n9010 exit p code:75\n";
    assert_eq!(kinds(passes), ["starved"]);
    assert_eq!(kinds(&[passes, &job("a", 1, 8900, 9100)].concat()), [""; 0]);
}

#[test]
fn whoever_never_ends_or_waits_in_vain_starves() {
    assert_eq!(kinds("1000 start a k exclusive 0 plain\n1010 over\n"), ["starved"]);
    assert_eq!(kinds("1000 start a k exclusive 0 plain\n91000 exit a code:75\n"), ["starved"]);
}

#[test]
fn a_lock_that_nobody_gets_while_somebody_waits_is_found_unless_the_server_was_away() {
    let late = job("b", 2, 1110, 1200).replace("1110 began", "15000 began").replace("1200 end", "15100 end");
    let late = late.replace("1205 exit", "15105 exit");
    assert_eq!(kinds(&[&job("a", 1, 1000, 1100), &late[..]].concat()), ["starved"]);
    let away = "1500 fault server-stopped server\n9000 calm server-stopped server\n";
    assert_eq!(kinds(&[&job("a", 1, 1000, 1100), away, &late].concat()), [""; 0]);
}

#[test]
fn whatever_lives_on_after_its_dlock_is_found() {
    let lines = [job("a", 1, 1000, 1100), "2000 tick a\n".to_owned()].concat();
    assert_eq!(kinds(&lines), ["outlives"]);
}

#[test]
fn hand_overs_that_wait_for_a_timer_are_found() {
    let jobs = |gap: u64| -> String {
        (0..30)
            .map(|number| {
                let began = 10_000 + number * (100 + gap);
                job(&format!("j{number}"), number + 1, began, began + 100)
                    .replace(&format!("{} start", began - 50), &format!("{} start", 9_000 + number))
            })
            .collect()
    };
    assert_eq!(kinds(&jobs(10)), [""; 0]);
    assert_eq!(kinds(&jobs(1000)), ["slow"]);
}

#[test]
fn what_is_left_is_found() {
    assert_eq!(kinds("1000 left process 17 sleep\n"), ["left"]);
}

#[test]
fn a_window_shows_what_concerns_a_key_and_of_each_job_two_signs_of_life() {
    let (text, history) = history(
        &[
            &job("a", 1, 1000, 1100)[..],
            "1010 tick a\n1020 tick a\n1030 tick a\n1040 fault front-killed job:other\n1050 fault flush server\n",
            "1060 start x elsewhere exclusive 0 plain\n1070 start other elsewhere exclusive 0 plain\n",
        ]
        .concat(),
    );
    let shown = window(&text, &history, "k", 0, 2 * SECOND);
    let events: Vec<&str> = shown.lines().filter_map(|line| line.split(" s  ").nth(1)).collect();
    assert_eq!(
        events,
        [
            "start a k exclusive 0 plain",
            "began a 1",
            "tick a",
            "tick a",
            "fault flush server",
            "end a",
            "exit a code:0"
        ]
    );
}

/// A switch that no torture throws is dead code, and a defect without a switch is found by no torture.
#[test]
fn every_seeded_defect_is_listed_and_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed: BTreeSet<String> = include_str!("defects.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(' ').next().unwrap_or_default().to_owned())
        .collect();
    let mut switches = BTreeSet::new();
    let mut unseen = vec![root.join("src")];
    while let Some(directory) = unseen.pop() {
        for path in
            std::fs::read_dir(directory).expect("a directory of the project").flatten().map(|found| found.path())
        {
            if path.is_dir() {
                unseen.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let names = text.split("seeded!(\"").skip(1).filter_map(|rest| rest.split('"').next());
            switches.extend(names.map(str::to_owned));
        }
    }
    assert_eq!(switches, listed);
}
