//! What `doctor` asks of a Redis server. What breaks it: a user that may lock and may not look, which is the usual one;
//! whatever is refused is told as unknown, and never guessed.

mod judgement;
mod layouts;
mod rights;
mod ways;

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use redis::{Cmd, Value};
use tokio::time::timeout;

use self::judgement::{Facts, Heard, judge};
use self::rights::{Probe, probes, undone_probe};
use super::ear::{Ear, Manner};
use super::failure::Failure;
use super::layout::Layout;
use super::names::Names;
use super::node::Node;
use super::reply;
use super::topology::Route;
use crate::lock::pace::Pace;
use crate::lock::{BackendError, FIRST_CONTACT, Finding, LockKey, Namespace, OwnerToken, Ttl};
use crate::sys::boottime::BootInstant;

pub(super) use self::judgement::{Demands, Station};
pub(super) use self::ways::{ClusterFacts, PanelFacts, judge_cluster, judge_panel};

/// So many round trips are measured; the slowest counts, as a lease has to stand that one too.
const TRIPS: usize = 5;

/// What is not heard on a connection of the same server by then has been lost.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// Each server behind `route`, and how it is found.
pub(super) async fn examine(
    route: &dyn Route,
    namespace: &Namespace,
    ttl: Ttl,
    wait_replicas: u32,
    layout: Option<Layout>,
) -> Result<Vec<Finding>, BackendError> {
    let mut findings = route.survey(FIRST_CONTACT).await.map_err(|failure| failure.error)?;
    let demands = Demands {
        ttl: ttl.duration(),
        request_limit: Pace::of(ttl.duration()).request_limit,
        station: route.station(),
        wait_replicas,
    };
    let servers = route.servers(FIRST_CONTACT).await.map_err(|failure| failure.error)?;
    let mut failures = Vec::new();
    for node in &servers {
        match examine_server(node, namespace, &demands, layout).await {
            Ok(found) => findings.extend(found),
            Err(failure) => failures.push(failure.error),
        }
    }
    if failures.len() == servers.len()
        && let Some(first) = failures.first()
    {
        return Err(first.clone());
    }
    findings.extend(failures.into_iter().map(unreachable));
    Ok(findings)
}

/// One of several that could not be asked.
pub(super) fn unreachable(failure: BackendError) -> Finding {
    Finding::failed(
        "reachable",
        failure.message,
        "its locks are out of reach, or it counts against every lock, and fewer of the others may fail",
        "bring it back with its data, or without any once the longest TTL has passed",
    )
}

/// # Errors
/// When the server cannot be asked at all.
pub(super) async fn examine_server(
    node: &Node,
    namespace: &Namespace,
    demands: &Demands,
    layout: Option<Layout>,
) -> Result<Vec<Finding>, Failure> {
    let key = LockKey::new(format!("dlock-doctor-{}", OwnerToken::random().id()))
        .map_err(|error| Failure::unanswered(BackendError::usage(error.to_string())))?;
    let names = Names::of(namespace, &key).map_err(Failure::unanswered)?;
    let mut facts = Facts { url: node.endpoint().masked(), ..Facts::default() };
    measure(node, &mut facts).await?;
    try_rights(node, &names, demands, &mut facts).await?;
    facts.info = told(node, &redis::cmd("INFO")).await?.map(|reply| sections(&reply));
    facts.config = config(node).await?;
    facts.heard = Some(listen(node, &names).await?);
    let mut findings = judge(&facts, demands);
    findings.extend(layouts::judge(node, namespace, layout).await?);
    Ok(findings)
}

/// The way there and back, and how far the clocks are apart.
async fn measure(node: &Node, facts: &mut Facts) -> Result<(), Failure> {
    let time = redis::cmd("TIME");
    // It may be refused, which is told like every other right.
    let permitted = told(node, &time).await?.is_some();
    if !permitted {
        return Ok(());
    }
    for _ in 0..TRIPS {
        let sent = BootInstant::now();
        let answer = node.ask(&time, FIRST_CONTACT).await?;
        let trip = BootInstant::now().since(sent);
        facts.slowest_trip = facts.slowest_trip.max(Some(trip));
        // It was read half-way, as far as anybody knows; the shortest trip leaves the least doubt.
        let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let there = seconds_and_micros(&answer);
        if facts.quickest_trip.is_none_or(|quickest| trip < quickest)
            && let Some(there) = there
        {
            facts.quickest_trip = Some(trip);
            facts.clock_ahead_s = Some(there.as_secs_f64() - here.saturating_sub(trip / 2).as_secs_f64());
        }
    }
    Ok(())
}

fn seconds_and_micros(answer: &Value) -> Option<Duration> {
    let Value::Array(parts) = answer else { return None };
    let number = |part: &Value| std::str::from_utf8(reply::bytes(part)?).ok()?.parse::<u64>().ok();
    let [seconds, micros] = &parts[..] else { return None };
    Some(Duration::from_secs(number(seconds)?) + Duration::from_micros(number(micros)?))
}

/// Runs each command that a lock needs on a key that nobody has.
async fn try_rights(node: &Node, names: &Names, demands: &Demands, facts: &mut Facts) -> Result<(), Failure> {
    let probes = probes(names, demands);
    refusals(node, &probes, facts).await?;
    // It alone makes something, so it is tried only by whoever may undo it.
    if !facts.refused.iter().any(|(right, _)| *right == "del") {
        refusals(node, &undone_probe(names), facts).await?;
    }
    Ok(())
}

async fn refusals(node: &Node, probes: &[Probe], facts: &mut Facts) -> Result<(), Failure> {
    let requests: Vec<Cmd> = probes.iter().map(Probe::request).collect();
    let replies = node.ask_together(&requests, FIRST_CONTACT).await?;
    for (probe, reply) in probes.iter().zip(replies) {
        let Err(error) = reply.extract_error() else { continue };
        let failure = Failure::of(node.endpoint(), &error);
        if rights::is_denied(&error) {
            facts.refused.push((probe.right, probe.need));
        } else if failure.referral.is_none() {
            // Another node of the Cluster has the key; that this one permits it is known then, too.
            facts.refuses_writes.get_or_insert(failure.error.message);
        }
    }
    Ok(())
}

/// The answer; `None`: this user may not ask, or the server does not know the question.
async fn told(node: &Node, question: &Cmd) -> Result<Option<Value>, Failure> {
    let reply = node.ask_together(std::slice::from_ref(question), FIRST_CONTACT).await?.pop().unwrap_or_default();
    match reply.extract_error() {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if rights::is_denied(&error) || rights::is_unknown(&error) => Ok(None),
        Err(error) => Err(Failure::of(node.endpoint(), &error)),
    }
}

/// `name:value` lines as INFO has them.
fn sections(reply: &Value) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(reply::bytes(reply).unwrap_or_default()).into_owned();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

async fn config(node: &Node) -> Result<Option<HashMap<String, String>>, Failure> {
    let mut known = HashMap::new();
    for name in ["maxmemory-policy", "appendonly", "appendfsync", "save", "min-replicas-to-write"] {
        let mut question = redis::cmd("CONFIG");
        question.arg("GET").arg(name);
        let Some(Value::Array(pair)) = told(node, &question).await? else { return Ok(None) };
        if let [name, value] = &pair[..] {
            let text = |part| String::from_utf8_lossy(reply::bytes(part).unwrap_or_default()).into_owned();
            known.insert(text(name), text(value));
        }
    }
    Ok(Some(known))
}

/// Whether what is published arrives.
async fn listen(node: &Node, names: &Names) -> Result<Heard, Failure> {
    let channel = names.wake_prefix() + "doctor";
    let mut ear = match node.listen(&channel, &[Manner::Plain], FIRST_CONTACT).await? {
        Ear::Polls => return Ok(Heard::Refused),
        ear @ Ear::Listens { .. } => ear,
    };
    let mut message = redis::cmd("PUBLISH");
    message.arg(&channel).arg("doctor");
    if told(node, &message).await?.is_none() {
        return Ok(Heard::Refused);
    }
    Ok(match timeout(HEARD_WITHIN, ear.hint()).await {
        Ok(Ok(())) => Heard::Yes,
        Ok(Err(_)) | Err(_) => Heard::Lost,
    })
}
