//! What went wrong, as a sentence that says what to do. What breaks it: a server that words an error differently.

use std::time::Duration;

use redis::{ErrorKind, RedisError};

use super::endpoint::Endpoint;
use super::topology::Referral;
use crate::lock::{BackendError, ErrorKind as Kind};

/// A request that brought no usable answer.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: BackendError,
    /// Whether the server itself refused, so that nothing of the request can still be on its way.
    pub(super) answered: bool,
    /// Refused because of its length, before the password that came with it had been looked at.
    pub(super) came_too_early: bool,
    /// Refused by a replica: it is not, or not any more, the server that decides.
    pub(super) by_replica: bool,
    /// Refused because another node of a Cluster decides, or may.
    pub(super) referral: Option<Referral>,
}

impl Failure {
    pub(super) fn unanswered(error: BackendError) -> Self {
        Self { error, answered: false, came_too_early: false, by_replica: false, referral: None }
    }

    /// Whether the lock has gone to another server, which can be asked at once.
    pub(super) fn has_moved(&self) -> bool {
        self.error.may_pass() && matches!(self.referral, Some(Referral::Moved(_)))
    }

    pub(super) fn stranger(endpoint: &Endpoint) -> Self {
        Self::unanswered(BackendError::unavailable(format!(
            "what answers at {} is not a Redis server; check host and port",
            endpoint.masked()
        )))
    }

    /// What a request on a connection that stood ended with.
    pub(super) fn of(endpoint: &Endpoint, error: &RedisError) -> Self {
        let url = endpoint.masked();
        match error.kind() {
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::stranger(endpoint),
            ErrorKind::Io => Self::unanswered(BackendError::unavailable(format!(
                "{url} closed the connection without an answer; it may be stopping, out of connections (maxclients) or \
                     no Redis server"
            ))),
            _ => Self {
                error: refusal(&url, error),
                answered: true,
                came_too_early: endpoint.password.is_some()
                    && error.detail().is_some_and(|detail| detail.contains("unauthenticated")),
                by_replica: BY_REPLICA.iter().any(|code| says(error, code)),
                referral: Referral::parse(error.code().unwrap_or_default(), error.detail().unwrap_or_default()),
            },
        }
    }
}

/// How a replica refuses what only its master does.
const BY_REPLICA: [&str; 2] = ["READONLY", "MASTERDOWN"];

/// Codes in the order in which they are looked for: a script's error on Redis 6.2 is an `ERR` that quotes the real one.
const REFUSALS: [(&str, Kind, &str); 27] = [
    // What a request of more than ten words is told before the password has been.
    ("unauthenticated", Kind::Denied, "asks for a password; name one, as in redis://:PASSWORD@HOST"),
    ("NOAUTH", Kind::Denied, "asks for a password; name one, as in redis://:PASSWORD@HOST"),
    ("WRONGPASS", Kind::Denied, "does not accept this user and password"),
    ("invalid password", Kind::Denied, "does not accept this user and password"),
    ("NOPERM", Kind::Denied, "does not permit this user what a lock needs"),
    // A command inside a script: of Redis 7, and of Redis 6.2.
    ("ACL failure in script", Kind::Denied, "does not permit this user what a lock needs"),
    ("user executing the script can't", Kind::Denied, "does not permit this user what a lock needs"),
    ("DENIED", Kind::Denied, "runs in protected mode and refuses other hosts; give it a password"),
    ("READONLY", Kind::Unavailable, "is a read-only replica; name the master"),
    ("MASTERDOWN", Kind::Unavailable, "is a replica that has lost its master; name the master"),
    ("LOADING", Kind::Unavailable, "is still loading its data; try again shortly"),
    ("OOM", Kind::Unavailable, "has no memory left (maxmemory); free some or raise the limit"),
    ("BUSY", Kind::Unavailable, "is busy with somebody's script; SCRIPT KILL ends it"),
    ("MISCONF", Kind::Unavailable, "refuses writes because it cannot save to disk; see its log"),
    ("NOREPLICAS", Kind::Unavailable, "refuses writes because too few replicas follow it"),
    ("max number of clients", Kind::Unavailable, "has no connection left (maxclients)"),
    ("MOVED", Kind::Misconfigured, NODE_OF_A_CLUSTER),
    ("ASK", Kind::Misconfigured, NODE_OF_A_CLUSTER),
    ("CROSSSLOT", Kind::Misconfigured, NODE_OF_A_CLUSTER),
    ("SELECT is not allowed in cluster mode", Kind::Misconfigured, NODE_OF_A_CLUSTER),
    (
        "cluster support disabled",
        Kind::Misconfigured,
        "is no node of a Redis Cluster; write redis:// instead of redis-cluster:// (rediss:// where it is reached by TLS)",
    ),
    ("TRYAGAIN", Kind::Unavailable, "is moving this key to another node; try again shortly"),
    ("CLUSTERDOWN", Kind::Unavailable, "belongs to a Redis Cluster that is down"),
    (
        "WRONGTYPE",
        Kind::Misconfigured,
        "keeps data of another type under this name, which were left alone; choose another key or namespace",
    ),
    ("DB index is out of range", Kind::Misconfigured, "has no such database; see \"databases\" in its configuration"),
    ("invalid DB index", Kind::Misconfigured, "has no such database; see \"databases\" in its configuration"),
    ("unknown command", Kind::Misconfigured, "lacks a command that locking needs; Redis 6.2 or later does"),
];

/// Whether it is no server for locks, or one of another kind.
pub(super) fn lacks_command(error: &RedisError) -> bool {
    says(error, "unknown command")
}

/// Whether it is this error, or a script's that quotes it.
fn says(error: &RedisError, sign: &str) -> bool {
    let detail = error.detail().unwrap_or_default();
    let is_code = sign.bytes().all(|byte| byte.is_ascii_uppercase());
    if is_code { error.code() == Some(sign) || quotes(detail, sign) } else { detail.contains(sign) }
}
const NODE_OF_A_CLUSTER: &str = "is a node of a Redis Cluster; write redis-cluster:// instead of redis://";

fn refusal(url: &str, error: &RedisError) -> BackendError {
    let code = error.code().unwrap_or_default();
    let detail = error.detail().unwrap_or_default();
    for (sign, kind, advice) in REFUSALS {
        if says(error, sign) {
            return BackendError::new(kind, format!("{url} {advice}"));
        }
    }
    let said: String = format!("{code} {detail}").trim().chars().take(200).collect();
    BackendError::unavailable(format!("{url} refuses: {}", said.trim_end_matches('.')))
}

/// With a minus sign where the server did not let the script run a command, without where the command failed.
fn quotes(detail: &str, code: &str) -> bool {
    detail.contains(&format!(" -{code} ")) || detail.contains(&format!(": {code} "))
}

/// Whether the server is older than the command.
pub(super) fn is_unknown_command(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("unknown command"))
}

/// Whether pub/sub is what the server refuses (an ACL without the channel, a proxy without it), so that a waiter has
/// to look by itself instead.
pub(super) fn refuses_to_notify(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    match error.code().unwrap_or_default() {
        "NOPERM" => true,
        "ERR" => is_unknown_command(error) || detail.contains("unsupported"),
        _ => false,
    }
}

/// A time limit as messages name it.
pub(super) fn seconds(limit: Duration) -> String {
    if limit < Duration::from_millis(100) {
        return format!("{} ms", limit.as_millis().max(1));
    }
    format!("{} s", (limit.as_secs_f64() * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(reply: &[u8]) -> RedisError {
        redis::parse_redis_value(reply).and_then(redis::Value::extract_error).expect_err("an error reply")
    }

    fn failure(reply: &str) -> Failure {
        let endpoint = Endpoint::parse("redis://bob:secret@r1").expect("a valid URL");
        Failure::of(&endpoint, &error(format!("{reply}\r\n").as_bytes()))
    }

    #[test]
    fn no_limit_is_said_to_be_none() {
        for (millis, said) in [(0, "1 ms"), (30, "30 ms"), (100, "0.1 s"), (2_500, "2.5 s"), (5_000, "5 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), said);
        }
    }

    #[test]
    fn every_refusal_has_its_kind_and_names_the_masked_endpoint() {
        for (reply, kind) in [
            ("-NOAUTH Authentication required.", Kind::Denied),
            ("-WRONGPASS invalid username-password pair or user is disabled.", Kind::Denied),
            ("-ERR invalid password", Kind::Denied),
            ("-ERR Protocol error: unauthenticated multibulk length", Kind::Denied),
            ("-NOPERM User bob has no permissions to run the 'eval' command", Kind::Denied),
            ("-DENIED Redis is running in protected mode because", Kind::Denied),
            ("-READONLY You can't write against a read only replica.", Kind::Unavailable),
            ("-LOADING Redis is loading the dataset in memory", Kind::Unavailable),
            ("-MASTERDOWN Link with MASTER is down", Kind::Unavailable),
            ("-OOM command not allowed when used memory > 'maxmemory'.", Kind::Unavailable),
            ("-BUSY Redis is busy running a script.", Kind::Unavailable),
            ("-MISCONF Redis is configured to save RDB snapshots, but", Kind::Unavailable),
            ("-ERR max number of clients reached", Kind::Unavailable),
            ("-NOREPLICAS Not enough good replicas to write.", Kind::Unavailable),
            ("-MOVED 3999 127.0.0.1:6381", Kind::Misconfigured),
            ("-ASK 3999 127.0.0.1:6381", Kind::Misconfigured),
            ("-TRYAGAIN Multiple keys request during rehashing of slot", Kind::Unavailable),
            ("-CLUSTERDOWN The cluster is down", Kind::Unavailable),
            ("-WRONGTYPE Operation against a key holding the wrong kind of value", Kind::Misconfigured),
            ("-ERR DB index is out of range", Kind::Misconfigured),
            ("-EXECABORT Transaction discarded because of previous errors.", Kind::Unavailable),
            ("-ERR SELECT is not allowed in cluster mode", Kind::Misconfigured),
            ("-ERR This instance has cluster support disabled", Kind::Misconfigured),
            ("-CROSSSLOT Keys in request don't hash to the same slot", Kind::Misconfigured),
            ("-ERR something new", Kind::Unavailable),
        ] {
            let failure = failure(reply);
            assert_eq!(failure.error.kind, kind, "{reply}");
            assert!(failure.answered, "{reply}");
            assert!(failure.error.message.starts_with("redis://bob:***@r1:6379 "), "{}", failure.error);
            assert!(!failure.error.message.contains("secret") && !failure.error.message.ends_with('.'));
        }
    }

    #[test]
    fn an_error_that_redis_6_wraps_in_the_scripts_own_is_the_same() {
        for code in ["READONLY", "OOM", "MISCONF", "WRONGTYPE", "NOREPLICAS"] {
            let plain = failure(&format!("-{code} why"));
            for quoted in [format!("-{code} why"), format!("{code} why")] {
                let wrapped = failure(&format!("-ERR Error running script (call to f_7): @user_script:1: {quoted}"));
                assert_eq!(plain.error, wrapped.error);
            }
        }
    }

    #[test]
    fn a_replica_is_known_by_what_it_refuses() {
        for reply in ["-READONLY You can't write", "-MASTERDOWN Link with MASTER is down", "-ERR f_7: -READONLY why"] {
            assert!(failure(reply).by_replica, "{reply}");
        }
        assert!(!failure("-LOADING Redis is loading").by_replica);
    }

    #[test]
    fn a_server_that_only_refuses_pub_sub_is_told_from_one_that_refuses_service() {
        for reply in ["-NOPERM No permissions to access a channel\r\n", "-ERR unknown command 'SUBSCRIBE'\r\n"] {
            assert!(refuses_to_notify(&error(reply.as_bytes())), "{reply}");
        }
        assert!(!refuses_to_notify(&error(b"-NOAUTH Authentication required.\r\n")));
    }
}
