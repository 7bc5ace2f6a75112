//! The storm over an ensemble of ZooKeeper servers: they are killed, frozen and cut off, leaders and followers alike.

use std::io::Write as _;
use std::time::Duration;

use super::go_through;
use super::jobs::{Jobs, Ports, random};
use crate::support::history::{falling_fences, overlaps, stays};
use crate::support::{Proxy, Server, eventually};

/// What has befallen the servers, how often.
#[derive(Debug, Default)]
struct Tally {
    leaders_killed: usize,
    followers_killed: usize,
    leaders_frozen: usize,
    followers_frozen: usize,
    /// Every connection of clients to one server, and every new one.
    blackholes: usize,
    hang_ups: usize,
}

/// Pause between two misfortunes of the servers: time for an election and for some jobs.
const CALM: Duration = Duration::from_secs(2);

#[test]
fn an_ensemble_of_zookeeper_servers_in_a_storm() {
    let mut servers = Server::zookeeper_ensemble();
    let proxies = servers.each_ref().map(|server| Proxy::before(server.port));
    // A dead contender stays for its session's time, and an ensemble without a leader for an election's.
    let jobs = Jobs::new(Ports::Ensemble(proxies.each_ref().map(|proxy| proxy.port)), "2m");
    let (outcomes, tally) = std::thread::scope(|threads| {
        let weather = threads.spawn(|| {
            let mut tally = Tally::default();
            while !jobs.are_over() {
                std::thread::sleep(CALM);
                befall(&mut servers, &proxies, &mut tally);
            }
            tally
        });
        let outcomes = go_through(&jobs, || {});
        (outcomes, weather.join().expect("the weather does not panic"))
    });
    let stays = stays(&jobs.log());
    // A fence is the number of the transaction by which its holder entered the queue: where fences rise, everybody was
    // served in the order of arrival.
    let (overlaps, fall) = (overlaps(&stays), falling_fences(&stays));
    let count = stays.len();
    let figures = format!(
        "ensemble: {count} grants to {} processes on {} keys, {outcomes:?}, {tally:?}, overlaps {}, fences that fell {}",
        jobs.at_a_time(),
        jobs.keys().len(),
        overlaps.len(),
        fall.len()
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    for key in jobs.keys() {
        eventually("every key is free in the end", || jobs.place().is_free(key));
    }
    assert!(overlaps.is_empty(), "{figures}\n{overlaps:#?}");
    assert!(fall.is_empty(), "{figures}\n{fall:#?}");
    assert!(outcomes.succeeded > 10, "{figures}");
}

/// One misfortune; it is over when this returns.
fn befall(servers: &mut [Server; 3], proxies: &[Proxy; 3], tally: &mut Tally) {
    let says = |server: &Server, mode| server.ask("srvr").is_some_and(|says| says.contains(mode));
    let Some(leader) = servers.iter().position(|server| says(server, "Mode: leader")) else { return };
    let follower = (leader + 1 + usize::from(random() % 2)) % 3;
    // From shorter than anybody notices to longer than a lease.
    let a_while = Duration::from_millis(200 + 20 * u64::from(random()));
    // One after the other, so that each has its turn.
    let before = [tally.leaders_killed, tally.followers_killed, tally.leaders_frozen, tally.followers_frozen];
    match (before.iter().sum::<usize>() + tally.blackholes + tally.hang_ups) % 6 {
        0 => {
            tally.leaders_killed += 1;
            servers[leader].crash();
            servers[leader].start_again();
        }
        1 => {
            tally.followers_killed += 1;
            servers[follower].crash();
            servers[follower].start_again();
        }
        2 => {
            tally.leaders_frozen += 1;
            freeze(&servers[leader], a_while);
        }
        3 => {
            tally.followers_frozen += 1;
            freeze(&servers[follower], a_while);
        }
        4 => {
            tally.blackholes += 1;
            let proxy = &proxies[usize::from(random() % 3)];
            proxy.fall_silent();
            std::thread::sleep(a_while);
            proxy.recover();
        }
        _ => {
            tally.hang_ups += 1;
            proxies[usize::from(random() % 3)].hang_up();
        }
    }
}

fn freeze(server: &Server, for_a_while: Duration) {
    server.freeze();
    std::thread::sleep(for_a_while);
    server.thaw();
}
