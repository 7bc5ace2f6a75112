//! What `doctor` finds about an ensemble. What breaks it: an answer of one server that is taken for the whole, which is
//! why a committed write is measured and every server is asked by itself.

mod judgement;
mod layouts;

use std::time::{Duration, SystemTime};

use zookeeper_client::{Client, CreateMode, Error};

use self::judgement::{Facts, Refusal, Ttls, judge};
use super::contact::{self, Verdict};
use super::heartbeat::Existence;
use super::session::{Session, Terms};
use super::{ZooKeeperBackend, failure};
use crate::lock::{BackendError, FIRST_CONTACT, Finding, LockKey, OwnerToken, Ttl};
use crate::sys::boottime::BootInstant;

/// So many committed writes are measured; the slowest counts.
const WRITES: usize = 5;

/// How long a server may take to say that it serves.
const ASKED_FOR: Duration = Duration::from_secs(1);

/// Of a node that is deleted at once; a minute is what servers look for old ones by.
const NODE_TTL: Duration = Duration::from_secs(60);

pub(super) async fn examine(backend: &ZooKeeperBackend, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
    let until = BootInstant::now() + FIRST_CONTACT;
    let session =
        backend.session(Terms { ttl: Ttl::Default(ttl.duration()), lock_delay: Duration::ZERO }, until).await?;
    let client = session.client()?;
    let mut facts = Facts {
        at: backend.ensemble.shown(),
        wanted: ttl,
        granted: session.timeout(),
        range: Session::range(&backend.ensemble, &backend.approach, BootInstant::now() + FIRST_CONTACT).await.ok(),
        servers: servers(backend).await,
        members: members(&client).await,
        ..Facts::default()
    };
    if !backend.ensemble.chroot().is_empty() && matches!(client.check_stat("/").await, Ok(None)) {
        return Err(failure::no_chroot(&backend.ensemble));
    }
    let key = LockKey::new(format!("dlock-doctor-{}", OwnerToken::random().id()))
        .map_err(|error| BackendError::usage(error.to_string()))?;
    let directory = backend.layout.directory(&key)?;
    let top = backend.layout.top();
    let was_there = top.is_empty() || !matches!(client.check_stat(&top).await, Ok(None));
    let container = CreateMode::Container.with_acls(backend.acl().of_common_ground());
    match client.mkdir(&directory, &container).await {
        Ok(()) => {
            facts.refusal = below(backend, &session, &client, &directory, &mut facts).await.err();
            client.delete(&directory, None).await.ok();
        }
        Err(error) => facts.refusal = Some(refusal(backend, "create a key's node", &error)),
    }
    if !was_there {
        // Somebody else may use it by now: then it stays.
        client.delete(&top, None).await.ok();
    }
    let mut findings = judge(&facts);
    let strangers = layouts::judge(backend, &client).await;
    findings.extend(strangers.map_err(|error| failure::explained(&backend.ensemble, "list the keys", &error))?);
    Ok(findings)
}

/// What only a node of our own shows.
async fn below(
    backend: &ZooKeeperBackend,
    session: &Session,
    client: &Client,
    directory: &str,
    facts: &mut Facts,
) -> Result<(), Refusal> {
    let refusal = |verb, error: &Error| refusal(backend, verb, error);
    let place = format!("{directory}/doctor");
    let contender = CreateMode::Ephemeral.with_acls(backend.acl().of_contenders());
    let (made, _) = client.create(&place, b"", &contender).await.map_err(|error| refusal("enter a queue", &error))?;
    facts.clock_ahead_s = Some(ahead_of_this_host(made.ctime));
    for _ in 0..WRITES {
        let sent = BootInstant::now();
        match session.commit_check(&place).await {
            Ok(Existence::Exists) => {
                facts.slowest_write = facts.slowest_write.max(Some(BootInstant::now().since(sent)));
            }
            Ok(Existence::Gone) => break,
            Err(error) => return Err(refusal("renew a lease", &error)),
        }
    }
    client.delete(&place, None).await.map_err(|error| refusal("release a lock", &error))?;
    let timed = format!("{directory}/timed");
    let options = CreateMode::Persistent.with_acls(backend.acl().of_contenders()).with_ttl(NODE_TTL);
    facts.ttl_nodes = match client.create(&timed, b"", &options).await {
        Ok(_) => {
            client.delete(&timed, None).await.map_err(|error| refusal("release a lock", &error))?;
            Ttls::Known
        }
        Err(Error::Unimplemented) => Ttls::Unknown,
        Err(error) => return Err(refusal("take a one-shot lease", &error)),
    };
    Ok(())
}

/// Seconds; the way there is within what would be noticed.
fn ahead_of_this_host(stamped_ms: i64) -> f64 {
    let here = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let there = Duration::from_millis(u64::try_from(stamped_ms).unwrap_or_default());
    there.as_secs_f64() - here.as_secs_f64()
}

fn refusal(backend: &ZooKeeperBackend, verb: &str, error: &Error) -> Refusal {
    Refusal {
        what: failure::explained(&backend.ensemble, verb, error).message,
        is_denied: matches!(error, Error::NoAuth | Error::InvalidAcl),
    }
}

/// What each server that was named says of itself.
async fn servers(backend: &ZooKeeperBackend) -> Vec<(String, Verdict)> {
    let mut answers = contact::ask_all(&backend.ensemble, &backend.approach.access.tls, ASKED_FOR);
    let mut heard = Vec::new();
    while let Some((server, verdict)) = answers.next().await {
        heard.push((server.to_string(), verdict));
    }
    heard.sort_by(|(one, _), (other, _)| one.cmp(other));
    heard
}

/// How many servers vote; `None`: it is not told. A server that stands alone tells of none.
async fn members(client: &Client) -> Option<usize> {
    let (config, _) = client.get_config().await.ok()?;
    let config = String::from_utf8_lossy(&config).into_owned();
    let servers = config.lines().filter(|line| line.starts_with("server."));
    Some(servers.filter(|line| !line.contains(":observer")).count().max(1))
}
