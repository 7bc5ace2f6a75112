//! Networks that lose every packet without a word, so that each end believes its connection to be whole.

use std::path::Path;
use std::process::Command;

use super::server::Server;
use crate::support::{Dlock, eventually, program};

/// A host of its own that reaches this one by a cable: a network namespace. Only root can make one.
struct Elsewhere {
    name: String,
    here: String,
    cable: String,
}

impl Elsewhere {
    /// `None`, and a word about it, for those who are not root.
    #[expect(clippy::print_stderr)]
    fn reachable() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("NOT TESTED, because it needs root: a network that loses every packet");
            return None;
        }
        let pid = std::process::id();
        // Of the networks for benchmarks (RFC 2544), which are routed nowhere; the next test program gets another one.
        let subnet = |host: u32| format!("198.18.{}.{}", pid & 0xff, ((pid >> 8 & 0x3f) << 2) + host);
        let made = Self { name: format!("dlock-{pid}"), here: subnet(1), cable: format!("dlock{pid}") };
        ip(&["netns", "add", &made.name]);
        ip(&["link", "add", &made.cable, "type", "veth", "peer", "name", "cable", "netns", &made.name]);
        ip(&["address", "add", &format!("{}/30", made.here), "dev", &made.cable]);
        ip(&["-n", &made.name, "address", "add", &format!("{}/30", subnet(2)), "dev", "cable"]);
        ip(&["-n", &made.name, "link", "set", "cable", "up"]);
        made.mend();
        Some(made)
    }

    /// A server on this host that both reach.
    fn server(&self) -> Server {
        Server::start(&["--bind", "127.0.0.1", &self.here, "--protected-mode", "no"])
    }

    fn url(&self, server: &Server) -> String {
        format!("redis://{}:{}", self.here, server.port)
    }

    fn dlock(&self, words: &[&str]) -> Dlock {
        let there = ["netns", "exec", &self.name, program()];
        Dlock::of_program(Path::new("ip"), [&there, words].concat())
    }

    fn cut(&self) {
        ip(&["link", "set", &self.cable, "down"]);
    }

    fn mend(&self) {
        ip(&["link", "set", &self.cable, "up"]);
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // The cable goes with the namespace, once nobody lives there.
        Command::new("ip").args(["link", "delete", &self.cable]).status().ok();
        Command::new("ip").args(["netns", "delete", &self.name]).status().ok();
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    let done = Command::new("ip").args(words).output().expect("iproute2 is installed");
    assert!(done.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&done.stderr));
}

const HOLD: [&str; 4] = ["--", "sh", "-c", "echo ready; cat >/dev/null"];

#[test]
fn nobody_is_misled_by_a_connection_whose_other_end_is_gone() {
    let Some(elsewhere) = Elsewhere::reachable() else { return };
    let server = elsewhere.server();
    a_holder_outlasts_a_short_cut(&elsewhere, &server);
    a_holder_ends_its_command_before_the_lease(&elsewhere, &server);
    a_waiter_that_cannot_be_told_holds_nobody_up_and_gets_in_later(&elsewhere, &server);
}

fn a_holder_outlasts_a_short_cut(elsewhere: &Elsewhere, server: &Server) {
    let url = elsewhere.url(server);
    let holder = elsewhere.dlock(&[&["run", "--redis", &url, "--ttl", "10s", "-k", "short"][..], &HOLD].concat());
    let holder = holder.stdin_open().start();
    holder.says("ready");
    elsewhere.cut();
    eventually("a renewal fails", || holder.stderr().contains("cannot renew \"short\"") || holder.has_ended());
    let said = holder.stderr();
    assert!(said.contains("no answer within 1s; trying again, the lease lasts another"), "{said}");
    elsewhere.mend();
    eventually("it renews again", || server.command::<i64>(&["PTTL", "dlock:short"]) > 9_000);
    holder.let_go();
    holder.wait().succeeds();
}

fn a_holder_ends_its_command_before_the_lease(elsewhere: &Elsewhere, server: &Server) {
    let url = elsewhere.url(server);
    let holder = elsewhere.dlock(&[&["run", "--redis", &url, "--ttl", "3s", "-k", "long"][..], &HOLD].concat());
    let holder = holder.stdin_open().start();
    holder.says("ready");
    elsewhere.cut();
    eventually("the command is gone", || holder.tree().is_empty());
    assert!(server.command::<bool>(&["EXISTS", "dlock:long"]), "it was stopped within its lease");
    holder.wait().exits_with(79).mentions(&["could not be renewed in time", "no answer within"]);
    let unreachable = elsewhere.dlock(&["run", "-n", "--redis", &url, "-k", "other", "--", "true"]).finish();
    unreachable.exits_with(69).complains(&["cannot reach", "within 5 s; check host, port and firewall"]);
    elsewhere.mend();
}

fn a_waiter_that_cannot_be_told_holds_nobody_up_and_gets_in_later(elsewhere: &Elsewhere, server: &Server) {
    let url = elsewhere.url(server);
    let holder = Dlock::new([&["run", "--redis", &url, "-k", "queue"][..], &HOLD].concat()).stdin_open().start();
    holder.says("ready");
    let queued = |number: u32| {
        eventually("it queues", || server.command::<u32>(&["ZCARD", "{dlock:queue}:dlock:queue"]) == number);
    };
    let cut_off =
        elsewhere.dlock(&["run", "--redis", &url, "--ttl", "15s", "-k", "queue", "--", "echo", "ran"]).start();
    queued(1);
    let next = Dlock::new(["run", "--redis", &url, "-k", "queue", "--", "echo", "ran"]).start();
    queued(2);
    elsewhere.cut();
    holder.let_go();
    holder.wait().succeeds();
    // The server still counts a subscriber, and offers the lock to nobody, twice.
    assert_eq!(next.wait().succeeds().said(), "ran");
    assert!(!cut_off.has_ended(), "{}", cut_off.stderr());
    elsewhere.mend();
    assert_eq!(cut_off.wait().succeeds().said(), "ran");
}
