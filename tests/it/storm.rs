//! Many jobs behind Sentinel, while clients are killed and frozen, connections cut, and the master is replaced: what a
//! fail-over loses, and that nothing is lost which all replicas confirmed. `tests/torture` has the other topologies.
//!
//! `DLOCK_TEST_SECONDS` says for how long, `DLOCK_TEST_PROCESSES` how many at a time; the figures go to standard error.

mod failovers;
mod jobs;

use nix::sys::signal::Signal;

fn cut_connections(port: u16) {
    // Half a dozen of them, whoever they belong to; a server that is just starting has none.
    let Ok(mut redis) =
        ::redis::Client::open(format!("redis://127.0.0.1:{port}")).and_then(|client| client.get_connection())
    else {
        return;
    };
    if !uuid::Uuid::new_v4().as_bytes()[0].is_multiple_of(16) {
        return;
    }
    let list: String = ::redis::cmd("CLIENT").arg("LIST").query(&mut redis).unwrap_or_default();
    for address in list.lines().filter_map(|line| line.split(' ').find_map(|word| word.strip_prefix("addr="))).take(6) {
        // It may have gone by itself.
        let cut: Result<i64, _> = ::redis::cmd("CLIENT").arg("KILL").arg("ADDR").arg(address).query(&mut redis);
        drop(cut);
    }
}

/// What befalls one job; never more than one thing, so that front and keeper do not fall together.
const BLOWS: [(Target, Signal); 5] = [
    (Target::Front, Signal::SIGKILL),
    (Target::Keeper, Signal::SIGKILL),
    (Target::Command, Signal::SIGKILL),
    (Target::Front, Signal::SIGSTOP),
    (Target::Keeper, Signal::SIGSTOP),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Front,
    Keeper,
    Command,
}
