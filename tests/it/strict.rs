//! `--strict`: a server of which `doctor` would warn grants nothing.

use crate::support::{Dlock, Kind, Place, Server, eventually};

/// Nothing that is held there can be forgotten: every write is on disk before it is answered.
fn trustworthy() -> Server {
    Server::redis(&[])
}

fn at(server: &Server) -> Place {
    Place::at_port(Kind::Redis, server.port)
}

#[track_caller]
fn refused(place: &Place, words: &[&str]) {
    let run = place.dlock(["run", "--strict", "-k", "job", "--", "sh", "-c", "echo it ran"]).finish();
    let words: Vec<&str> = ["no lock with --strict: "].iter().chain(words).copied().collect();
    let run = run.exits_with(78).complains(&words);
    assert!(run.stdout.is_empty(), "{}", run.account());
    let acquired = place.dlock(["acquire", "--strict", "-k", "job", "--ttl", "10s"]).finish().exits_with(78);
    assert!(acquired.complains(&words).stdout.is_empty());
    assert_eq!(place.status("job")["state"], "free");
    // Without it, they lock as before.
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
}

#[test]
fn a_server_that_evicts_is_refused() {
    refused(&at(&Server::redis(&["--maxmemory-policy", "allkeys-lru"])), &["allkeys-lru", "set maxmemory-policy"]);
    let limited = Server::redis(&["--maxmemory-policy", "volatile-ttl", "--maxmemory", "100mb"]);
    refused(&at(&limited), &["volatile-ttl", "somebody else gets it"]);
}

#[test]
fn a_server_that_forgets_in_a_restart_is_refused() {
    refused(&at(&Server::redis(&["--appendonly", "no", "--save", ""])), &["appendonly no", "set appendonly yes"]);
}

#[test]
fn a_server_that_may_not_be_asked_is_refused() {
    let server = trustworthy();
    let rule = "ACL SETUSER locker on >pw ~* &* +@all -info -config";
    server.command::<()>(&rule.split(' ').collect::<Vec<_>>());
    let url = format!("redis://locker:pw@127.0.0.1:{}", server.port);
    let run = Dlock::new(["run", "--strict", "--redis", &url, "-k", "job", "--", "true"]).finish();
    run.exits_with(78).complains(&["no lock with --strict: ", "is not known"]);
}

#[test]
fn of_several_masters_each_is_looked_at() {
    let masters = [trustworthy(), trustworthy(), Server::redis(&["--appendonly", "no"])];
    let urls = masters.each_ref().map(|master| format!("redis://127.0.0.1:{}", master.port)).join(",");
    let run = Dlock::new(["run", "--strict", "--redis", &urls, "-k", "job", "--", "true"]).finish();
    run.exits_with(78).complains(&[&masters[2].port.to_string(), "second majority"]);
}

#[test]
fn a_single_zookeeper_server_and_an_ensemble_without_ttl_nodes_are_refused() {
    refused(&Place::shared(Kind::ZooKeeper), &["1 server votes", "run three servers"]);
    let servers = Server::zookeeper_ensemble();
    refused(&Place::at_ports(&servers.each_ref().map(|server| server.port)), &["no TTL nodes"]);
}

#[test]
fn a_server_that_nobody_has_a_copy_of_is_refused() {
    refused(&at(&trustworthy()), &["0 replicas", "add a replica"]);
}

#[test]
fn a_good_server_grants_as_it_does_without() {
    let server = trustworthy();
    let _replica = Server::redis(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    eventually("it follows", || server.command::<String>(&["INFO", "replication"]).contains("state=online"));
    server.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let place = at(&server);
    place.dlock(["run", "--strict", "-k", "job", "--", "true"]).finish().succeeds().says_nothing();
    let strict = place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_STRICT"]);
    assert_eq!(strict.env("DLOCK_STRICT", "yes").finish().succeeds().said(), "1", "a run inside is as strict");
    let held = place.acquire("job", "30s");
    place.dlock(["run", "--strict", "-n", "-k", "job", "--", "true"]).finish().exits_with(75);
    place.dlock(["release", "-k", "job", "--token", &held]).finish().succeeds();
}

#[test]
fn without_a_server_there_is_nothing_to_be_strict_about() {
    let place = Place::shared(Kind::File);
    let run = place.dlock(["run", "--strict", "-k", "job", "--", "true"]).finish();
    run.exits_with(64).complains(&["--strict belongs to the redis and zk backends"]);
    place.dlock(["run", "-k", "job", "--", "true"]).env("DLOCK_STRICT", "1").finish().succeeds().says_nothing();
}
