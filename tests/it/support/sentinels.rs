//! A Redis master with two replicas, and three Sentinels that watch over them.

use std::cell::{RefCell, RefMut};
use std::sync::OnceLock;
use std::time::Duration;

use super::place::Place;
use super::servers::Server;
use super::waiting::within;

/// What the Sentinels call it.
const SERVICE: &str = "svc";

/// Electing another master takes seconds, and more on a busy machine.
const FAILS_OVER_WITHIN: Duration = Duration::from_secs(60);

/// A second until a master is down, and the next fail-over may begin four seconds after the last.
const TIMES: &str = "sentinel down-after-milliseconds svc 1000\nsentinel failover-timeout svc 2000\n";

#[derive(Debug)]
pub(crate) struct Watched {
    servers: Vec<RefCell<Server>>,
    sentinels: Vec<RefCell<Server>>,
    /// What the Sentinels want to hear first.
    password: Option<&'static str>,
}

impl Watched {
    /// A place on those that all tests share which neither stop nor configure them.
    pub(crate) fn shared() -> Place {
        static SHARED: OnceLock<(String, u16)> = OnceLock::new();
        let (url, master) = SHARED.get_or_init(|| {
            let watched = Self::start();
            let found = (watched.url(), watched.master().port);
            // Their wardens end them with this process. Never with the test that came first.
            std::mem::forget(watched);
            found
        });
        Place::at_url(url, *master)
    }

    pub(crate) fn start() -> Self {
        Self::start_with(&[], "", None)
    }

    /// With further options of the servers and lines of the Sentinels' configuration.
    pub(crate) fn start_with(options: &[&str], lines: &str, password: Option<&'static str>) -> Self {
        let common = [&["--repl-diskless-sync-delay", "0", "--repl-timeout", "5"], options].concat();
        let master = Server::redis(&common);
        let port = master.port.to_string();
        let replica = || Server::redis(&[&common[..], &["--replicaof", "127.0.0.1", &port]].concat());
        let watch = format!("sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n{TIMES}{lines}");
        let servers = [replica(), replica(), master].map(RefCell::new).into();
        let sentinels = [(); 3].map(|()| RefCell::new(Server::sentinel(&watch))).into();
        let watched = Self { servers, sentinels, password };
        watched.settles();
        watched
    }

    /// Waits until all know each other and every replica follows.
    pub(crate) fn settles(&self) {
        within(FAILS_OVER_WITHIN, "every Sentinel knows the others and two replicas that follow", || {
            (0..self.sentinels.len()).all(|index| {
                let master: Vec<String> =
                    self.ask_sentinel(index, &["SENTINEL", "MASTER", SERVICE]).unwrap_or_default();
                let replicas: Vec<Vec<String>> =
                    self.ask_sentinel(index, &["SENTINEL", "REPLICAS", SERVICE]).unwrap_or_default();
                let follow = |replica: &&Vec<String>| {
                    field(replica, "master-link-status") == "ok" && field(replica, "flags") == "slave"
                };
                let others: Vec<Vec<String>> =
                    self.ask_sentinel(index, &["SENTINEL", "SENTINELS", SERVICE]).unwrap_or_default();
                // Neither down nor not yet connected to.
                others.iter().filter(|other| field(other, "flags") == "sentinel").count() == 2
                    && field(&master, "flags") == "master"
                    && replicas.iter().filter(follow).count() == 2
            })
        });
    }

    /// Waits until every server but the master follows it; the Sentinels may take ten seconds more to see it.
    pub(crate) fn follow(&self) {
        within(FAILS_OVER_WITHIN, "the others follow the master", || {
            let Some(master) = self.named() else { return false };
            self.servers.iter().map(|server| server.borrow().port).filter(|port| *port != master).all(|port| {
                let info: String = ask(port, None, &["INFO", "replication"]).unwrap_or_default();
                info.contains(&format!("master_port:{master}\r")) && info.contains("master_link_status:up")
            })
        });
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = (0..3).map(|index| format!("127.0.0.1:{}", self.sentinel_port(index))).collect();
        format!("redis-sentinel://{}/{SERVICE}", hosts.join(","))
    }

    /// The same servers through these Sentinels alone.
    pub(crate) fn through(&self, ports: &[u16]) -> Place {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Place::at_url(&format!("redis-sentinel://{}/{SERVICE}", hosts.join(",")), self.master().port)
    }

    pub(crate) fn place(&self) -> Place {
        Place::at_url(&self.url(), self.master().port)
    }

    pub(crate) fn sentinel(&self, index: usize) -> RefMut<'_, Server> {
        self.sentinels[index].borrow_mut()
    }

    pub(crate) fn sentinel_port(&self, index: usize) -> u16 {
        self.sentinels[index].borrow().port
    }

    /// The port of the master that every Sentinel that answers names; `None` while they name several.
    pub(crate) fn named(&self) -> Option<u16> {
        let mut ports = self.names();
        ports.dedup();
        (ports.len() == 1).then(|| ports[0])
    }

    /// What each Sentinel that answers names.
    fn names(&self) -> Vec<u16> {
        let name = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
        (0..3).filter_map(|index| self.ask_sentinel::<(String, u16)>(index, &name)).map(|(_, port)| port).collect()
    }

    /// The server that is the master at this moment.
    pub(crate) fn master(&self) -> RefMut<'_, Server> {
        let mut port = 0;
        within(FAILS_OVER_WITHIN, "the Sentinels agree on a master", || {
            port = self.named().unwrap_or_default();
            port > 0
        });
        self.at(port)
    }

    pub(crate) fn at(&self, port: u16) -> RefMut<'_, Server> {
        let server = self.servers.iter().find(|server| server.borrow().port == port);
        server.expect("the master is one of ours").borrow_mut()
    }

    /// All servers that are not the master.
    pub(crate) fn replicas(&self) -> Vec<RefMut<'_, Server>> {
        let master = self.master().port;
        self.servers.iter().filter(|server| server.borrow().port != master).map(RefCell::borrow_mut).collect()
    }

    /// Whether any Sentinel names another than `old`.
    pub(crate) fn moved(&self, old: u16) -> bool {
        self.names().iter().any(|port| *port != old)
    }

    /// Waits until another than `old` is the master, for all Sentinels: one that has not heard of it yet would go back to
    /// the old one.
    pub(crate) fn moves_from(&self, old: u16) -> u16 {
        let mut names = Vec::new();
        within(FAILS_OVER_WITHIN, "another is the master", || {
            names = self.names();
            names.len() == 3 && names.iter().all(|port| *port != old && *port == names[0])
        });
        names[0]
    }

    /// Makes another server the master as an operator does, and waits until all know it.
    pub(crate) fn fail_over(&self) -> u16 {
        let old = self.master().port;
        within(FAILS_OVER_WITHIN, "a fail-over begins", || {
            self.named() != Some(old) || self.ask_sentinel::<String>(0, &["SENTINEL", "FAILOVER", SERVICE]).is_some()
        });
        self.moves_from(old)
    }

    pub(crate) fn sentinel_ports(&self) -> [u16; 3] {
        [0, 1, 2].map(|index| self.sentinel_port(index))
    }

    pub(crate) fn ask_sentinel<T: redis::FromRedisValue>(&self, index: usize, words: &[&str]) -> Option<T> {
        ask(self.sentinel_port(index), self.password, words)
    }
}

/// What the server at `port` answers; nothing while it answers nothing, or with an error.
pub(crate) fn ask<T: redis::FromRedisValue>(port: u16, password: Option<&str>, words: &[&str]) -> Option<T> {
    let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
    let client = redis::Client::open(format!("redis://{login}127.0.0.1:{port}")).expect("a valid address");
    let mut connection = client.get_connection_with_timeout(Duration::from_secs(1)).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let (name, args) = words.split_first().expect("a command has a name");
    redis::cmd(name).arg(args).query(&mut connection).ok()
}

fn field<'a>(described: &'a [String], name: &str) -> &'a str {
    described.chunks_exact(2).find(|pair| pair[0] == name).map_or("", |pair| pair[1].as_str())
}
