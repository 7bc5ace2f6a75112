//! Which server decides about a lock, and the way to it. What breaks it: an answer of a server that does not decide any
//! more.

mod panel;
mod sentinel;
mod service;
mod testimony;
mod vote;

use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};

use self::sentinel::SentinelRoute;
pub use self::service::Service;
use super::ear::Ear;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::node::Node;
use crate::backend::tls::Tls;

/// How the server that decides is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// It is named, and nothing else decides.
    Server(Endpoint),
    /// Sentinels name it, and a majority of them has to.
    Sentinel(Service),
}

impl Topology {
    /// As it may be shown to anybody.
    #[must_use]
    pub fn masked(&self) -> String {
        match self {
            Self::Server(endpoint) => endpoint.masked(),
            Self::Sentinel(service) => service.masked(),
        }
    }

    /// Nothing is sent before the first request.
    pub(super) fn route(&self, tls: &Tls) -> Box<dyn Route> {
        match self {
            Self::Server(endpoint) => Box::new(Rc::new(Node::new(endpoint.clone(), tls.clone()))),
            Self::Sentinel(service) => Box::new(SentinelRoute::new(service.clone(), tls.clone())),
        }
    }
}

/// The way to the server that decides about a lock; `lock` is the name of its main key.
#[async_trait(?Send)]
pub(super) trait Route {
    /// Whom messages blame, secrets masked: the server that was asked last, or else where it was sought.
    fn masked(&self) -> String;

    /// Whether there is a connection to the server that decides which was not found to have ended.
    fn is_linked(&self, lock: &str) -> bool;

    /// Sends `request` and waits for its reply, `limit` in all. No server carries it out twice: it is sent again only
    /// where it was refused unread.
    async fn ask(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure>;

    /// Like [`Route::ask`], for requests that may be carried out twice: a connection that turns out to have ended while
    /// nothing was asked is replaced at once, and `again` is sent.
    async fn ask_twice(&self, lock: &str, request: &Cmd, again: &Cmd, limit: Duration) -> Result<Value, Failure>;

    /// Like [`Route::ask_twice`], for a renewal, which counts from before it was sent: only an answer of a server that
    /// decided then counts, which others are asked about meanwhile.
    async fn ask_vouched(&self, lock: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        self.ask_twice(lock, request, request, limit).await
    }

    /// Asks others whether the server that was asked last decides: what it granted counts only then.
    async fn vouch(&self, _: &str, _: Duration) -> Result<(), Failure> {
        Ok(())
    }

    /// Listens to `channel` of this lock on a connection of its own. When this returns, the subscription is confirmed,
    /// or has to be done without.
    async fn listen(&self, lock: &str, channel: &str, limit: Duration) -> Result<Ear, Failure>;

    /// All servers that hold locks.
    async fn servers(&self, limit: Duration) -> Result<Vec<Rc<Node>>, Failure>;

    /// Closes all connections and waits until that is done.
    async fn close(&self);
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

    async fn ask_twice(&self, _: &str, request: &Cmd, again: &Cmd, limit: Duration) -> Result<Value, Failure> {
        Node::ask_twice(self, request, again, limit).await
    }

    async fn listen(&self, _: &str, channel: &str, limit: Duration) -> Result<Ear, Failure> {
        Node::listen(self, channel, limit).await
    }

    async fn servers(&self, _: Duration) -> Result<Vec<Rc<Node>>, Failure> {
        Ok(vec![self.clone()])
    }

    async fn close(&self) {
        Node::close(self).await;
    }
}
