//! What a user has to be allowed, tried on a key that nobody has. What breaks it: a command that would write before it is
//! refused; all but one do nothing to a key that is missing.

use redis::{Cmd, RedisError};

use super::judgement::{Demands, Station};
use crate::backend::redis::names::Names;

/// What is missing without a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    AnyLock,
    /// Waiters can only look for themselves.
    BeingTold,
    Listing,
    /// A lock does not outlive what a Cluster does with its slots.
    MovingSlots,
}

pub(super) struct Probe {
    /// As an ACL rule has it, without the plus sign.
    pub(super) right: &'static str,
    pub(super) need: Need,
    words: Vec<String>,
}

impl Probe {
    fn new(right: &'static str, need: Need, words: &[&str]) -> Self {
        Self { right, need, words: words.iter().map(ToString::to_string).collect() }
    }

    pub(super) fn request(&self) -> Cmd {
        let mut request = Cmd::new();
        request.arg(&self.words);
        request
    }
}

/// Each leaves a key that is missing as it is.
pub(super) fn probes(names: &Names, demands: &Demands) -> Vec<Probe> {
    let (lock, hash, queue) = (names.lock(), names.side("waiters"), names.side("queue"));
    let (hash, queue) = (hash.as_str(), queue.as_str());
    let channel = names.wake_prefix() + "doctor";
    let needed = |right, words: &[&str]| Probe::new(right, Need::AnyLock, words);
    let mut all = vec![
        needed("time", &["TIME"]),
        needed("eval", &["EVAL", "return 1", "1", lock]),
        needed("get", &["GET", lock]),
        needed("set", &["SET", lock, "doctor", "XX"]),
        needed("del", &["DEL", lock]),
        needed("pttl", &["PTTL", lock]),
        needed("pexpire", &["PEXPIRE", lock, "1000"]),
        needed("pexpireat", &["PEXPIREAT", lock, "1000"]),
        needed("hget", &["HGET", hash, "doctor"]),
        needed("hdel", &["HDEL", hash, "doctor"]),
        needed("hlen", &["HLEN", hash]),
        needed("hmget", &["HMGET", hash, "doctor"]),
        needed("hgetall", &["HGETALL", hash]),
        needed("zadd", &["ZADD", queue, "XX", "1", "doctor"]),
        needed("zrem", &["ZREM", queue, "doctor"]),
        needed("zcard", &["ZCARD", queue]),
        needed("zrange", &["ZRANGE", queue, "0", "0"]),
        needed("zrank", &["ZRANK", queue, "doctor"]),
        needed("zscore", &["ZSCORE", queue, "doctor"]),
        needed("zremrangebyrank", &["ZREMRANGEBYRANK", queue, "0", "0"]),
        needed("zremrangebyscore", &["ZREMRANGEBYSCORE", queue, "1", "1"]),
        Probe::new("publish", Need::BeingTold, &["PUBLISH", &channel, "doctor"]),
        Probe::new("pubsub|numsub", Need::BeingTold, &["PUBSUB", "NUMSUB", &channel]),
        Probe::new("scan", Need::Listing, &["SCAN", "0", "MATCH", lock, "COUNT", "1"]),
        Probe::new("type", Need::Listing, &["TYPE", lock]),
    ];
    if demands.wait_replicas > 0 {
        all.push(needed("wait", &["WAIT", "0", "1"]));
    }
    if demands.station == Station::Cluster {
        all.push(Probe::new("cluster|slots", Need::MovingSlots, &["CLUSTER", "SLOTS"]));
        all.push(Probe::new("asking", Need::MovingSlots, &["ASKING"]));
    }
    all
}

/// The one that makes something, and what takes it away again, in one go.
pub(super) fn undone_probe(names: &Names) -> [Probe; 3] {
    let hash = names.side("waiters");
    [
        Probe::new("hset", Need::AnyLock, &["HSET", &hash, "doctor", "1"]),
        // Should the connection end between these.
        Probe::new("pexpire", Need::AnyLock, &["PEXPIRE", &hash, "10000"]),
        Probe::new("del", Need::AnyLock, &["DEL", &hash]),
    ]
}

pub(super) fn is_denied(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

pub(super) fn is_unknown(error: &RedisError) -> bool {
    let detail = error.detail().unwrap_or_default();
    detail.contains("unknown command") || detail.contains("unknown subcommand")
}
