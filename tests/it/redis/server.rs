//! A Redis server of one test's own, and what the tests ask it.

use std::ops::{Deref, DerefMut};

use dlock::backend::redis::{Config, Endpoint, RedisBackend, Topology};
use dlock::backend::tls::Tls;
use dlock::lock::Namespace;

use crate::support;

pub(super) struct Server(support::Server);

impl Server {
    /// Every write is on the disk before it is answered, so that a restart loses none.
    pub(super) fn durable() -> Self {
        Self(support::Server::redis(&[]))
    }

    /// Keeps nothing over a restart.
    pub(super) fn start(options: &[&str]) -> Self {
        Self(support::Server::redis(&[&["--appendonly", "no"], options].concat()))
    }

    /// After a crash; a server that is still loading its data says so to everybody.
    pub(super) fn start_again(&mut self) {
        self.0.start_again();
        support::eventually("the data are loaded", || self.try_command::<String>(&["PING"]).is_ok());
    }

    pub(super) fn backend(&self) -> RedisBackend {
        self.backend_at(&format!("redis://127.0.0.1:{}", self.port))
    }

    pub(super) fn backend_at(&self, url: &str) -> RedisBackend {
        backend(url, "dlock")
    }
}

impl Deref for Server {
    type Target = support::Server;

    fn deref(&self) -> &support::Server {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut support::Server {
        &mut self.0
    }
}

pub(super) fn backend(url: &str, namespace: &str) -> RedisBackend {
    let endpoint = Endpoint::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let namespace = Namespace::new(namespace).expect("a valid namespace");
    RedisBackend::open(&Config {
        topology: Topology::Server(endpoint),
        namespace,
        tls: Tls::default(),
        wait_replicas: 0,
    })
    .expect("opening sends nothing")
}
