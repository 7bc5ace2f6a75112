//! Units, sub-second leases, and what an earlier lease leaves behind.

use crate::support::{Kind, Place};

/// What was typed, and as milliseconds.
const LEASES: [(&str, u64); 8] = [
    ("1", 1_000),
    ("1s", 1_000),
    ("1500ms", 1_500),
    ("1.5", 1_500),
    ("2s 3ms", 2_003),
    ("90", 90_000),
    ("2h", 7_200_000),
    ("366d", 31_622_400_000),
];

/// The words of the value at the key, and for how long the server keeps it.
fn stored(place: &Place) -> (Vec<String>, u64) {
    let (mut redis, key) = (place.redis(), format!("{}:job", place.namespace));
    let value: String = ::redis::cmd("GET").arg(&key).query(&mut redis).expect("it is held");
    let left: u64 = ::redis::cmd("PTTL").arg(&key).query(&mut redis).expect("it has an end");
    (value.split(' ').map(str::to_owned).collect(), left)
}

/// Each lease follows a longer or a shorter one of the same key and takes nothing over from it.
#[test]
fn the_lease_at_the_server_is_what_was_typed_and_nothing_of_the_one_before() {
    let place = Place::shared(Kind::Redis);
    let slack = 900;
    let is_right = |wanted: u64, what: &str| {
        let (words, left) = stored(&place);
        assert_eq!(words[5], wanted.to_string(), "{what}: {words:?}");
        assert!(left <= wanted && left + slack.min(wanted) >= wanted, "{what}: {left} of {wanted} ms");
    };
    for (typed, wanted) in LEASES.into_iter().rev().chain(LEASES) {
        let slow = if wanted < 5_000 { "5" } else { typed };
        let token = place.acquire("job", slow);
        if slow != typed {
            place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", typed]).finish().succeeds();
            let (_, left) = stored(&place);
            assert!(left <= wanted, "renew --ttl {typed}: {left}");
        } else {
            is_right(wanted, typed);
        }
        place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
        // A lease of a second may be renewed between the command's start and the look; its words say what it is.
        let run = place.hold_for("job", typed);
        let (words, left) = stored(&place);
        assert_eq!(words[5], wanted.to_string(), "run --ttl {typed}: {words:?}");
        assert!(left <= wanted, "run --ttl {typed}: {left}");
        run.let_go();
        run.wait().succeeds();
    }
    let run = place.hold("job");
    is_right(30_000, "the default");
    run.let_go();
    run.wait().succeeds();
}

/// Nothing that would be no expiry at all, or one that deletes, is ever sent.
#[test]
fn a_lease_that_would_round_to_nothing_is_refused_and_changes_nothing() {
    for kind in [Kind::File, Kind::Redis, Kind::ZooKeeper] {
        let place = Place::shared(kind);
        for typed in ["0", "0.9", "0.0004", "999ms", "0s", "1us", "-1"] {
            for verb in [
                &["run", "-k", "job", "--ttl", typed, "--", "echo", "it ran"][..],
                &["acquire", "-k", "job", "--ttl", typed],
            ] {
                let refused = place.dlock_with(verb.iter().copied()).finish().exits_with(64);
                assert!(refused.stdout.is_empty(), "{}", refused.account());
            }
        }
        assert!(place.is_free("job"));
        let token = place.acquire("job", "1m");
        for typed in ["0", "0.9", "0.0004", "999ms"] {
            place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", typed]).finish().exits_with(64);
        }
        assert!(place.status("job")["holders"][0]["remaining_ms"].as_u64() > Some(30_000), "{kind:?}");
    }
}
