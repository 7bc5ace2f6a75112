//! Errors while the lock is held: none of them says whose it is, so the renewal goes on until the deadline.

use super::server::Server;
use crate::support::{Dlock, Finished, Proxy, Running, eventually};

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
    // On a busy machine the first try may get no answer in time.
    let complains = || holder.stderr().contains("cannot renew \"job\"") && holder.stderr().contains(words);
    eventually("a renewal fails, and says why", || complains() || holder.has_ended());
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
        // Why was said before; the last try may have been cut short by the deadline.
        holder.wait().exits_with(79).mentions(&["could not be renewed in time"]);
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

fn tell(admin: &mut ::redis::Connection, commands: &[&[&str]]) {
    for command in commands {
        let sent = ::redis::cmd(command[0]).arg(&command[1..]).exec(admin);
        sent.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    }
}

/// A run at this port that has begun, with a lease of 12 s, and lasts until it is let go.
fn hold_at(port: u16, db: &str) -> Running {
    let url = format!("redis://127.0.0.1:{port}{db}");
    let run = ["run", "--redis", &url, "--ttl", "12s", "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = Dlock::new(run).stdin_open().start();
    holder.says("ready");
    holder
}

fn newcomer_at(port: u16) -> Finished {
    Dlock::new(["run", "-n", "--redis", &format!("redis://127.0.0.1:{port}"), "-k", "other", "--", "true"]).finish()
}

#[track_caller]
fn renews_and_ends_well(server: &Server, holder: &Running) {
    eventually("it renews again", || left_ms(server) > 11_000);
    holder.let_go();
    let finished = holder.wait().succeeds();
    assert!(!finished.stderr().contains("lost \"job\""), "{}", finished.account());
}

/// A server that refuses while the lock is held and serves again in time: complained of, and unharmed. Whoever comes
/// meanwhile is told the same, and ends with `status`.
fn outlasts(options: &[&str], breaks: &[&[&str]], (status, words): (i32, &str), repairs: &[&[&str]]) {
    let server = Server::start(options);
    let mut admin = server.connection();
    let holder = hold_at(server.port, "");
    tell(&mut admin, breaks);
    until_it_complains(&holder, words);
    newcomer_at(server.port).exits_with(status).complains(&["cannot acquire \"other\": ", words]);
    tell(&mut admin, repairs);
    renews_and_ends_well(&server, &holder);
}

#[test]
fn a_server_that_becomes_a_replica_and_returns_costs_nothing() {
    let returns: &[&[&str]] = &[&["REPLICAOF", "NO", "ONE"]];
    outlasts(&[], &[&["REPLICAOF", "127.0.0.1", "1"]], (69, "is a read-only replica; name the master"), returns);
}

#[test]
fn a_replica_that_lost_its_master_says_nothing_about_the_owner() {
    let breaks: &[&[&str]] = &[&["REPLICAOF", "127.0.0.1", "1"]];
    let words = "is a replica that has lost its master; name the master";
    outlasts(&["--replica-serve-stale-data", "no"], breaks, (69, words), &[&["REPLICAOF", "NO", "ONE"]]);
}

#[test]
fn a_server_without_a_connection_left_is_tried_until_it_has_one() {
    let breaks: &[&[&str]] =
        &[&["CONFIG", "SET", "maxclients", "1"], &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]];
    outlasts(&[], breaks, (69, "maxclients"), &[&["CONFIG", "SET", "maxclients", "100"]]);
}

#[test]
fn a_master_that_too_few_replicas_follow_is_tried_until_they_do() {
    let breaks: &[&[&str]] = &[&["CONFIG", "SET", "min-replicas-to-write", "3"]];
    let repairs: &[&[&str]] = &[&["CONFIG", "SET", "min-replicas-to-write", "0"]];
    outlasts(&[], breaks, (69, "too few replicas follow it"), repairs);
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
    let holder = hold_at(server.port, "");
    let mut connection = server.connection();
    let spinning = std::thread::spawn(move || {
        ::redis::cmd("EVAL").arg("while true do end").arg(0).query::<()>(&mut connection).is_err()
    });
    until_it_complains(&holder, "is busy with somebody's script; SCRIPT KILL ends it");
    server.command::<()>(&["SCRIPT", "KILL"]);
    assert!(spinning.join().expect("the thread does not panic"), "the script was ended");
    renews_and_ends_well(&server, &holder);
}

#[test]
fn a_server_that_cannot_save_is_tried_until_it_may_write_again() {
    let dir = tempfile::TempDir::with_prefix("dlock-save").expect("the temporary directory takes files");
    let place = dir.path().to_str().expect("temporary directories have plain names");
    let server = Server::start(&["--dir", place, "--dbfilename", "snapshot"]);
    let holder = hold_at(server.port, "");
    // A directory stands where the snapshot would, so that saving fails for root as well.
    std::fs::create_dir_all(dir.path().join("snapshot/full")).expect("our own directory");
    server.command::<()>(&["CONFIG", "SET", "save", "3600 1"]);
    server.command::<()>(&["BGSAVE"]);
    eventually("saving has failed", || {
        server.command::<String>(&["INFO", "persistence"]).contains("rdb_last_bgsave_status:err")
    });
    let words = "refuses writes because it cannot save to disk; see its log";
    until_it_complains(&holder, words);
    newcomer_at(server.port).exits_with(69).complains(&[words]);
    server.command::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
    renews_and_ends_well(&server, &holder);
}

#[test]
fn a_server_that_loads_its_data_again_is_tried_until_it_serves() {
    // As slow as one with many gigabytes: 3 s or more, longer than the pause between two tries.
    let mut server = Server::start(&["--appendonly", "yes", "--key-load-delay", "500"]);
    server.command::<()>(&["EVAL", "for n = 1, 6000 do redis.call('SET', n, n) end", "0"]);
    let url = format!("redis://127.0.0.1:{}", server.port);
    let run = ["run", "--redis", &url, "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = Dlock::new(run).stdin_open().start();
    holder.says("ready");
    server.crash();
    until_it_complains(&holder, "redis://");
    std::thread::scope(|scope| {
        scope.spawn(|| server.start_again());
        eventually("it is told that the server loads", || holder.stderr().contains("is still loading its data"));
    });
    eventually("it renews again", || left_ms(&server) > 25_000);
    holder.let_go();
    let finished = holder.wait().succeeds();
    assert!(!finished.stderr().contains("lost \"job\""), "{}", finished.account());
}

#[test]
fn a_password_that_changes_while_holding_is_no_loss_before_the_deadline() {
    let forgets = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    let breaks: &[&[&str]] = &[&["CONFIG", "SET", "requirepass", "s3cret"], &forgets];
    outlasts(&[], breaks, (77, "asks for a password; name one"), &[&["CONFIG", "SET", "requirepass", ""]]);

    for (ttl, in_time) in [("12s", true), ("4s", false)] {
        let server = server_with_a_user();
        let mut admin = server.connection();
        let holder = hold(&server, ttl, &[]);
        tell(&mut admin, &[&["ACL", "SETUSER", "holder", "resetpass", ">new"], &forgets]);
        until_it_complains(&holder, "does not accept this user and password");
        if in_time {
            tell(&mut admin, &[&["ACL", "SETUSER", "holder", ">pw"]]);
            renews_and_ends_well(&server, &holder);
        } else {
            holder.wait().exits_with(79).mentions(&["could not be renewed in time"]);
        }
    }
}

#[test]
fn a_database_that_may_not_be_selected_any_more_is_no_loss_before_the_deadline() {
    let server = server_with_a_user();
    let mut admin = server.connection();
    tell(&mut admin, &[&["SELECT", "1"]]);
    let url = format!("{USER}:{}/1", server.port);
    let run = ["run", "--redis", &url, "--ttl", "12s", "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = Dlock::new(run).stdin_open().start();
    holder.says("ready");
    let forgets = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    tell(&mut admin, &[&["ACL", "SETUSER", "holder", "-select"], &forgets]);
    until_it_complains(&holder, "does not permit this user what a lock needs");
    Dlock::new(["status", "--redis", &url, "-k", "job"]).finish().exits_with(77);
    tell(&mut admin, &[&["ACL", "SETUSER", "holder", "+select"]]);
    eventually("it renews again", || {
        let left: i64 = ::redis::cmd("PTTL").arg("dlock:job").query(&mut admin).expect("a server answers");
        left > 11_000
    });
    holder.let_go();
    holder.wait().succeeds();
    assert_eq!(server.command::<u32>(&["DBSIZE"]), 0, "nothing was done in another database");
}

#[test]
fn answers_that_say_nothing_about_the_owner_are_no_loss_before_the_deadline() {
    let strange = [
        (
            "-EXECABORT Transaction discarded because of previous errors.\r\n",
            "refuses: EXECABORT Transaction discarded",
        ),
        ("-ERR Protocol error: invalid multibulk length\r\n", "refuses: ERR Protocol error: invalid multibulk length"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "is not a Redis server; check host and port"),
        ("+OK\r\n", "gives an answer that makes no sense"),
    ];
    let server = Server::start(&[]);
    let proxy = Proxy::before(server.port);
    for (reply, words) in strange {
        let holder = hold_at(proxy.port, "");
        proxy.say(reply);
        until_it_complains(&holder, words);
        newcomer_at(proxy.port).exits_with(69).complains(&["cannot acquire \"other\": ", words]);
        proxy.say_no_more();
        renews_and_ends_well(&server, &holder);
    }
    let holder = hold_at(proxy.port, "");
    proxy.say(strange[0].0);
    holder.wait().exits_with(79).mentions(&["could not be renewed in time", "EXECABORT"]);
}

#[test]
fn a_release_that_is_denied_is_not_tried_again() {
    let server = server_with_a_user();
    let holder = hold(&server, "1m", &[]);
    server.command::<()>(&["ACL", "SETUSER", "holder", "-get"]);
    let requests = || {
        let info: String = server.command(&["INFO", "commandstats"]);
        let line = info.lines().find(|line| line.starts_with("cmdstat_eval:"));
        line.and_then(|line| line.split(['=', ',']).nth(1)).expect("it was granted").parse::<u32>().expect("a count")
    };
    let before = requests();
    holder.let_go();
    let finished = holder.wait().succeeds();
    finished.mentions(&["cannot release \"job\"", "does not permit this user what a lock needs", "stays taken"]);
    assert_eq!(requests() - before, 1);
}
