//! From what an ensemble shows of itself to what that means for its locks: no server is asked here.

use std::time::Duration;

use super::Verdict;
use crate::lock::{Finding, Ttl};

/// What people still notice in the times that they are shown.
const CLOCKS_APART_S: f64 = 1.0;

/// What is known of an ensemble that grants sessions.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) at: String,
    pub(super) wanted: Ttl,
    pub(super) granted: Duration,
    /// The least and the most; `None`: it could not be found out.
    pub(super) range: Option<(Duration, Duration)>,
    pub(super) servers: Vec<(String, Verdict)>,
    /// Who vote; `None`: it is not told.
    pub(super) members: Option<usize>,
    pub(super) refusal: Option<Refusal>,
    pub(super) slowest_write: Option<Duration>,
    /// The leader's, in seconds; negative: behind this host's.
    pub(super) clock_ahead_s: Option<f64>,
    pub(super) ttl_nodes: Ttls,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            at: String::new(),
            wanted: Ttl::Default(Duration::ZERO),
            granted: Duration::ZERO,
            range: None,
            servers: Vec::new(),
            members: None,
            refusal: None,
            slowest_write: None,
            clock_ahead_s: None,
            ttl_nodes: Ttls::NotTried,
        }
    }
}

/// Whether the servers have nodes that go by themselves after a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ttls {
    Known,
    Unknown,
    NotTried,
}

/// Why something that a lock needs was not done.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) is_denied: bool,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let findings = [
        servers(facts),
        ensemble(facts),
        Some(session(facts)),
        Some(access(facts)),
        writes(facts),
        clock(facts),
        ttls(facts),
    ];
    findings.into_iter().flatten().collect()
}

fn servers(facts: &Facts) -> Option<Finding> {
    let away: Vec<String> = facts
        .servers
        .iter()
        .filter(|(_, verdict)| *verdict != Verdict::Serving)
        .map(|(server, verdict)| format!("{server} {verdict}"))
        .collect();
    let (named, serving) = (facts.servers.len(), facts.servers.len() - away.len());
    if named == 0 {
        return None;
    }
    Some(if away.is_empty() {
        Finding::ok("servers", format!("{serving} of {named} servers that --zk names serve"))
    } else {
        Finding::warning(
            "servers",
            format!("{serving} of {named} servers that --zk names serve: {}", away.join(", ")),
            "when those that serve fail too, locks can be neither taken nor renewed",
            "bring them back, or correct --zk",
        )
    })
}

fn ensemble(facts: &Facts) -> Option<Finding> {
    let (members, named) = (facts.members?, facts.servers.len());
    let what = format!("{members} server{} vote{}", plural(members, "s"), if members == 1 { "s" } else { "" });
    Some(if members < 3 {
        let why = "none may fail: without a majority locks can be neither taken nor renewed";
        Finding::warning("ensemble", what, why, "run three servers or five")
    } else if members.is_multiple_of(2) {
        let why = "such a number stands no more failures than one server less would";
        Finding::warning("ensemble", what, why, "run an odd number of servers")
    } else if named < members {
        let why = "when the named ones fail, the others are not tried";
        Finding::warning("ensemble", format!("{what}, and --zk names {named}"), why, "name all of them")
    } else {
        Finding::ok("ensemble", what)
    })
}

fn plural(count: usize, ending: &'static str) -> &'static str {
    if count == 1 { "" } else { ending }
}

fn session(facts: &Facts) -> Finding {
    let shown = humantime::format_duration;
    let range = match facts.range {
        Some((least, most)) => format!(" (it grants {} to {})", shown(least), shown(most)),
        None => String::new(),
    };
    let wanted = facts.wanted.duration();
    let what =
        format!("{} grants a session timeout of {} for {}{range}", facts.at, shown(facts.granted), shown(wanted));
    if facts.granted == wanted {
        return Finding::ok("session", what);
    }
    let advice = "choose a --ttl within the range, or change minSessionTimeout and maxSessionTimeout on every server";
    match facts.wanted {
        Ttl::Exactly(_) => Finding::failed("session", what, "dlock run refuses this --ttl with status 78", advice),
        Ttl::Default(_) => Finding::warning(
            "session",
            what,
            "without --ttl dlock run takes what it gets: a crash blocks others for so long, and so long a pause loses \
             the lock",
            advice,
        ),
    }
}

fn access(facts: &Facts) -> Finding {
    match &facts.refusal {
        None => Finding::ok("permissions", format!("{} lets this user make containers and locks", facts.at)),
        Some(Refusal { what, is_denied: true }) => Finding::failed(
            "permissions",
            what.clone(),
            "locks end with status 77",
            "give this user cdrwa on the namespace's node, or name one that has it with --zk-auth-file",
        ),
        Some(Refusal { what, is_denied: false }) => Finding::failed(
            "writes",
            what.clone(),
            "a lock cannot be taken or kept while that lasts",
            "remove the cause; the servers' logs say more",
        ),
    }
}

fn writes(facts: &Facts) -> Option<Finding> {
    let (slowest, beat) = (facts.slowest_write?, facts.granted / 10);
    let what = format!(
        "a committed write at {} took {:.1} ms at most; with a session of {} one is due every {:.0} ms",
        facts.at,
        slowest.as_secs_f64() * 1000.0,
        humantime::format_duration(facts.granted),
        beat.as_secs_f64() * 1000.0
    );
    let advice = "give the servers' transaction log a disk of its own, or choose a longer --ttl";
    Some(if slowest > beat {
        Finding::failed("round-trip", what, "heartbeats come too late, and leases end while their holders run", advice)
    } else if slowest > beat / 2 {
        Finding::warning("round-trip", what, "little more, and heartbeats come too late", advice)
    } else {
        Finding::ok("round-trip", what)
    })
}

fn clock(facts: &Facts) -> Option<Finding> {
    let ahead = facts.clock_ahead_s?;
    let direction = if ahead < 0.0 { "behind" } else { "ahead of" };
    let what = format!("the clock of {}'s leader is {:.3} s {direction} this host's", facts.at, ahead.abs());
    Some(if ahead.abs() > CLOCKS_APART_S {
        let why = "times in status are off, and a step of the leader's clock ends one-shot leases early or late";
        Finding::warning("clock", what, why, "run NTP on all of them, and let it slew and not step")
    } else {
        Finding::ok("clock", what)
    })
}

fn ttls(facts: &Facts) -> Option<Finding> {
    match facts.ttl_nodes {
        Ttls::Known => Some(Finding::ok("ttl-nodes", format!("{} has TTL nodes", facts.at))),
        Ttls::Unknown => Some(Finding::warning(
            "ttl-nodes",
            format!("{} has no TTL nodes", facts.at),
            "a one-shot lease that has ended stays as a node until somebody asks for its key",
            "start every server with zookeeper.extendedTypesEnabled=true, if dlock acquire is used",
        )),
        Ttls::NotTried => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Grade;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    fn facts() -> Facts {
        let server = |name: &str| (name.to_owned(), Verdict::Serving);
        Facts {
            at: "zookeeper z1".into(),
            wanted: Ttl::Default(seconds(30)),
            granted: seconds(30),
            range: Some((seconds(4), seconds(40))),
            servers: ["z1:1", "z2:1", "z3:1"].map(server).into(),
            members: Some(3),
            slowest_write: Some(Duration::from_millis(5)),
            clock_ahead_s: Some(-0.02),
            ttl_nodes: Ttls::Known,
            ..Facts::default()
        }
    }

    #[test]
    fn an_ordinary_ensemble_is_all_right() {
        assert!(judge(&facts()).iter().all(|one| one.grade == Grade::Ok));
        assert_eq!(judge(&facts()).len(), 7);
    }

    #[test]
    fn each_thing_that_is_wrong_is_found_once() {
        let (short, denied) = (seconds(4), |is_denied| Some(Refusal { what: "no".into(), is_denied }));
        let away = || vec![("z1:1".to_owned(), Verdict::Silent), ("z2:1".to_owned(), Verdict::Serving)];
        for (facts, expected) in [
            (Facts { granted: short, ..facts() }, ("session", Grade::Warning)),
            (Facts { wanted: Ttl::Exactly(seconds(60)), ..facts() }, ("session", Grade::Failed)),
            (Facts { members: Some(1), ..facts() }, ("ensemble", Grade::Warning)),
            (Facts { members: Some(4), ..facts() }, ("ensemble", Grade::Warning)),
            (Facts { members: Some(5), ..facts() }, ("ensemble", Grade::Warning)),
            (Facts { members: None, servers: away(), ..facts() }, ("servers", Grade::Warning)),
            (Facts { refusal: denied(true), ..facts() }, ("permissions", Grade::Failed)),
            (Facts { refusal: denied(false), ..facts() }, ("writes", Grade::Failed)),
            (Facts { slowest_write: Some(seconds(2)), ..facts() }, ("round-trip", Grade::Warning)),
            (Facts { slowest_write: Some(seconds(4)), ..facts() }, ("round-trip", Grade::Failed)),
            (Facts { clock_ahead_s: Some(-600.0), ..facts() }, ("clock", Grade::Warning)),
            (Facts { ttl_nodes: Ttls::Unknown, ..facts() }, ("ttl-nodes", Grade::Warning)),
        ] {
            let worse: Vec<_> = judge(&facts).into_iter().filter(|one| one.grade != Grade::Ok).collect();
            assert_eq!(worse.iter().map(|one| (one.check, one.grade)).collect::<Vec<_>>(), [expected]);
        }
    }
}
