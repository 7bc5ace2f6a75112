//! Many jobs on few keys, while clients are killed and frozen, connections cut, and the server crashes: nobody overlaps,
//! fences rise, nobody waits for ever, nothing is left.
//!
//! `DLOCK_TEST_SECONDS` says for how long, `DLOCK_TEST_PROCESSES` how many at a time; the figures go to standard error.

mod history;
mod jobs;

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;

use crate::support::{Kind, Place, eventually, soak_time};
use history::{Overlap, Stay, falling_fences, overlaps, stays};
use jobs::{Jobs, Outcomes, TTL};

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

fn storm(kind: Kind, weather: Weather) -> (Outcomes, Vec<Overlap>, Vec<Overlap>) {
    let place = Place::private(kind);
    let jobs = Jobs::new(kind, place.port());
    let began = Instant::now();
    let mut flushes: Vec<Flush> = Vec::new();
    let outcomes = std::thread::scope(|threads| {
        let workers: Vec<_> = (0..jobs.at_a_time())
            .map(|worker| {
                threads.spawn({
                    let jobs = &jobs;
                    move || jobs.work(worker)
                })
            })
            .collect();
        let mut next_weather = Instant::now() + Duration::from_secs(3);
        while began.elapsed() < soak_time() {
            jobs.strike_one();
            if next_weather <= Instant::now() {
                match weather {
                    Weather::Crashes => {
                        place.server().crash();
                        place.server().start_again();
                    }
                    Weather::Flushes => {
                        let mut admin = place.redis();
                        let before = wall_clock_us();
                        let () = ::redis::cmd("FLUSHALL").query(&mut admin).expect("the server serves");
                        flushes.push(Flush { before, after: wall_clock_us() });
                    }
                }
                next_weather = Instant::now() + Duration::from_secs(7);
            } else {
                cut_connections(&place);
            }
            // The pace of the misfortunes, not a handshake.
            std::thread::sleep(Duration::from_millis(60));
        }
        jobs.no_more();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).sum::<Outcomes>()
    });
    let stays = stays(&jobs.log());
    let (unprevented, overlapped): (Vec<Overlap>, Vec<Overlap>) =
        overlaps(&stays).into_iter().partition(|overlap| follows_a_flush(overlap, &flushes));
    let fall = falling_fences(&stays);
    let (count, flushes) = (stays.len(), flushes.len());
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

/// When the server forgot everything, by the wall clock of this machine, which is its own as well.
#[derive(Debug)]
struct Flush {
    before: u64,
    after: u64,
}

fn wall_clock_us() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    u64::try_from(now.as_micros()).expect("it is not yet the year 500000")
}

/// One was granted the lock before it was forgotten, and the other before the lease of the first was over. A fence is the
/// server's time of its grant; the commands may have begun in either order, and both of them after the flush.
fn follows_a_flush(overlap: &Overlap, flushes: &[Flush]) -> bool {
    let ttl = u64::try_from(TTL.as_micros()).expect("a few seconds");
    let (earlier, later) = (overlap.earlier.fence, overlap.later.fence);
    let (first, second) = (earlier.min(later), earlier.max(later));
    flushes.iter().any(|flush| first <= flush.after && (flush.before..=flush.after + ttl).contains(&second))
}

#[test]
fn an_overlap_is_a_flushs_only_when_the_flush_lies_between_the_grants() {
    let second = 1_000_000;
    let stay = |fence| Stay { job: String::new(), key: String::new(), fence, began: 0, last: 1 };
    let follows = |earlier, later| {
        let flushes = [Flush { before: 10 * second, after: 10 * second + 500 }];
        follows_a_flush(&Overlap { earlier: stay(earlier), later: stay(later) }, &flushes)
    };
    assert!(follows(9 * second, 11 * second) && follows(11 * second, 9 * second));
    assert!(!follows(8 * second, 9 * second) && !follows(11 * second, 12 * second));
    assert!(!follows(9 * second, 14 * second), "the lease of the first was over by then");
}

fn cut_connections(place: &Place) {
    // Half a dozen of them, whoever they belong to; a server that is just starting has none.
    let Ok(mut redis) =
        ::redis::Client::open(format!("redis://127.0.0.1:{}", place.port())).and_then(|client| client.get_connection())
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
