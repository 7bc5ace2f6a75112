//! Who asks: users with the documented rights and no more, and passwords that are hard to write.

use std::time::{Duration, Instant};

use super::server::Server;
use crate::support::{self, Cluster, Dlock, Finished, Running, eventually};

const PASSWORD: &str = "p@s/s%:w#rd?";

/// What waiting can do without.
const TELLING: [&str; 5] = ["&dlock:*", "&{dlock:*", "+subscribe", "+publish", "+pubsub|numsub"];

/// Redis 6.2 lets a new user use every channel, and takes no further one before this.
const BEFORE_CHANNELS: &str = "resetchannels";
/// What only Redis 7 and later know.
const SHARDED: [&str; 3] = ["+ssubscribe", "+spublish", "+pubsub|shardnumsub"];

/// The rules that the documentation gives: what a user needs everywhere, and what it needs beside that on a Cluster.
fn documented_rules() -> [Vec<&'static str>; 2] {
    let rules = include_str!("../../../docs/redis.md").lines().filter(|line| line.starts_with("    ACL SETUSER"));
    let rules: Vec<Vec<&str>> = rules.map(|rule| rule.split_whitespace().collect()).collect();
    let [rule, more] = &rules[..] else { panic!("the documentation has two: {rules:?}") };
    assert_eq!(rule[..5], ["ACL", "SETUSER", "locker", "on", ">PASSWORD"]);
    assert_eq!(more[..3], ["ACL", "SETUSER", "locker"]);
    [rule[5..].to_vec(), more[3..].to_vec()]
}

fn documented_rights() -> Vec<&'static str> {
    let [rights, _] = documented_rules();
    rights
}

fn let_in(server: &support::Server, rights: &[&str]) {
    let password = format!(">{PASSWORD}");
    server.command::<()>(&[&["ACL", "SETUSER", "locker", "reset", "on", &password], rights].concat());
}

fn without<'a>(rights: &[&'a str], missing: &str) -> Vec<&'a str> {
    rights.iter().copied().filter(|right| *right != missing).collect()
}

/// `dlock` with these words, the server behind the first of them.
fn by(server: &Server, user: &str, words: &[&str]) -> Dlock {
    let url = format!("redis://{user}127.0.0.1:{}/1", server.port);
    let (verb, rest) = words.split_first().expect("a subcommand comes first");
    Dlock::new([&[*verb, "--redis", &url], rest].concat())
}

fn by_locker(server: &Server, words: &[&str]) -> Dlock {
    by(server, "locker@", words).env("DLOCK_REDIS_PASSWORD", PASSWORD)
}

/// A wait for a lock that somebody with every right gives up; ends at once when the waiter does.
fn wait_and_run(server: &Server) -> Finished {
    let command = ["--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = by(server, "", &[&["run", "-k", "wait"], &command[..]].concat()).stdin_open().start();
    holder.says("ready");
    let waiter = by_locker(server, &["run", "-k", "wait", "--", "echo", "ran"]).start();
    let mut connection = server.connection();
    ::redis::cmd("SELECT").arg(1).exec(&mut connection).expect("there are 16 databases");
    eventually("it waits or has given up", || {
        let queue = ::redis::cmd("ZCARD").arg("{dlock:wait}:dlock:queue").query::<u32>(&mut connection);
        queue.expect("a server answers") == 1 || waiter.has_ended()
    });
    holder.let_go();
    let finished = waiter.wait();
    holder.wait().succeeds();
    finished
}

/// Everything that a user does with locks.
fn everything(server: &Server) -> Vec<Finished> {
    let locker = |words: &[&str]| by_locker(server, words).finish();
    let mut calls = vec![
        locker(&["run", "-n", "-k", "job", "--", "true"]),
        locker(&["run", "-n", "--shared", "-k", "read", "--", "true"]),
        locker(&["acquire", "-n", "--ttl", "1m", "-k", "mine"]),
        locker(&["acquire", "-n", "--ttl", "1m", "--shared", "-k", "ours"]),
    ];
    for mode in [&[][..], &["--shared"]] {
        let key = if mode.is_empty() { "alone" } else { "shared" };
        let words = [&["acquire", "-n", "--ttl", "10s", "-k", key], mode].concat();
        let token = by(server, "", &words).finish().succeeds();
        calls.push(locker(&["renew", "--ttl", "20s", "-k", key, "--token", token.said()]));
        calls.push(locker(&["status", "-k", key]));
        calls.push(locker(&["release", "-k", key, "--token", token.said()]));
    }
    calls.push(locker(&["status", "-k", "odd"]));
    calls.push(locker(&["list"]));
    calls.push(wait_and_run(server));
    calls
}

fn server_with_an_odd_key() -> Server {
    let server = Server::start(&[]);
    let mut connection = server.connection();
    for words in [&["SELECT", "1"][..], &["HSET", "dlock:odd", "field", "value"]] {
        ::redis::cmd(words[0]).arg(&words[1..]).exec(&mut connection).expect("a server obeys");
    }
    server
}

#[test]
fn the_documented_rights_are_enough() {
    let server = server_with_an_odd_key();
    let_in(&server, &documented_rights());
    for finished in everything(&server) {
        // A key that another type holds, or that somebody holds, is a status of its own.
        assert!(matches!(finished.status.code(), Some(0 | 1)), "{}", finished.account());
        assert!(!finished.stderr().contains("permit"), "{}", finished.account());
    }
}

/// What is said when everything is tried without `missing`, a right that nothing stands in for.
fn lacks(rights: &[&str], missing: &str) {
    let server = server_with_an_odd_key();
    let_in(&server, &without(rights, missing));
    let calls = everything(&server);
    let refused = calls.iter().filter(|call| call.status.code() == Some(77)).count();
    assert!(refused > 0, "nothing fails without {missing}");
    for call in &calls {
        let code = call.status.code();
        assert!(matches!(code, Some(0 | 1 | 77)), "without {missing}: {}", call.account());
        let said = call.stderr().contains("does not permit this user what a lock needs");
        assert!(said || code != Some(77), "without {missing}: {}", call.account());
        assert!(!call.account().contains(PASSWORD), "{}", call.account());
    }
}

#[test]
fn each_of_the_documented_rights_is_needed_and_its_lack_is_said() {
    let rights = documented_rights();
    let spared = |right: &str| TELLING.contains(&right) || right == BEFORE_CHANNELS;
    let needed: Vec<&str> = rights.iter().copied().filter(|right| !spared(right)).collect();
    // A release that is refused is tried for seconds.
    for some in needed.chunks(6) {
        std::thread::scope(|scope| {
            for missing in some {
                scope.spawn(|| lacks(&rights, missing));
            }
        });
    }
}

#[test]
fn a_waiter_that_nobody_may_tell_looks_by_itself() {
    let rights = documented_rights();
    for missing in TELLING.into_iter().skip(1) {
        let server = Server::start(&[]);
        let_in(&server, &without(&rights, missing));
        let command = ["--", "sh", "-c", "echo ready; cat >/dev/null"];
        let holder = by_locker(&server, &[&["run", "-k", "job"], &command[..]].concat()).stdin_open().start();
        holder.says("ready");
        let waiter = by_locker(&server, &["run", "-k", "job", "--", "echo", "ran"]).start();
        let mut connection = server.connection();
        ::redis::cmd("SELECT").arg(1).exec(&mut connection).expect("there are 16 databases");
        eventually("it waits", || {
            let queue = ::redis::cmd("ZCARD").arg("{dlock:job}:dlock:queue").query::<u32>(&mut connection);
            queue.expect("a server answers") == 1
        });
        let released = Instant::now();
        holder.let_go();
        holder.wait().succeeds();
        assert_eq!(waiter.wait().succeeds().said(), "ran", "without {missing}");
        assert!(released.elapsed() < Duration::from_secs(5), "without {missing}: {:?}", released.elapsed());
    }
}

/// A Cluster with such a user, and what it does there.
struct Visit {
    cluster: Cluster,
    key: String,
}

impl Visit {
    fn of_a_user_with(rights: &[&str]) -> Self {
        let cluster = Cluster::of_masters(2);
        let known = |right: &&str| cluster.has_sharded_messages() || !SHARDED.contains(right);
        let rights: Vec<&str> = rights.iter().copied().filter(known).collect();
        cluster.masters().iter().for_each(|node| let_in(node, &rights));
        let key = cluster.key_at("dlock", 1);
        Self { cluster, key }
    }

    fn by_locker(&self, words: &[&str]) -> Dlock {
        let (verb, rest) = words.split_first().expect("a subcommand comes first");
        let url = self.cluster.url().replace("://", "://locker@");
        Dlock::new([&[*verb, "--redis", &url], rest].concat()).env("DLOCK_REDIS_PASSWORD", PASSWORD)
    }

    fn hold(&self) -> Running {
        let command = ["--", "sh", "-c", "echo ready; cat >/dev/null"];
        let words = [&["run", "-k", &self.key, "--ttl", "3s"], &command[..]].concat();
        let holder = self.by_locker(&words).stdin_open().start();
        holder.says("ready");
        holder
    }
}

#[test]
fn the_documented_rights_are_enough_on_a_cluster_whose_slots_move() {
    let [rights, more] = documented_rules();
    let visit = Visit::of_a_user_with(&[rights, more].concat());
    let holder = visit.hold();
    let waiter = visit.by_locker(&["run", "-k", &visit.key, "--", "echo", "ran"]).start();
    eventually("it listens", || visit.cluster.listeners(1) == 1);
    let listed = visit.by_locker(&["list"]).finish().succeeds();
    assert!(listed.said().contains(&visit.key), "{}", listed.account());
    let lock = format!("dlock:{}", visit.key);
    visit.cluster.begin_to_move(&lock, 0);
    visit.cluster.carry_over(&lock, 1, 0);
    // Longer than the lease: renewed where the lock is by now.
    std::thread::sleep(Duration::from_secs(4));
    assert!(!holder.has_ended(), "{}", holder.stderr());
    visit.cluster.end_to_move(&lock, 0);
    let released = Instant::now();
    holder.let_go();
    holder.wait().succeeds();
    assert_eq!(waiter.wait().succeeds().said(), "ran");
    assert!(released.elapsed() < visit.cluster.waiters_follow_within(), "{:?}", released.elapsed());
    for node in visit.cluster.masters() {
        let log: Vec<::redis::Value> = node.command(&["ACL", "LOG"]);
        assert_eq!(log, [], "and nothing else was tried");
    }
}

#[test]
fn what_a_user_lacks_on_a_cluster_costs_what_the_documentation_says() {
    let [rights, more] = documented_rules();
    for missing in ["+cluster|slots", "+ssubscribe", "+spublish", "+pubsub|shardnumsub", "+asking"] {
        let visit = Visit::of_a_user_with(&without(&[&rights[..], &more].concat(), missing));
        let holder = visit.hold();
        if missing == "+asking" {
            let lock = format!("dlock:{}", visit.key);
            visit.cluster.begin_to_move(&lock, 0);
            visit.cluster.carry_over(&lock, 1, 0);
            holder.wait().exits_with(79);
            continue;
        }
        let waiter = visit.by_locker(&["run", "-k", &visit.key, "--", "echo", "ran"]).start();
        let queue = format!("{{dlock:{}}}:dlock:queue", visit.key);
        eventually("it waits", || visit.cluster.node(1).command::<u32>(&["ZCARD", &queue]) == 1);
        let listed = visit.by_locker(&["list"]).finish();
        let code = if missing == "+cluster|slots" { 77 } else { 0 };
        assert_eq!(listed.status.code(), Some(code), "{missing}: {}", listed.account());
        let released = Instant::now();
        holder.let_go();
        holder.wait().succeeds();
        assert_eq!(waiter.wait().succeeds().said(), "ran", "{missing}");
        assert!(released.elapsed() < Duration::from_secs(5), "{missing}: {:?}", released.elapsed());
    }
}

#[test]
fn a_password_full_of_separators_works_from_everywhere_and_is_never_shown() {
    let server = Server::start(&[]);
    let_in(&server, &documented_rights());
    let encoded = "p%40s%2Fs%25%3Aw%23rd%3F";
    let file = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
    std::fs::write(file.path(), format!("{PASSWORD}\n")).expect("our own file can be written");
    let path = file.path().to_str().expect("temporary files have plain names");
    let run = ["run", "-n", "-k", "job", "--", "true"];
    by(&server, &format!("locker:{encoded}@"), &run).finish().succeeds();
    by_locker(&server, &run).finish().succeeds();
    let from_file = ["run", "--redis-password-file", path, "-n", "-k", "job", "--", "true"];
    by(&server, "locker@", &from_file).finish().succeeds();

    std::fs::write(file.path(), format!("not-{PASSWORD}\n")).expect("our own file can be written");
    for wrong in [
        by(&server, &format!("locker:not-{encoded}@"), &run),
        by(&server, "locker@", &run).env("DLOCK_REDIS_PASSWORD", format!("not-{PASSWORD}")),
        by(&server, "locker@", &from_file),
    ] {
        let finished = wrong.finish().exits_with(77).complains(&["does not accept this user and password"]);
        let said = finished.stderr();
        assert!(!said.contains(PASSWORD) && !said.contains(encoded), "{said}");
    }
}
