//! On Redis: servers that are set up badly, each in one way.

use crate::support::{Cluster, Dlock, Kind, Place, Server, Watched, eventually, free_port};

use super::Findings;

/// All that a lock needs, as `docs/redis.md` has it.
const RIGHTS: &str = "+eval +select +time +scan +type +get +set +del +pttl +pexpire +pexpireat +hget +hset +hdel +hlen \
                      +hmget +hgetall +zadd +zrem +zcard +zrange +zrank +zscore +zremrangebyrank +zremrangebyscore \
                      +subscribe +publish +pubsub|numsub";

/// What is said of a server without a replica.
const LONE: (&str, &str) = ("replicas", "warning");

fn at(server: &Server) -> Place {
    Place::at_port(Kind::Redis, server.port)
}

/// By a user with these rights, in a namespace of its own.
fn examined_by(server: &Server, rights: &str) -> Findings {
    let rule = "ACL SETUSER locker reset on >pw ~dlock:* ~{dlock:* resetchannels &dlock:* &{dlock:*";
    let words: Vec<&str> = rule.split(' ').chain(rights.split_whitespace()).collect();
    server.command::<()>(&words);
    let url = format!("redis://locker:pw@127.0.0.1:{}", server.port);
    Findings::of(Dlock::new(["doctor", "--json", "--redis", &url]))
}

#[test]
fn a_server_that_keeps_what_it_answered_is_all_right() {
    let place = Place::private(Kind::Redis);
    let found = Findings::at(&place).exits_with(0);
    found.finds_only(&[LONE]).finds("persistence", "ok", &["appendfsync always"]).finds(
        "replicas",
        "warning",
        &["0 replicas"],
    );
}

#[test]
fn eviction_fails_where_memory_is_limited_and_warns_where_it_is_not() {
    let server = Server::redis(&["--maxmemory-policy", "allkeys-lru"]);
    let place = at(&server);
    Findings::at(&place).exits_with(0).finds_only(&[("eviction", "warning"), LONE]);
    server.command::<()>(&["CONFIG", "SET", "maxmemory", "100mb"]);
    let found = Findings::at(&place).exits_with(1);
    found.finds_only(&[("eviction", "failed"), LONE]).finds(
        "eviction",
        "failed",
        &["allkeys-lru", "set maxmemory-policy"],
    );
}

#[test]
fn a_server_that_forgets_is_warned_about() {
    let server = Server::redis(&["--appendonly", "no", "--save", ""]);
    Findings::at(&at(&server)).exits_with(0).finds_only(&[("persistence", "warning"), LONE]);
    // One at a time: Redis 6.2 takes no more.
    server.command::<()>(&["CONFIG", "SET", "appendfsync", "everysec"]);
    server.command::<()>(&["CONFIG", "SET", "appendonly", "yes"]);
    eventually("the log is begun", || {
        server.command::<String>(&["INFO", "persistence"]).contains("aof_rewrite_in_progress:0")
    });
    let found = Findings::at(&at(&server));
    found.finds("persistence", "warning", &["everysec"]);
}

#[test]
fn a_replica_fails_and_its_master_is_told_that_it_may_be_replaced() {
    let master = Server::redis(&[]);
    let replica = Server::redis(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    eventually("it follows", || master.command::<String>(&["INFO", "replication"]).contains("state=online"));
    let found = Findings::at(&at(&replica)).exits_with(1);
    found.finds("role", "failed", &[&master.port.to_string()]).finds("writes", "failed", &["read-only replica"]);
    Findings::at(&at(&master)).exits_with(0).finds_only(&[("replicas", "warning")]);
    let asked = at(&master).dlock(["doctor", "--json", "--wait-replicas", "2"]);
    Findings::of(asked).exits_with(1).finds("replicas", "failed", &["--wait-replicas 2"]);
    master.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    Findings::at(&at(&master)).exits_with(0).finds_only(&[]);
}

#[test]
fn a_user_with_the_rights_of_the_manual_may_lock_and_not_look() {
    let server = Server::redis(&[]);
    let found = examined_by(&server, RIGHTS).exits_with(0);
    found.finds_only(&[("settings", "warning")]).finds("permissions", "ok", &[]);
    found.finds("settings", "warning", &["INFO and CONFIG GET"]);
    let found = examined_by(&server, &format!("{RIGHTS} +info +config|get")).exits_with(0);
    found.finds_only(&[LONE]);
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]), [""; 0]);
}

/// The list in the manual and the one that is tried are the same: whichever is left out is missed.
#[test]
fn each_right_that_is_missing_is_named() {
    let server = Server::redis(&[]);
    for right in RIGHTS.split_whitespace().filter(|right| *right != "+select") {
        let without = RIGHTS.replace(&format!("{right} "), "").replace(" +pubsub|numsub", "");
        let rights = if right == "+pubsub|numsub" { without } else { format!("{without} +pubsub|numsub") };
        let found = examined_by(&server, &rights);
        if right == "+subscribe" {
            found.exits_with(0).finds("notifications", "warning", &["publish and subscribe"]);
            continue;
        }
        let helps = ["+publish", "+pubsub|numsub", "+scan", "+type"].contains(&right);
        let (level, status) = if helps { ("warning", 0) } else { ("failed", 1) };
        found.exits_with(status).finds("permissions", level, &[&format!("this user {right}\"")]);
    }
    assert_eq!(server.command::<Vec<String>>(&["KEYS", "*"]), [""; 0]);
}

#[test]
fn who_cannot_be_asked_at_all_is_no_finding() {
    let nobody = format!("redis://127.0.0.1:{}", free_port());
    let call = Dlock::new(["doctor", "--redis", &nobody]).finish().exits_with(69);
    assert_eq!(call.complains(&["cannot examine this deployment", "refuses the connection"]).said(), "");
    let server = Server::redis(&["--requirepass", "pw"]);
    at(&server).dlock(["doctor"]).finish().exits_with(77).complains(&["asks for a password"]);
}

#[test]
fn each_of_several_masters_is_looked_at_and_one_that_is_away_is_a_finding() {
    let forgetful = Server::redis(&["--appendonly", "no", "--save", ""]);
    let strict = Server::redis(&[]);
    let url = |port: u16| format!("redis://127.0.0.1:{port}");
    let urls = [url(forgetful.port), url(strict.port), url(free_port())].join(",");
    let found = Findings::of(Dlock::new(["doctor", "--json", "--redis", &urls])).exits_with(1);
    assert_eq!(found.levels("version"), ["ok", "ok"]);
    found.finds("majority", "ok", &["2 of 3"]).finds("reachable", "failed", &["refuses the connection"]);
    found.finds("persistence", "failed", &["second majority"]).finds("persistence", "ok", &[]);
}

#[test]
fn locks_of_another_layout_are_found_and_fail_where_two_may_hold_one() {
    let place = Place::private(Kind::Redis);
    let key = format!("{}:job", place.namespace);
    Findings::at(&place).exits_with(0).finds("layouts", "ok", &[]);
    place.dlock(["acquire", "-k", "job", "--ttl", "60s", "--layout", "redisson"]).finish().succeeds();
    let found = Findings::at(&place).exits_with(0);
    found.finds("layouts", "warning", &["redisson (\\\"job\\\")", "another layout than dlock"]);
    let asked = place.dlock(["doctor", "--json", "--layout", "redisson"]);
    Findings::of(asked).exits_with(0).finds("layouts", "ok", &[]);
    // Whose main key has another name: neither waits for the other.
    place.dlock(["acquire", "-k", "job", "--ttl", "60s", "--layout", "python-redis-lock"]).finish().succeeds();
    Findings::at(&place).exits_with(1).finds("layouts", "failed", &["held by two at once"]);
    let () = ::redis::cmd("DEL").arg(&key).query(&mut place.redis()).expect("the server serves");
    Findings::at(&place).exits_with(0).finds("layouts", "warning", &["python-redis-lock"]);
}

#[test]
fn sentinels_are_counted_and_asked_whether_they_agree() {
    let watched = Watched::start();
    let found = Findings::at(&watched.place()).exits_with(0);
    found.finds("sentinels", "ok", &["3 of 3"]).finds("agreement", "ok", &[]).finds("quorum", "ok", &["2 of 3"]);
    found.finds("replicas", "warning", &["2 replicas"]).finds("role", "ok", &[]);
    watched.sentinel(2).crash();
    Findings::at(&watched.place()).exits_with(0).finds("sentinels", "warning", &["2 of 3"]);
}

#[test]
fn a_cluster_is_looked_at_as_a_whole_and_master_by_master() {
    let place = Place::on(Cluster::shared());
    let found = Findings::at(&place).exits_with(0);
    found.finds("cluster", "ok", &["16384 of 16384"]).finds("masters", "ok", &["3 masters"]);
    found.finds("cluster-replicas", "warning", &["without a replica"]);
    assert_eq!(found.levels("permissions"), ["ok", "ok", "ok"]);
    assert_eq!(found.levels("notifications"), ["ok", "ok", "ok"]);
}
