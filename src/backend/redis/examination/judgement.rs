//! From what a server says of itself to what that means for its locks: no server is asked here.

use std::collections::HashMap;
use std::time::Duration;

use super::rights::Need;
use crate::lock::Finding;

/// The oldest version that has all that the scripts use.
const OLDEST: (u32, u32) = (6, 2);

/// Fences and the times that `status` shows come from the server's clock: what people still notice.
const CLOCKS_APART_S: f64 = 1.0;

/// Above it the next locks may be refused: `OOM`.
const NEARLY_FULL: f64 = 0.9;

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub(in crate::backend::redis) struct Demands {
    pub(in crate::backend::redis) ttl: Duration,
    /// How long one request of a renewal may take.
    pub(in crate::backend::redis) request_limit: Duration,
    pub(in crate::backend::redis) station: Station,
    pub(in crate::backend::redis) wait_replicas: u32,
}

/// What else decides beside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::backend::redis) enum Station {
    Alone,
    /// One of several independent masters.
    AmongMasters,
    /// Sentinels put another in its place.
    UnderSentinels,
    Cluster,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    Yes,
    Refused,
    /// It was published and never arrived.
    Lost,
}

/// What one server says; `None`: it could not be asked.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) url: String,
    pub(super) slowest_trip: Option<Duration>,
    pub(super) quickest_trip: Option<Duration>,
    /// Negative: behind this host's.
    pub(super) clock_ahead_s: Option<f64>,
    pub(super) refused: Vec<(&'static str, Need)>,
    /// Why a command that changes something is refused, other than for want of a right.
    pub(super) refuses_writes: Option<String>,
    pub(super) info: Option<HashMap<String, String>>,
    pub(super) config: Option<HashMap<String, String>>,
    pub(super) heard: Option<Heard>,
}

impl Facts {
    fn info(&self, name: &str) -> Option<&str> {
        self.info.as_ref()?.get(name).map(String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.info(name)?.parse().ok()
    }

    fn config(&self, name: &str) -> Option<&str> {
        self.config.as_ref()?.get(name).map(String::as_str)
    }
}

/// All findings about one server, in the order in which they matter.
pub(super) fn judge(facts: &Facts, demands: &Demands) -> Vec<Finding> {
    let mut findings = vec![
        version(facts),
        role(facts),
        writes(facts),
        eviction(facts),
        memory(facts),
        persistence(facts, demands.station),
        replicas(facts, demands),
        clock(facts),
        round_trip(facts, demands),
        notifications(facts),
        unknown(facts),
    ];
    findings.extend(permissions(facts).into_iter().map(Some));
    findings.into_iter().flatten().collect()
}

fn version(facts: &Facts) -> Option<Finding> {
    let valkey = facts.info("valkey_version");
    let (name, version) = match valkey {
        Some(version) => ("Valkey", version),
        None => ("Redis", facts.info("redis_version")?),
    };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let number = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let what = format!("{} is {name} {version}", facts.url);
    Some(if valkey.is_none() && number < OLDEST {
        Finding::failed("version", what, "its scripts lack what locks need", "use Redis 6.2 or later, or Valkey")
    } else {
        Finding::ok("version", what)
    })
}

fn role(facts: &Facts) -> Option<Finding> {
    match facts.info("role")? {
        "master" => Some(Finding::ok("role", format!("{} is a master", facts.url))),
        _ => {
            let master = facts.info("master_host").zip(facts.info("master_port"));
            let master = master.map_or_else(String::new, |(host, port)| format!(" of {host}:{port}"));
            Some(Finding::failed(
                "role",
                format!("{} is a replica{master}", facts.url),
                "a replica grants nothing, and what is written there is overwritten",
                "name the master, or its Sentinels as redis-sentinel://HOST,HOST/SERVICE",
            ))
        }
    }
}

fn writes(facts: &Facts) -> Option<Finding> {
    let Some(why) = &facts.refuses_writes else {
        // Where none may be tried, permissions say so.
        let is_tried = !facts.refused.iter().any(|(right, _)| ["set", "del"].contains(right));
        return is_tried.then(|| Finding::ok("writes", format!("{} takes writes", facts.url)));
    };
    Some(Finding::failed(
        "writes",
        why.clone(),
        "no lock can be taken or renewed while that lasts",
        "remove the cause; the server's log says more",
    ))
}

fn eviction(facts: &Facts) -> Option<Finding> {
    let policy = facts.config("maxmemory-policy").or_else(|| facts.info("maxmemory_policy"))?;
    let what = format!("{} has maxmemory-policy {policy}", facts.url);
    if policy == "noeviction" {
        return Some(Finding::ok("eviction", what));
    }
    let advice = "set maxmemory-policy to noeviction, or give locks a server of their own";
    Some(match facts.number("maxmemory") {
        Some(0) => Finding::warning(
            "eviction",
            format!("{what}, and no maxmemory"),
            "as soon as a limit is set, locks that are held may be thrown away",
            advice,
        ),
        Some(_) | None => Finding::failed(
            "eviction",
            what,
            "when memory runs short a lock that is held is thrown away, and somebody else gets it",
            advice,
        ),
    })
}

fn memory(facts: &Facts) -> Option<Finding> {
    let (used, limit) = (facts.number("used_memory")?, facts.number("maxmemory").filter(|limit| *limit > 0)?);
    #[expect(clippy::cast_precision_loss, reason = "a share of memory, shown in whole percent")]
    let share = used as f64 / limit as f64;
    let what = format!("{} uses {:.0} % of its maxmemory", facts.url, share * 100.0);
    Some(if share < NEARLY_FULL {
        Finding::ok("memory", what)
    } else {
        Finding::warning(
            "memory",
            what,
            "when it is full, locks are refused (OOM) or thrown away",
            "raise maxmemory or free some",
        )
    })
}

fn persistence(facts: &Facts, station: Station) -> Option<Finding> {
    let bad = |name: &str| facts.info(name).is_some_and(|status| status != "ok");
    if bad("aof_last_write_status") || bad("rdb_last_bgsave_status") {
        return Some(Finding::failed(
            "persistence",
            format!("{} could not save its data to disk the last time", facts.url),
            "it soon refuses writes (MISCONF), and after a restart it has forgotten who holds what",
            "free space on its disk and look into its log",
        ));
    }
    let logs = facts.config("appendonly").map(|value| value == "yes").or_else(|| {
        // What stands in INFO says so too, where CONFIG is not permitted.
        facts.info("aof_enabled").map(|value| value == "1")
    })?;
    let advice = "set appendonly yes and appendfsync always";
    let among_masters = station == Station::AmongMasters;
    let judged = |what: String, why: &str| {
        if among_masters {
            let why = "a master that forgets a grant lets a second majority form beside the first";
            Finding::failed("persistence", what, why, advice)
        } else {
            Finding::warning("persistence", what, why, advice)
        }
    };
    Some(match (logs, facts.config("appendfsync")) {
        (true, Some("always")) => {
            Finding::ok("persistence", format!("{} has every write on disk (appendfsync always)", facts.url))
        }
        (true, Some(fsync)) => judged(
            format!("{} writes its log with appendfsync {fsync}", facts.url),
            "a crash of the host forgets the grants of the last moments, and somebody else gets them again",
        ),
        (true, None) => Finding::ok("persistence", format!("{} writes a log (appendonly yes)", facts.url)),
        (false, _) if facts.config("save").is_some_and(|save| !save.is_empty()) => judged(
            format!("{} only saves snapshots now and then", facts.url),
            "a restart forgets every lock since the last one, and somebody else gets those that are held",
        ),
        (false, _) => judged(
            format!("{} writes no log (appendonly no)", facts.url),
            "a restart forgets the locks, and somebody else gets those that are held",
        ),
    })
}

fn replicas(facts: &Facts, demands: &Demands) -> Option<Finding> {
    if facts.info("role") != Some("master") {
        return None;
    }
    let (count, wanted) = (facts.number("connected_slaves")?, u64::from(demands.wait_replicas));
    let what = format!("{} has {count} replica{}", facts.url, if count == 1 { "" } else { "s" });
    if count < wanted {
        return Some(Finding::failed(
            "replicas",
            what,
            format!("--wait-replicas {wanted} is never met, so every lock is given back"),
            "add replicas, or ask for fewer",
        ));
    }
    let guarded = facts.number("min_slaves_good_slaves").is_some()
        || facts.config("min-replicas-to-write").is_some_and(|number| number != "0");
    let follows = matches!(demands.station, Station::UnderSentinels | Station::Cluster);
    Some(match (count, demands.station) {
        (0, Station::UnderSentinels | Station::Cluster) => Finding::warning(
            "replicas",
            what,
            "when it fails nobody can take its place, and its locks cannot be taken or renewed",
            "add a replica on another host",
        ),
        (0, Station::Alone) => Finding::warning(
            "replicas",
            what,
            "while it is away its locks can be neither taken nor renewed, and with its disk they are forgotten",
            "add a replica on another host, with Sentinels that name the master, if that matters",
        ),
        (1.., Station::AmongMasters) => Finding::warning(
            "replicas",
            what,
            "independent masters must not be replaced by replicas: one that lacks a grant forgets it",
            "let no fail-over happen here; several masters need no replicas",
        ),
        (1.., _) if !guarded => Finding::warning(
            "replicas",
            format!("{what} and min-replicas-to-write 0"),
            "a master that is cut off from its replicas goes on granting while one of them takes its place",
            if follows || wanted > 0 {
                "set min-replicas-to-write 1 and min-replicas-max-lag below the TTL in seconds"
            } else {
                "set min-replicas-to-write 1, or make sure that no replica is ever promoted"
            },
        ),
        _ => Finding::ok("replicas", what),
    })
}

fn clock(facts: &Facts) -> Option<Finding> {
    let ahead = facts.clock_ahead_s?;
    let side = if ahead < 0.0 { "behind" } else { "ahead of" };
    let what = format!("the clock of {} is {:.3} s {side} this host's", facts.url, ahead.abs());
    Some(if ahead.abs() <= CLOCKS_APART_S {
        Finding::ok("clock", what)
    } else {
        Finding::warning(
            "clock",
            what,
            "times in status are off, a step of the clock ends leases early or late, and after a move to another server \
             fencing tokens may fall",
            "run NTP on both, and let it slew and not step",
        )
    })
}

fn round_trip(facts: &Facts, demands: &Demands) -> Option<Finding> {
    let slowest = facts.slowest_trip?;
    let (ttl, limit) = (humantime::format_duration(demands.ttl), demands.request_limit);
    let what = format!(
        "a request to {} took {:.1} ms at most; with a TTL of {ttl} a renewal may take {:.0} ms",
        facts.url,
        slowest.as_secs_f64() * 1000.0,
        limit.as_secs_f64() * 1000.0
    );
    let advice = "choose a longer --ttl, or a server nearer by";
    Some(if slowest > limit {
        Finding::failed("round-trip", what, "renewals are given up before they are answered: the lock is lost", advice)
    } else if slowest > limit / 2 {
        Finding::warning("round-trip", what, "little more, and leases end while their holders run", advice)
    } else {
        Finding::ok("round-trip", what)
    })
}

fn notifications(facts: &Facts) -> Option<Finding> {
    Some(match facts.heard? {
        Heard::Yes => Finding::ok("notifications", format!("what is published on {} arrives", facts.url)),
        Heard::Refused => Finding::warning(
            "notifications",
            format!("{} does not let this user publish and subscribe", facts.url),
            "nobody can be told that it is next, so each waiter looks for itself, once a second",
            "grant +subscribe +publish +pubsub|numsub and the channels, as docs/redis.md has them",
        ),
        Heard::Lost => Finding::failed(
            "notifications",
            format!("what is published on {} does not arrive", facts.url),
            "a waiter whom nobody reaches is passed over, and waits much longer than it should",
            "look for a proxy between that drops pub/sub, or connect past it",
        ),
    })
}

fn unknown(facts: &Facts) -> Option<Finding> {
    let mut missing = Vec::new();
    if facts.info.is_none() {
        missing.push("INFO");
    }
    if facts.config.is_none() {
        missing.push("CONFIG GET");
    }
    (!missing.is_empty()).then(|| {
        Finding::warning(
            "settings",
            format!("{} does not let this user ask {}", facts.url, missing.join(" and ")),
            "how it evicts, saves and replicates is not known in full",
            "for this check alone name a user that has +info and +config|get; locks need neither",
        )
    })
}

fn permissions(facts: &Facts) -> Vec<Finding> {
    let refused = |needs: &[Need]| -> Vec<String> {
        let mut rights: Vec<String> = Vec::new();
        for (right, need) in &facts.refused {
            let right = format!("+{right}");
            if needs.contains(need) && !rights.contains(&right) {
                rights.push(right);
            }
        }
        rights
    };
    let (needed, told) = (refused(&[Need::AnyLock]), refused(&[Need::BeingTold]));
    let (listed, moved) = (refused(&[Need::Listing]), refused(&[Need::MovingSlots]));
    let mut findings = Vec::new();
    let what = |rights: &[String]| format!("{} refuses this user {}", facts.url, rights.join(" "));
    let advice = "grant them by ACL SETUSER, for the keys and channels that docs/redis.md names";
    if !needed.is_empty() {
        let why = "locks end with status 77, or cannot be renewed or released";
        findings.push(Finding::failed("permissions", what(&needed), why, advice));
    }
    for (rights, why) in [
        (&told, "waiters look for themselves, once a second"),
        (&listed, "dlock list does not work, or a key of another type is not recognised"),
        (&moved, "a lock may be lost when its slot moves or its master is replaced"),
    ] {
        if !rights.is_empty() {
            findings.push(Finding::warning("permissions", what(rights), why, advice));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("permissions", format!("{} permits all that locks need", facts.url)));
    }
    findings
}

#[cfg(test)]
mod tests;
