//! Which server decides about a lock, and the way to it. What breaks it: an answer of a server that does not decide any
//! more.

mod cluster;
mod panel;
mod sentinel;
mod service;
mod testimony;
mod vote;

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};

pub use self::cluster::ClusterUrl;
pub(super) use self::cluster::{Referral, Slot};
pub use self::service::Service;

use self::cluster::Cluster;
use self::sentinel::SentinelRoute;
use super::ear::{Ear, Manner};
use super::endpoint::{Endpoint, InvalidUrl, Secret, Transport};
use super::examination::Station;
use super::failure::Failure;
use super::node::{Again, Node};
use crate::backend::tls::Tls;
use crate::lock::{BackendError, Finding};

/// How the server that decides is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// It is named, and nothing else decides.
    Server(Endpoint),
    /// Sentinels name it, and a majority of them has to.
    Sentinel(Service),
    /// The nodes of a Cluster say which of them has the lock's slot.
    Cluster(ClusterUrl),
}

impl Topology {
    /// Reads any of the URLs.
    ///
    /// # Errors
    /// [`InvalidUrl`] in one sentence.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        match ClusterUrl::parse(url) {
            Some(cluster) => cluster.map(Self::Cluster),
            None if Service::is_named_by(url) => Service::parse(url).map(Self::Sentinel),
            None => Endpoint::parse(url).map(Self::Server),
        }
    }

    #[must_use]
    pub fn transport(&self) -> Transport {
        match self {
            Self::Server(endpoint) => endpoint.transport,
            Self::Sentinel(service) => service.transport,
            Self::Cluster(url) => url.transport(),
        }
    }

    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        match self {
            Self::Server(endpoint) => endpoint.password.as_ref(),
            Self::Sentinel(service) => service.password.as_ref(),
            Self::Cluster(url) => url.password(),
        }
    }

    pub fn set_password(&mut self, password: Secret) {
        match self {
            Self::Server(endpoint) => endpoint.password = Some(password),
            Self::Sentinel(service) => service.password = Some(password),
            Self::Cluster(url) => url.set_password(&password),
        }
    }

    /// As it may be shown to anybody.
    #[must_use]
    pub fn masked(&self) -> String {
        match self {
            Self::Server(endpoint) => endpoint.masked(),
            Self::Sentinel(service) => service.masked(),
            Self::Cluster(url) => url.masked(),
        }
    }

    /// The URL without its password, which [`Topology::parse`] reads again.
    #[must_use]
    pub fn without_password(&self) -> String {
        match self {
            Self::Server(endpoint) => endpoint.without_password(),
            Self::Sentinel(service) => service.without_password(),
            Self::Cluster(url) => url.without_password(),
        }
    }

    /// The server, where it is nothing but one.
    #[must_use]
    pub fn into_server(self) -> Option<Endpoint> {
        match self {
            Self::Server(endpoint) => Some(endpoint),
            Self::Sentinel(_) | Self::Cluster(_) => None,
        }
    }

    /// Nothing is sent before the first request.
    pub(super) fn route(&self, tls: &Tls) -> Box<dyn Route> {
        match self {
            Self::Server(endpoint) => Box::new(Rc::new(Node::new(endpoint.clone(), tls.clone()))),
            Self::Sentinel(service) => Box::new(SentinelRoute::new(service.clone(), tls.clone())),
            Self::Cluster(url) => Box::new(Cluster::new(url.clone(), tls.clone())),
        }
    }
}

/// The way to the server that decides about a lock; `lock` is the name of its main key.
#[async_trait(?Send)]
pub(super) trait Route {
    /// Whom messages blame, secrets masked: the server that was asked last, or else where it was sought.
    fn masked(&self) -> String;

    /// Locks of the same slot can be asked about in one request.
    fn slot(&self, _lock: &str) -> Slot {
        Slot::ONLY
    }

    /// # Errors
    /// When no one server has all these names.
    fn admit(&self, _names: &[String]) -> Result<(), BackendError> {
        Ok(())
    }

    /// Whether there is a connection to the server that decides which was not found to have ended.
    fn is_linked(&self, lock: &str) -> bool;

    /// Sends `request` and waits for its reply, `limit` in all. No server carries it out twice: it is sent again only
    /// where it was refused unread, or to another server that decides instead.
    async fn ask(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure>;

    /// Like [`Route::ask`], for requests that may be carried out twice: a connection that turns out to have ended while
    /// nothing was asked is replaced at once, and `again` is sent.
    async fn ask_twice(&self, lock: &str, request: &Cmd, again: Again<'_>, limit: Duration) -> Result<Value, Failure>;

    /// Like [`Route::ask_twice`], for a renewal, which counts from before it was sent: only an answer of a server that
    /// decided then counts, which others are asked about meanwhile. Learns beside it how to find the server that decides the
    /// next time.
    async fn ask_vouched(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        self.ask_twice(lock, request, &|| request.clone(), limit).await
    }

    /// Asks others whether the server that was asked last decides: what it granted counts only then.
    async fn vouch(&self, _: &str, _: Duration) -> Result<(), Failure> {
        Ok(())
    }

    /// Like [`Route::ask`], and only of the server that `ear` listens to. When the lock has gone to another, the failure
    /// [has moved](Failure::has_moved): listen there first.
    async fn ask_beside(&self, _ear: &Ear, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        self.ask(lock, request, limit).await
    }

    /// What the next request about this lock tells others is to go out before its own answer.
    fn give_way(&self, lock: &str);

    /// Asks the server that carried out the last request about this lock, on the same connection.
    async fn ask_same(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        self.ask(lock, request, limit).await
    }

    /// Listens to `channel` of this lock on a connection of its own. When this returns, the subscription is confirmed,
    /// or has to be done without.
    async fn listen(&self, lock: &str, channel: &str, limit: Duration) -> Result<Ear, Failure>;

    /// All servers that hold locks.
    async fn servers(&self, limit: Duration) -> Result<Vec<Rc<Node>>, Failure>;

    /// What else decides beside each of them.
    fn station(&self) -> Station {
        Station::Alone
    }

    /// What is to be said of the way itself: of those who show it.
    async fn survey(&self, _limit: Duration) -> Result<Vec<Finding>, Failure> {
        Ok(Vec::new())
    }

    /// Closes all connections, as soon as the event loop goes on or this process ends.
    fn close(&self);
}

#[async_trait(?Send)]
impl Route for Rc<Node> {
    fn masked(&self) -> String {
        self.endpoint().masked()
    }

    fn is_linked(&self, _: &str) -> bool {
        Node::is_linked(self)
    }

    async fn ask(&self, _: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        Node::ask(self, request, limit).await
    }

    async fn ask_twice(&self, _: &str, request: &Cmd, again: Again<'_>, limit: Duration) -> Result<Value, Failure> {
        Node::ask_twice(self, request, again, limit).await
    }

    fn give_way(&self, _: &str) {
        Node::give_way(self);
    }

    async fn listen(&self, _: &str, channel: &str, limit: Duration) -> Result<Ear, Failure> {
        Node::listen(self, channel, &[Manner::Plain], limit).await
    }

    async fn servers(&self, _: Duration) -> Result<Vec<Rc<Node>>, Failure> {
        Ok(vec![self.clone()])
    }

    fn close(&self) {
        Node::close(self);
    }
}
