//! A Redis Cluster: each node knows which of them has a slot, and sends whoever asks the wrong one to the right one. What
//! breaks it: a slot that moves while it is used, and a node that is replaced by its replica.
//!
//! The nodes that the URL names are asked directly, and who has the slot is remembered: a lock costs what it costs on one
//! server and one hop. Only when a node fails are the others asked for its successor.

mod guard;
mod nodes;
mod slots;
mod url;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};
use tokio::time::Instant;

pub(in crate::backend::redis) use self::slots::{Referral, Slot};
pub use self::url::ClusterUrl;

use self::guard::guarded;
use self::nodes::Nodes;
use crate::backend::redis::ear::{Ear, Manner};
use crate::backend::redis::endpoint::Address as Location;
use crate::backend::redis::examination::{ClusterFacts, Station, judge_cluster};
use crate::backend::redis::failure::Failure;
use crate::backend::redis::node::{Again, Node};
use crate::backend::redis::reply::bytes;
use crate::backend::tls::Tls;
use crate::lock::backoff::jittered;
use crate::lock::{BackendError, Finding};

/// A request is sent on so often: from a node that was named to the owner, and twice more for slots that move meanwhile,
/// each time with an ASK before the MOVED.
const MOST_HOPS: usize = 5;

/// Pauses while some names of a lock are on the node that gives its slot away and others on the one that gets it: a step
/// of that takes some milliseconds, the whole of it seconds.
const MOVING: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

pub(super) struct Cluster {
    nodes: Nodes,
    owners: RefCell<HashMap<Slot, Owner>>,
    asked_last: RefCell<Option<Rc<Node>>>,
    /// Whether it has been found to be one.
    is_cluster: Cell<bool>,
}

/// Who has a slot.
#[derive(Clone)]
struct Owner {
    node: Rc<Node>,
    /// A request to it has been given up, failed, or is on its way: others may know better.
    in_doubt: bool,
    /// Who carried the last request out: the owner, or the node that gets the slot from it.
    served_by: Rc<Node>,
}

/// How a node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    /// As the one that has the slot.
    Owner,
    /// As the one that gets the slot, and refuses whoever does not say ASKING.
    Importing,
}

impl Cluster {
    pub(super) fn new(url: ClusterUrl, tls: Tls) -> Self {
        Self {
            nodes: Nodes::new(url, tls),
            owners: RefCell::default(),
            asked_last: RefCell::default(),
            is_cluster: Cell::new(false),
        }
    }

    /// Has `ask` ask node after node until one answers for `slot`.
    async fn find<T>(
        &self,
        slot: Slot,
        limit: Duration,
        ask: impl AsyncFn(Rc<Node>, Entry, Duration) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let (mut node, mut may_look_round) = self.first_to_ask(slot, limit / 2).await;
        let (mut entry, mut hops, mut sent_on_by) = (Entry::Owner, 0, None);
        let mut pauses = Pauses::until(deadline);
        loop {
            // A node that says nothing leaves time for the others to name another.
            let looks_round = may_look_round && self.nodes.has_others(&node);
            let share = if looks_round && !node.is_linked() { left() / 2 } else { left() };
            self.doubt(slot, &node);
            let failure = match ask(node.clone(), entry, share).await {
                Ok(answer) => {
                    self.served(slot, &node, entry);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if failure.answered {
                self.trust(slot, &node);
            }
            match &failure.referral {
                Some(Referral::Moved(_) | Referral::Ask(_)) if hops == MOST_HOPS => {
                    return Err(refused(&format!(
                        "the nodes of {} send this key round in circles; try again shortly",
                        self.nodes.url().masked()
                    )));
                }
                Some(Referral::Moved(to)) => {
                    let to = self.nodes.named(to.as_ref(), &node)?;
                    let from = std::mem::replace(&mut node, to);
                    self.nodes.doubt_map();
                    self.moved(slot, &from, &node).await;
                    (entry, hops, sent_on_by) = (Entry::Owner, hops + 1, Some(from));
                }
                Some(Referral::Ask(to)) => {
                    let to = self.nodes.named(to.as_ref(), &node)?;
                    let from = std::mem::replace(&mut node, to);
                    (entry, hops, sent_on_by) = (Entry::Importing, hops + 1, Some(from));
                }
                Some(Referral::TryAgain) => {
                    if !pauses.next().await {
                        return Err(failure);
                    }
                    node = self.known(slot).map_or(node, |owner| owner.node);
                    (entry, hops) = (Entry::Owner, 0);
                }
                // A refusal of the owner's own is one; of any other node it says nothing about the lock.
                Some(Referral::Ignorant) | None
                    if looks_round
                        && failure.error.may_pass()
                        && (failure.referral.is_some() || !failure.answered || !self.is_owner(slot, &node)) =>
                {
                    may_look_round = false;
                    match self.nodes.owner_beside(slot, &node, left() / 2).await {
                        Some(other) if !Rc::ptr_eq(&other, &node) => {
                            self.is_cluster.set(true);
                            self.moved(slot, &node, &other).await;
                            (node, entry, sent_on_by) = (other, Entry::Owner, None);
                        }
                        Some(_) => return Err(sent_on(failure, sent_on_by.as_deref())),
                        None => {
                            let mut failure = sent_on(failure, sent_on_by.as_deref());
                            failure.error.message += "; no other node of the Cluster answers";
                            return Err(failure);
                        }
                    }
                }
                _ => return Err(sent_on(failure, sent_on_by.as_deref())),
            }
        }
    }

    /// Whom to ask first for `slot`, and whether the others may be asked about it as well, should it fail.
    async fn first_to_ask(&self, slot: Slot, limit: Duration) -> (Rc<Node>, bool) {
        match self.known(slot) {
            Some(owner) if owner.in_doubt => match self.nodes.owner_beside(slot, &owner.node, limit).await {
                Some(other) if !Rc::ptr_eq(&other, &owner.node) => {
                    self.moved(slot, &owner.node, &other).await;
                    (other, true)
                }
                _ => (owner.node, false),
            },
            Some(owner) => (owner.node, true),
            None => {
                let by_map = self.nodes.owner_by_map(slot);
                (by_map.or_else(|| self.nodes.linked()).unwrap_or_else(|| self.nodes.seed()), true)
            }
        }
    }

    fn known(&self, slot: Slot) -> Option<Owner> {
        self.owners.borrow().get(&slot).cloned()
    }

    fn is_owner(&self, slot: Slot, node: &Rc<Node>) -> bool {
        self.owners.borrow().get(&slot).is_some_and(|owner| Rc::ptr_eq(&owner.node, node))
    }

    /// Until there is an answer; also when the caller does not wait for it.
    fn doubt(&self, slot: Slot, node: &Rc<Node>) {
        *self.asked_last.borrow_mut() = Some(node.clone());
        if let Some(owner) = self.owners.borrow_mut().get_mut(&slot)
            && Rc::ptr_eq(&owner.node, node)
        {
            owner.in_doubt = true;
        }
    }

    fn trust(&self, slot: Slot, node: &Rc<Node>) {
        if let Some(owner) = self.owners.borrow_mut().get_mut(&slot)
            && Rc::ptr_eq(&owner.node, node)
        {
            owner.in_doubt = false;
        }
    }

    fn served(&self, slot: Slot, node: &Rc<Node>, entry: Entry) {
        self.is_cluster.set(true);
        let mut owners = self.owners.borrow_mut();
        let fresh = Owner { node: node.clone(), in_doubt: false, served_by: node.clone() };
        match entry {
            Entry::Owner => drop(owners.insert(slot, fresh)),
            Entry::Importing => owners.entry(slot).or_insert(fresh).served_by = node.clone(),
        }
    }

    /// `to` has `slot`. What is asked no more is not kept connected.
    async fn moved(&self, slot: Slot, from: &Rc<Node>, to: &Rc<Node>) {
        self.is_cluster.set(true);
        let owner = Owner { node: to.clone(), in_doubt: false, served_by: to.clone() };
        self.owners.borrow_mut().insert(slot, owner);
        if !self.owners.borrow().values().any(|owner| Rc::ptr_eq(&owner.node, from)) {
            from.close();
        }
    }

    async fn carry_out(&self, node: &Node, entry: Entry, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        match entry {
            Entry::Importing => node.ask_behind(Some(&redis::cmd("ASKING")), request, limit).await,
            Entry::Owner if self.is_cluster.get() => node.ask(request, limit).await,
            Entry::Owner => node.ask(&guarded(request), limit).await,
        }
    }

    async fn carry_out_twice(
        &self,
        node: &Node,
        entry: Entry,
        request: &Cmd,
        again: Again<'_>,
        limit: Duration,
    ) -> Result<Value, Failure> {
        match entry {
            Entry::Importing => node.ask_behind(Some(&redis::cmd("ASKING")), request, limit).await,
            Entry::Owner if self.is_cluster.get() => node.ask_twice(request, again, limit).await,
            Entry::Owner => node.ask_twice(&guarded(request), &|| guarded(&again()), limit).await,
        }
    }
}

#[async_trait(?Send)]
impl super::Route for Cluster {
    fn masked(&self) -> String {
        let asked_last = self.asked_last.borrow();
        asked_last.as_ref().map_or_else(|| self.nodes.url().masked(), |node| node.endpoint().masked())
    }

    fn slot(&self, lock: &str) -> Slot {
        Slot::of(lock)
    }

    fn admit(&self, names: &[String]) -> Result<(), BackendError> {
        let Some((first, rest)) = names.split_first() else { return Ok(()) };
        match rest.iter().find(|name| Slot::of(name) != Slot::of(first)) {
            None => Ok(()),
            Some(other) => Err(BackendError::misconfigured(format!(
                "on a Redis Cluster {first} and {other} lie in different slots, and a lock needs both; use a key with a \
                 hash tag, as {{team}}:job, or without braces"
            ))),
        }
    }

    fn is_linked(&self, lock: &str) -> bool {
        self.known(Slot::of(lock)).is_some_and(|owner| !owner.in_doubt && Node::is_linked(&owner.served_by))
    }

    async fn ask(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        let ask = async |node: Rc<Node>, entry, share| self.carry_out(&node, entry, request, share).await;
        self.find(Slot::of(lock), limit, ask).await
    }

    async fn ask_twice(&self, lock: &str, request: &Cmd, again: Again<'_>, limit: Duration) -> Result<Value, Failure> {
        // Once a try has remained without an answer, every other is one more.
        let unanswered = Cell::new(false);
        let ask = async |node: Rc<Node>, entry, share| {
            let repeated = unanswered.get().then(again);
            let outcome = self.carry_out_twice(&node, entry, repeated.as_ref().unwrap_or(request), again, share).await;
            unanswered.set(unanswered.get() || matches!(outcome, Err(Failure { answered: false, .. })));
            outcome
        };
        self.find(Slot::of(lock), limit, ask).await
    }

    fn give_way(&self, lock: &str) {
        if let Some(owner) = self.known(Slot::of(lock)) {
            Node::give_way(&owner.served_by);
        }
    }

    async fn ask_vouched(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        let owner = self.known(Slot::of(lock)).filter(|owner| !owner.in_doubt);
        let learns = async {
            if let Some(owner) = owner {
                self.nodes.learn(&owner.node, limit).await;
            }
        };
        let again = || request.clone();
        let (answer, ()) = tokio::join!(super::Route::ask_twice(self, lock, request, &again, limit), learns);
        answer
    }

    async fn ask_beside(&self, ear: &Ear, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        let Ear::Listens { server, .. } = ear else { return super::Route::ask(self, lock, request, limit).await };
        let Location::Tcp { host, port } = &server.address else {
            return super::Route::ask(self, lock, request, limit).await;
        };
        let (slot, node) = (Slot::of(lock), self.nodes.at(&(host.clone(), *port)));
        let deadline = Instant::now() + limit;
        let mut pauses = Pauses::until(deadline);
        loop {
            self.doubt(slot, &node);
            let left = deadline.saturating_duration_since(Instant::now());
            let failure = match self.carry_out(&node, Entry::Owner, request, left).await {
                Ok(answer) => {
                    self.served(slot, &node, Entry::Owner);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            if failure.answered {
                self.trust(slot, &node);
            }
            match &failure.referral {
                Some(Referral::Moved(to)) => {
                    let to = self.nodes.named(to.as_ref(), &node)?;
                    self.nodes.doubt_map();
                    self.moved(slot, &node, &to).await;
                    let gone = format!("{} has given this key to another node", node.endpoint().masked());
                    return Err(Failure { error: BackendError::unavailable(gone), ..failure });
                }
                // Nobody could be told there: where the slot stays, or goes, is waited for.
                Some(Referral::Ask(_) | Referral::TryAgain) if pauses.next().await => {}
                Some(Referral::Ask(_)) => {
                    let moving = format!("{} is moving this key to another node", node.endpoint().masked());
                    return Err(Failure { error: BackendError::unavailable(moving), ..failure });
                }
                _ => return Err(failure),
            }
        }
    }

    async fn ask_same(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        match self.known(Slot::of(lock)) {
            Some(owner) => Node::ask(&owner.served_by, request, limit).await,
            None => super::Route::ask(self, lock, request, limit).await,
        }
    }

    async fn listen(&self, lock: &str, channel: &str, limit: Duration) -> Result<Ear, Failure> {
        let began = Instant::now();
        let ask = async |node: Rc<Node>, _, share| {
            let ear = Node::listen(&node, channel, &[Manner::Sharded, Manner::Plain], share).await?;
            self.nodes.learn(&node, limit.saturating_sub(began.elapsed())).await;
            Ok(ear)
        };
        self.find(Slot::of(lock), limit, ask).await
    }

    async fn servers(&self, limit: Duration) -> Result<Vec<Rc<Node>>, Failure> {
        let masters = self.nodes.masters(limit).await?;
        self.is_cluster.set(true);
        Ok(masters)
    }

    fn station(&self) -> Station {
        Station::Cluster
    }

    async fn survey(&self, limit: Duration) -> Result<Vec<Finding>, Failure> {
        let masters = self.nodes.masters(limit).await?;
        let state = match masters.iter().find(|node| Node::is_linked(node)).or(masters.first()) {
            Some(node) => state_of(node, limit).await,
            None => None,
        };
        let (slots, masters) = self.nodes.share_out();
        Ok(judge_cluster(&ClusterFacts { state, slots, masters }))
    }

    fn close(&self) {
        self.nodes.close();
    }
}

/// What the node says of the whole; `None`: this user may not ask.
async fn state_of(node: &Node, limit: Duration) -> Option<String> {
    let info = Node::ask(node, redis::cmd("CLUSTER").arg("INFO"), limit).await.ok()?;
    let info = String::from_utf8_lossy(bytes(&info)?).into_owned();
    info.lines().find_map(|line| line.strip_prefix("cluster_state:")).map(|state| state.trim().to_owned())
}

/// Longer and longer ones, until the time is up.
struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    fn until(deadline: Instant) -> Self {
        Self { deadline, next: MOVING.0 }
    }

    /// Sleeps; whether there is time left behind it.
    async fn next(&mut self) -> bool {
        let pause = jittered(self.next, self.next * 2);
        self.next = (self.next * 2).min(MOVING.1);
        if self.deadline.saturating_duration_since(Instant::now()) <= pause {
            return false;
        }
        tokio::time::sleep(pause).await;
        true
    }
}

fn refused(text: &str) -> Failure {
    Failure { answered: true, ..Failure::unanswered(BackendError::unavailable(text)) }
}

/// Names who sent us to a node that cannot be reached: perhaps by an address that is good among the nodes alone.
fn sent_on(mut failure: Failure, by: Option<&Node>) -> Failure {
    if let Some(by) = by.filter(|_| !failure.answered) {
        failure.error.message += &format!(" ({} names it as the one that has this key)", by.endpoint().masked());
    }
    failure
}
