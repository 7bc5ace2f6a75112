//! The storm on Sentinel: the master is moved, killed and frozen, and each time another takes its place.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::jobs::{self, Jobs, Outcomes, TTL};
use crate::support::history::{Overlap, falling_fences, overlaps, stays};
use crate::support::{A_WHILE, Place, Watched, ask, eventually, soak_time, within};

/// How a master comes to be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// `SENTINEL FAILOVER`: the old one serves until it is told, and what it grants meanwhile is lost.
    Moved,
    Killed,
    Frozen,
}

const BLOWS: [Blow; 3] = [Blow::Moved, Blow::Killed, Blow::Frozen];

/// From when all Sentinels last named one master until all named the next, by CLOCK_BOOTTIME. A busy machine has more of
/// them than blows.
#[derive(Debug, Clone, Copy)]
struct Switch {
    from: u64,
    until: u64,
}

/// Looks at the Sentinels until it is over.
fn switches(ports: [u16; 3], over: &AtomicBool) -> Vec<Switch> {
    let mut switches = Vec::new();
    let mut agreed: Option<(u16, u64)> = None;
    let mut split = false;
    while !over.load(Ordering::Relaxed) {
        let look = jobs::boottime();
        let name = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "svc"];
        let names = ports.map(|port| ask::<(String, u16)>(port, None, &name).map_or(0, |(_, port)| port));
        if names[0] > 0 && names.iter().all(|port| *port == names[0]) {
            if let Some((last, from)) = agreed
                && (split || last != names[0])
            {
                switches.push(Switch { from, until: jobs::boottime() });
            }
            (agreed, split) = (Some((names[0], look)), false);
        } else {
            split = true;
        }
        // The pace of the looks, not a handshake.
        std::thread::sleep(Duration::from_millis(20));
    }
    switches
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

fn storm(options: &'static [&'static str]) -> (Outcomes, Vec<Overlap>) {
    let watched = Watched::start();
    let jobs = Jobs::new(watched.url(), "50s").with(options);
    let began = Instant::now();
    let over = AtomicBool::new(false);
    let mut blows: Vec<Blow> = Vec::new();
    let (outcomes, switches) = std::thread::scope(|threads| {
        let (ports, over) = (watched.sentinel_ports(), &over);
        let switches = threads.spawn(move || switches(ports, over));
        let work = |worker| {
            let jobs = &jobs;
            move || jobs.work(worker)
        };
        let workers: Vec<_> = (0..jobs.at_a_time()).map(|worker| threads.spawn(work(worker))).collect();
        while blows.is_empty() || began.elapsed() < soak_time() {
            let calm = Instant::now();
            while calm.elapsed() < Duration::from_secs(2) {
                jobs.strike_one();
                super::cut_connections(watched.master().port);
                // The pace of the misfortunes, not a handshake.
                std::thread::sleep(Duration::from_millis(60));
            }
            let blow = BLOWS[blows.len() % BLOWS.len()];
            strike_master(&watched, blow);
            blows.push(blow);
            watched.follow();
        }
        jobs.no_more();
        let outcomes =
            workers.into_iter().map(|worker| worker.join().expect("a worker does not panic")).sum::<Outcomes>();
        over.store(true, Ordering::Relaxed);
        (outcomes, switches.join().expect("looking does not panic"))
    });
    let stays = stays(&jobs.log());
    let (unprevented, overlapped): (Vec<Overlap>, Vec<Overlap>) =
        overlaps(&stays).into_iter().partition(|overlap| switches.iter().any(|switch| explains(switch, overlap)));
    let fall = falling_fences(&stays);
    let of = |blow| blows.iter().filter(|fallen| **fallen == blow).count();
    let figures = format!(
        "Sentinel {options:?}: {} grants, {outcomes:?}, masters: {} moved, {} killed, {} frozen, {} fail-overs; overlaps {} (and {} \
         of a grant that the next master did not have), fences that fell {}",
        stays.len(),
        of(Blow::Moved),
        of(Blow::Killed),
        of(Blow::Frozen),
        switches.len(),
        overlapped.len(),
        unprevented.len(),
        fall.len()
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    for overlap in &unprevented {
        writeln!(std::io::stderr(), "not prevented: {overlap:?}").expect("standard error is open");
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
fn explains(switch: &Switch, overlap: &Overlap) -> bool {
    let ttl = u64::try_from(TTL.as_nanos()).expect("a few seconds");
    // What the test sees of the Sentinels is a look or two late.
    let slack = 300_000_000;
    let (earlier, later) = (overlap.earlier.began, overlap.later.began);
    earlier <= switch.until && later + slack >= switch.from && later <= switch.until + ttl
}

fn strike_master(watched: &Watched, blow: Blow) {
    let old = watched.master().port;
    match blow {
        Blow::Moved => {
            eventually("a fail-over begins", || {
                watched.ask_sentinel::<String>(0, &["SENTINEL", "FAILOVER", "svc"]).is_some() || watched.moved(old)
            });
        }
        Blow::Killed => watched.at(old).crash(),
        Blow::Frozen => watched.at(old).freeze(),
    }
    watched.moves_from(old);
    match blow {
        Blow::Moved => {}
        Blow::Killed => watched.at(old).start_again(),
        Blow::Frozen => watched.at(old).thaw(),
    }
}

/// A grant that somebody was told of.
#[derive(Debug)]
struct Grant {
    key: String,
    token: String,
    /// When it was asked for, and when it was there.
    asked: u64,
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
    let (grants, blows, switches) = std::thread::scope(|threads| {
        let (ports, over) = (watched.sentinel_ports(), &over);
        let switches = threads.spawn(move || switches(ports, over));
        let take = |worker: usize| {
            let (url, namespace, count) = (&url, &namespace, &count);
            move || {
                let mut place = Place::at_url(url, 0);
                place.namespace.clone_from(namespace);
                let mut grants = Vec::new();
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{worker}-{number}");
                    let asked = jobs::boottime();
                    let call = ["acquire", "-n", "-q", "--ttl", "10m", "-k", &key];
                    let answer = place.dlock_with([&call[..], options].concat()).finish();
                    if answer.status.success() {
                        count.fetch_add(1, Ordering::Relaxed);
                        grants.push(Grant { key, token: answer.said().to_owned(), asked, at: jobs::boottime() });
                    }
                }
                grants
            }
        };
        let workers: Vec<_> = (0..4).map(|worker| threads.spawn(take(worker))).collect();
        let mut blows = Vec::new();
        for blow in BLOWS {
            let before = count.load(Ordering::Relaxed);
            within(A_WHILE * 3, "locks are granted again", || count.load(Ordering::Relaxed) > before + 20);
            blows.push((blow, jobs::boottime()));
            strike_master(&watched, blow);
            watched.follow();
        }
        over.store(true, Ordering::Relaxed);
        let grants = workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic"));
        (grants.collect::<Vec<_>>(), blows, switches.join().expect("looking does not panic"))
    });
    let mut redis = watched.place().redis();
    let is_lost = |grant: &&Grant| {
        let value: Option<String> =
            ::redis::cmd("GET").arg(format!("{namespace}:{}", grant.key)).query(&mut redis).expect("the server serves");
        !value.is_some_and(|value| value.starts_with(&grant.token))
    };
    let lost: Vec<&Grant> = grants.iter().filter(is_lost).collect();
    let by_blow: Vec<String> = blows
        .iter()
        .enumerate()
        .map(|(number, (blow, at))| {
            let next = blows.get(number + 1).map_or(u64::MAX, |(_, at)| *at);
            let of = |grants: &mut dyn Iterator<Item = &Grant>| {
                grants.filter(|grant| (*at..next).contains(&grant.at)).count()
            };
            format!("{blow:?}: {} of {}", of(&mut lost.iter().copied()), of(&mut grants.iter()))
        })
        .collect();
    let (count, times) = (grants.len(), switches.len());
    writeln!(
        std::io::stderr(),
        "Sentinel {options:?}: {count} grants, {times} fail-overs, lost {}",
        by_blow.join(", ")
    )
    .expect("standard error is open");
    // What is asked for once the Sentinels agree is not lost: a grant that was on its way when the blow fell is, however
    // late a frozen master answers, or one of an old master that nobody has told yet.
    let second = 1_000_000_000;
    let explains = |switch: &Switch, grant: &Grant| switch.from <= grant.at + second && grant.asked <= switch.until;
    let unexplained: Vec<&&Grant> =
        lost.iter().filter(|grant| !switches.iter().any(|switch| explains(switch, grant))).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?} of {switches:#?}");
    lost.len()
}
