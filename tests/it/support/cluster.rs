//! A Redis Cluster on loopback, and its slots as a test moves them.

use std::sync::OnceLock;
use std::time::Duration;

use super::servers::Server;
use super::waiting::within;

const SLOTS: u16 = 16384;

/// Gossip goes round in about a second; two busy cores take longer.
const AGREES_WITHIN: Duration = Duration::from_secs(60);

/// Masters with their slots, and behind them the replicas: replica i follows master i.
#[derive(Debug)]
pub(crate) struct Cluster {
    nodes: Vec<Server>,
    masters: usize,
}

impl Cluster {
    /// Three masters that all tests share which neither stop nor rearrange them.
    pub(crate) fn shared() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| Self::of_masters(3))
    }

    /// Masters that are not given up, however long they are silent.
    pub(crate) fn of_masters(count: usize) -> Self {
        Self::start(count, 0, Duration::from_secs(60))
    }

    /// Three masters with a replica each, which takes over when its master was silent for two seconds.
    pub(crate) fn with_replicas() -> Self {
        Self::start(3, 3, Duration::from_secs(2))
    }

    pub(crate) fn start(masters: usize, replicas: usize, node_timeout: Duration) -> Self {
        Self::start_each(masters, replicas, node_timeout, |_| Vec::new())
    }

    /// The same with further options for each of the nodes.
    pub(crate) fn start_each(
        masters: usize,
        replicas: usize,
        node_timeout: Duration,
        further: impl Fn(usize) -> Vec<String>,
    ) -> Self {
        let node_timeout = node_timeout.as_millis().to_string();
        // A replica is good enough however long its link was down, and gets the data without a pause.
        let options = ["--cluster-node-timeout", &node_timeout, "--cluster-replica-validity-factor", "0"];
        let options = options.into_iter().chain(["--repl-diskless-sync-delay", "0"]).map(str::to_owned);
        let options: Vec<String> = options.collect();
        let nodes =
            (0..masters + replicas).map(|index| Server::cluster_node(&[&options[..], &further(index)].concat()));
        let nodes: Vec<Server> = nodes.collect();
        let cluster = Self { nodes, masters };
        let share = usize::from(SLOTS).div_ceil(masters);
        for (index, node) in cluster.nodes.iter().enumerate() {
            let slots =
                (index * share..(index + 1) * share).filter(|slot| index < masters && *slot < usize::from(SLOTS));
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            if !slots.is_empty() {
                let words: Vec<&str> =
                    ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots.iter().map(String::as_str)).collect();
                node.command::<()>(&words);
            }
            node.command::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        for other in &cluster.nodes[1..] {
            cluster.node(0).command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &meeting_port(other)]);
        }
        let know_each_other = format!("cluster_known_nodes:{}\r", masters + replicas);
        within(AGREES_WITHIN, "all nodes have met", || {
            cluster.nodes.iter().all(|node| node.command::<String>(&["CLUSTER", "INFO"]).contains(&know_each_other))
        });
        for (replica, master) in cluster.nodes[masters..].iter().zip(&cluster.nodes) {
            let master = cluster.id(master);
            within(AGREES_WITHIN, "the replica knows its master as one", || {
                replica.try_command::<()>(&["CLUSTER", "REPLICATE", &master]).is_ok()
            });
        }
        within(AGREES_WITHIN, "every slot is served, and every replica follows", || {
            let serves = |node: &Server| node.command::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
            let follows =
                |node: &Server| node.command::<String>(&["INFO", "replication"]).contains("master_link_status:up");
            let told =
                |node: &Server| node.command::<String>(&["CLUSTER", "NODES"]).matches("slave ").count() == replicas;
            cluster.nodes.iter().all(|node| serves(node) && told(node)) && cluster.nodes[masters..].iter().all(follows)
        });
        cluster
    }

    pub(crate) fn node(&self, index: usize) -> &Server {
        &self.nodes[index]
    }

    pub(crate) fn node_mut(&mut self, index: usize) -> &mut Server {
        &mut self.nodes[index]
    }

    pub(crate) fn masters(&self) -> &[Server] {
        &self.nodes[..self.masters]
    }

    /// Which names every master.
    pub(crate) fn url(&self) -> String {
        self.url_of(0..self.masters)
    }

    /// Which names these nodes alone.
    pub(crate) fn url_of(&self, indices: impl IntoIterator<Item = usize>) -> String {
        let hosts: Vec<String> =
            indices.into_iter().map(|index| format!("127.0.0.1:{}", self.nodes[index].port)).collect();
        format!("redis-cluster://{}", hosts.join(","))
    }

    /// The master that has the slot of `name` by now, as the first node that answers sees it.
    pub(crate) fn owner(&self, name: &str) -> usize {
        let slot = self.slot(name);
        let mut owner = None;
        within(AGREES_WITHIN, "somebody says who has the slot", || {
            let mut maps = self.nodes.iter().map(|node| node.try_command::<Vec<Range>>(&["CLUSTER", "SLOTS"]));
            let port = maps.find_map(|map| port_of(slot, &map.ok()?));
            owner = port.and_then(|port| self.nodes.iter().position(|node| node.port == port));
            owner.is_some()
        });
        owner.expect("it was just found")
    }

    /// Whether messages are for the nodes of one slot, which also tell when it leaves them: from Redis 7 on.
    pub(crate) fn has_sharded_messages(&self) -> bool {
        let known: Vec<redis::Value> = self.node(0).command(&["COMMAND", "INFO", "SSUBSCRIBE"]);
        known != [redis::Value::Nil]
    }

    /// How many waiters listen at this node; nobody does where it is away.
    pub(crate) fn listeners(&self, node: usize) -> usize {
        let kinds = ["SHARDCHANNELS", "CHANNELS"];
        let channels =
            kinds.map(|kind| self.node(node).try_command::<Vec<String>>(&["PUBSUB", kind]).unwrap_or_default());
        channels.iter().map(Vec::len).sum()
    }

    /// Within which time waiters listen where their lock has gone.
    pub(crate) fn waiters_follow_within(&self) -> Duration {
        // Untold they look every 10 s, as their lease is 30 s long.
        Duration::from_secs(if self.has_sharded_messages() { 5 } else { 15 })
    }

    /// A key whose lock in `namespace` belongs to this master.
    pub(crate) fn key_at(&self, namespace: &str, master: usize) -> String {
        let keys = (0..).map(|number| format!("job-{number}"));
        let mut keys = keys.filter(|key| self.owner(&format!("{namespace}:{key}")) == master);
        keys.next().expect("the numbers do not end")
    }

    pub(crate) fn slot(&self, name: &str) -> u16 {
        let answers = |node: &Server| node.try_command(&["CLUSTER", "KEYSLOT", name]).ok();
        self.nodes.iter().find_map(answers).expect("one of the nodes runs")
    }

    pub(crate) fn id(&self, node: &Server) -> String {
        node.command(&["CLUSTER", "MYID"])
    }

    /// Begins to move the slot of `name`: new names are asked about at `to` from now on.
    pub(crate) fn begin_to_move(&self, name: &str, to: usize) {
        let (slot, from) = (self.slot(name).to_string(), self.owner(name));
        let (giver, taker) = (self.id(self.node(from)), self.id(self.node(to)));
        self.node(to).command::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &giver]);
        self.node(from).command::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &taker]);
    }

    /// Moves what is stored in the slot of `name`, one name after the other.
    pub(crate) fn carry_over(&self, name: &str, from: usize, to: usize) {
        while let Some(name) = self.first_name(name, from) {
            self.carry_one(&name, from, to);
        }
    }

    /// One of the names that this node stores in the slot of `name`.
    pub(crate) fn first_name(&self, name: &str, node: usize) -> Option<String> {
        let slot = self.slot(name).to_string();
        self.node(node).command::<Vec<String>>(&["CLUSTER", "GETKEYSINSLOT", &slot, "1"]).pop()
    }

    pub(crate) fn carry_one(&self, name: &str, from: usize, to: usize) {
        let port = self.node(to).port.to_string();
        // The answer is NOKEY where the name has expired meanwhile.
        self.node(from).command::<redis::Value>(&["MIGRATE", "127.0.0.1", &port, name, "0", "5000"]);
    }

    /// Ends the move: everybody is told, the one that gets the slot first.
    pub(crate) fn end_to_move(&self, name: &str, to: usize) {
        let (slot, taker) = (self.slot(name).to_string(), self.id(self.node(to)));
        let others = self.masters().iter().filter(|node| node.port != self.node(to).port);
        for node in std::iter::once(self.node(to)).chain(others) {
            node.command::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &taker]);
        }
    }

    /// Moves the slot of `name` with all that is stored in it.
    pub(crate) fn move_slot(&self, name: &str, to: usize) {
        let from = self.owner(name);
        if from != to {
            self.begin_to_move(name, to);
            self.carry_over(name, from, to);
            self.end_to_move(name, to);
        }
    }
}

/// Where other nodes find this one.
fn meeting_port(node: &Server) -> String {
    // A server that was built without TLS knows neither.
    let configured = |name: &str| node.command::<Vec<String>>(&["CONFIG", "GET", name]).pop().unwrap_or_default();
    if configured("tls-cluster") == "yes" { configured("tls-port") } else { node.port.to_string() }
}

/// First and last slot, then the nodes.
type Range = Vec<redis::Value>;

fn port_of(slot: u16, map: &[Range]) -> Option<u16> {
    let number = |value: &redis::Value| redis::from_redis_value::<u16>(value.clone()).ok();
    let range = map.iter().find(|range| {
        let (first, last) = (number(&range[0]), number(&range[1]));
        first.is_some_and(|first| first <= slot) && last.is_some_and(|last| slot <= last)
    });
    let redis::Value::Array(master) = range?.get(2)? else { return None };
    number(master.get(1)?)
}
