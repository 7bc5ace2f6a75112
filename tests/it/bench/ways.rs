//! Every way to a lock that `run` knows is a way for `bench`, and nothing stays on any of the servers.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{are_times, bench, number, only, report};
use crate::support::{Certificates, Cluster, Dlock, Kind, Leads, Place, Proxy, Server, Watched, eventually, free_port};

/// Measures there, and returns what was measured.
#[track_caller]
fn measured(call: Dlock) -> Value {
    let finished = call.finish().succeeds();
    let report = report(&finished);
    let one = only(&report);
    ["acquire", "release", "hand_over", "renew"].iter().for_each(|name| are_times(&one[*name]));
    are_times(&one["contention"]["wait"]);
    report
}

fn words<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["bench", "--json", "--duration", "3s", "--contenders", "2"], more].concat()
}

#[track_caller]
fn is_empty(server: &Server) {
    let keys: BTreeSet<String> = server.command(&["KEYS", "*"]);
    assert!(keys.is_empty(), "{keys:?}");
}

#[test]
fn sentinels_and_a_cluster_lead_to_the_server_that_decides() {
    for place in [Watched::shared(), Place::on_cluster()] {
        measured(bench(&place, ["--json"]));
        assert!(place.footprint().is_empty(), "{:?}", place.footprint());
    }
    for node in Cluster::shared().masters() {
        let keys: Vec<String> = node.command(&["KEYS", "*dlock-bench*"]);
        assert!(keys.is_empty(), "{keys:?}");
    }
}

#[test]
fn several_masters_are_one_lock() {
    let masters: Vec<Server> = (0..3).map(|_| Server::redis(&["--appendonly", "no"])).collect();
    let urls: Vec<String> = masters.iter().map(|server| format!("redis://127.0.0.1:{}", server.port)).collect();
    measured(Dlock::new(words(&["--redis", &urls.join(",")])));
    masters.iter().for_each(is_empty);
}

#[test]
fn replicas_confirm_each_grant() {
    let master = Server::redis(&["--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
    let replica = Server::redis(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    eventually("it follows", || master.command::<String>(&["INFO", "replication"]).contains("state=online"));
    let url = format!("redis://127.0.0.1:{}", master.port);
    let call = |count: &str| Dlock::new(words(&["--redis", &url, "--wait-replicas", count]));
    measured(call("1"));
    is_empty(&master);
    call("2").finish().exits_with(69).complains(&["1 of the 2 replicas"]);
    is_empty(&master);
    drop(replica);
}

#[test]
fn a_password_and_tls_are_those_of_the_options() {
    let certificates = Certificates::new();
    let port = free_port();
    let options =
        [certificates.options(port, "server"), ["--tls-auth-clients", "no"].map(str::to_owned).to_vec()].concat();
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--requirepass", "p@ss"]).collect();
    let server = Server::redis(&[&["--appendonly", "no"], &options[..]].concat());
    let (ca, secret) = (certificates.pem("ca"), certificates.file("secret", "p@ss\n"));
    let [ca, secret] = [&ca, &secret].map(|path| path.to_str().expect("plain names"));
    let url = format!("rediss://127.0.0.1:{port}");
    let finished = Dlock::new(words(&["--redis", &url, "--tls-ca", ca, "--redis-password-file", secret])).finish();
    assert!(!finished.account().contains("p@ss"), "{}", finished.account());
    finished.succeeds();
    let wrong = Dlock::new(words(&["--redis", &url, "--tls-ca", ca])).env("DLOCK_REDIS_PASSWORD", "other").finish();
    wrong.exits_with(77).complains(&["does not accept this user and password"]);
    drop(server);
}

#[test]
fn zookeeper_by_tls_and_as_a_user_whose_nodes_are_his_own() {
    let certificates = Certificates::new();
    let port = free_port();
    let server = Server::zookeeper_with(&[], &certificates.zookeeper_lines(port, "server", "none"), Leads::Alone);
    eventually("it listens for TLS", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let (ca, user) = (certificates.pem("ca"), certificates.file("user", "me:secret\n"));
    let [ca, user] = [&ca, &user].map(|path| path.to_str().expect("plain names"));
    let hosts = format!("zks://127.0.0.1:{port}");
    let place = Place::at_port(Kind::ZooKeeper, server.port).called("dlock");
    for acl in ["creator", "open"] {
        measured(Dlock::new(words(&["--zk", &hosts, "--tls-ca", ca, "--zk-auth-file", user, "--zk-acl", acl])));
        assert!(place.footprint().is_empty(), "{:?}", place.footprint());
    }
}

#[test]
fn readers_share_it_and_slots_are_as_many_as_they_are() {
    for kind in [Kind::Redis, Kind::ZooKeeper] {
        let place = Place::shared(kind);
        assert_eq!(measured(bench(&place, ["--json", "--shared"]))["mode"], "shared");
        assert_eq!(measured(bench(&place, ["--json", "--slots", "2"]))["mode"], "slots:2");
        assert!(place.footprint().is_empty(), "{:?}", place.footprint());
    }
    let place = Place::shared(Kind::File);
    bench(&place, ["--json", "--slots", "2"]).finish().succeeds();
}

#[test]
fn a_lock_of_another_library_is_measured_in_its_own_layout() {
    for (kind, layouts) in
        [(Kind::Redis, ["redisson", "python-redis-lock"]), (Kind::ZooKeeper, ["curator-rw", "kazoo"])]
    {
        for layout in layouts {
            let place = Place::shared(kind);
            let report = measured(bench(&place, ["--json", "--layout", layout]));
            assert_eq!(only(&report)["layout"], layout);
            assert!(place.footprint().is_empty(), "{layout}: {:?}", place.footprint());
        }
    }
}

#[test]
fn in_an_empty_namespace_the_key_stands_by_itself() {
    let server = Server::redis(&["--appendonly", "no"]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    server.command::<()>(&["SET", "of-the-application", "1"]);
    measured(Dlock::new(words(&["--redis", &url, "--namespace", ""])));
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]), ["of-the-application"]);
    let place = Place::private(Kind::ZooKeeper);
    let hosts = format!("127.0.0.1:{}", place.port());
    let children = || place.zookeeper(async |client| client.list_children("/").await.expect("everybody may look"));
    let before = children();
    measured(Dlock::new(words(&["--zk", &hosts, "--namespace", ""])));
    assert_eq!(children(), before);
}

#[test]
fn variables_files_and_profiles_say_where_as_they_do_for_a_run() {
    let place = Place::shared(Kind::Redis);
    let by_variables = place.environment().into_iter();
    measured(by_variables.fold(Dlock::new(words(&[])), |call, (name, value)| call.env(name, value)));
    let file = place.dir().join("config.toml");
    let text = format!(
        "redis = 'redis://127.0.0.1:1'\nwait = 5\n[profile.ci]\nredis = 'redis://127.0.0.1:{}'\nnamespace = '{}'\nttl = '11s'\n",
        place.port(),
        place.namespace
    );
    fs::write(&file, text).expect("our own directory takes files");
    let file = file.to_str().expect("temporary directories have plain names");
    let report = measured(Dlock::new(words(&["--config", file, "--profile", "ci"])));
    assert_eq!(only(&report)["lease"]["ttl_ms"], 11_000);
    assert_eq!(only(&report)["namespace"], place.namespace.as_str());
}

#[test]
fn strict_refuses_servers_that_it_refuses_a_run() {
    let server = Server::redis(&["--appendonly", "no", "--save", ""]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    Dlock::new(words(&["--redis", &url, "--strict"])).finish().exits_with(78).complains(&["no lock with --strict"]);
    is_empty(&server);
}

#[test]
fn the_slower_the_way_is_the_longer_is_the_lease_that_is_advised() {
    let place = Place::private(Kind::Redis);
    let proxy = Proxy::before(place.port());
    let through = place.through(proxy.port);
    proxy.slow_answers(Duration::from_millis(60));
    let slow = measured(bench(&through, ["--json", "--ttl", "5s"]));
    let lease = &only(&slow)["lease"];
    assert!(number(&lease["slowest_renewal_us"]) >= 60_000.0, "{lease}");
    // Ten renewals of more than 50 ms do not fit into the 500 ms that one of 5 s has.
    assert!(lease["shortest_ttl_ms"].is_null() || number(&lease["shortest_ttl_ms"]) >= 10_000.0, "{lease}");
    let told = bench(&through, ["--ttl", "5s"]).finish().succeeds();
    assert!(told.said().contains("too short") || told.said().contains("find out what is slow"), "{}", told.said());
}
