//! Which slot a name belongs to, and what the nodes of a Cluster say of who has it: pure.

use crc::{CRC_16_XMODEM, Crc};
use redis::Value;

use crate::backend::redis::names::hash_tag;

static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// As many as there are in every Cluster.
const SLOTS: u16 = 16384;

/// A share of all names, which one master of a Cluster has as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::backend::redis) struct Slot(u16);

impl Slot {
    /// The slot of every name on a server that is no part of a Cluster.
    pub(in crate::backend::redis) const ONLY: Self = Self(0);

    pub(in crate::backend::redis) fn of(name: &str) -> Self {
        Self(CRC16.checksum(hash_tag(name).unwrap_or(name).as_bytes()) % SLOTS)
    }
}

/// Host and port of a node.
pub(super) type Server = (String, u16);

/// Where a node is, as another node names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::backend::redis) struct Address {
    /// `None`: at the host of the node that says so.
    pub(in crate::backend::redis) host: Option<String>,
    pub(in crate::backend::redis) port: u16,
}

impl Address {
    /// What stands behind the slot of a redirection; an IPv6 address is not in brackets there.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::of(host, port.parse().ok()?)
    }

    /// `from`: the host of the node that named it.
    pub(super) fn seen_from(self, from: &str) -> Server {
        (self.host.unwrap_or_else(|| from.to_owned()), self.port)
    }

    fn of(host: &str, port: u16) -> Option<Self> {
        // A node that is to be called by its host name and has none.
        if host == "?" || port == 0 {
            return None;
        }
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self { host: Some(host.to_owned()).filter(|host| !host.is_empty()), port })
    }
}

/// What a node says instead of carrying a request out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::backend::redis) enum Referral {
    /// Another node has the slot; `None`: it has no address.
    Moved(Option<Address>),
    /// Another node is about to have the slot, and has these names by now.
    Ask(Option<Address>),
    /// Some of these names are here and some are there already.
    TryAgain,
    /// It does not know who has what, or cannot serve as long as it has not caught up.
    Ignorant,
}

impl Referral {
    /// What the error `code detail` refers to.
    pub(in crate::backend::redis) fn parse(code: &str, detail: &str) -> Option<Self> {
        let address = || detail.split_whitespace().nth(1).and_then(Address::parse);
        Some(match code {
            "MOVED" => Self::Moved(address()),
            "ASK" => Self::Ask(address()),
            "TRYAGAIN" => Self::TryAgain,
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" => Self::Ignorant,
            _ => return None,
        })
    }
}

/// Who has which slots, as `CLUSTER SLOTS` of one node tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SlotMap(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    first: u16,
    last: u16,
    /// The master, and behind it its replicas.
    nodes: Vec<Server>,
}

impl SlotMap {
    /// `from`: the host of the node that answered. `None`: that is no such answer.
    pub(super) fn parse(reply: &Value, from: &str) -> Option<Self> {
        let Value::Array(ranges) = reply else { return None };
        let range = |range: &Value| {
            let Value::Array(parts) = range else { return None };
            let [first, last, nodes @ ..] = parts.as_slice() else { return None };
            let nodes = nodes.iter().filter_map(node).map(|address| address.seen_from(from)).collect();
            Some(Range { first: small(first)?, last: small(last)?, nodes })
        };
        ranges.iter().map(range).collect::<Option<_>>().map(Self)
    }

    pub(super) fn owner(&self, slot: Slot) -> Option<&Server> {
        let range = self.0.iter().find(|range| (range.first..=range.last).contains(&slot.0))?;
        range.nodes.first()
    }

    /// Each once.
    pub(super) fn masters(&self) -> Vec<&Server> {
        distinct(self.0.iter().filter_map(|range| range.nodes.first()))
    }

    /// How many slots have a master, and how many replicas each of those has.
    pub(super) fn share_out(&self) -> (u64, Vec<(String, usize)>) {
        let slots = self.0.iter().filter(|range| !range.nodes.is_empty());
        let slots = slots.map(|range| u64::from(range.last.saturating_sub(range.first)) + 1).sum();
        let replicas = |master: &Server| {
            let of_it = self.0.iter().filter(|range| range.nodes.first() == Some(master));
            of_it.map(|range| range.nodes.len() - 1).min().unwrap_or_default()
        };
        let named = |master: &Server| (format!("{}:{}", master.0, master.1), replicas(master));
        (slots, self.masters().into_iter().map(named).collect())
    }

    /// Each once, replicas included.
    pub(super) fn nodes(&self) -> Vec<&Server> {
        distinct(self.0.iter().flat_map(|range| &range.nodes))
    }
}

fn node(reply: &Value) -> Option<Address> {
    let Value::Array(parts) = reply else { return None };
    let [host, port, ..] = parts.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        // Where it does not know under which name it was reached.
        _ => "",
    };
    Address::of(host, small(port)?)
}

fn small(value: &Value) -> Option<u16> {
    match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

fn distinct<'a>(all: impl Iterator<Item = &'a Server>) -> Vec<&'a Server> {
    let mut found = Vec::new();
    for address in all {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address { host: Some(host.to_owned()), port }
    }

    #[test]
    fn slots_are_those_that_redis_computes() {
        // From `CLUSTER KEYSLOT` of Redis 7.0.
        for (name, slot) in [("123456789", 12739), ("dlock:job", 10997), ("{user1000}.following", 3443), ("", 0)] {
            assert_eq!(Slot::of(name), Slot(slot), "{name}");
        }
        assert_eq!(Slot::of("foo{}{bar}"), Slot(8363));
        assert_eq!(Slot::of("foo{{bar}}zap"), Slot::of("{bar"));
        assert_eq!(Slot::of("foo{bar}{zap}"), Slot::of("bar"));
    }

    #[test]
    fn redirections_are_read_in_every_form_that_nodes_give_them() {
        for (code, detail, expected) in [
            ("MOVED", "3999 127.0.0.1:6381", Referral::Moved(Some(at("127.0.0.1", 6381)))),
            ("MOVED", "3999 ::1:6381", Referral::Moved(Some(at("::1", 6381)))),
            ("MOVED", "3999 [::1]:6381", Referral::Moved(Some(at("::1", 6381)))),
            ("ASK", "3999 c2.example.com:6381", Referral::Ask(Some(at("c2.example.com", 6381)))),
            ("MOVED", "3999 :6381", Referral::Moved(Some(Address { host: None, port: 6381 }))),
            ("MOVED", "3999 ?:6381", Referral::Moved(None)),
            ("MOVED", "3999", Referral::Moved(None)),
            ("MOVED", "3999 h:0", Referral::Moved(None)),
            ("TRYAGAIN", "Multiple keys request during rehashing of slot", Referral::TryAgain),
            ("CLUSTERDOWN", "The cluster is down", Referral::Ignorant),
        ] {
            assert_eq!(Referral::parse(code, detail), Some(expected), "{code} {detail}");
        }
        assert_eq!(Referral::parse("READONLY", "You can't write"), None);
    }

    #[test]
    fn the_map_names_masters_first_and_a_node_without_a_host_at_that_of_the_asked() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec())]);
        let host = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range =
            |first, last, nodes: Vec<Value>| Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat());
        let map = SlotMap::parse(
            &Value::Array(vec![
                range(0, 8191, vec![node(host("10.0.0.1"), 7001), node(host("10.0.0.2"), 7002)]),
                range(8192, 8192, vec![node(Value::Nil, 7003)]),
                range(8193, 16383, vec![node(host("10.0.0.1"), 7001), node(host("?"), 7004)]),
            ]),
            "10.0.0.9",
        );
        let map = map.expect("it is an answer");
        assert_eq!(map.owner(Slot(8191)), Some(&("10.0.0.1".to_owned(), 7001)));
        assert_eq!(map.owner(Slot(8192)), Some(&("10.0.0.9".to_owned(), 7003)));
        assert_eq!(map.masters().len(), 2);
        assert_eq!(map.nodes().len(), 3);
        assert_eq!(SlotMap::parse(&Value::Okay, ""), None);
        assert_eq!(SlotMap::parse(&Value::Array(vec![Value::Int(1)]), ""), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(code in "(MOVED|ASK|TRYAGAIN)", detail in ".{0,60}") {
            Referral::parse(&code, &detail);
        }

        #[test]
        fn a_name_and_what_stands_beside_it_share_a_slot(name in "[^{}\n\0]{1,60}") {
            prop_assert_eq!(Slot::of(&name), Slot::of(&format!("{{{name}}}:dlock:queue")));
        }
    }
}
