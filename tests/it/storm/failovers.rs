//! The storm on Sentinel: the master is moved, killed and frozen, and each time another takes its place.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::history::{Overlap, falling_fences, overlaps, stays};
use super::jobs::{self, Jobs, Outcomes, TTL};
use crate::support::{A_WHILE, Place, Watched, eventually, soak_time, within};

/// How a master comes to be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// `SENTINEL FAILOVER`: the old one serves until it is told, and what it grants meanwhile is lost.
    Moved,
    Killed,
    Frozen,
}

const BLOWS: [Blow; 3] = [Blow::Moved, Blow::Killed, Blow::Frozen];

/// From when the first Sentinel may have named another master until all did, by CLOCK_BOOTTIME.
#[derive(Debug, Clone, Copy)]
struct Failover {
    blow: Blow,
    /// When the blow fell.
    began: u64,
    from: u64,
    until: u64,
}

/// What the old master granted and did not pass on in time the next one grants again. Both cannot know it; that is what
/// asynchronous replication is.
#[test]
fn sentinel_in_a_storm() {
    let (outcomes, _) = storm(&[]);
    assert!(outcomes.succeeded > 10, "{outcomes:?}");
}

/// Where every replica has to confirm, whichever becomes the master has it.
#[test]
fn sentinel_with_all_replicas_in_a_storm() {
    let (outcomes, unprevented) = storm(&["--wait-replicas", "2"]);
    assert!(unprevented.is_empty(), "{unprevented:#?}");
    assert!(outcomes.succeeded > 10, "{outcomes:?}");
}

fn storm(options: &[&'static str]) -> (Outcomes, Vec<Overlap>) {
    let watched = Watched::start();
    let jobs = Jobs::at_url(&watched.url(), options);
    let began = Instant::now();
    let mut failovers: Vec<Failover> = Vec::new();
    let outcomes = std::thread::scope(|threads| {
        let work = |worker| {
            let jobs = &jobs;
            move || jobs.work(worker)
        };
        let workers: Vec<_> = (0..jobs.at_a_time()).map(|worker| threads.spawn(work(worker))).collect();
        while failovers.is_empty() || began.elapsed() < soak_time() {
            let calm = Instant::now();
            while calm.elapsed() < Duration::from_secs(2) {
                jobs.strike_one();
                super::cut_connections(watched.master().port);
                // The pace of the misfortunes, not a handshake.
                std::thread::sleep(Duration::from_millis(60));
            }
            failovers.push(strike_master(&watched, BLOWS[failovers.len() % BLOWS.len()]));
            watched.follow();
        }
        jobs.no_more();
        workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).sum::<Outcomes>()
    });
    let stays = stays(&jobs.log());
    let (unprevented, overlapped): (Vec<Overlap>, Vec<Overlap>) =
        overlaps(&stays).into_iter().partition(|overlap| failovers.iter().any(|failover| explains(failover, overlap)));
    let fall = falling_fences(&stays);
    let of = |blow| failovers.iter().filter(|failover| failover.blow == blow).count();
    let figures = format!(
        "Sentinel {options:?}: {} grants, {outcomes:?}, fail-overs: {} moved, {} killed, {} frozen; overlaps {} (and {} \
         of a grant that the next master did not have), fences that fell {}",
        stays.len(),
        of(Blow::Moved),
        of(Blow::Killed),
        of(Blow::Frozen),
        overlapped.len(),
        unprevented.len(),
        fall.len()
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    for overlap in &unprevented {
        let blow = failovers.iter().find(|failover| explains(failover, overlap)).map(|failover| failover.blow);
        writeln!(std::io::stderr(), "not prevented ({blow:?}): {overlap:?}").expect("standard error is open");
    }
    for key in jobs.keys() {
        eventually("every key is free in the end", || jobs.place().is_free(key));
    }
    assert!(overlapped.is_empty(), "{figures}\n{overlapped:#?}");
    // What no lease can prevent a resource that checks the fence refuses.
    assert!(unprevented.iter().all(|overlap| overlap.earlier.fence < overlap.later.fence), "{unprevented:#?}");
    assert!(fall.is_empty(), "{figures}\n{fall:#?}");
    (outcomes, unprevented)
}

/// One got the lock from the old master, the other from the next one within that lease.
fn explains(failover: &Failover, overlap: &Overlap) -> bool {
    let ttl = u64::try_from(TTL.as_nanos()).expect("a few seconds");
    // What the test sees of the Sentinels is a look or two late.
    let slack = 300_000_000;
    let (earlier, later) = (overlap.earlier.began, overlap.later.began);
    earlier <= failover.until && later + slack >= failover.from && later <= failover.until + ttl
}

fn strike_master(watched: &Watched, blow: Blow) -> Failover {
    let old = watched.master().port;
    let began = jobs::boottime();
    match blow {
        Blow::Moved => {
            eventually("a fail-over begins", || {
                watched.ask_sentinel::<String>(0, &["SENTINEL", "FAILOVER", "svc"]).is_some() || watched.moved(old)
            });
        }
        Blow::Killed => watched.at(old).crash(),
        Blow::Frozen => watched.at(old).freeze(),
    }
    let mut from = jobs::boottime();
    eventually("a Sentinel names another master", || {
        let look = jobs::boottime();
        let moved = watched.moved(old);
        if !moved {
            from = look;
        }
        moved
    });
    watched.moves_from(old);
    let until = jobs::boottime();
    match blow {
        Blow::Moved => {}
        Blow::Killed => watched.at(old).start_again(),
        Blow::Frozen => watched.at(old).thaw(),
    }
    Failover { blow, began, from, until }
}

/// A grant that somebody was told of.
#[derive(Debug)]
struct Grant {
    key: String,
    token: String,
    at: u64,
}

/// How many grants a fail-over loses: the figures in `docs/redis.md`.
#[test]
fn what_a_failover_loses() {
    account(&[]);
}

#[test]
fn a_failover_loses_nothing_that_all_replicas_confirmed() {
    let lost = account(&["--wait-replicas", "2"]);
    assert_eq!(lost, 0);
}

/// Takes lock after lock while each blow falls once, and looks afterwards which of them are there.
fn account(options: &[&str]) -> usize {
    let watched = Watched::start();
    let url = watched.url();
    let namespace = watched.place().namespace;
    let over = AtomicBool::new(false);
    let count = AtomicUsize::new(0);
    let (grants, failovers) = std::thread::scope(|threads| {
        let take = |worker: usize| {
            let (url, over, namespace, count) = (&url, &over, &namespace, &count);
            move || {
                let mut place = Place::at_url(url, 0);
                place.namespace.clone_from(namespace);
                let mut grants = Vec::new();
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{worker}-{number}");
                    let call = ["acquire", "-n", "-q", "--ttl", "10m", "-k", &key];
                    let answer = place.dlock_with([&call[..], options].concat()).finish();
                    if answer.status.success() {
                        count.fetch_add(1, Ordering::Relaxed);
                        grants.push(Grant { key, token: answer.said().to_owned(), at: jobs::boottime() });
                    }
                }
                grants
            }
        };
        let workers: Vec<_> = (0..4).map(|worker| threads.spawn(take(worker))).collect();
        let mut failovers = Vec::new();
        for blow in BLOWS {
            let before = count.load(Ordering::Relaxed);
            within(A_WHILE * 3, "locks are granted again", || count.load(Ordering::Relaxed) > before + 20);
            failovers.push(strike_master(&watched, blow));
            watched.follow();
        }
        over.store(true, Ordering::Relaxed);
        let grants = workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic"));
        (grants.collect::<Vec<_>>(), failovers)
    });
    let mut redis = watched.place().redis();
    let is_lost = |grant: &&Grant| {
        let value: Option<String> =
            ::redis::cmd("GET").arg(format!("{namespace}:{}", grant.key)).query(&mut redis).expect("the server serves");
        !value.is_some_and(|value| value.starts_with(&grant.token))
    };
    let lost: Vec<&Grant> = grants.iter().filter(is_lost).collect();
    let by_blow: Vec<String> = failovers
        .iter()
        .enumerate()
        .map(|(number, failover)| {
            let next = failovers.get(number + 1).map_or(u64::MAX, |next| next.began);
            let of = |grants: &mut dyn Iterator<Item = &Grant>| {
                grants.filter(|grant| (failover.began..next).contains(&grant.at)).count()
            };
            format!("{:?}: {} of {}", failover.blow, of(&mut lost.iter().copied()), of(&mut grants.iter()))
        })
        .collect();
    writeln!(std::io::stderr(), "Sentinel {options:?}: {} grants, lost {}", grants.len(), by_blow.join(", "))
        .expect("standard error is open");
    // What is granted once the Sentinels agree is not lost: a grant that was on its way when the blow fell is, or one of
    // an old master that nobody has told yet.
    let second = 1_000_000_000;
    let unexplained: Vec<&&Grant> = lost
        .iter()
        .filter(|grant| !failovers.iter().any(|of| of.began <= grant.at + second && grant.at <= of.until + second / 3))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:#?} of {failovers:#?}");
    lost.len()
}
