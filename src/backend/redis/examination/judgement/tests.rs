use super::*;
use crate::lock::Grade;

fn facts(info: &[(&str, &str)], config: &[(&str, &str)]) -> Facts {
    let map = |pairs: &[(&str, &str)]| {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Some(pairs.iter().map(own).collect())
    };
    Facts { url: "redis://r1:6379".into(), info: map(info), config: map(config), ..Facts::default() }
}

fn demands(station: Station) -> Demands {
    let ttl = Duration::from_secs(30);
    Demands { ttl, request_limit: ttl / 10, station, wait_replicas: 0 }
}

fn grade(finding: Option<Finding>) -> Option<Grade> {
    finding.map(|finding| finding.grade)
}

#[test]
fn every_policy_but_noeviction_throws_locks_away_where_memory_is_limited() {
    for (policy, limit, expected) in [
        ("noeviction", "0", Grade::Ok),
        ("noeviction", "1000", Grade::Ok),
        ("allkeys-lru", "0", Grade::Warning),
        ("allkeys-lru", "1000", Grade::Failed),
        // Locks are just what has a TTL.
        ("volatile-ttl", "1000", Grade::Failed),
    ] {
        let finding = eviction(&facts(&[("maxmemory", limit), ("maxmemory_policy", policy)], &[]));
        assert_eq!(grade(finding), Some(expected), "{policy} {limit}");
    }
    assert_eq!(eviction(&Facts::default()), None);
}

#[test]
fn what_is_on_disk_before_it_is_answered_is_kept_and_masters_need_that() {
    let with = |appendonly, fsync, save, station| {
        let config = [("appendonly", appendonly), ("appendfsync", fsync), ("save", save)];
        grade(persistence(&facts(&[], &config), station)).expect("it is known")
    };
    assert_eq!(with("yes", "always", "", Station::Alone), Grade::Ok);
    for (appendonly, fsync, save) in [("yes", "everysec", ""), ("no", "always", "3600 1"), ("no", "always", "")] {
        assert_eq!(with(appendonly, fsync, save, Station::Alone), Grade::Warning);
        assert_eq!(with(appendonly, fsync, save, Station::AmongMasters), Grade::Failed);
    }
    let full = facts(&[("aof_last_write_status", "err")], &[("appendonly", "yes"), ("appendfsync", "always")]);
    assert_eq!(grade(persistence(&full, Station::Alone)), Some(Grade::Failed));
}

#[test]
fn replicas_are_judged_by_who_may_promote_them() {
    let with = |count, least, station, wait_replicas| {
        let facts = facts(&[("role", "master"), ("connected_slaves", count)], &[("min-replicas-to-write", least)]);
        grade(replicas(&facts, &Demands { wait_replicas, ..demands(station) })).expect("it is a master")
    };
    assert_eq!(with("0", "0", Station::Alone, 0), Grade::Warning);
    assert_eq!(with("0", "0", Station::AmongMasters, 0), Grade::Ok);
    assert_eq!(with("0", "0", Station::UnderSentinels, 0), Grade::Warning);
    assert_eq!(with("2", "0", Station::UnderSentinels, 0), Grade::Warning);
    assert_eq!(with("2", "1", Station::UnderSentinels, 0), Grade::Ok);
    assert_eq!(with("1", "1", Station::AmongMasters, 0), Grade::Warning);
    assert_eq!(with("1", "1", Station::Alone, 2), Grade::Failed);
}

#[test]
fn an_answer_that_comes_later_than_a_renewal_may_take_fails() {
    let with = |ms| {
        let facts = Facts { slowest_trip: Some(Duration::from_millis(ms)), ..Facts::default() };
        grade(round_trip(&facts, &demands(Station::Alone))).expect("it was measured")
    };
    assert_eq!([with(1), with(1501), with(3001)], [Grade::Ok, Grade::Warning, Grade::Failed]);
}

#[test]
fn clocks_may_be_apart_by_what_nobody_notices() {
    for (ahead, expected) in [(0.5, Grade::Ok), (-0.9, Grade::Ok), (1.5, Grade::Warning), (-300.0, Grade::Warning)] {
        let facts = Facts { clock_ahead_s: Some(ahead), ..Facts::default() };
        assert_eq!(grade(clock(&facts)), Some(expected), "{ahead}");
    }
}

#[test]
fn a_right_that_any_lock_needs_fails_and_others_warn() {
    let refused = vec![("get", Need::AnyLock), ("publish", Need::BeingTold), ("get", Need::AnyLock)];
    let found = permissions(&Facts { url: "redis://r1".into(), refused, ..Facts::default() });
    assert_eq!(found.iter().map(|one| one.grade).collect::<Vec<_>>(), [Grade::Failed, Grade::Warning]);
    assert_eq!(found[0].what, "redis://r1 refuses this user +get");
    assert_eq!(permissions(&Facts::default())[0].grade, Grade::Ok);
}

#[test]
fn old_versions_and_replicas_fail() {
    assert_eq!(grade(version(&facts(&[("redis_version", "6.0.16")], &[]))), Some(Grade::Failed));
    assert_eq!(
        grade(version(&facts(&[("redis_version", "7.2.4"), ("valkey_version", "8.1.0")], &[]))),
        Some(Grade::Ok)
    );
    let replica = role(&facts(&[("role", "slave"), ("master_host", "r2"), ("master_port", "6379")], &[]));
    assert_eq!(
        replica.map(|one| (one.grade, one.what)),
        Some((Grade::Failed, "redis://r1:6379 is a replica of r2:6379".into()))
    );
}
