//! The nodes of one Cluster that are known, and what they say of each other. What breaks it: a node that has not heard
//! yet what the others have agreed on.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::slots::{Address, Server, Slot, SlotMap};
use super::url::ClusterUrl;
use crate::backend::redis::endpoint::{Address as Location, Endpoint};
use crate::backend::redis::failure::Failure;
use crate::backend::redis::node::Node;
use crate::backend::tls::Tls;
use crate::lock::BackendError;

/// So many nodes are asked at once who has a slot; in a large Cluster it is another handful each time.
const ASKED_AT_ONCE: usize = 8;

/// How long it may take them to say so: a round trip, and the time that a connection needs.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

pub(super) struct Nodes {
    url: ClusterUrl,
    tls: Tls,
    met: RefCell<HashMap<Server, Rc<Node>>>,
    /// As one of them told it last.
    map: RefCell<SlotMap>,
    /// Whether nothing is known to have changed since.
    map_is_current: Cell<bool>,
    /// How often they have been asked.
    asked: Cell<usize>,
}

impl Nodes {
    pub(super) fn new(url: ClusterUrl, tls: Tls) -> Self {
        let (map, map_is_current) = (RefCell::default(), Cell::new(false));
        Self { url, tls, met: RefCell::default(), map, map_is_current, asked: Cell::new(0) }
    }

    pub(super) fn url(&self) -> &ClusterUrl {
        &self.url
    }

    pub(super) fn seed(&self) -> Rc<Node> {
        let first = self.url.seeds().next().expect("a URL names at least one");
        self.at(&first)
    }

    pub(super) fn at(&self, server: &Server) -> Rc<Node> {
        let mut met = self.met.borrow_mut();
        let node = met.entry(server.clone()).or_insert_with(|| {
            let (host, port) = server.clone();
            Rc::new(Node::new(self.url.template().elsewhere(host, port), self.tls.clone()))
        });
        node.clone()
    }

    /// Where `of` sends us.
    pub(super) fn named(&self, address: Option<&Address>, of: &Node) -> Result<Rc<Node>, Failure> {
        match address {
            Some(address) => Ok(self.at(&address.clone().seen_from(&server_of(of).0))),
            None => Err(Failure::unanswered(BackendError::misconfigured(format!(
                "{} names no address of the node that has this key; see cluster-announce-hostname and \
                 cluster-preferred-endpoint-type in the configuration of its nodes",
                of.endpoint().masked()
            )))),
        }
    }

    /// One to which there is a connection.
    pub(super) fn linked(&self) -> Option<Rc<Node>> {
        self.met.borrow().values().find(|node| node.is_linked()).cloned()
    }

    pub(super) fn owner_by_map(&self, slot: Slot) -> Option<Rc<Node>> {
        let owner = self.map.borrow().owner(slot).filter(|_| self.map_is_current.get()).cloned()?;
        Some(self.at(&owner))
    }

    /// It has changed; the nodes are as good as any to ask how.
    pub(super) fn doubt_map(&self) {
        self.map_is_current.set(false);
    }

    fn adopt(&self, map: SlotMap) {
        *self.map.borrow_mut() = map;
        self.map_is_current.set(true);
    }

    /// Has `node` tell who has what, where that is not known. It costs a request on the connection that stands; whatever
    /// comes of it.
    pub(super) async fn learn(&self, node: &Node, limit: Duration) {
        if self.map_is_current.get() || !node.is_linked() {
            return;
        }
        match map_of(node, limit).await {
            Ok(map) => self.adopt(map),
            // It may not be asked; nor need it be again.
            Err(failure) if failure.answered => self.map_is_current.set(true),
            Err(_) => {}
        }
    }

    /// Who has `slot`, as others than `doubted` tell it: preferably somebody else, whom not all may have heard of yet.
    /// `None`: nobody answers.
    pub(super) async fn owner_beside(&self, slot: Slot, doubted: &Node, limit: Duration) -> Option<Rc<Node>> {
        let others = self.some(Some(doubted));
        let names_another = |map: &SlotMap| map.owner(slot).is_some_and(|owner| *owner != server_of(doubted));
        let map = ask_all(&others, names_another, limit).await.ok()?;
        let owner = map.owner(slot).cloned();
        self.adopt(map);
        owner.map(|owner| self.at(&owner))
    }

    /// All masters, asked for anew.
    pub(super) async fn masters(&self, limit: Duration) -> Result<Vec<Rc<Node>>, Failure> {
        let map = ask_all(&self.some(None), |map| !map.masters().is_empty(), limit).await?;
        let masters = map.masters().into_iter().map(|server| self.at(server)).collect();
        self.adopt(map);
        Ok(masters)
    }

    /// How many slots are served, and by whom: each master with how many replicas it has at least.
    pub(super) fn share_out(&self) -> (u64, Vec<(String, usize)>) {
        self.map.borrow().share_out()
    }

    /// Whether anybody but `node` could be asked.
    pub(super) fn has_others(&self, node: &Node) -> bool {
        !self.some(Some(node)).is_empty()
    }

    /// A handful of those that are known but `except`: first those to which there is a connection, then the ones that
    /// were named, then the others.
    fn some(&self, except: Option<&Node>) -> Vec<Rc<Node>> {
        let known: Vec<Server> = self.map.borrow().nodes().into_iter().cloned().collect();
        let linked: Vec<Server> =
            self.met.borrow().iter().filter(|(_, node)| node.is_linked()).map(|(server, _)| server.clone()).collect();
        let mut others: Vec<Server> = known;
        others.extend(self.met.borrow().keys().cloned());
        others.sort();
        let turn = self.asked.replace(self.asked.get() + 1) * ASKED_AT_ONCE / 2;
        if !others.is_empty() {
            let turn = turn % others.len();
            others.rotate_left(turn);
        }
        let mut some: Vec<Server> = Vec::new();
        for server in linked.into_iter().chain(self.url.seeds()).chain(others) {
            let is_excepted = except.is_some_and(|node| server_of(node) == server);
            if !is_excepted && !some.contains(&server) && some.len() < ASKED_AT_ONCE {
                some.push(server);
            }
        }
        some.iter().map(|server| self.at(server)).collect()
    }

    pub(super) fn close(&self) {
        self.met.borrow().values().for_each(|node| node.close());
    }
}

pub(super) fn server_of(node: &Node) -> Server {
    match node.endpoint() {
        Endpoint { address: Location::Tcp { host, port }, .. } => (host.clone(), *port),
        Endpoint { address: Location::Unix(_), .. } => (String::new(), 0),
    }
}

/// Asks all at once. The first answer that `pleases`, else the last one; the failure of the first when there is none.
async fn ask_all(nodes: &[Rc<Node>], pleases: impl Fn(&SlotMap) -> bool, limit: Duration) -> Result<SlotMap, Failure> {
    let (mut last, mut failed) = (None, None);
    let new: Vec<&Rc<Node>> = nodes.iter().filter(|node| !node.is_linked()).collect();
    {
        let mut answers: FuturesUnordered<_> =
            nodes.iter().map(|node| map_of(node, limit.min(ANSWERS_WITHIN))).collect();
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(map) if pleases(&map) => {
                    last = Some(map);
                    break;
                }
                Ok(map) => last = Some(map),
                Err(failure) => drop(failed.get_or_insert(failure)),
            }
        }
    }
    // A connection that was made for one question is not kept.
    for node in new {
        node.close();
    }
    let nobody = || Failure::unanswered(BackendError::unavailable("there is no other node to ask"));
    last.ok_or_else(|| failed.unwrap_or_else(nobody))
}

async fn map_of(node: &Node, limit: Duration) -> Result<SlotMap, Failure> {
    let reply = node.ask(redis::cmd("CLUSTER").arg("SLOTS"), limit).await?;
    SlotMap::parse(&reply, &server_of(node).0).ok_or_else(|| Failure::stranger(node.endpoint()))
}
