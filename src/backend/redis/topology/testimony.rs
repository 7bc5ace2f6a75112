//! Asking one Sentinel, all at once and on a connection of its own. What breaks it: a service name that leads to another
//! Sentinel each time, which is why each says its own name.

use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use super::super::endpoint::Endpoint;
use super::super::failure::Failure;
use super::super::node::Node;
use super::super::reply::services_of_sentinel;
use super::vote::{Peer, Server, Testimony};
use crate::backend::tls::Tls;
use crate::lock::BackendError;

/// A master that a Sentinel has not heard from for longer may be cut off, long before `down-after-milliseconds` makes it
/// say so. Sentinels ping once a second, so two answers may be missing.
const HEARD_WITHIN_MS: u64 = 3000;

/// Why a Sentinel says nothing of use.
#[derive(Debug)]
pub(super) enum NoTestimony {
    /// It knows other services, if it could be asked.
    UnknownService(Vec<String>),
    /// It asks for a password.
    NoAuth(Failure),
    Failed(Failure),
}

/// Asks for everything that a vote takes, within `limit`.
pub(super) async fn ask(
    sentinel: &Endpoint,
    tls: &Tls,
    service: &str,
    limit: Duration,
) -> Result<Testimony, NoTestimony> {
    let node = Node::new(sentinel.clone(), tls.clone());
    let questions = [
        question("MYID", None),
        question("GET-MASTER-ADDR-BY-NAME", Some(service)),
        question("MASTER", Some(service)),
        question("SENTINELS", Some(service)),
        redis::cmd("ROLE"),
    ];
    let replies = node.ask_together(&questions, limit).await;
    node.close();
    let replies = replies.map_err(NoTestimony::Failed)?;
    let [id, address, master, others, role] = <[Value; 5]>::try_from(replies).map_err(|_| stranger(sentinel))?;
    let id = id.extract_error().map_err(|error| refusal(sentinel, &error))?;
    let address = address.extract_error().map_err(|error| refusal(sentinel, &error))?;
    if address == Value::Nil {
        return Err(NoTestimony::UnknownService(services_of_sentinel(&role).unwrap_or_default()));
    }
    let (Some(by), Some(named)) = (text(&id), named(&address)) else { return Err(stranger(sentinel)) };
    let master = master.extract_error().map_err(|error| refusal(sentinel, &error))?;
    let others = others.extract_error().map_err(|error| refusal(sentinel, &error))?;
    let Value::Array(others) = others else { return Err(stranger(sentinel)) };
    Ok(Testimony {
        by,
        hears: hears(&master, &named),
        quorum: number(&master, "quorum").and_then(|quorum| usize::try_from(quorum).ok()).unwrap_or_default(),
        master: named,
        others: others.iter().filter_map(peer).collect(),
    })
}

fn question(name: &str, service: Option<&str>) -> Cmd {
    let mut question = redis::cmd("SENTINEL");
    question.arg(name).arg(service);
    question
}

fn stranger(sentinel: &Endpoint) -> NoTestimony {
    NoTestimony::Failed(Failure::stranger(sentinel))
}

fn refusal(sentinel: &Endpoint, error: &RedisError) -> NoTestimony {
    let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
    let url = sentinel.masked();
    if code == "NOAUTH" {
        return NoTestimony::NoAuth(Failure::of(sentinel, error));
    }
    let sentence = if detail.to_ascii_lowercase().contains("unknown command") {
        format!("{url} is a Redis server and no Sentinel; name it with redis:// instead of redis-sentinel://")
    } else if detail.to_ascii_lowercase().contains("unknown") && detail.to_ascii_uppercase().contains("MYID") {
        format!("{url} is a Sentinel of an old version; Sentinels of Redis 6.2 or later do")
    } else {
        return NoTestimony::Failed(Failure::of(sentinel, error));
    };
    NoTestimony::Failed(Failure { answered: true, ..Failure::unanswered(BackendError::misconfigured(sentence)) })
}

/// Whether the Sentinel has heard from the master that it names. During a fail-over it names the next one already and
/// describes the last one still; of the next it has heard that it is a master now.
fn hears(master: &Value, named: &Server) -> bool {
    let described = field(master, "ip").zip(number(master, "port").and_then(|port| u16::try_from(port).ok()));
    if described.is_some_and(|(host, port)| host != named.host || port != named.port) {
        return true;
    }
    let flags = field(master, "flags").unwrap_or_default();
    let down = flags.split(',').any(|flag| ["s_down", "o_down", "disconnected"].contains(&flag));
    // A clock that was set back makes it negative, which is no number here: then it is not known.
    !down && number(master, "last-ok-ping-reply").is_some_and(|age| age <= HEARD_WITHIN_MS)
}

fn named(address: &Value) -> Option<Server> {
    let Value::Array(parts) = address else { return None };
    let [host, port] = &parts[..] else { return None };
    Some(Server { host: text(host)?.to_lowercase(), port: text(port)?.parse().ok().filter(|port| *port > 0)? })
}

fn peer(described: &Value) -> Option<Peer> {
    // One whose place another has taken keeps its vote, and has port 0.
    let port = number(described, "port").and_then(|port| u16::try_from(port).ok())?;
    let id = field(described, "runid").filter(|id| !id.is_empty())?;
    Some(Peer { id, address: Server { host: field(described, "ip")?.to_lowercase(), port } })
}

/// One field of a description: names and values by turns.
fn field(described: &Value, name: &str) -> Option<String> {
    let Value::Array(parts) = described else { return None };
    parts.chunks_exact(2).find(|pair| text(&pair[0]).as_deref() == Some(name)).and_then(|pair| text(&pair[1]))
}

fn number(described: &Value, name: &str) -> Option<u64> {
    field(described, name)?.parse().ok()
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn described(fields: &[(&str, &str)]) -> Value {
        Value::Array(fields.iter().flat_map(|(name, value)| [bulk(name), bulk(value)]).collect())
    }

    fn is_heard(flags: &str, age: &str, port: &str) -> bool {
        let fields = [("ip", "10.0.0.1"), ("port", port), ("flags", flags), ("last-ok-ping-reply", age)];
        hears(&described(&fields), &Server { host: "10.0.0.1".into(), port: 6379 })
    }

    #[test]
    fn a_master_is_heard_while_it_answers_the_pings() {
        assert!(is_heard("master", "940", "6379"));
        assert!(is_heard("master", "3000", "6379"));
        for (flags, age) in [("master", "3001"), ("master", "-5"), ("master", ""), ("master,s_down", "1")] {
            assert!(!is_heard(flags, age, "6379"), "{flags} {age}");
        }
        assert!(!is_heard("master,disconnected", "1", "6379"));
        assert!(is_heard("master,s_down,o_down,failover_in_progress", "9000", "6380"), "of the next it has heard");
    }

    #[test]
    fn another_sentinel_is_known_by_its_own_name() {
        let peer = peer(&described(&[("name", "x"), ("ip", "H2"), ("port", "26379"), ("runid", "abc")]));
        let address = Server { host: "h2".into(), port: 26379 };
        assert_eq!(peer, Some(Peer { id: "abc".into(), address }));
    }
}
