//! Which server a majority of the Sentinels names: pure arithmetic. What breaks it: a majority of too few, counted by one
//! Sentinel that has forgotten the others, or by one that votes twice under two names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A server as the Sentinels name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Another Sentinel, as one of them knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) id: String,
    pub(super) address: Server,
}

/// What one Sentinel says about the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Testimony {
    /// The name that it keeps, whatever the address at which it was asked.
    pub(super) by: String,
    pub(super) master: Server,
    /// Whether it has heard from that master just now.
    pub(super) hears: bool,
    /// How many have to agree that the master is down.
    pub(super) quorum: usize,
    pub(super) others: Vec<Peer>,
}

/// The Sentinels of a service, of which a majority counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Electorate {
    members: BTreeSet<String>,
    /// It has at least so many, known or not.
    least: usize,
}

impl Electorate {
    /// Nobody is known yet; `named` addresses are expected to be as many Sentinels.
    pub(super) fn of(named: usize) -> Self {
        Self { members: BTreeSet::new(), least: named }
    }

    /// What is known after these answers. Whoever was known counts until a majority of those known answers and none of
    /// them knows him any more: one that was made to forget the others (SENTINEL RESET), and is cut off from them, is
    /// still one of as many.
    pub(super) fn after(&self, answers: &[Testimony]) -> Self {
        let listed = answers.iter().flat_map(|one| one.others.iter().map(|peer| &peer.id).chain([&one.by]));
        let mut members: BTreeSet<String> = listed.cloned().collect();
        let answered: BTreeSet<&String> = answers.iter().map(|one| &one.by).collect();
        let of_those_known = answered.into_iter().filter(|id| self.members.contains(*id)).count();
        if of_those_known * 2 <= self.members.len() {
            members.extend(self.members.iter().cloned());
        }
        let quorum = answers.iter().map(|one| one.quorum).max().unwrap_or_default();
        // A quorum that those known cannot reach was made for more.
        Self { members, least: self.least.max(quorum) }
    }

    pub(super) fn knows(&self, id: &str) -> bool {
        self.members.contains(id)
    }

    /// How many there are.
    pub(super) fn size(&self) -> usize {
        self.members.len().max(self.least)
    }

    /// How many have to agree.
    pub(super) fn majority(&self) -> usize {
        self.size() / 2 + 1
    }

    /// The server that a majority names and hears.
    pub(super) fn master(&self, answers: &[Testimony]) -> Option<Server> {
        let (server, votes) = votes(answers, |one| one.hears).into_iter().max_by_key(|(_, votes)| *votes)?;
        (votes >= self.majority()).then_some(server)
    }

    /// Why there is none.
    pub(super) fn doubt(&self, answers: &[Testimony]) -> Doubt {
        let named = votes(answers, |_| true);
        let most = named.iter().max_by_key(|(_, votes)| **votes);
        match most {
            Some((server, votes)) if *votes >= self.majority() => Doubt::Unheard(server.clone()),
            Some(_) if named.len() > 1 => Doubt::Split(named.into_iter().collect()),
            _ => Doubt::TooFew(answers.iter().map(|one| &one.by).collect::<BTreeSet<_>>().len()),
        }
    }
}

/// Why no server is named by enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Doubt {
    /// So many answered.
    TooFew(usize),
    /// They name several, each by so many.
    Split(Vec<(Server, usize)>),
    /// They agree on this one, and have not heard from it for a while.
    Unheard(Server),
}

/// How many name each server; whoever was asked at two addresses counts once.
fn votes(answers: &[Testimony], counts: impl Fn(&Testimony) -> bool) -> BTreeMap<Server, usize> {
    let mut voted = BTreeSet::new();
    let mut votes = BTreeMap::new();
    for one in answers.iter().filter(|one| voted.insert(&one.by)).filter(|one| counts(one)) {
        *votes.entry(one.master.clone()).or_default() += 1;
    }
    votes
}

#[cfg(test)]
mod tests;
