//! ZooKeeper servers whose sessions last from 400 ms to 4 s, in an ensemble to 20 s, and a plain client to look at them
//! from outside.

use std::sync::OnceLock;
use std::time::Duration;

use zookeeper_client::{Acl, Acls, AuthId, Client, CreateMode, Error, Permission};

pub(super) use crate::support::free_port;
use crate::support::{Leads, Server, eventually};

#[derive(Debug)]
pub(super) struct ZooKeeper(Server);

impl ZooKeeper {
    /// The server of all tests that neither stop nor freeze it.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<ZooKeeper> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    pub(super) fn start(java: &[&'static str]) -> Self {
        Self(Server::zookeeper_with(java, "", Leads::Alone))
    }

    /// One that answers every four-letter word, and whose sessions may be so long that a busy machine breaks none.
    pub(super) fn start_talkative() -> Self {
        let java = &["-Dzookeeper.4lw.commands.whitelist=*"];
        Self(Server::zookeeper_with(java, "maxSessionTimeout=60000\n", Leads::Alone))
    }

    pub(super) fn start_electing() -> Self {
        Self(Server::zookeeper_with(&[], "", Leads::ByElection))
    }

    pub(super) fn port(&self) -> u16 {
        self.0.port
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// What the server says to one of its four-letter words.
    pub(super) fn ask(&self, word: &str) -> Option<String> {
        self.0.ask(word)
    }

    pub(super) fn freeze(&self) {
        self.0.freeze();
    }

    pub(super) fn thaw(&self) {
        self.0.thaw();
    }

    pub(super) fn kill(&mut self) {
        self.0.crash();
    }

    pub(super) fn set_clock_ahead(&mut self, by: Duration) {
        self.0.set_clock_ahead(by);
    }

    /// Starts the killed server again with its data.
    pub(super) fn start_again(&mut self) {
        self.0.start_again();
    }

    /// A client that is none of dlock's.
    pub(super) async fn client(&self) -> Client {
        Client::connector()
            .with_session_timeout(Duration::from_secs(4))
            .connect(&self.address())
            .await
            .expect("the server grants sessions")
    }
}

/// Three servers that elect one of them.
#[derive(Debug)]
pub(super) struct Ensemble([ZooKeeper; 3]);

impl Ensemble {
    pub(super) fn start() -> Self {
        Self(Server::zookeeper_ensemble().map(ZooKeeper))
    }

    /// One of the three, which finds nobody to elect with.
    pub(super) fn start_alone() -> ZooKeeper {
        ZooKeeper(Server::zookeeper_without_a_leader())
    }

    /// One of the three, which finds nobody to elect with, and lets everybody read.
    pub(super) fn start_reading_alone() -> ZooKeeper {
        ZooKeeper(Server::zookeeper_that_only_reads())
    }

    pub(super) fn connect_string(&self) -> String {
        self.0.each_ref().map(ZooKeeper::address).join(",")
    }

    pub(super) fn followers(&self) -> Vec<&ZooKeeper> {
        let follows = |server: &&ZooKeeper| server.0.ask("srvr").is_some_and(|says| says.contains("Mode: follower"));
        let mut followers = Vec::new();
        eventually("one of three leads, and the others follow", || {
            followers = self.0.iter().filter(follows).collect();
            followers.len() == 2
        });
        followers
    }
}

/// The names of the contenders of a directory, in no order; none when it does not exist.
pub(super) async fn contenders(client: &Client, directory: &str) -> Vec<String> {
    match client.list_children(directory).await {
        Ok(names) => names,
        Err(Error::NoNode) => Vec::new(),
        Err(error) => panic!("{directory} cannot be listed: {error}"),
    }
}

/// Creates a foreign contender.
pub(super) async fn create(client: &Client, directory: &str, prefix: &str, data: &str) -> String {
    let open = Acls::anyone_all();
    client.mkdir(directory, &CreateMode::Container.with_acls(open)).await.expect("a container can be made");
    let path = format!("{directory}/{prefix}");
    let (_, sequence) = client
        .create(&path, data.as_bytes(), &CreateMode::EphemeralSequential.with_acls(open))
        .await
        .expect("a contender can be made");
    format!("{path}{sequence}")
}

/// A holder of whom we may know no more than the name.
pub(super) async fn hidden_contender(outside: &Client, directory: &str) -> String {
    // Nobody knows a password with this digest.
    let somebody = [Acl::new(Permission::ALL, AuthId::new("digest", "somebody:3Zl3rWeDZlYX0ILBPcsXq8yN0xk="))];
    let path = create(outside, directory, "_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-", "").await;
    outside.set_acl(&path, &somebody, None).await.expect("it is ours");
    assert!(matches!(outside.get_data(&path).await, Err(Error::NoAuth)), "it is hidden");
    path
}
