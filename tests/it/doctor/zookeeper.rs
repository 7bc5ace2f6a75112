//! In ZooKeeper: ensembles that are set up badly, each in one way; and what is left before a fleet leaves Redis.

use zookeeper_client::{Acl, Acls, CreateMode, Permission};

use crate::support::{Dlock, Kind, Leads, Place, Server, free_port};

use super::Findings;

#[test]
fn one_server_alone_is_told_so_and_locks_are_all_right() {
    let found = Findings::at(&Place::shared(Kind::ZooKeeper)).exits_with(0);
    found.finds_only(&[("ensemble", "warning"), ("ttl-nodes", "warning")]);
    found.finds("session", "ok", &["1s to 2m"]).finds("permissions", "ok", &[]).finds("round-trip", "ok", &["3000 ms"]);
}

#[test]
fn ttl_nodes_are_found_where_there_are_any() {
    let lines = "minSessionTimeout=1000\nmaxSessionTimeout=120000\n";
    let server = Server::zookeeper_with(&["-Dzookeeper.extendedTypesEnabled=true"], lines, Leads::Alone);
    let found = Findings::at(&Place::at_port(Kind::ZooKeeper, server.port)).exits_with(0);
    found.finds_only(&[("ensemble", "warning")]).finds("ttl-nodes", "ok", &[]);
}

#[test]
fn a_session_range_that_the_lease_does_not_fit_fails_where_the_lease_was_named() {
    let server = Server::zookeeper_with(&[], "minSessionTimeout=2000\nmaxSessionTimeout=6000\n", Leads::Alone);
    let place = Place::at_port(Kind::ZooKeeper, server.port);
    Findings::at(&place).exits_with(0).finds("session", "warning", &["6s for 30s", "2s to 6s"]);
    let named = |ttl| Findings::of(place.dlock(["doctor", "--json", "--ttl", ttl]));
    named("30s").exits_with(1).finds("session", "failed", &["status 78", "maxSessionTimeout"]);
    named("1s").exits_with(1).finds("session", "failed", &["2s for 1s"]);
    named("5s").exits_with(0).finds("session", "ok", &[]);
}

#[test]
fn an_ensemble_is_counted_and_one_that_is_away_is_named() {
    let mut servers = Server::zookeeper_ensemble();
    let ports = servers.each_ref().map(|server| server.port);
    let of = |ports: &[u16]| Findings::of(Place::at_ports(ports).dlock(["doctor", "--json", "--ttl", "20s"]));
    of(&ports).exits_with(0).finds("ensemble", "ok", &["3 servers"]).finds("servers", "ok", &["3 of 3"]);
    of(&ports[..1]).exits_with(0).finds("ensemble", "warning", &["names 1"]);
    servers[2].crash();
    let away = format!("127.0.0.1:{} refuses connections", ports[2]);
    of(&ports).exits_with(0).finds("servers", "warning", &["2 of 3", &away]);
}

#[test]
fn locks_of_another_layout_are_found_and_fail_where_two_may_hold_one() {
    let place = Place::shared(Kind::ZooKeeper);
    let theirs = place.dlock(["acquire", "-k", "job", "--ttl", "60s", "--layout", "kazoo"]).finish().succeeds();
    let found = Findings::at(&place).exits_with(0);
    found.finds("layouts", "warning", &["job", "kazoo", "status 78"]).finds("clock", "ok", &[]);
    Findings::of(place.dlock(["doctor", "--json", "--layout", "kazoo"])).exits_with(0).finds("layouts", "ok", &[]);
    let beside = format!("/{}/job/_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-", place.namespace);
    place.zookeeper(async |client| {
        let anyone = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        client.create(&beside, b"", &anyone).await.expect("a contender");
        Findings::at(&place).exits_with(1).finds("layouts", "failed", &["held by two at once"]);
    });
    place.dlock(["release", "-k", "job", "--layout", "kazoo", "--token", theirs.said()]).finish().succeeds();
}

#[test]
fn a_namespace_in_which_this_user_may_not_create_fails() {
    let place = Place::shared(Kind::ZooKeeper);
    let top = format!("/{}", place.namespace);
    place.zookeeper(async |client| {
        let read_only = [Acl::new_const(Permission::READ, "world", "anyone")];
        client.create(&top, b"", &CreateMode::Persistent.with_acls(Acls::from(&read_only[..]))).await.expect("a node");
    });
    let found = Findings::at(&place).exits_with(1);
    found.finds("permissions", "failed", &["ACL", "cdrwa"]);
    place.zookeeper(async |client| client.delete(&top, None).await.expect("the root lets everybody delete"));
}

#[test]
fn an_ensemble_that_grants_no_session_is_no_finding() {
    let nobody = format!("127.0.0.1:{}", free_port());
    let call = Dlock::new(["doctor", "--zk", &nobody]).finish().exits_with(69);
    call.complains(&["cannot examine this deployment", "refuses connections"]);
    let chroot = format!("127.0.0.1:{}/nowhere", Server::shared_zookeeper().port);
    Dlock::new(["doctor", "--zk", &chroot]).finish().exits_with(78).complains(&["/nowhere does not exist"]);
}

#[test]
fn both_are_looked_at_where_both_are_held() {
    let found = Findings::at(&Place::both()).exits_with(0);
    found.finds("eviction", "ok", &[]).finds("session", "ok", &[]);
    assert_eq!(found.levels("permissions"), ["ok", "ok"]);
}

#[test]
fn before_a_fleet_leaves_redis_those_are_listed_who_know_only_redis() {
    let place = Place::both();
    let before = |form: &[&str]| place.dlock_with(["doctor", "--before", "zk"].iter().chain(form).copied()).finish();
    before(&[]).exits_with(0).mentions(&["everybody may change to -b zk"]);
    let modern = place.hold("modern");
    before(&[]).exits_with(0);
    let redis = place.half(Kind::Redis);
    let (holder, waiter) = (redis.hold("old"), redis.queue_up("old"));
    let zookeeper = place.half(Kind::ZooKeeper).hold("new");
    let listed = before(&["--json"]).exits_with(1);
    let listed: serde_json::Value = serde_json::from_str(listed.said()).expect("an array");
    let [old] = &listed.as_array().expect("an array")[..] else { panic!("one key is left: {listed}") };
    assert_eq!((&old["key"], &old["state"]), (&"old".into(), &"held".into()));
    for part in ["holders", "waiters"] {
        assert_eq!(old[part].as_array().map(Vec::len), Some(1), "{listed}");
    }
    let table = before(&[]).exits_with(1);
    assert!(table.said().contains("old") && !table.said().contains("modern"), "{}", table.account());
    for run in [&modern, &zookeeper, &holder, &waiter] {
        run.let_go();
    }
    for run in [modern, zookeeper, holder, waiter] {
        run.wait().succeeds();
    }
    before(&[]).exits_with(0);
}
