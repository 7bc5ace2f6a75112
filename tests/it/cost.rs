//! What holding a lock costs while nothing happens.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::{Dlock, Kind, Place, Process, Running, Setting, eventually, program, sentences_for_every_backend};

sentences_for_every_backend![
    the_front_sleeps_in_one_call_and_has_one_thread,
    what_was_inherited_is_closed_soon_and_nothing_else_is_open,
    the_program_pages_of_the_start_are_given_back,
];

/// Long enough that anything periodic shows, and far shorter than the time between two renewals.
const WINDOW: Duration = Duration::from_millis(2500);

/// Renewed every 20 s.
const TTL: &str = "60s";

/// A run whose two processes have done all that they do after the command's start.
fn settled(place: &Place) -> (Running, Process, Process) {
    let run = place.hold_for("job", TTL);
    let (front, keeper) = (run.front(), run.keeper());
    eventually("what was inherited is closed", || [&front, &keeper].iter().all(|process| !inherits(process)));
    let watches = |process: &Process| descriptors(process).iter().any(|(_, target)| target == "anon_inode:inotify");
    eventually("it is told of changes of the lock file", || place.kind != Kind::File || watches(&keeper));
    // It ends what comes after the start: with it, nothing is left to be done.
    eventually("both processes wait", || [&front, &keeper].iter().all(|process| system_call(process).is_some()));
    (run, front, keeper)
}

/// Every descriptor with what it leads to.
fn descriptors(process: &Process) -> Vec<(i32, String)> {
    let listed = fs::read_dir(format!("/proc/{}/fd", process.pid)).expect("it lives");
    let named = listed.flatten().filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, target.to_string_lossy().into_owned()))
    });
    named.collect()
}

/// Whether it still has the standard input that was passed to it.
fn inherits(process: &Process) -> bool {
    descriptors(process).iter().any(|(number, target)| *number == 0 && target.starts_with("pipe:"))
}

fn threads(process: &Process) -> Vec<String> {
    let listed = fs::read_dir(format!("/proc/{}/task", process.pid)).expect("it lives");
    listed.flatten().map(|entry| entry.path().display().to_string()).collect()
}

/// How often its threads have been put to sleep or taken off the processor: a process that sleeps throughout has made
/// no system call.
fn switches(process: &Process) -> u64 {
    let counts = threads(process).into_iter().flat_map(|thread| {
        let status = fs::read_to_string(format!("{thread}/status")).expect("it lives");
        let counts = status.lines().filter(|line| line.contains("_ctxt_switches:"));
        counts
            .map(|line| line.split_whitespace().last().expect("a count").parse::<u64>().expect("a number"))
            .collect::<Vec<_>>()
    });
    counts.sum()
}

/// The call in which its first thread sleeps; `None` when it runs.
fn system_call(process: &Process) -> Option<i64> {
    let text = fs::read_to_string(format!("/proc/{}/syscall", process.pid)).expect("it lives");
    text.split(' ').next()?.parse().ok()
}

#[track_caller]
fn assert_sleeps(what: &str, process: &Process, calls: &[i64]) {
    let call = system_call(process);
    assert!(call.is_some_and(|call| calls.contains(&call)), "{what} sleeps in one of {calls:?}: {call:?}");
    let before = switches(process);
    let began = Instant::now();
    eventually("some time is over", || began.elapsed() > WINDOW);
    assert_eq!(switches(process), before, "{what} has slept throughout");
    assert_eq!(system_call(process), call, "{what} still sleeps");
}

#[cfg(target_arch = "x86_64")]
const POLL: [i64; 2] = [libc::SYS_poll, libc::SYS_ppoll];
#[cfg(target_arch = "x86_64")]
const EPOLL: [i64; 2] = [libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
#[cfg(not(target_arch = "x86_64"))]
const POLL: [i64; 1] = [libc::SYS_ppoll];
#[cfg(not(target_arch = "x86_64"))]
const EPOLL: [i64; 1] = [libc::SYS_epoll_pwait];

fn the_front_sleeps_in_one_call_and_has_one_thread(place: &Place) {
    let (run, front, keeper) = settled(place);
    assert_eq!(threads(&front).len(), 1);
    // ZooKeeper's client brings a reactor of its own beside the event loop that it is given.
    let wanted = if place.kind == Kind::ZooKeeper { 2 } else { 1 };
    assert_eq!(threads(&keeper).len(), wanted, "{:?}", threads(&keeper));
    assert_sleeps("the front", &front, &POLL);
    run.let_go();
    run.wait().succeeds();
}

#[test]
fn between_two_renewals_the_keeper_makes_no_system_call() {
    // ZooKeeper's client ticks by itself for as long as its session lasts.
    for kind in [Kind::File, Kind::Redis] {
        let place = Place::shared(kind);
        let (run, _, keeper) = settled(&place);
        let _alone = Setting::the_clock();
        assert_sleeps(&format!("the keeper ({kind:?})"), &keeper, &EPOLL);
        run.let_go();
        run.wait().succeeds();
    }
}

/// From the start to the end, the command aside: each call is a part of what a lock costs.
#[test]
fn a_run_asks_the_system_for_little() {
    for (kind, most_of_front, most_of_keeper) in [(Kind::File, 54, 101), (Kind::Redis, 47, 99)] {
        let mut last = CallsOfARun::count(kind);
        // On a busy machine a command may live until what was inherited is closed, and answers come one by one.
        for _ in 0..20 {
            if last.front <= most_of_front && last.keeper <= most_of_keeper {
                break;
            }
            last = CallsOfARun::count(kind);
        }
        let CallsOfARun { front, keeper, trace } = last;
        assert!(front <= most_of_front && keeper <= most_of_keeper, "{kind:?}: {front} and {keeper} calls\n{trace}");
    }
}

/// The kernel takes up to 20 ms to close it, for which whoever waits would wait as well.
#[test]
fn the_lock_is_given_up_before_the_watch_of_its_file_is_closed() {
    let place = Place::shared(Kind::File);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let written = directory.path().join("calls");
    let strace = ["-f", "-e", "trace=inotify_init1,fcntl,close", "-o"].map(str::to_owned).into_iter();
    let words = strace.chain([written.to_str().expect("a plain name"), program(), "run"].map(str::to_owned));
    let words = words.chain(place.options()).chain(["-k", "job", "--", "cat"].map(str::to_owned));
    let run = Dlock::of_program("strace".as_ref(), words).stdin_open().start();
    let traced = || fs::read_to_string(&written).unwrap_or_default();
    let made = "inotify_init1(IN_NONBLOCK|IN_CLOEXEC) = ";
    eventually("the file is watched", || traced().contains(made));
    run.let_go();
    run.wait().succeeds();
    let trace = traced();
    let calls: Vec<&str> = trace.lines().skip_while(|line| !line.contains(made)).collect();
    let (keeper, watch) = calls[0].split_once(' ').expect("who called, and what");
    let watch = watch.rsplit(' ').next().expect("a descriptor");
    let of_keeper = |what: &str| calls.iter().rposition(|line| line.starts_with(keeper) && line.contains(what));
    let unlocked = of_keeper("l_type=F_UNLCK").expect("the lock is given up by unlocking");
    let closed = of_keeper(&format!("close({watch})"));
    assert!(closed.is_none_or(|closed| closed > unlocked), "{trace}");
}

/// System calls of either process of one uncontended run.
struct CallsOfARun {
    front: usize,
    keeper: usize,
    trace: String,
}

impl CallsOfARun {
    fn count(kind: Kind) -> Self {
        let place = Place::shared(kind);
        let directory = tempfile::tempdir().expect("the temporary directory takes files");
        let written = directory.path().join("calls");
        let words = ["-f", "-o", written.to_str().expect("a plain name"), program(), "run"];
        let words = words.into_iter().map(str::to_owned).chain(place.options());
        let words = words.chain(["-k", "job", "--", "true"].map(str::to_owned));
        Dlock::of_program("strace".as_ref(), words).finish().succeeds().says_nothing();
        let trace = fs::read_to_string(&written).expect("strace wrote it");
        let process = |line: &str| line.split(' ').next().expect("a number").to_owned();
        let front = process(&trace);
        let keeper = process(trace.lines().find(|line| line.contains("lock-keeper")).expect("it has its name"));
        // What is interrupted by another process's call stands on two lines.
        let is_call = |line: &&str| !line.contains("+++") && !line.contains("---") && !line.contains("resumed>");
        let calls_of = |wanted: &str| trace.lines().filter(is_call).filter(|line| process(line) == wanted).count();
        Self { front: calls_of(&front), keeper: calls_of(&keeper), trace }
    }
}

fn what_was_inherited_is_closed_soon_and_nothing_else_is_open(place: &Place) {
    let (run, front, keeper) = settled(place);
    let kinds = |process: &Process| -> BTreeSet<String> {
        let others = descriptors(process).into_iter().filter(|(number, _)| *number != 2);
        let kind = |target: String| {
            if target.starts_with(&place.dir_text()) { "lock file".to_owned() } else { target }
        };
        others.map(|(_, target)| kind(target.split(":[").next().unwrap_or_default().to_owned())).collect()
    };
    // The pipe is the lifeline, whose other end the keeper has closed with the command's start.
    let mut fronts = BTreeSet::from(["socket", "anon_inode", "pipe"].map(str::to_owned));
    if place.kind == Kind::File {
        fronts.insert("lock file".to_owned());
    }
    let most = if place.kind == Kind::File { 6 } else { 5 };
    assert_eq!(kinds(&front), fronts, "{:?}", descriptors(&front));
    assert!(descriptors(&front).len() <= most, "stderr, channel, lifeline, signals, alarm: {:?}", descriptors(&front));
    fronts.remove("pipe");
    let unwanted: Vec<String> =
        kinds(&keeper).into_iter().filter(|kind| !fronts.contains(kind) && !kind.starts_with("anon_inode:")).collect();
    assert!(unwanted.is_empty(), "{unwanted:?}: {:?}", descriptors(&keeper));
    run.let_go();
    run.wait().succeeds();
}

/// Kilobytes in memory for `process`: now, and when they were most.
fn resident(process: &Process) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).expect("it lives");
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line of the kernel's");
        line.split_whitespace().nth(1).expect("a size").parse().expect("a number")
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// How much that is, is for `benches/run.sh` to tell: the program that is tested here is not the optimised one.
fn the_program_pages_of_the_start_are_given_back(place: &Place) {
    let (run, front, keeper) = settled(place);
    eventually("both have given back what only the start needed", || {
        [&front, &keeper].iter().map(|process| resident(process)).all(|(now, most)| now < most * 4 / 5)
    });
    run.let_go();
    run.wait().succeeds();
}
