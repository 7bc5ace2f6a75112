//! `dlock bench`: that every figure is there, that two backends stand side by side, and that nothing of anybody's is
//! touched. How long anything took is not judged here.

mod endings;
mod ways;

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{Dlock, Finished, Kind, Leads, Place, Running, Server, eventually, sentences_for_every_backend};

sentences_for_every_backend![
    every_figure_is_there_and_no_key_of_anybody_is_touched,
    the_contenders_are_processes_in_a_queue_who_say_what_they_are,
    the_table_has_a_row_for_every_time,
];

/// What every time that was measured has.
const TIMES: [&str; 5] = ["count", "median_us", "p95_us", "p99_us", "max_us"];

/// One that is as short as leaves time for each figure on a machine that does nine other things, with these words beside.
fn bench<'a>(place: &Place, words: impl IntoIterator<Item = &'a str>) -> Dlock {
    place.dlock_with(["bench", "--duration", "3s", "--contenders", "3"].into_iter().chain(words))
}

#[track_caller]
fn report(finished: &Finished) -> Value {
    serde_json::from_str(finished.said()).unwrap_or_else(|_| panic!("{}", finished.account()))
}

/// The one backend of a report.
#[track_caller]
fn only(report: &Value) -> &Value {
    let [one] = &report["backends"].as_array().expect("an array")[..] else { panic!("one backend: {report}") };
    one
}

#[track_caller]
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number: {value}"))
}

#[track_caller]
fn are_times(times: &Value) {
    let [count, median, p95, p99, max] = TIMES.map(|name| number(&times[name]));
    assert!(count >= 1.0 && 0.0 < median && median <= p95 && p95 <= p99 && p99 <= max, "{times}");
    assert!(max < 60e6, "microseconds: {times}");
}

fn every_figure_is_there_and_no_key_of_anybody_is_touched(place: &Place) {
    let other = place.hold("other");
    let (before, held) = (place.footprint(), place.status("other"));
    let finished = bench(place, ["--json"]).finish().succeeds().says_nothing_on_stderr();
    assert_eq!(place.footprint(), before, "{}", finished.account());
    assert_eq!(place.status("other")["holders"][0]["id"], held["holders"][0]["id"]);
    other.let_go();
    other.wait().succeeds();

    let report = report(&finished);
    assert_eq!((&report["duration_ms"], &report["contenders"]), (&3000.into(), &3.into()));
    assert_eq!(report["mode"], "exclusive");
    let one = only(&report);
    assert_eq!(one["namespace"], place.namespace.as_str());
    assert!(one["error"].is_null() && one["endpoint"].is_string() && one["layout"] == "dlock", "{one}");
    ["acquire", "release", "hand_over"].iter().for_each(|name| are_times(&one[*name]));
    let crowd = &one["contention"];
    are_times(&crowd["wait"]);
    let [grants, fewest, most, lasted] = ["grants", "fewest", "most", "lasted_ms"].map(|name| number(&crowd[name]));
    assert!(grants > 0.0 && fewest <= most && most <= grants && 3.0 * most >= grants, "{crowd}");
    assert!((number(&crowd["grants_per_second"]) - grants * 1000.0 / lasted).abs() < 0.1, "{crowd}");
    assert!((grants - number(&crowd["wait"]["count"])).abs() < 0.5, "{crowd}");
    if place.kind == Kind::File {
        assert!(one["renew"].is_null() && one["lease"].is_null(), "a kernel lock has no lease: {one}");
        return;
    }
    are_times(&one["renew"]);
    let lease = &one["lease"];
    assert_eq!(lease["slowest_renewal_us"], one["renew"]["max_us"]);
    let choices = lease["choices"].as_array().expect("an array");
    assert!(choices.iter().any(|choice| choice["ttl_ms"] == lease["ttl_ms"] && choice["granted"] == true), "{lease}");
    assert_eq!(number(&choices[0]["times_the_slowest"]) >= 10.0, number(&lease["slowest_renewal_us"]) <= 50_000.0);
    assert!(choices.iter().all(|choice| choice["granted"] == true), "they are all within the range: {lease}");
}

fn the_contenders_are_processes_in_a_queue_who_say_what_they_are(place: &Place) {
    let words = ["--duration", "10s", "--label", "measuring", "-v", "--contenders", "3"];
    let running = place.dlock_with(["bench"].into_iter().chain(words)).start();
    begins(&running, "hand-over");
    let mut seen = Value::Null;
    eventually("one of them holds it and another one waits", || {
        let listed = place.dlock(["list", "--json"]).finish().succeeds();
        seen = report(&listed)[0].clone();
        // Between two turns a list may show one of them in both places, or a holder that has not written yet who it is.
        let [holder, waiter] = ["holders", "waiters"].map(|who| &seen[who][0]["pid"]);
        !holder.is_null() && !waiter.is_null() && holder != waiter
    });
    assert!(seen["key"].as_str().is_some_and(|key| key.starts_with("dlock-bench-")), "{seen}");
    let [holder, waiter] = ["holders", "waiters"].map(|who| &seen[who][0]);
    assert_eq!((&holder["label"], &waiter["label"]), (&"measuring".into(), &"measuring".into()));
    running.signal(Signal::SIGTERM);
    running.wait().dies_of(Signal::SIGTERM);
}

fn the_table_has_a_row_for_every_time(place: &Place) {
    let finished = bench(place, []).finish().succeeds();
    let rows: Vec<Vec<&str>> = finished.said().lines().map(|line| line.split_whitespace().collect()).collect();
    let row =
        |name: &str| rows.iter().find(|row| row.first() == Some(&name)).unwrap_or_else(|| panic!("{name}: {rows:?}"));
    assert_eq!(row("WHAT")[2..], ["COUNT", "MEDIAN", "P95", "P99", "MAX"]);
    for name in ["acquire", "release", "renew", "hand-over", "wait"] {
        let has_none = place.kind == Kind::File && name == "renew";
        assert_eq!(row(name).len(), 7, "{rows:?}");
        assert_eq!(row(name)[2..].iter().all(|cell| *cell == "-"), has_none, "{rows:?}");
    }
    assert_eq!(finished.said().contains("the slowest renewal took"), place.kind != Kind::File);
    let tables = finished.said().lines().take_while(|line| !line.contains("the slowest renewal took"));
    assert!(tables.skip(3).all(|line| line.chars().count() <= 80), "{}", finished.said());
}

/// Waits until this is being measured.
#[track_caller]
fn begins(running: &Running, part: &str) {
    eventually(part, || running.stderr().contains(&format!(": {part}\n")) || running.has_ended());
    assert!(!running.has_ended(), "it goes on: {}", running.stderr());
}

#[test]
fn two_backends_stand_side_by_side_and_their_pair_where_it_is_named() {
    let place = Place::both();
    let [redis, zookeeper] = [Kind::Redis, Kind::ZooKeeper].map(|kind| place.half(kind));
    let before = [redis.footprint(), zookeeper.footprint()];
    let options = [redis.options(), zookeeper.options()].concat();
    let measured = |more: &[&str]| {
        // The namespace once.
        let mut words: Vec<&str> = options.iter().map(String::as_str).take(options.len() - 2).collect();
        words.retain(|word| *word != "--namespace");
        words.retain(|word| *word != place.namespace);
        let words =
            [&["bench", "--duration", "2s", "--contenders", "2"], &words[..], &["--namespace", &place.namespace]];
        Dlock::new([&words.concat()[..], more].concat()).finish().succeeds().says_nothing_on_stderr()
    };
    let names = |report: &Value| -> Vec<String> {
        let backends = report["backends"].as_array().expect("an array");
        backends.iter().map(|one| one["backend"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&report(&measured(&["--json"]))), ["redis", "zk"]);
    let three = report(&measured(&["--json", "-b", "redis+zk"]));
    assert_eq!(names(&three), ["redis", "zk", "redis+zk"]);
    let [redis_alone, zookeeper_alone, pair] = &three["backends"].as_array().expect("an array")[..] else { panic!() };
    ["acquire", "release", "hand_over"].iter().for_each(|name| are_times(&pair[*name]));
    assert!(pair["renew"].is_null(), "each lock of the pair is renewed by itself: {pair}");
    let slowest =
        [redis_alone, zookeeper_alone].map(|one| number(&one["renew"]["max_us"])).into_iter().fold(0.0, f64::max);
    assert!((number(&pair["lease"]["slowest_renewal_us"]) - slowest).abs() < 0.01, "{three}");

    let table = measured(&[]);
    for row in ["acquire    redis ", "acquire    zk ", "hand-over  redis ", "hand-over  zk "] {
        assert!(table.said().contains(row), "{row}: {}", table.said());
    }
    assert_eq!([redis.footprint(), zookeeper.footprint()], before);
}

#[test]
fn one_of_two_that_cannot_be_measured_is_told_of_and_the_other_one_is_shown() {
    let place = Place::shared(Kind::ZooKeeper);
    let failed = bench(&place, ["--redis", "redis://127.0.0.1:1", "--json"]).finish().exits_with(69);
    let failed = failed.complains(&["redis://127.0.0.1:1", "refuses the connection"]);
    let report = report(&failed);
    assert!(report["backends"][0]["error"].as_str().is_some_and(|error| error.contains("refuses")), "{report}");
    are_times(&report["backends"][1]["acquire"]);
    assert!(place.footprint().is_empty(), "{:?}", place.footprint());
}

#[test]
fn it_takes_about_as_long_as_it_was_told_to() {
    let place = Place::shared(Kind::Redis);
    let took = |duration: &str| {
        let finished = place.dlock(["bench", "--contenders", "2", "--duration", duration, "--json"]).finish();
        finished.succeeds().took
    };
    let (short, long) = (took("1s"), took("4s"));
    assert!(short >= Duration::from_millis(800) && long >= Duration::from_millis(3_200), "{short:?} {long:?}");
    assert!(long < Duration::from_secs(20), "{long:?}");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_sentence() {
    let complains = |args: &[&str], status: i32, words: &[&str]| {
        let finished = Dlock::new(["bench"].iter().chain(args)).finish().exits_with(status).complains(words);
        assert!(finished.stdout.is_empty(), "{}", finished.account());
    };
    complains(&["-k", "job"], 64, &["dlock bench takes no \"-k\": it measures with a key of its own"]);
    complains(&["--wait=5s"], 64, &["dlock bench takes no \"--wait\": nobody else wants its lock"]);
    complains(&["--hold-at-least", "1m"], 64, &["dlock bench takes no \"--hold-at-least\": every release would be"]);
    complains(&["--", "./backup.sh"], 64, &["dlock bench takes no \"./backup.sh\": it runs no command"]);
    complains(&["--contender", "3"], 64, &["'--contenders'", "dlock bench --help"]);
    complains(&["--duration", "0"], 64, &["invalid --duration \"0\"", "at least 1s and at most 1h"]);
    complains(&["--contenders", "many"], 64, &["invalid --contenders \"many\"", "from 1 to 100"]);
    complains(&["-b", "file", "--namespace", ""], 64, &["dlock bench has none of its own", "name a namespace"]);
    complains(&["--dir", "/nonexistent"], 78, &["/nonexistent does not exist"]);
    complains(&["--redis", "redis://r1,redis://r2,redis://r3", "-s"], 64, &["--shared needs one server"]);
    complains(&["--profile", "nowhere"], 78, &["\"nowhere\""]);
}

#[test]
fn leases_that_the_server_does_not_grant_are_not_advised() {
    let server = Server::zookeeper_with(&[], "maxSessionTimeout=8000\n", Leads::Alone);
    let place = Place::at_port(Kind::ZooKeeper, server.port);
    let report = report(&bench(&place, ["--json"]).finish().succeeds());
    let lease = &only(&report)["lease"];
    let granted: Vec<(u64, bool)> = lease["choices"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|choice| (choice["ttl_ms"].as_u64().expect("a number"), choice["granted"] == true))
        .collect();
    let expected = [(5_000, true), (8_000, true), (10_000, false), (20_000, false), (30_000, false), (60_000, false)];
    assert_eq!((granted.as_slice(), &lease["ttl_ms"]), (&expected[..], &8_000.into()));
    assert!(lease["shortest_ttl_ms"].is_null() || number(&lease["shortest_ttl_ms"]) <= 8_000.0, "{lease}");
    let told = bench(&place, []).finish().succeeds();
    assert_eq!(told.said().lines().filter(|line| line.ends_with("not granted here")).count(), 4, "{}", told.said());
}

#[test]
fn a_ttl_outside_the_servers_range_is_78_as_it_is_for_a_run() {
    let place = Place::shared(Kind::ZooKeeper);
    bench(&place, ["--ttl", "1h"]).finish().exits_with(78).complains(&["1h"]);
    assert!(place.footprint().is_empty(), "{:?}", place.footprint());
}
