//! A place to lock in: one backend, and a corner of it that no other test touches.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::call::{Dlock, Running};
use super::cluster::Cluster;
use super::servers::Server;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Redis,
    ZooKeeper,
}

/// A backend with a namespace of its own.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    /// The file backend's directory; with the other two, an empty one.
    dir: TempDir,
    port: u16,
    /// Further ways to the same ensemble.
    others: Vec<u16>,
    /// A ZooKeeper server that has to agree.
    beside: Option<u16>,
    /// Of Redis, where one server is not the whole of it.
    url: Option<String>,
    server: Option<RefCell<Server>>,
}

impl Place {
    /// On the servers that all tests share.
    pub(crate) fn shared(kind: Kind) -> Self {
        let port = match kind {
            Kind::File => 0,
            Kind::Redis => Server::shared_redis().port,
            Kind::ZooKeeper => Server::shared_zookeeper().port,
        };
        Self::at_port(kind, port)
    }

    /// On the server, or the proxy, at this loopback port.
    pub(crate) fn at_port(kind: Kind, port: u16) -> Self {
        let namespace = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
        let dir = TempDir::with_prefix("dlock-place-").expect("the temporary directory takes files");
        Self { kind, namespace, dir, port, others: Vec::new(), beside: None, url: None, server: None }
    }

    /// On an ensemble of ZooKeeper servers, or the proxies before them, at these loopback ports.
    pub(crate) fn at_ports(ports: &[u16]) -> Self {
        let (first, others) = ports.split_first().expect("an ensemble has a server");
        Self { others: others.to_vec(), ..Self::at_port(Kind::ZooKeeper, *first) }
    }

    /// On the Redis servers that this URL names, of which the one at `port` decides.
    pub(crate) fn at_url(url: &str, port: u16) -> Self {
        Self { url: Some(url.to_owned()), ..Self::at_port(Kind::Redis, port) }
    }

    /// On Redis and ZooKeeper, both of which have to agree, as `redis+zk`.
    pub(crate) fn both() -> Self {
        Self { beside: Some(Server::shared_zookeeper().port), ..Self::shared(Kind::Redis) }
    }

    /// Another corner of the same servers.
    pub(crate) fn called(self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self }
    }

    /// The same corner, which the ZooKeeper server at this port has to grant, too.
    pub(crate) fn and_zookeeper(self, port: u16) -> Self {
        Self { beside: Some(port), ..self }
    }

    /// The same corner of the ZooKeeper server at this port, and of it alone.
    pub(crate) fn on_zookeeper(&self, port: u16) -> Self {
        Self { namespace: self.namespace.clone(), ..Self::at_port(Kind::ZooKeeper, port) }
    }

    /// The same corner of one of the two.
    pub(crate) fn half(&self, kind: Kind) -> Self {
        let port = if kind == Kind::ZooKeeper { self.beside.expect("there are two") } else { self.port };
        Self { namespace: self.namespace.clone(), ..Self::at_port(kind, port) }
    }

    /// On the Redis Cluster that all tests share which neither stop nor rearrange it.
    pub(crate) fn on_cluster() -> Self {
        Self::on(Cluster::shared())
    }

    /// On this Redis Cluster.
    pub(crate) fn on(cluster: &Cluster) -> Self {
        Self::at_url(&cluster.url(), cluster.node(0).port)
    }

    /// Another namespace on the same servers.
    pub(crate) fn elsewhere(&self) -> Self {
        Self { url: self.url.clone(), others: self.others.clone(), ..Self::at_port(self.kind, self.port) }
    }

    /// On a server of its own, which the test may freeze, crash and start again.
    pub(crate) fn private(kind: Kind) -> Self {
        let server = match kind {
            Kind::File => panic!("the file backend has no server"),
            Kind::Redis => Server::redis(&[]),
            Kind::ZooKeeper => Server::zookeeper(),
        };
        Self::alone_on(kind, server)
    }

    /// On this server, which the place keeps.
    pub(crate) fn alone_on(kind: Kind, server: Server) -> Self {
        let place = Self::at_port(kind, server.port);
        Self { server: Some(RefCell::new(server)), ..place }
    }

    /// The server of a private place.
    pub(crate) fn server(&self) -> RefMut<'_, Server> {
        self.server.as_ref().expect("only a private place has a server to itself").borrow_mut()
    }

    /// The same corner reached through another port: a proxy before the same server.
    pub(crate) fn through(&self, port: u16) -> Self {
        let mut other = Self::at_port(self.kind, port);
        other.namespace.clone_from(&self.namespace);
        other
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The options that say where to lock.
    pub(crate) fn options(&self) -> Vec<String> {
        let mut options = match self.kind {
            Kind::File => vec!["--backend".to_owned(), "file".to_owned(), "--dir".to_owned(), self.dir_text()],
            Kind::Redis => vec!["--redis".to_owned(), self.redis_url()],
            Kind::ZooKeeper => vec!["--zk".to_owned(), self.connect_string()],
        };
        if let Some(port) = self.beside {
            options.extend(["-b", "redis+zk", "--zk"].map(str::to_owned));
            options.push(format!("127.0.0.1:{port}"));
        }
        options.extend(["--namespace".to_owned(), self.namespace.clone()]);
        options
    }

    /// The same as variables, for a program whose own dlock calls are to lock here.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let backend = match self.kind {
            Kind::File => vec![("DLOCK_BACKEND", "file".to_owned()), ("DLOCK_DIR", self.dir_text())],
            Kind::Redis => vec![("DLOCK_REDIS", self.redis_url())],
            Kind::ZooKeeper => vec![("DLOCK_ZK", self.connect_string())],
        };
        let beside = self
            .beside
            .into_iter()
            .flat_map(|port| [("DLOCK_BACKEND", "redis+zk".to_owned()), ("DLOCK_ZK", format!("127.0.0.1:{port}"))]);
        backend.into_iter().chain(beside).chain([("DLOCK_NAMESPACE", self.namespace.clone())]).collect()
    }

    fn connect_string(&self) -> String {
        let ports = std::iter::once(&self.port).chain(&self.others);
        ports.map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    fn redis_url(&self) -> String {
        self.url.clone().unwrap_or_else(|| format!("redis://127.0.0.1:{}", self.port))
    }

    pub(crate) fn dir_text(&self) -> String {
        self.dir.path().to_str().expect("temporary directories have plain names").to_owned()
    }

    /// `dlock` with these arguments, and after the first of them, the subcommand, where to lock.
    pub(crate) fn dlock<const N: usize>(&self, args: [&str; N]) -> Dlock {
        self.dlock_with(args)
    }

    /// The same with any number of arguments.
    pub(crate) fn dlock_with<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Dlock {
        let mut args = args.into_iter().map(str::to_owned);
        let subcommand = args.next().expect("there is a subcommand");
        Dlock::new(std::iter::once(subcommand).chain(self.options()).chain(args))
    }

    /// Takes `key` away from whoever holds it, behind its back.
    #[track_caller]
    pub(crate) fn take_away(&self, key: &str) {
        match self.kind {
            Kind::Redis => {
                let key = format!("{}:{key}", self.namespace);
                let () = ::redis::cmd("DEL").arg(&key).query(&mut self.redis()).expect("the server serves");
            }
            Kind::ZooKeeper => self.zookeeper(async |client| {
                let directory = format!("/{}/{key}", self.namespace);
                for child in client.list_children(&directory).await.expect("the lock stands there") {
                    client.delete(&format!("{directory}/{child}"), None).await.expect("the node is open to all");
                }
            }),
            Kind::File => unreachable!("nobody can take a kernel lock away"),
        }
    }

    /// A run that holds `key` until it is let go; it has begun when this returns.
    #[track_caller]
    pub(crate) fn hold(&self, key: &str) -> Running {
        self.hold_with(["run", "-k", key, "--", "sh", "-c", HOLD])
    }

    /// The same with a TTL of its own.
    #[track_caller]
    pub(crate) fn hold_for(&self, key: &str, ttl: &str) -> Running {
        self.hold_with(["run", "-k", key, "--ttl", ttl, "--", "sh", "-c", HOLD])
    }

    #[track_caller]
    fn hold_with<const N: usize>(&self, args: [&str; N]) -> Running {
        let run = self.dlock(args).stdin_open().start();
        run.says("ready");
        run
    }

    /// A run that waits for `key`, seen in the queue; its command says "ready" and lasts until it is let go.
    #[track_caller]
    pub(crate) fn queue_up(&self, key: &str) -> Running {
        self.queue_up_with(key, ["run", "-k", key, "--", "sh", "-c", HOLD])
    }

    /// The same with any call of `run`.
    #[track_caller]
    pub(crate) fn queue_up_with<const N: usize>(&self, key: &str, args: [&str; N]) -> Running {
        let before = self.waiters(key);
        let run = self.dlock(args).stdin_open().start();
        super::eventually("the waiter stands in the queue", || self.waiters(key) > before);
        run
    }

    /// Takes `key` for `ttl` and returns the owner token.
    #[track_caller]
    pub(crate) fn acquire(&self, key: &str, ttl: &str) -> String {
        self.dlock(["acquire", "-k", key, "--ttl", ttl, "-n"]).finish().succeeds().said().to_owned()
    }

    /// What `status --json` says of `key`.
    #[track_caller]
    pub(crate) fn status(&self, key: &str) -> Value {
        let answer = self.dlock(["status", "-k", key, "--json"]).finish().succeeds();
        let mut keys: Vec<Value> = serde_json::from_str(answer.said()).expect("status --json prints an array");
        assert_eq!(keys.len(), 1, "one key was asked for: {}", answer.said());
        keys.remove(0)
    }

    #[track_caller]
    pub(crate) fn waiters(&self, key: &str) -> usize {
        self.status(key)["waiters"].as_array().expect("waiters is an array").len()
    }

    /// Whether a contender that does not wait gets the lock at this moment.
    #[track_caller]
    pub(crate) fn is_free(&self, key: &str) -> bool {
        let attempt = self.dlock(["run", "-k", key, "-n", "--", "true"]).finish();
        match attempt.status.code() {
            Some(0) => true,
            Some(75) => false,
            _ => panic!("neither free nor held: {}", attempt.account()),
        }
    }

    /// The names of everything that is stored here, as the server itself tells it.
    pub(crate) fn footprint(&self) -> BTreeSet<String> {
        match self.kind {
            Kind::File => files_below(self.dir.path()),
            Kind::Redis => {
                let keys: Vec<String> =
                    redis::cmd("KEYS").arg("*").query(&mut self.redis()).expect("a shared server answers");
                keys.into_iter().filter(|key| key.contains(&self.namespace)).collect()
            }
            Kind::ZooKeeper => self.zookeeper(async |client| {
                let mut found = BTreeSet::new();
                let mut unseen = vec![format!("/{}", self.namespace)];
                while let Some(path) = unseen.pop() {
                    let Ok(children) = client.list_children(&path).await else { continue };
                    unseen.extend(children.into_iter().map(|child| format!("{path}/{child}")));
                    found.insert(path);
                }
                found
            }),
        }
    }

    /// A connection of our own to the Redis server.
    pub(crate) fn redis(&self) -> redis::Connection {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).expect("a valid address");
        client.get_connection().expect("the server serves")
    }

    /// Runs `work` on a session of our own with the ZooKeeper server.
    pub(crate) fn zookeeper<T>(&self, work: impl AsyncFnOnce(&zookeeper_client::Client) -> T) -> T {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("there are descriptors");
        runtime.block_on(async {
            let client = zookeeper_client::Client::connect(&self.connect_string()).await.expect("the server serves");
            work(&client).await
        })
    }
}

/// Says that it runs, and ends with standard input.
const HOLD: &str = "echo ready; cat >/dev/null";

fn files_below(root: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut unseen: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(directory) = unseen.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            found.insert(path.display().to_string());
            if path.is_dir() {
                unseen.push(path);
            }
        }
    }
    found
}
