//! Very many waiters on one key: they come one after the other, and are served in that order.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::costs::{monitored, pss_kb, requests, rss_kb, stored_kb, told, wake_ups};
use super::{dlock, sentences_of_load, size};
use crate::support::{Kind, Place, Process, Running, within};

sentences_of_load![they_are_served_in_the_order_in_which_they_came_and_one_release_wakes_one];

const KEY: &str = "job";

/// Of so many waiters one is looked at for its memory.
const ONE_IN: usize = 20;

/// How long all of them may take: each is three processes on a machine that has other things to do.
fn patience(waiters: usize) -> Duration {
    Duration::from_secs(60) + Duration::from_millis(500) * u32::try_from(waiters).expect("not so many")
}

/// How many stand in the queue, as the server tells it; it is asked between two arrivals.
struct Queue<'a> {
    place: &'a Place,
    redis: Option<RefCell<::redis::Connection>>,
}

impl<'a> Queue<'a> {
    fn of(place: &'a Place) -> Self {
        Self { place, redis: (place.kind == Kind::Redis).then(|| RefCell::new(place.redis())) }
    }

    fn length(&self) -> usize {
        if let Some(redis) = &self.redis {
            let name = format!("{{{}:{KEY}}}:dlock:queue", self.place.namespace);
            return ::redis::cmd("ZCARD").arg(name).query(&mut redis.borrow_mut()).expect("it serves");
        }
        // The holder's node is one of them.
        usize::try_from(monitored(self.place, "zk_ephemerals_count")).expect("not so many") - 1
    }
}

/// The waiters, in the order in which they came.
fn crowd(place: &Place, count: usize, log: &str) -> Vec<Running> {
    let queue = Queue::of(place);
    let arrives = |number: usize| {
        let note = format!("echo {number} $DLOCK_FENCE >>{log}");
        // The longest session of our own servers; a waiter of Redis looks every 10 s.
        let run = dlock(place, &["run", "-q", "-k", KEY, "--ttl", "60s", "-c", &note]).start();
        within(Duration::from_secs(60), "it stands in the queue", || match place.kind {
            // There is no other queue than the kernel's.
            Kind::File => waits_for_a_lock(run.front_pid()),
            Kind::Redis | Kind::ZooKeeper => queue.length() > number,
        });
        run
    };
    (0..count).map(arrives).collect()
}

/// Whether the process or one below it sleeps in the call that waits for a lock.
fn waits_for_a_lock(pid: i32) -> bool {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let call = read("syscall").split(' ').next().and_then(|number| number.parse::<i64>().ok());
    let children = read(&format!("task/{pid}/children"));
    let mut children = children.split_whitespace().filter_map(|child| child.parse().ok());
    call == Some(libc::SYS_fcntl) || children.any(waits_for_a_lock)
}

fn they_are_served_in_the_order_in_which_they_came_and_one_release_wakes_one(place: &Place) {
    let count = size("DLOCK_TEST_WAITERS", 60);
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let log = log.to_str().expect("a plain name");
    let hold = ["run", "-k", KEY, "--ttl", "60s", "--", "sh", "-c", "echo ready; cat >/dev/null"];
    let holder = dlock(place, &hold).stdin_open().start();
    holder.says("ready");
    let before = stored_kb(place);
    let began = Instant::now();
    let waiters = crowd(place, count, log);
    let arriving = began.elapsed();
    let stored = stored_kb(place).saturating_sub(before);
    let memory = Memory::of(&waiters);
    let last = waiters.last().expect("there are some").job();
    let (asked, hints, woken) = (requests(place), told(place), wake_ups(&last));

    let began = Instant::now();
    holder.let_go();
    let served = || std::fs::read_to_string(log).unwrap_or_default().lines().count();
    let mut of_the_last = None;
    within(patience(count), "all have had their turn", || {
        if served() >= count / 2 && of_the_last.is_none() {
            of_the_last = Some(wake_ups(&last) - woken);
        }
        served() == count
    });
    let passing = began.elapsed();
    let each = |count_of: u64| count_of as f64 / (count + 1) as f64;
    let (asked, hints) = (each(requests(place) - asked), each(told(place) - hints));
    let of_the_last = of_the_last.expect("half of them came before all");

    holder.wait().succeeds();
    waiters.iter().for_each(|waiter| drop(waiter.wait().succeeds()));
    let told_of = std::fs::read_to_string(log).expect("somebody was served");
    let turns: Vec<(usize, u64)> = told_of.lines().map(turn).collect();
    let order: Vec<usize> = turns.iter().map(|(number, _)| *number).collect();
    assert_eq!(order, (0..count).collect::<Vec<_>>(), "first come, first served");
    assert!(turns.is_sorted_by(|(_, one), (_, next)| one < next), "fences rise: {turns:?}");
    // Every 10 s a waiter of Redis sees to its place, and sessions send pings; a crowd that is woken wakes for each.
    let looks = 8 * (passing.as_secs() / 10 + 2);
    assert!(of_the_last <= looks, "it slept while {} others passed: woken {of_the_last} times", count / 2);
    assert!(hints < 2.2, "one release tells one waiter: {hints}");
    if place.kind == Kind::Redis {
        assert!(asked < 6.0, "requests do not grow with the waiters: {asked}");
    }
    assert_eq!(place.waiters(KEY), 0);
    assert!(place.is_free(KEY));
    super::tell(&format!(
        "| {:?} | {count} waiters | {memory} | {stored} kB | {asked:.2} | {hints:.2} | {of_the_last} | {:.1} s | {:.1} s |",
        place.kind,
        arriving.as_secs_f64(),
        passing.as_secs_f64()
    ));
}

/// The number and the fence that a waiter wrote down.
fn turn(line: &str) -> (usize, u64) {
    let (number, fence) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
    (number.parse().expect("a number"), fence.parse().expect("a fence"))
}

/// What one waiter takes, of those that were looked at on the average.
struct Memory {
    pss: u64,
    rss: u64,
    processes: usize,
}

impl Memory {
    fn of(waiters: &[Running]) -> Self {
        let looked_at: Vec<Vec<Process>> = waiters.iter().step_by(ONE_IN).map(Running::job).collect();
        let sum = |of: fn(&Process) -> u64| looked_at.iter().flatten().map(of).sum::<u64>() / looked_at.len() as u64;
        Self { pss: sum(pss_kb), rss: sum(rss_kb), processes: looked_at[0].len() }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} processes, {} kB PSS, {} kB RSS", self.processes, self.pss, self.rss)
    }
}

#[test]
fn a_waiter_that_is_killed_in_a_crowd_costs_the_others_nothing() {
    let place = Place::shared(Kind::Redis);
    let holder = place.hold(KEY);
    let log = place.dir().join("log");
    let waiters = crowd(&place, 9, log.to_str().expect("a plain name"));
    for waiter in waiters.iter().step_by(3) {
        waiter.signal(nix::sys::signal::Signal::SIGKILL);
        waiter.leaves_no_process();
    }
    holder.let_go();
    for waiter in waiters.iter().enumerate().filter_map(|(number, waiter)| (number % 3 != 0).then_some(waiter)) {
        waiter.wait().succeeds();
    }
    let told = std::fs::read_to_string(log).expect("somebody was served");
    let order: Vec<usize> = told.lines().map(|line| turn(line).0).collect();
    assert_eq!(order, [1, 2, 4, 5, 7, 8]);
    holder.wait().succeeds();
}
