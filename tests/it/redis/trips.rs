//! What each command asks of the server, request by request: over a network they are what a command costs.

use std::io::{BufRead as _, BufReader, Write as _};

use nix::sys::signal::Signal;

use crate::support::{Dlock, Kind, Place, eventually};

/// The requests of clients while `act` runs, by their names, without those inside scripts. Nobody else uses the server.
pub(super) fn requests(place: &Place, act: impl FnOnce()) -> Vec<String> {
    let mut monitor = std::net::TcpStream::connect(("127.0.0.1", place.port())).expect("our own server accepts");
    monitor.write_all(b"MONITOR\r\n").expect("a fresh connection takes bytes");
    let mut seen = BufReader::new(monitor).lines().map(|line| line.expect("the monitor goes on"));
    assert_eq!(seen.next().as_deref(), Some("+OK"));
    act();
    let () = ::redis::cmd("ECHO").arg("the end").query(&mut place.redis()).expect("the server serves");
    // That connection says who it is.
    seen.take_while(|line| !line.contains("the end"))
        .filter(|line| !line.contains(" lua] ") && !line.contains("\"CLIENT\""))
        .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
        .collect()
}

#[test]
fn every_command_asks_as_little_as_it_can() {
    let place = Place::private(Kind::Redis);
    let asked = |act: &dyn Fn()| requests(&place, act);
    let call = |words: &[&str], status: i32| {
        place.dlock_with(words.iter().copied()).finish().exits_with(status);
    };

    assert_eq!(asked(&|| call(&["run", "-k", "a", "--", "true"], 0)), ["EVAL"; 2], "acquire and release");
    assert_eq!(asked(&|| call(&["run", "-k", "a", "-s", "--", "true"], 0)), ["EVAL"; 2], "as a reader");
    assert_eq!(
        asked(&|| call(&["run", "-k", "a", "-k", "b", "--", "true"], 0)),
        ["EVAL"; 3],
        "two keys at a stroke, each released"
    );
    assert_eq!(asked(&|| call(&["run", "-k", "a", "-w", "5s", "--", "true"], 0)), ["EVAL"; 2], "waits if it must");

    let token = place.acquire("held", "60s");
    assert_eq!(asked(&|| call(&["run", "-n", "-k", "held", "--", "true"], 75)), ["EVAL"], "refused");
    assert_eq!(asked(&|| call(&["acquire", "-n", "-k", "held", "--ttl", "5s"], 75)), ["EVAL"], "refused");
    assert_eq!(asked(&|| call(&["renew", "-k", "held", "--token", &token, "--ttl", "9s"], 0)), ["EVAL"], "renewed");
    assert_eq!(asked(&|| call(&["status", "-k", "held"], 0)), ["EVAL"], "one look");
    assert_eq!(asked(&|| call(&["release", "-k", "held", "--token", &token], 0)), ["EVAL"], "released");
    assert_eq!(asked(&|| call(&["release", "-k", "held", "--token", &token], 79)), ["EVAL"], "not held any more");
    assert_eq!(asked(&|| call(&["acquire", "-k", "b", "--ttl", "10s"], 0)), ["EVAL"], "up to ten seconds in one step");
    assert_eq!(asked(&|| call(&["acquire", "-k", "c", "--ttl", "60s"], 0)), ["EVAL"; 2], "granted ten, then raised");
    let listed = asked(&|| call(&["list"], 0));
    assert_eq!(listed, ["SCAN", "EVAL"], "the names, and one look at all of them");
}

/// Whoever goes because too many wait is none of them meanwhile, nor counted by anybody else who asks.
#[test]
fn whom_the_queue_is_too_long_for_never_stands_in_it() {
    let place = Place::private(Kind::Redis);
    let holder = place.hold("job");
    let waiter = place.queue_up("job");
    let run = ["run", "--max-waiters", "1", "-k", "job", "--", "true"];
    let seen = requests(&place, || drop(place.dlock(run).finish().exits_with(75)));
    assert_eq!(seen, ["EVAL"], "one look");
    for command in [holder, waiter] {
        command.let_go();
        command.wait().succeeds();
    }
}

#[test]
fn a_hand_over_is_a_release_and_a_confirmation_however_many_wait() {
    for waiters in [1, 5] {
        let place = Place::private(Kind::Redis);
        let holder = place.hold("job");
        let queue: Vec<_> = (0..waiters).map(|_| place.queue_up("job")).collect();
        let seen = requests(&place, || {
            holder.let_go();
            holder.wait().succeeds();
            queue[0].says("ready");
        });
        assert_eq!(seen, ["EVAL"; 2], "with {waiters} waiters");
        let mut queue = queue.into_iter();
        let first = queue.next().expect("somebody waits");
        let seen = requests(&place, || {
            first.let_go();
            first.wait().succeeds();
            queue.as_slice().first().inspect(|next| next.says("ready"));
        });
        let released = ["TIME", "EVAL"].into_iter();
        let confirmed = queue.as_slice().first().map(|_| "EVAL");
        assert_eq!(seen, released.chain(confirmed).collect::<Vec<_>>(), "of one that has waited itself");
        for waiter in queue {
            waiter.let_go();
            waiter.wait().succeeds();
        }
    }
}

/// Whom the answer to a release wakes would otherwise have the processor before the server has told the next one.
#[test]
fn whoever_has_waited_lets_the_next_one_hear_first() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else may look at a process that it has not started.
        return;
    }
    let place = Place::private(Kind::Redis);
    let holder = place.hold("job");
    let queue = [place.queue_up("job"), place.queue_up("job")];
    let [first, second] = &queue;
    holder.let_go();
    holder.wait().succeeds();
    first.says("ready");

    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let written = directory.path().join("calls");
    let info: String = ::redis::cmd("INFO").arg("server").query(&mut place.redis()).expect("the server serves");
    let server = info.lines().find_map(|line| line.strip_prefix("process_id:")).expect("it has one").trim();
    let output = written.to_str().expect("a plain name");
    let options = ["-p", server, "-e", "trace=write,writev", "-s", "4096", "-o", output];
    let strace = Dlock::of_program("strace".as_ref(), options).start();
    eventually("it looks on", || strace.stderr().contains("attached"));
    first.let_go();
    first.wait().succeeds();
    second.says("ready");
    strace.signal(Signal::SIGINT);
    strace.wait();
    let trace = std::fs::read_to_string(&written).expect("strace wrote it");
    let written_at = |what: &str| trace.lines().position(|line| line.contains(what)).expect("the server wrote it");
    assert!(written_at(r"\r\nlook\r\n") < written_at(r"\r\n:1\r\n"), "{trace}");
    second.let_go();
    second.wait().succeeds();
}
