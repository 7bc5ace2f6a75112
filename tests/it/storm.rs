//! Many jobs on few keys, while clients are killed and frozen, connections cut, and the server crashes: nobody overlaps,
//! fences rise, nobody waits for ever, nothing is left.
//!
//! `DLOCK_TEST_SECONDS` says for how long, `DLOCK_TEST_PROCESSES` how many at a time; the figures go to standard error.

mod cluster;
mod ensemble;
mod failovers;
mod jobs;
mod masters;

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::support::history::{Overlap, Stay, falling_fences, overlaps, stays};
use crate::support::{Kind, Place, eventually, soak_time};
use jobs::{Jobs, Outcomes, Ports, TTL};

/// What befalls the server beside the clients' own misfortunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// It crashes and comes back within the lease, with its data.
    Crashes,
    /// It forgets everything. No lease can prevent what follows; the fence shows it.
    Flushes,
}

#[test]
fn redis_in_a_storm() {
    let (outcomes, overlaps, fall) = storm(Kind::Redis, Weather::Crashes);
    assert!(overlaps.is_empty(), "{overlaps:#?}");
    assert!(fall.is_empty(), "{fall:#?}");
    assert!(outcomes.succeeded > 10, "{outcomes:?}");
}

#[test]
fn redis_that_forgets_in_a_storm() {
    let (outcomes, _, _) = storm(Kind::Redis, Weather::Flushes);
    assert!(outcomes.succeeded > 10, "{outcomes:?}");
}

/// Lets the jobs run for as long as a storm takes, strikes one now and then, and calls `befall` as often.
fn go_through(jobs: &Jobs, mut befall: impl FnMut()) -> Outcomes {
    let began = Instant::now();
    std::thread::scope(|threads| {
        let workers: Vec<_> = (0..jobs.at_a_time()).map(|worker| threads.spawn(move || jobs.work(worker))).collect();
        while began.elapsed() < soak_time() {
            jobs.strike_one();
            befall();
            // The pace of the misfortunes, not a handshake.
            std::thread::sleep(Duration::from_millis(60));
        }
        jobs.no_more();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).sum::<Outcomes>()
    })
}

fn storm(kind: Kind, weather: Weather) -> (Outcomes, Vec<Overlap>, Vec<Overlap>) {
    let place = Place::private(kind);
    let jobs = Jobs::new(Ports::Redis(place.port()), "50s");
    let mut flushed_at: Vec<u64> = Vec::new();
    let mut next_weather = Instant::now() + Duration::from_secs(3);
    let outcomes = go_through(&jobs, || {
        if next_weather > Instant::now() {
            return cut_connections(place.port());
        }
        match weather {
            Weather::Crashes => {
                place.server().crash();
                place.server().start_again();
            }
            Weather::Flushes => {
                let () = ::redis::cmd("FLUSHALL").query(&mut place.redis()).expect("the server serves");
                flushed_at.push(jobs::boottime());
            }
        }
        next_weather = Instant::now() + Duration::from_secs(7);
    });
    let stays = stays(&jobs.log());
    let (unprevented, overlapped): (Vec<Overlap>, Vec<Overlap>) =
        overlaps(&stays).into_iter().partition(|overlap| follows_a_flush(overlap, &flushed_at));
    let fall = falling_fences(&stays);
    let (count, flushes) = (stays.len(), flushed_at.len());
    let figures = format!(
        "{kind:?} {weather:?}: {count} grants, {outcomes:?}, {flushes} flushes, overlaps {} (and {} after a flush), \
         fences that fell {}",
        overlapped.len(),
        unprevented.len(),
        fall.len()
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    for key in jobs.keys() {
        eventually("every key is free in the end", || jobs.place().is_free(key));
    }
    assert!(overlapped.is_empty(), "{figures}\n{overlapped:#?}");
    // What no lease can prevent a resource that checks the fence refuses, whichever of them comes first.
    assert!(unprevented.iter().all(|overlap| overlap.earlier.fence != overlap.later.fence), "{unprevented:#?}");
    (outcomes, overlapped, fall)
}

/// One was granted the lock before it was forgotten, and the other before the lease of the first was over. A fence is the
/// server's time of its grant; the commands may have begun in either order, and both of them after the flush.
fn follows_a_flush(overlap: &Overlap, flushed_at: &[u64]) -> bool {
    let ttl = u64::try_from(TTL.as_nanos()).expect("a few seconds");
    // The flush is noted after it was answered.
    let slack = 500_000_000;
    let (earlier, later) = (granted_at(&overlap.earlier), granted_at(&overlap.later));
    let (first, second) = (earlier.min(later), earlier.max(later));
    flushed_at.iter().any(|&at| first <= at && second + slack >= at && second <= at + ttl)
}

/// By CLOCK_BOOTTIME: the server's wall clock is this machine's.
fn granted_at(stay: &Stay) -> u64 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    let ago = u64::try_from(wall.as_micros()).expect("it is not yet the year 500000").saturating_sub(stay.fence);
    jobs::boottime().saturating_sub(ago * 1000)
}

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

#[test]
fn an_overlap_is_a_flushs_only_when_the_flush_lies_between_the_grants() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    let flushed_at = jobs::boottime() - 60_000_000_000;
    let stay = |seconds_after: i64| {
        let fence = u64::try_from(now.as_micros()).expect("a number of this century") - 60_000_000;
        let fence = fence.saturating_add_signed(seconds_after * 1_000_000);
        Stay { job: String::new(), key: String::new(), fence, began: 0, last: 1 }
    };
    let follows =
        |earlier, later| follows_a_flush(&Overlap { earlier: stay(earlier), later: stay(later) }, &[flushed_at]);
    assert!(follows(-1, 1) && follows(1, -1));
    assert!(!follows(-2, -1) && !follows(1, 2));
    assert!(!follows(-1, 4), "the lease of the first was over by then");
}
