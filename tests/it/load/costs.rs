//! What the kernel and the servers count.

use std::fs;

use crate::support::{Kind, Place, Process};

/// What a client of Redis sends; what scripts call is counted under other names.
const REQUESTS: [&str; 10] =
    ["eval", "evalsha", "subscribe", "unsubscribe", "ssubscribe", "hello", "ping", "select", "client|setinfo", "scan"];

/// Requests that the server has answered so far, of whomever, pings among them; 0 where there is no server.
pub(super) fn requests(place: &Place) -> u64 {
    match place.kind {
        Kind::File => 0,
        Kind::Redis => {
            let calls = commands(place);
            REQUESTS.iter().map(|name| calls(name)).sum()
        }
        Kind::ZooKeeper => monitored(place, "zk_packets_received"),
    }
}

/// How many were told of something: messages that were published, watches that fired.
pub(super) fn told(place: &Place) -> u64 {
    match place.kind {
        Kind::File => 0,
        Kind::Redis => commands(place)("publish") + commands(place)("spublish"),
        Kind::ZooKeeper => ["deleted", "changed", "children", "created"]
            .iter()
            .map(|what| monitored(place, &format!("zk_sum_node_{what}_watch_count")))
            .sum(),
    }
}

/// Kilobytes that the server's data take, as it reckons itself; 0 where there is no server.
pub(super) fn stored_kb(place: &Place) -> u64 {
    match place.kind {
        Kind::File => 0,
        Kind::Redis => {
            let info: String = ::redis::cmd("INFO").arg("memory").query(&mut place.redis()).expect("it serves");
            let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("it is told");
            line.parse::<u64>().expect("a number") / 1024
        }
        Kind::ZooKeeper => monitored(place, "zk_approximate_data_size") / 1024,
    }
}

/// Kilobytes of a process alone: shared pages count as often as they are shared less.
pub(super) fn pss_kb(process: &Process) -> u64 {
    rollup(process, "Pss:")
}

pub(super) fn rss_kb(process: &Process) -> u64 {
    rollup(process, "Rss:")
}

/// How often the processes have been woken.
pub(super) fn wake_ups(processes: &[Process]) -> u64 {
    let of = |process: &Process| {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:").map(str::to_owned));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    };
    processes.iter().map(of).sum()
}

fn rollup(process: &Process, name: &str) -> u64 {
    let told = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.pid)).unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn commands(place: &Place) -> impl Fn(&str) -> u64 {
    let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut place.redis()).expect("it serves");
    move |name| {
        let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        line.and_then(|line| line.split(['=', ',']).nth(1)).map_or(0, |calls| calls.parse().unwrap_or(0))
    }
}

pub(super) fn monitored(place: &Place, name: &str) -> u64 {
    let says = place.server().ask("mntr").expect("it is allowed");
    let line = says.lines().find_map(|line| line.strip_prefix(&format!("{name}\t")));
    line.and_then(|number| number.parse::<f64>().ok()).map_or_else(
        || panic!("it counts {name}: {says}"),
        |number| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count, written as 12.0 or 12"
            )]
            {
                number as u64
            }
        },
    )
}
