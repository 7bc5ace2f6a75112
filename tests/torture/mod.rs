//! dlock under torture: many processes on real servers, everything goes wrong that can, and what was written down is
//! checked. `README.md` beside this file says how to run it, for how long, and what it found.

mod arena;
mod checker;
mod checks;
mod crew;
mod history;
mod nemesis;
mod outcome;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::support::{A_WHILE, program, soak_time};
use arena::Arena;
use checker::{Quick, SECOND, Terms, check};
use crew::{Crew, Modes, TTL};
use history::History;
use nemesis::{force_releases, storms, strike_processes, watch_the_machine};
use outcome::Outcome;

/// What holds wherever a lock is stored by a server that keeps its word.
const TERMS: Terms = Terms {
    // crew::TTL
    ttl: 3 * SECOND,
    unpreventable: &[],
    may_refuse: false,
    queues: true,
    recovers_within: 20 * SECOND,
    quick: Some(Quick { within: 700 * SECOND / 1000, but: 20 }),
};

#[test]
fn file() {
    torture("file", Modes::Exclusive, TERMS, arena::on_a_small_disk);
}

#[test]
fn redis() {
    torture("redis", Modes::Exclusive, TERMS, arena::on_redis);
}

#[test]
fn redis_shared() {
    torture("redis-shared", Modes::Shared, TERMS, arena::on_redis);
}

#[test]
fn redis_slots() {
    torture("redis-slots", Modes::Slots(3), TERMS, arena::on_redis);
}

#[test]
fn redis_far_away() {
    // Whoever comes when the lock is given back is some round trips away from asking for it.
    let terms = Terms { ttl: 15 * SECOND, quick: Some(Quick { within: 2 * SECOND, but: 3 }), ..TERMS };
    torture("redis-far-away", Modes::Exclusive, terms, arena::on_redis_far_away);
}

#[test]
fn redis_with_late_answers() {
    torture("redis-late-answers", Modes::Exclusive, TERMS, arena::on_redis_with_late_answers);
}

/// It forgets everything, and its clock leaps: two may hold at once, and the fence tells them apart.
#[test]
fn redis_betrayed() {
    let terms = Terms { unpreventable: &["flush", "clock-forward"], ..TERMS };
    torture("redis-betrayed", Modes::Exclusive, terms, arena::on_redis_that_betrays);
}

/// Without the replicas' word the next master may not have the latest grants.
#[test]
fn sentinel() {
    let terms =
        Terms { unpreventable: &["failover-asked", "master-crash", "master-stopped", "replicas-cut-off"], ..TERMS };
    torture("sentinel", Modes::Exclusive, terms, || arena::behind_sentinels(&[]));
}

#[test]
fn sentinel_with_all_replicas() {
    let arena = || arena::behind_sentinels(&["--wait-replicas", "2"]);
    torture("sentinel-replicas", Modes::Exclusive, Terms { may_refuse: true, ..TERMS }, arena);
}

#[test]
fn cluster() {
    torture("cluster", Modes::Exclusive, TERMS, arena::on_a_cluster);
}

/// Its waiters do not queue: they look again and again, and nobody tells them.
#[test]
fn redlock() {
    let terms = Terms { quick: None, queues: false, ..TERMS };
    torture("redlock", Modes::Exclusive, terms, arena::on_five_masters);
}

#[test]
fn zookeeper() {
    torture("zookeeper", Modes::Exclusive, TERMS, arena::on_zookeeper);
}

#[test]
fn zookeeper_shared() {
    torture("zookeeper-shared", Modes::Shared, TERMS, arena::on_zookeeper);
}

#[test]
fn zookeeper_slots() {
    torture("zookeeper-slots", Modes::Slots(3), TERMS, arena::on_zookeeper);
}

#[test]
fn zookeeper_cut_off() {
    torture("zookeeper-cut-off", Modes::Exclusive, TERMS, arena::on_zookeeper_cut_off);
}

#[test]
fn ensemble() {
    torture("ensemble", Modes::Exclusive, TERMS, arena::on_an_ensemble);
}

#[test]
fn redis_and_zookeeper() {
    torture("redis+zk", Modes::Exclusive, TERMS, arena::on_redis_and_zookeeper);
}

/// What the caller may choose, by `DLOCK_TORTURE_…` variables; `run.sh` has them as options.
struct Choice {
    seed: u64,
    workers: usize,
    program: PathBuf,
    /// Keeps the histories.
    directory: Option<PathBuf>,
    /// A history that was made earlier; only looked at.
    recorded: Option<PathBuf>,
    /// Whether slow hand-overs are wrong: not where other tests run beside.
    judges_speed: bool,
    /// Ends when one of these kinds is found to be wrong: a seeded defect shows.
    looks_for: Vec<String>,
}

impl Choice {
    fn of_the_caller() -> Self {
        let said = |name: &str| std::env::var(format!("DLOCK_TORTURE_{name}")).ok().filter(|text| !text.is_empty());
        let number = |name: &str| said(name).map(|text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")));
        Self {
            seed: number("SEED").unwrap_or_else(|| fastrand::u64(..)),
            workers: number("PROCESSES").map_or(16, |count| usize::try_from(count).expect("a number of processes")),
            program: said("PROGRAM").map_or_else(|| PathBuf::from(program()), PathBuf::from),
            directory: said("HISTORIES").map(PathBuf::from),
            recorded: said("RECORDED").map(PathBuf::from),
            judges_speed: said("JUDGES_SPEED").is_some(),
            looks_for: said("LOOKS_FOR").map(|kinds| kinds.split(' ').map(str::to_owned).collect()).unwrap_or_default(),
        }
    }
}

/// Runs one topology for as long as asked, and fails with the shortest window that shows what went wrong.
fn torture(name: &str, modes: Modes, terms: Terms, arena: impl FnOnce() -> Arena) {
    let choice = Choice::of_the_caller();
    let terms = Terms { quick: terms.quick.filter(|_| choice.judges_speed), ..terms };
    let scratch = tempfile::tempdir().expect("the temporary directory takes files");
    let directory = choice.directory.as_deref().unwrap_or(scratch.path());
    fs::create_dir_all(directory).expect("histories can be kept there");
    let log = choice.recorded.clone().unwrap_or_else(|| {
        let log = directory.join(format!("{name}-{}.history", choice.seed));
        // Of an earlier run with this seed.
        fs::remove_file(&log).ok();
        let said = make_history(modes, arena(), terms, &choice, &log);
        fs::write(log.with_extension("said"), said).expect("histories can be kept there");
        log
    });

    let text = fs::read_to_string(&log).expect("the history can be read");
    let history = History::parse(&text);
    let verdict = check(&history, terms);
    let seed = seed_of(&log).unwrap_or(choice.seed);
    let outcome = Outcome { name, seed, history: &history, verdict: &verdict };
    outcome.tell(directory);
    if !verdict.violations.is_empty() {
        let kept = keep(&log, choice.directory.is_some() || choice.recorded.is_some());
        panic!("{}", outcome.complaint(&text, &kept));
    }
}

/// Histories are called after their topology and their seed.
fn seed_of(log: &Path) -> Option<u64> {
    log.file_stem()?.to_str()?.rsplit_once('-')?.1.parse().ok()
}

/// Returns what the jobs said on standard error, each sentence with how often.
fn make_history(modes: Modes, arena: Arena, terms: Terms, choice: &Choice, log: &Path) -> String {
    let Arena { places, inspected, mut nemeses, may_be_forced, are_struck, shape } = arena;
    let crew = Crew::new(choice.program.clone(), places, modes, (shape, choice.workers), log);
    let mut dice = Rng::with_seed(choice.seed);
    let began = Instant::now();
    let wrong = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let (crew, wrong) = (&crew, &wrong);
        for worker in 0..crew.workers() {
            let dice = dice.fork();
            threads.spawn(move || crew.work(worker, dice));
        }
        let [strikes, forces, weather] = [dice.fork(), dice.fork(), dice.fork()];
        if are_struck {
            threads.spawn(move || strike_processes(crew, strikes));
        }
        if may_be_forced {
            threads.spawn(move || force_releases(crew, forces));
        }
        threads.spawn(|| storms(crew, &mut nemeses, weather));
        threads.spawn(move || watch_the_machine(crew));
        if !choice.looks_for.is_empty() {
            threads.spawn(move || look_early(crew, log, terms, &choice.looks_for, wrong));
        }
        while began.elapsed() < soak_time() && !wrong.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        crew.no_more();
    });
    leave_nothing(&crew, &inspected);
    crew.scribe.note("over");
    crew.said()
}

/// A history that shows something wrong outlives the test that made it.
fn keep(log: &Path, is_kept: bool) -> PathBuf {
    if is_kept {
        return log.to_owned();
    }
    let kept = std::env::temp_dir().join(log.file_name().expect("a history has a name"));
    fs::copy(log, &kept).expect("the temporary directory takes files");
    kept
}

/// Looks every few seconds whether something is wrong already.
fn look_early(crew: &Crew, log: &Path, terms: Terms, looks_for: &[String], wrong: &AtomicBool) {
    while !crew.are_over() {
        std::thread::sleep(Duration::from_secs(3));
        let text = fs::read_to_string(log).unwrap_or_default();
        // The last line may still be on its way.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let verdict = check(&History::parse(whole), terms);
        let is_found = |violation: &checker::Violation| {
            looks_for.iter().any(|kind| kind == violation.kind) && !violation.what.ends_with("never ended")
        };
        if verdict.violations.iter().any(is_found) {
            wrong.store(true, Ordering::Relaxed);
        }
    }
}

/// Notes what still lives, is held, or is stored although all is over.
fn leave_nothing(crew: &Crew, inspected: &[arena::Inspected]) {
    let began = Instant::now();
    let mut left;
    loop {
        left = crew.living().into_iter().map(|process| format!("process {process}")).collect::<Vec<_>>();
        if left.is_empty() {
            left.extend(crew.keys.iter().filter(|key| !is_free(crew, key)).map(|key| format!("lock {key}")));
            left.extend(inspected.iter().flat_map(arena::Inspected::left_behind).map(|name| format!("stored {name}")));
        }
        // What nobody gave back ends with its lease.
        if left.is_empty() || began.elapsed() > A_WHILE + TTL {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    for what in left {
        crew.scribe.note(format_args!("left {what}"));
    }
}

fn is_free(crew: &Crew, key: &str) -> bool {
    let call = ["run", "-q", "-n", "-k", key, "--", "true"];
    (0..crew.places.len()).all(|place| crew.dlock(place, &call).status().is_ok_and(|status| status.success()))
}
