//! `dlock doctor`: that what can make locks untrustworthy is found where it is, and nowhere else.

mod file;
mod redis;
mod zookeeper;

use serde_json::Value;

use crate::support::{Dlock, Finished, Kind, Place};

/// What `doctor --json` found, and how it ended.
struct Findings {
    all: Vec<Value>,
    finished: Finished,
}

impl Findings {
    fn of(call: Dlock) -> Self {
        let finished = call.finish();
        let all: Value = serde_json::from_str(finished.said()).unwrap_or_else(|_| panic!("{}", finished.account()));
        Self { all: all.as_array().expect("an array").clone(), finished }
    }

    fn at(place: &Place) -> Self {
        Self::of(place.dlock(["doctor", "--json"]))
    }

    /// The levels of a check, one for each place that was looked at.
    fn levels(&self, check: &str) -> Vec<&str> {
        let of_check = self.all.iter().filter(|one| one["check"] == check);
        of_check.map(|one| one["level"].as_str().expect("every finding has a level")).collect()
    }

    /// Asserts the level of a check that was made once, and what it says.
    #[track_caller]
    fn finds(&self, check: &str, level: &str, words: &[&str]) -> &Self {
        let found: Vec<_> = self.all.iter().filter(|one| one["check"] == check && one["level"] == level).collect();
        let [one] = &found[..] else { panic!("{level} {check} once: {}", self.finished.account()) };
        let said = format!("{} {} {}", one["what"], one["why"], one["do"]);
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
        self
    }

    /// Asserts that nothing but these checks is worse than "ok".
    #[track_caller]
    fn finds_only(&self, expected: &[(&str, &str)]) -> &Self {
        let worse = self.all.iter().filter(|one| one["level"] != "ok");
        let worse: Vec<_> = worse.map(|one| (one["check"].as_str(), one["level"].as_str())).collect();
        let expected: Vec<_> = expected.iter().map(|(check, level)| (Some(*check), Some(*level))).collect();
        assert_eq!(worse, expected, "{}", self.finished.account());
        self
    }

    fn exits_with(self, status: i32) -> Self {
        Self { finished: self.finished.exits_with(status), ..self }
    }
}

#[test]
fn every_finding_has_the_same_fields_and_says_what_to_do_where_there_is_something() {
    for kind in [Kind::Redis, Kind::File, Kind::ZooKeeper] {
        let found = Findings::at(&Place::shared(kind));
        assert!(found.all.len() > 3, "{kind:?}");
        for one in &found.all {
            let mut fields: Vec<_> = one.as_object().expect("an object").keys().map(String::as_str).collect();
            fields.sort_unstable();
            assert_eq!(fields, ["check", "do", "level", "what", "why"]);
            assert!(one["check"].is_string() && one["what"].is_string(), "{one}");
            let is_ok = one["level"] == "ok";
            assert!(is_ok || ["warning", "failed"].iter().any(|level| one["level"] == *level), "{one}");
            assert!(one["why"].is_null() == is_ok && one["do"].is_null() == is_ok, "{one}");
        }
    }
}

#[test]
fn a_table_fits_a_terminal_of_eighty_columns() {
    let finished = Place::shared(Kind::Redis).dlock(["doctor"]).finish().succeeds();
    assert!(finished.said().starts_with("LEVEL"), "{}", finished.said());
    assert!(finished.said().lines().all(|line| line.chars().count() <= 80), "{}", finished.said());
}

#[test]
fn nothing_is_left_behind() {
    for kind in [Kind::Redis, Kind::File, Kind::ZooKeeper] {
        let place = Place::shared(kind);
        Findings::at(&place).exits_with(0);
        assert!(place.footprint().is_empty(), "{kind:?}: {:?}", place.footprint());
    }
}

#[test]
fn what_makes_no_sense_is_a_matter_of_usage() {
    let complains = |args: &[&str], words: &[&str]| {
        Dlock::new(["doctor"].iter().chain(args)).finish().exits_with(64).complains(words);
    };
    complains(&["--before", "zk"], &["-b redis+zk"]);
    complains(&["--before", "redis", "-b", "redis+zk"], &["invalid --before \"redis\""]);
    complains(&["--before", "zk", "--config"], &["cannot be used with"]);
    complains(&["--ttl", "soon"], &["invalid --ttl \"soon\""]);
    complains(&["-b", "nowhere"], &["--backend"]);
}
