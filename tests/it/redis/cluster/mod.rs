//! Locks on a Redis Cluster of real nodes.

mod asking;
mod failing;
mod moving;
mod waiting;

use crate::support::{Cluster, Dlock, Place, Running, eventually};

const HOLD: &str = "echo ready; cat >/dev/null";

/// `dlock` with these words, the Cluster behind the first of them.
fn dlock(url: &str, words: &[&str]) -> Dlock {
    let (verb, rest) = words.split_first().expect("a subcommand comes first");
    Dlock::new([&[*verb, "--redis", url], rest].concat())
}

/// A run that holds `key` until it is let go; it has begun when this returns.
#[track_caller]
fn hold(cluster: &Cluster, key: &str, ttl: &str) -> Running {
    let run = dlock(&cluster.url(), &["run", "-k", key, "--ttl", ttl, "--", "sh", "-c", HOLD]).stdin_open().start();
    run.says("ready");
    run
}

/// A run that waits for `key`, seen in the queue as number `place`.
#[track_caller]
fn queue_up(cluster: &Cluster, key: &str, place: u32) -> Running {
    let words = ["run", "-k", key, "--ttl", "30s", "--", "sh", "-c", "echo ran $DLOCK_FENCE"];
    let run = dlock(&cluster.url(), &words).start();
    let (lock, queue) = (format!("dlock:{key}"), format!("{{dlock:{key}}}:dlock:queue"));
    eventually("it waits", || {
        cluster.node(cluster.owner(&lock)).try_command::<u32>(&["ZCARD", &queue]).is_ok_and(|length| length == place)
    });
    run
}

/// How often the nodes were asked for something, refused requests included.
fn requests(cluster: &Cluster, command: &str) -> Vec<u64> {
    let of = |node: &crate::support::Server| {
        let info: String = node.command(&["INFO", "commandstats"]);
        // From Redis 7 on each subcommand has a line of its own.
        let starts = [format!("cmdstat_{command}:"), format!("cmdstat_{command}|")];
        let lines = info.lines().filter(|line| starts.iter().any(|start| line.starts_with(start)));
        let fields = lines.flat_map(|line| line.split([':', ',']));
        let counts =
            fields.filter_map(|field| ["calls=", "rejected_calls="].iter().find_map(|name| field.strip_prefix(name)));
        counts.map(|count| count.parse::<u64>().expect("a count")).sum()
    };
    cluster.masters().iter().map(of).collect()
}

fn fence_of(said: &str) -> u64 {
    said.strip_prefix("ran ").and_then(|fence| fence.parse().ok()).expect("it ran with a fence")
}

/// A namespace that no other test has.
fn namespace() -> String {
    Place::on_cluster().namespace.clone()
}
