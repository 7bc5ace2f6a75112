//! Errors while the lock is held: none of them says whose it is, so the renewal goes on until the deadline.

use super::server::Server;
use crate::support::{Dlock, Running, eventually};

const USER: &str = "redis://holder:pw@127.0.0.1";

/// A server with a user of its own for dlock, so that the tests may take rights from it.
fn server_with_a_user() -> Server {
    let server = Server::start(&[]);
    server.command::<()>(&["ACL", "SETUSER", "holder", "on", ">pw", "~*", "&*", "+@all"]);
    server
}

/// A run that has begun and lasts until it is let go.
fn hold(server: &Server, ttl: &str, mode: &[&str]) -> Running {
    let url = format!("{USER}:{}", server.port);
    let words =
        [&["run", "--redis", &url, "--ttl", ttl, "-k", "job"], mode, &["--", "sh", "-c", "echo ready; cat >/dev/null"]];
    let holder = Dlock::new(words.concat()).stdin_open().start();
    holder.says("ready");
    holder
}

#[track_caller]
fn until_it_complains(holder: &Running, words: &str) {
    eventually("a renewal fails", || holder.stderr().contains("cannot renew \"job\"") || holder.has_ended());
    let said = holder.stderr();
    assert!(said.contains(words) && said.contains("trying again, the lease lasts another"), "{said}");
}

/// The server's own look at the lease of the key that [`hold`] takes.
fn left_ms(server: &Server) -> i64 {
    server.command(&["PTTL", "dlock:job"])
}

#[test]
fn a_right_that_is_taken_away_is_no_loss_before_the_deadline() {
    for (mode, right) in [(&[][..], "get"), (&["--shared"], "get"), (&["--shared"], "hmget"), (&[], "pexpire")] {
        let server = server_with_a_user();
        let holder = hold(&server, "2s", mode);
        server.command::<()>(&["ACL", "SETUSER", "holder", &format!("-{right}")]);
        until_it_complains(&holder, "does not permit this user what a lock needs");
        let finished = holder.wait().exits_with(79);
        finished.mentions(&["could not be renewed in time", "does not permit this user"]);
    }
}

#[test]
fn a_right_that_comes_back_in_time_costs_nothing() {
    let server = server_with_a_user();
    let holder = hold(&server, "6s", &[]);
    server.command::<()>(&["ACL", "SETUSER", "holder", "-get"]);
    until_it_complains(&holder, "does not permit this user what a lock needs");
    server.command::<()>(&["ACL", "SETUSER", "holder", "+get"]);
    eventually("it renews again", || left_ms(&server) > 5_000);
    holder.let_go();
    let finished = holder.wait().succeeds();
    assert!(!finished.stderr().contains("lost \"job\""), "{}", finished.account());
}

#[test]
fn a_release_and_a_status_that_may_not_look_say_so() {
    let server = server_with_a_user();
    let url = format!("{USER}:{}", server.port);
    let token = Dlock::new(["acquire", "--ttl", "1m", "--redis", &url, "-k", "job"]).finish().succeeds();
    server.command::<()>(&["ACL", "SETUSER", "holder", "-get"]);
    for words in [
        &["status", "--redis", &url, "-k", "job"][..],
        &["release", "--redis", &url, "-k", "job", "--token", token.said()],
        &["renew", "--ttl", "2m", "--redis", &url, "-k", "job", "--token", token.said()],
    ] {
        Dlock::new(words).finish().exits_with(77).complains(&["does not permit this user what a lock needs"]);
    }
    assert!(left_ms(&server) > 0, "it is still held");
}

/// A server that refuses while the lock is held and serves again in time: complained of, and unharmed.
fn outlasts(options: &[&str], breaks: &[&[&str]], words: &str, repairs: &[&[&str]]) {
    let server = Server::start(options);
    let mut admin = server.connection();
    let url = format!("redis://127.0.0.1:{}", server.port);
    let run = ["run", "--redis", &url, "--ttl", "8s", "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = Dlock::new(run).stdin_open().start();
    holder.says("ready");
    let mut tell = |commands: &[&[&str]]| {
        for command in commands {
            let sent = ::redis::cmd(command[0]).arg(&command[1..]).exec(&mut admin);
            sent.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        }
    };
    tell(breaks);
    until_it_complains(&holder, words);
    tell(repairs);
    eventually("it renews again", || left_ms(&server) > 7_000);
    holder.let_go();
    let finished = holder.wait().succeeds();
    assert!(!finished.stderr().contains("lost \"job\""), "{}", finished.account());
}

#[test]
fn a_server_that_becomes_a_replica_and_returns_costs_nothing() {
    let returns: &[&[&str]] = &[&["REPLICAOF", "NO", "ONE"]];
    outlasts(&[], &[&["REPLICAOF", "127.0.0.1", "1"]], "is a read-only replica; name the master", returns);
}

#[test]
fn a_replica_that_lost_its_master_says_nothing_about_the_owner() {
    let breaks: &[&[&str]] = &[&["REPLICAOF", "127.0.0.1", "1"]];
    let words = "is a replica that has lost its master; name the master";
    outlasts(&["--replica-serve-stale-data", "no"], breaks, words, &[&["REPLICAOF", "NO", "ONE"]]);
}

#[test]
fn a_server_without_a_connection_left_is_tried_until_it_has_one() {
    let breaks: &[&[&str]] =
        &[&["CONFIG", "SET", "maxclients", "1"], &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]];
    outlasts(&[], breaks, "maxclients", &[&["CONFIG", "SET", "maxclients", "100"]]);
}

#[test]
fn a_master_that_too_few_replicas_follow_is_tried_until_they_do() {
    let breaks: &[&[&str]] = &[&["CONFIG", "SET", "min-replicas-to-write", "3"]];
    let repairs: &[&[&str]] = &[&["CONFIG", "SET", "min-replicas-to-write", "0"]];
    outlasts(&[], breaks, "too few replicas follow it", repairs);
}

#[test]
fn a_full_server_still_renews_and_releases() {
    let server = Server::start(&[]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    for mode in ["--label=alone", "--shared"] {
        let run = ["run", "--redis", &url, "--ttl", "3s", mode, "-k", "job", "--", "sh", "-c", "echo ready; cat"];
        let holder = Dlock::new(run).stdin_open().start();
        holder.says("ready");
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        eventually("the lease has shrunk", || left_ms(&server) < 2_500);
        eventually("it renews", || left_ms(&server) > 2_700 || holder.has_ended());
        holder.let_go();
        holder.wait().succeeds().says_nothing_on_stderr();
        server.command::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    }
}

#[test]
fn a_server_that_is_busy_with_a_script_is_tried_until_it_answers() {
    let server = Server::start(&["--lua-time-limit", "10"]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    let run = ["run", "--redis", &url, "--ttl", "8s", "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = Dlock::new(run).stdin_open().start();
    holder.says("ready");
    let mut connection = server.connection();
    let spinning = std::thread::spawn(move || {
        ::redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut connection).is_err()
    });
    until_it_complains(&holder, "is busy with somebody's script; SCRIPT KILL ends it");
    server.command::<()>(&["SCRIPT", "KILL"]);
    assert!(spinning.join().expect("the thread does not panic"), "the script was ended");
    eventually("it renews again", || left_ms(&server) > 7_000);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn a_server_that_cannot_save_is_tried_until_it_may_write_again() {
    let dir = tempfile::TempDir::with_prefix("dlock-save").expect("the temporary directory takes files");
    let place = dir.path().to_str().expect("temporary directories have plain names");
    let server = Server::start(&["--dir", place, "--dbfilename", "snapshot"]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    let run = ["run", "--redis", &url, "--ttl", "8s", "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = Dlock::new(run).stdin_open().start();
    holder.says("ready");
    // A directory stands where the snapshot would, so that saving fails for root as well.
    std::fs::create_dir_all(dir.path().join("snapshot/full")).expect("our own directory");
    server.command::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    server.command::<()>(&["BGSAVE"]);
    eventually("saving has failed", || {
        server.command::<String>(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    });
    until_it_complains(&holder, "refuses writes because it cannot save to disk; see its log");
    server.command::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    eventually("it renews again", || left_ms(&server) > 7_000);
    holder.let_go();
    holder.wait().succeeds();
}
