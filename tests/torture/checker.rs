//! What a history may not show, and what its figures are. Pure: the same file gives the same verdict for ever.

use std::collections::{BTreeMap, BTreeSet};

use super::history::{Ended, Fault, History, Job, Mode, Nanos, Patience, Scope, Stay};

pub(super) const SECOND: Nanos = 1_000_000_000;

/// What is promised where the history was made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Of every run: no lease outlives its last renewal by more.
    pub(super) ttl: Nanos,
    /// Kinds of fault after which two may hold one lock until the older lease is over: no lease can prevent it.
    pub(super) unpreventable: &'static [&'static str],
    /// Whether the backend may refuse although nothing is wrong: replicas have to confirm in a part of the lease, and on a
    /// busy machine some do not.
    pub(super) may_refuse: bool,
    /// Whether all get their turn: where there is no queue, chance decides who waits on.
    pub(super) queues: bool,
    /// After this time without a fault of the server somebody who waits has to have got in.
    pub(super) recovers_within: Nanos,
    /// A hand-over in quiet times that takes longer has waited for a timer and not for a message; `None`: nobody is told
    /// of a lock that is free, or the machine is too busy to judge.
    pub(super) quick: Option<Quick>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Quick {
    pub(super) within: Nanos,
    /// So many of a hundred may be slower.
    pub(super) but: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation {
    /// `overlap`, `fence`, `status`, `starved`, `slow`, `outlives`, `left`: what the seeded defects are known by.
    pub(super) kind: &'static str,
    pub(super) what: String,
    pub(super) key: String,
    pub(super) from: Nanos,
    pub(super) until: Nanos,
}

#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) grants: usize,
    pub(super) violations: Vec<Violation>,
    /// Overlaps that no lease can prevent, each with its reason; the fence tells the two apart.
    pub(super) unprevented: Vec<String>,
    /// How often each kind of fault came.
    pub(super) faults: BTreeMap<String, usize>,
    /// The longest that somebody waited while nobody held.
    pub(super) worst_recovery: Nanos,
    /// From one command's end to the next one's start, where nothing was wrong.
    pub(super) hand_overs: Vec<Nanos>,
    pub(super) longest_wait: Nanos,
    pub(super) lost: usize,
}

/// Room for what a loaded machine needs to note something.
const SLACK: Nanos = SECOND / 2;

/// So many quiet hand-overs say something about all of them.
const ENOUGH: usize = 12;

pub(super) fn check(history: &History, terms: Terms) -> Verdict {
    let mut verdict = Verdict::default();
    for fault in &history.faults {
        *verdict.faults.entry(fault.kind.clone()).or_default() += 1;
    }
    let mut keys: BTreeMap<&str, Vec<(&Job, &Stay)>> = BTreeMap::new();
    for job in history.jobs.values() {
        statuses(history, terms, job, &mut verdict);
        if let Some(stay) = &job.stay {
            keys.entry(&job.key).or_default().push((job, stay));
        }
    }
    for (key, stays) in &mut keys {
        stays.sort_by_key(|(_, stay)| stay.began);
        verdict.grants += stays.len();
        let overlapping = overlaps(history, terms, key, stays, &mut verdict);
        fences(history, terms, (key, stays), &overlapping, &mut verdict);
        recoveries(history, terms, key, stays, &mut verdict);
        quiet_hand_overs(history, key, stays, &mut verdict);
    }
    let all = verdict.hand_overs.len();
    if let Some(Quick { within, but }) = terms.quick
        && let slow = verdict.hand_overs.iter().filter(|took| **took > within).count()
        && all >= ENOUGH
        && slow * 100 > all * but
    {
        let what = format!("{slow} of {all} quiet hand-overs were slow");
        verdict.violations.push(Violation { kind: "slow", what, key: String::new(), from: 0, until: 0 });
    }
    verdict.hand_overs.sort_unstable();
    for left in &history.left {
        let what = format!("{left} when all was over");
        verdict.violations.push(Violation { kind: "left", what, key: String::new(), from: 0, until: 0 });
    }
    verdict
}

/// Whether a fault that `matches` befell `job` while it lived, or shortly before it.
fn explained(history: &History, terms: Terms, job: &Job, matches: impl Fn(&Fault) -> bool) -> bool {
    let until = job.ended.map_or(history.until, |(at, _)| at) + SLACK;
    let from = job.started.saturating_sub(terms.ttl + SLACK);
    let before = |fault: &Fault| fault.until + terms.ttl + SLACK >= from && fault.from <= until;
    history.faults.iter().any(|fault| fault.scope.covers(job) && before(fault) && matches(fault))
}

fn statuses(history: &History, terms: Terms, job: &Job, verdict: &mut Verdict) {
    let Some((ended_at, ended)) = job.ended else {
        let what = format!("{} never ended", job.name);
        verdict.violations.push(violation("starved", what, job, job.started, history.until));
        return;
    };
    let stay = job.stay.as_ref();
    let waited = stay.map_or(ended_at, |stay| stay.began) - job.started;
    verdict.longest_wait = verdict.longest_wait.max(waited);
    let struck = || explained(history, terms, job, |fault| matches!(fault.scope, Scope::Job(_)));
    let disturbed = || explained(history, terms, job, |_| true);
    let server = || explained(history, terms, job, |fault| matches!(fault.scope, Scope::Server | Scope::Minority));
    let complaint = match ended {
        Ended::Code(code) if code == job.code => {
            let finished = stay.is_some_and(|stay| stay.end.is_some());
            (!finished).then(|| format!("{} returned its command's {code}, and that never ended", job.name))
        }
        Ended::Code(79) => {
            verdict.lost += 1;
            (!disturbed()).then(|| format!("{} lost its lock, and nothing had happened", job.name))
        }
        Ended::Code(75) if job.patience == Patience::Passes => {
            (!somebody_else(history, terms, job, ended_at)).then(|| format!("{} was refused a free lock", job.name))
        }
        Ended::Code(75) if !terms.queues => None,
        Ended::Code(75) => Some(format!("{} waited in vain", job.name)),
        Ended::Code(69) => {
            (!server() && !terms.may_refuse).then(|| format!("{} found no server, and it was there", job.name))
        }
        Ended::Code(74 | 77) => (!explained(history, terms, job, |fault| fault.kind == "disk-full"))
            .then(|| format!("{} could not write, and the disk was not full", job.name)),
        Ended::Code(71) | Ended::Signal(9) => (!struck()).then(|| format!("{} was killed by nobody", job.name)),
        other => Some(format!("{} ended with {other:?}", job.name)),
    };
    if let Some(what) = complaint {
        let kind = if matches!(ended, Ended::Code(75)) { "starved" } else { "status" };
        verdict.violations.push(violation(kind, what, job, job.started, ended_at));
    }
    if let Some(stay) = stay {
        // Whatever dlock says of itself, its command is over by then; a killed front's is ended by the keeper.
        let was_killed = explained(history, terms, job, |fault| fault.kind == "front-killed");
        let grace = if was_killed { terms.ttl } else { SLACK / 5 };
        if stay.last > ended_at + grace {
            let what = format!("something of {} lived on after dlock had ended", job.name);
            verdict.violations.push(violation("outlives", what, job, stay.began, stay.last));
        }
    }
}

/// Whether anybody else held, was about to, or may have been believed to hold the key while `job` asked.
fn somebody_else(history: &History, terms: Terms, job: &Job, ended_at: Nanos) -> bool {
    let from = job.started.saturating_sub(2 * terms.ttl + SLACK);
    history.jobs.values().any(|other| {
        other.name != job.name
            && other.key == job.key
            && other.started <= ended_at
            && other.ended.is_none_or(|(at, _)| at >= from)
    })
}

fn excludes(one: &Job, other: &Job) -> bool {
    one.mode == Mode::Exclusive || other.mode == Mode::Exclusive
}

/// Finds every two that held at once and may not, and every slot too many. Returns who was in an overlap.
fn overlaps<'a>(
    history: &History,
    terms: Terms,
    key: &str,
    stays: &[(&'a Job, &Stay)],
    verdict: &mut Verdict,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    for (at, (later, later_stay)) in stays.iter().enumerate() {
        let beside: Vec<&(&Job, &Stay)> =
            stays[..at].iter().filter(|(_, earlier)| earlier.last > later_stay.began).collect();
        let slots = match later.mode {
            Mode::Slots(total) => total,
            _ => usize::MAX,
        };
        let mut wrong: Vec<&(&Job, &Stay)> =
            beside.iter().copied().filter(|(earlier, _)| excludes(earlier, later)).collect();
        if beside.len() >= slots {
            wrong.extend(beside.iter().copied());
        }
        for (earlier, earlier_stay) in wrong {
            found.extend([earlier.name.as_str(), later.name.as_str()]);
            let (from, until) = (earlier_stay.began, earlier_stay.last.max(later_stay.began));
            let side = (earlier_stay.last - later_stay.began) / 1_000_000;
            let what = format!("{} and {} held {key:?} at once, for {side} ms", earlier.name, later.name);
            match reason(history, terms, (earlier, earlier_stay), later_stay) {
                None => verdict.violations.push(violation("overlap", what, later, from, until)),
                Some(fault) => {
                    let told_apart = earlier_stay.fence != later_stay.fence || earlier_stay.fence.is_none();
                    if !told_apart {
                        let what = format!("{what}, with one fence");
                        verdict.violations.push(violation("fence", what, later, from, until));
                    }
                    verdict.unprevented.push(format!("{what}: {}", fault.kind));
                }
            }
        }
    }
    found
}

/// The fault that took the lock from one of the two while its lease still ran.
fn reason<'h>(
    history: &'h History,
    terms: Terms,
    (earlier_job, earlier): (&Job, &Stay),
    later: &Stay,
) -> Option<&'h Fault> {
    let is_struck = |fault: &Fault| matches!(&fault.scope, Scope::Job(name) if *name == earlier_job.name);
    // A third of the lease, and a tenth for the request.
    let learns = if history.faults.iter().any(is_struck) { terms.ttl } else { terms.ttl / 3 + terms.ttl / 10 };
    history.faults.iter().find(|fault| {
        terms.unpreventable.contains(&fault.kind.as_str())
            && fault.scope.covers(earlier_job)
            && fault.from <= later.began + SLACK
            // What it took was granted before it was over, and nobody believes in it for longer than until the next
            // renewal, or than a lease where that was delayed.
            && earlier_job.started <= fault.until + SLACK
            && later.began <= fault.until + terms.ttl + SLACK
            && earlier.last <= fault.until + learns + SLACK
    })
}

fn fences(
    history: &History,
    terms: Terms,
    (key, stays): (&str, &[(&Job, &Stay)]),
    overlapping: &BTreeSet<&str>,
    verdict: &mut Verdict,
) {
    let exclusive = stays.iter().filter(|(job, _)| job.mode == Mode::Exclusive);
    let mut highest: Option<(u64, &Job)> = None;
    for (job, stay) in exclusive {
        let Some(fence) = stay.fence else {
            let what = format!("{} held {key:?} exclusively and has no fence", job.name);
            verdict.violations.push(violation("fence", what, job, stay.began, stay.last));
            continue;
        };
        // Of two that held at once either may have begun first.
        if overlapping.contains(job.name.as_str()) {
            continue;
        }
        if let Some((before, whose)) = highest
            && fence <= before
        {
            let what = format!("the fence of {key:?} fell from {before} of {} to {fence} of {}", whose.name, job.name);
            let after = whose.stay.as_ref().unwrap_or(stay);
            // Granted first, taken by the server, and begun last: the fence keeps it from the resource.
            match reason(history, terms, (job, stay), after) {
                Some(fault) if fence != before => verdict.unprevented.push(format!("{what}: {}", fault.kind)),
                _ => verdict.violations.push(violation("fence", what, job, after.began, stay.last)),
            }
        }
        if highest.is_none_or(|(before, _)| fence > before) {
            highest = Some((fence, job));
        }
    }
}

/// How long nobody held while somebody waited.
fn recoveries(history: &History, terms: Terms, key: &str, stays: &[(&Job, &Stay)], verdict: &mut Verdict) {
    // Who waits from when until when.
    let mut waits: Vec<(Nanos, Nanos)> = history
        .jobs
        .values()
        .filter(|job| job.key == key && job.patience == Patience::Waits)
        .map(|job| {
            let until = job.stay.as_ref().map(|stay| stay.began).or(job.ended.map(|(at, _)| at));
            (job.started, until.unwrap_or(history.until))
        })
        .collect();
    waits.sort_unstable();
    let mut free_since: Nanos = 0;
    let mut begun = 0;
    let mut waiting: Vec<(Nanos, Nanos)> = Vec::new();
    for (job, stay) in stays {
        if stay.began > free_since {
            while waits.get(begun).is_some_and(|(from, _)| *from < stay.began) {
                waiting.push(waits[begun]);
                begun += 1;
            }
            waiting.retain(|(_, until)| *until >= stay.began);
            let since = waiting.iter().map(|(from, _)| *from).min().unwrap_or(stay.began).max(free_since);
            let gap = stay.began.saturating_sub(since);
            verdict.worst_recovery = verdict.worst_recovery.max(gap);
            let away = time_of_faults(history, since, stay.began, terms);
            if gap > terms.recovers_within + away {
                let what = format!("nobody got {key:?} for {} ms while somebody waited", gap / 1_000_000);
                verdict.violations.push(violation("starved", what, job, since, stay.began));
            }
        }
        free_since = free_since.max(stay.last);
    }
}

/// The part of a time in which the server was not itself, and what it takes everybody to be back afterwards.
fn time_of_faults(history: &History, from: Nanos, until: Nanos, terms: Terms) -> Nanos {
    let server = history.faults.iter().filter(|fault| fault.scope == Scope::Server);
    let spans = server.map(|fault| (fault.from.max(from), (fault.until + terms.ttl).min(until)));
    let mut spans: Vec<(Nanos, Nanos)> = spans.filter(|(from, until)| from < until).collect();
    spans.sort_unstable();
    let (mut total, mut covered) = (0, 0);
    for (from, until) in spans {
        total += until.saturating_sub(from.max(covered));
        covered = covered.max(until);
    }
    total
}

fn quiet_hand_overs(history: &History, key: &str, stays: &[(&Job, &Stay)], verdict: &mut Verdict) {
    for pair in stays.windows(2) {
        let [(before, earlier), (job, stay)] = pair else { continue };
        let Some(end) = earlier.end else { continue };
        let settled = job.started < end;
        let ended_well = before.ended.is_some_and(|(_, ended)| ended == Ended::Code(before.code));
        if !settled
            || !ended_well
            || earlier.last != end
            || stay.began < end
            || [before.mode, job.mode] != [Mode::Exclusive; 2]
        {
            continue;
        }
        // Who was cut off shortly before may still be on its way back.
        let since = end.saturating_sub(3 * SECOND);
        let disturbs = |fault: &Fault| {
            let near = fault.until >= since && fault.from <= stay.began;
            near && match &fault.scope {
                Scope::Server | Scope::Minority => true,
                Scope::Key(other) => other == key,
                Scope::Job(name) => history.jobs.get(name).is_none_or(|job| job.key == key),
            }
        };
        if !history.faults.iter().any(disturbs) {
            verdict.hand_overs.push(stay.began - end);
        }
    }
}

fn violation(kind: &'static str, what: String, job: &Job, from: Nanos, until: Nanos) -> Violation {
    Violation { kind, what, key: job.key.clone(), from, until }
}
