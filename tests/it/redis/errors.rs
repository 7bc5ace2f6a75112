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
    assert!(!finished.stderr().contains("lost"), "{}", finished.account());
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
