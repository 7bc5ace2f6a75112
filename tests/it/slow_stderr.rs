//! Standard error that takes nothing: what dlock has to say must not delay what keeps its lease.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::support::{Dlock, Kind, Place, Pty, Running, eventually, program};

/// Long enough for a busy machine. Renewed three times as often, each time with a line for `-v`.
const TTL: &str = "3s";

/// Several leases long: a renewal that hung on its line would lose the lock within one.
const SEVERAL_LEASES: Duration = Duration::from_secs(8);

const HOLD: [&str; 9] = ["run", "-v", "-k", "job", "--ttl", TTL, "--", "sh", "-c"];

fn holding(place: &Place) -> Dlock {
    let [subcommand, options @ ..] = HOLD;
    let place = place.options();
    let words = [subcommand].into_iter().chain(place.iter().map(String::as_str)).chain(options);
    Dlock::new(words.chain(["echo ready; cat >/dev/null"])).stdin_open()
}

/// Events go the same way as sentences.
#[test]
fn a_full_pipe_that_nobody_reads_delays_no_renewal_for_its_event() {
    let place = Place::shared(Kind::Redis);
    let (reader, mut writer) = std::io::pipe().expect("there are descriptors");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is ours");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("it is ours");
    let run = holding(&place).env("DLOCK_LOG_FORMAT", "json");
    let run = run.stderr_to(writer.try_clone().expect("there are descriptors")).start();
    run.says("ready");
    assert_holds_on(&place, &run);
    run.let_go();
    run.wait().succeeds();
    drop(reader);
}

/// It holds the lock for several leases, with the same token all the while.
#[track_caller]
fn assert_holds_on(place: &Place, run: &Running) {
    let holder = place.status("job")["holders"][0]["id"].clone();
    assert!(holder.is_string(), "it holds the lock: {holder}");
    let began = Instant::now();
    eventually("several leases are over", || began.elapsed() > SEVERAL_LEASES);
    assert!(!run.has_ended(), "its command still runs");
    assert_eq!(place.status("job")["holders"][0]["id"], holder, "it was renewed all the while");
}

fn waits(descriptor: impl AsFd) -> bool {
    let flags = fcntl(descriptor, FcntlArg::F_GETFL).expect("it is open");
    !OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK)
}

fn takes_nothing(descriptor: impl AsFd) -> bool {
    poll(&mut [PollFd::new(descriptor.as_fd(), PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(0)
}

#[test]
fn a_full_pipe_that_nobody_reads_delays_no_renewal() {
    let place = Place::shared(Kind::Redis);
    let (reader, mut writer) = std::io::pipe().expect("there are descriptors");
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("it is ours");
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("it is ours");
    let run = holding(&place).stderr_to(writer.try_clone().expect("there are descriptors")).start();
    run.says("ready");
    assert_holds_on(&place, &run);
    assert!(waits(&writer), "the command's standard error is what it was");
    run.let_go();
    run.wait().succeeds();
    drop(reader);
}

/// Others write to the same pipe whenever there is room, so that room seen is room lost.
#[test]
fn a_pipe_that_others_keep_full_delays_no_renewal() {
    let place = Place::shared(Kind::Redis);
    let (mut reader, writer) = std::io::pipe().expect("there are descriptors");
    let writers = std::iter::repeat_with(|| {
        let mut writer = writer.try_clone().expect("there are descriptors");
        std::thread::spawn(move || while writer.write_all(&[b'x'; 4096]).is_ok() {})
    });
    let writers: Vec<_> = writers.take(2).collect();
    let run = holding(&place).stderr_to(writer).start();
    run.says("ready");
    let holder = place.status("job")["holders"][0]["id"].clone();
    let began = Instant::now();
    while began.elapsed() < SEVERAL_LEASES {
        reader.read_exact(&mut [0; 4096]).expect("others write all the while");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(place.status("job")["holders"][0]["id"], holder, "it was renewed all the while");
    run.let_go();
    run.wait().succeeds();
    drop(reader);
    for writer in writers {
        writer.join().expect("a broken pipe ends it");
    }
}

#[test]
fn a_pipe_whose_reader_has_gone_and_a_closed_standard_error_delay_no_renewal() {
    let place = Place::shared(Kind::Redis);
    let (reader, writer) = std::io::pipe().expect("there are descriptors");
    drop(reader);
    let run = holding(&place).stderr_to(writer).start();
    run.says("ready");
    assert_holds_on(&place, &run);
    run.let_go();
    run.wait().succeeds();

    let options = place.options();
    let script = format!("exec 2>&-; exec \"$0\" {} \"$@\"", HOLD[..4].join(" "));
    let words = ["-c", &script, program()].into_iter().chain(options.iter().map(String::as_str));
    let words = words.chain(HOLD[4..].iter().copied()).chain(["echo ready; cat >/dev/null"]);
    let run = Dlock::of_program("/bin/sh".as_ref(), words).stdin_open().start();
    run.says("ready");
    assert_holds_on(&place, &run);
    run.let_go();
    run.wait().succeeds();
}

#[test]
fn a_terminal_that_was_stopped_with_ctrl_s_delays_no_renewal() {
    let place = Place::shared(Kind::Redis);
    let mut terminal = Pty::open();
    terminal.user.write_all(b"\x13").expect("a key");
    eventually("the terminal stands still", || takes_nothing(&terminal.programs));
    let run = holding(&place).stderr_to(terminal.programs.try_clone().expect("there are descriptors")).start();
    run.says("ready");
    assert_holds_on(&place, &run);
    assert!(waits(&terminal.programs), "the command's standard error is what it was");
    // It had something to say all the while.
    terminal.user.write_all(b"\x11").expect("a key");
    let mut shown = String::new();
    eventually("renewals are told again", || {
        let mut some = [0; 4096];
        let read = terminal.user.read(&mut some).expect("the terminal is open");
        shown += &String::from_utf8_lossy(&some[..read]);
        shown.contains("dlock: renewed \"job\"")
    });
    run.let_go();
    run.wait().succeeds();
}
