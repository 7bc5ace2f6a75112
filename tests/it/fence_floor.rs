//! `--fence-floor`: what a fleet that came from Redis adds to ZooKeeper's small numbers.

use serde_json::Value;

use crate::support::{Dlock, Kind, Place, program};

/// Above all that Redis gives out until the year 2112.
const FLOOR: u64 = 4_503_599_627_370_496;
const FLOOR_OPTION: &str = "4503599627370496";

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn it_is_added_to_the_token_wherever_that_is_told() {
    let place = Place::shared(Kind::ZooKeeper);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let file = directory.path().join("fence");
    let path = file.to_str().expect("temporary directories have plain names");
    let dlock = program();
    // What the command sees; what status says meanwhile; what a run inside it is told.
    let script = r#"echo "$DLOCK_FENCE"; cat "$0"; "$1" status --json job; "$1" list --json
        "$1" run -n -k job -- sh -c 'echo "$DLOCK_FENCE"'"#;
    let args = ["run", "--fence-floor", FLOOR_OPTION, "-k", "job", "--fence-file", path, "--"];
    let args = args.into_iter().chain(["sh", "-c", script, path, dlock]);
    let run = place.dlock_with(args).finish().succeeds();
    let lines: Vec<&str> = run.said().lines().collect();
    let told = number(lines[0]);
    assert!(told > FLOOR && told < FLOOR + (1 << 50), "{}", run.account());
    assert_eq!(number(lines[1]), told, "the file");
    for (line, what) in [(lines[2], "status"), (lines[3], "list")] {
        let status = parsed(line);
        assert_eq!((&status[0]["fence"], &status[0]["holders"][0]["fence"]), (&told.into(), &told.into()), "{what}");
    }
    assert_eq!(number(lines[4]), told, "a run inside");
    let acquired = place.dlock(["acquire", "--fence-floor", FLOOR_OPTION, "-k", "job", "--ttl", "30s", "--json"]);
    let acquired = parsed(acquired.finish().succeeds().said());
    let fence = acquired["keys"][0]["fence"].as_u64().expect("a number");
    assert!(fence > told, "it rises: {fence} after {told}");
    // The node holds ZooKeeper's own number: whoever looks without a floor sees that.
    assert_eq!(place.status("job")["fence"], fence - FLOOR);
    let floored = place.dlock(["status", "--json", "job"]).env("DLOCK_FENCE_FLOOR", FLOOR_OPTION).finish().succeeds();
    assert_eq!(parsed(floored.said())[0]["fence"], fence);
}

#[test]
fn a_lock_that_is_held_at_least_keeps_its_token() {
    let place = Place::shared(Kind::ZooKeeper);
    let args = ["run", "--fence-floor", "1000", "--hold-at-least", "1h", "-k", "job", "--"];
    let run = place.dlock_with(args.into_iter().chain(["sh", "-c", "echo $DLOCK_FENCE"])).finish().succeeds();
    let floored = place.dlock(["status", "--json", "--fence-floor", "1000", "job"]).finish().succeeds();
    assert_eq!(parsed(floored.said())[0]["fence"], number(run.said()));
}

#[test]
fn a_sum_beyond_63_bits_grants_nothing() {
    let place = Place::shared(Kind::ZooKeeper);
    let floor = i64::MAX.to_string();
    for call in [&["run", "-k", "job", "--", "true"][..], &["acquire", "-k", "job", "--ttl", "10s"]] {
        let mut args = call.to_vec();
        args.splice(1..1, ["--fence-floor", floor.as_str()]);
        place.dlock_with(args).finish().exits_with(78).complains(&["63 bits", "lower floor"]);
        assert!(place.is_free("job"), "nothing is left in the way");
    }
    place.dlock(["run", "--fence-floor", floor.as_str(), "-s", "-k", "job", "--", "true"]).finish().succeeds();
}

/// The hosts that have no floor yet go on from there.
#[test]
fn on_both_it_is_zookeepers_token_and_redis_is_told() {
    let place = Place::both();
    let floored = |fence: &str| {
        let args = ["run", "--fence-floor", FLOOR_OPTION, "-k", "job", "--", "sh", "-c", fence];
        number(place.dlock(args).finish().succeeds().said())
    };
    let plain =
        || number(place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_FENCE"]).finish().succeeds().said());
    let before = plain();
    let first = floored("echo $DLOCK_FENCE");
    assert!(before < FLOOR && first > FLOOR, "{before} {first}");
    let second = plain();
    let third = floored("echo $DLOCK_FENCE");
    assert!(first < second && second < third, "{first} {second} {third}");
    let dlock = program();
    let script = format!("echo $DLOCK_FENCE; {dlock} status --json job");
    let args = ["run", "--fence-floor", FLOOR_OPTION, "-k", "job", "--", "sh", "-c", &script];
    let shown = place.dlock(args).finish().succeeds();
    let (told, status) = shown.said().split_once('\n').expect("two lines");
    assert_eq!(parsed(status)[0]["holders"][0]["fence"], number(told));
    let key = format!("{{{}:job}}:dlock:fence", place.namespace);
    let left: i64 = ::redis::cmd("PTTL").arg(key).query(&mut place.redis()).expect("the server serves");
    assert!(left > 365 * 24 * 3_600_000, "it is kept: {left}");
    let beyond = ["run", "--fence-floor", "9007199254740991", "-k", "job", "--", "true"];
    place.dlock(beyond).finish().exits_with(78).complains(&["beyond what Redis can count to", "lower --fence-floor"]);
    assert!(place.is_free("job"));
    let masters = ["run", "--redis", "redis://r1,redis://r2,redis://r3", "--zk", "z1", "-b", "redis+zk", "-k", "job"];
    let masters = masters.into_iter().chain(["--fence-floor", "7", "--", "true"]);
    Dlock::new(masters).finish().exits_with(64).complains(&["--fence-floor", "needs one Redis"]);
}

#[test]
fn nonsense_is_refused_and_so_is_a_backend_with_tokens_of_its_own() {
    let place = Place::shared(Kind::ZooKeeper);
    for floor in ["-1", "+1", "1.5", "much", "", "9223372036854775808"] {
        let option = format!("--fence-floor={floor}");
        let run = place.dlock(["run", &option, "-k", "job", "--", "true"]).finish().exits_with(64);
        run.complains(&["--fence-floor"]);
    }
    for place in [Place::shared(Kind::Redis), Place::shared(Kind::File)] {
        let run = place.dlock(["run", "--fence-floor", "7", "-k", "job", "--", "true"]).finish().exits_with(64);
        run.complains(&["--fence-floor belongs to the zk backend"]);
        // From the environment it waits for the day on which ZooKeeper is all there is.
        let call = place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_FENCE"]);
        let run = call.env("DLOCK_FENCE_FLOOR", FLOOR_OPTION).finish().succeeds();
        assert!(number(run.said()) < FLOOR, "{}", run.account());
    }
    Dlock::new(["run", "-b", "file", "-k", "job", "--", "true"]).env("DLOCK_FENCE_FLOOR", "x").finish().succeeds();
}
