//! A ZooKeeper server of our own on a free loopback port, and a plain client to look at it from outside.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use zookeeper_client::{Acls, Client, CreateMode, Error};

/// Java on two busy cores takes its time.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Starts its arguments in the background and kills them when its own standard input ends, that is, with the test.
const WARDEN: &str = r#"
trap '' INT TERM HUP
"$@" >/dev/null 2>&1 &
echo $!
read -r word
kill -KILL $!
wait $! 2>/dev/null
"#;

pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

#[derive(Debug)]
pub(super) struct ZooKeeper {
    port: u16,
    pid: i32,
    warden: Child,
    dir: TempDir,
    java: Vec<&'static str>,
    kind: Kind,
}

/// How a server comes to lead.
#[derive(Debug, Clone)]
enum Kind {
    Standalone,
    /// An ensemble of one: it elects itself, and each time begins a new epoch.
    Electing,
    Peer {
        peers: Vec<Peer>,
        index: usize,
    },
}

impl ZooKeeper {
    /// The server of all tests that neither stop nor freeze it. Ticks of 200 ms: sessions from 400 ms to 4 s.
    pub(super) fn shared() -> &'static Self {
        static SHARED: OnceLock<ZooKeeper> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    pub(super) fn start(java: &[&'static str]) -> Self {
        Self::start_as(&Kind::Standalone, java)
    }

    pub(super) fn start_electing() -> Self {
        Self::start_as(&Kind::Electing, &[])
    }

    fn start_as(kind: &Kind, java: &[&'static str]) -> Self {
        for _ in 0..5 {
            let dir = TempDir::with_prefix("dlock-zookeeper-").expect("the temporary directory takes files");
            let port = free_port();
            let (warden, pid) = launch(port, dir.path(), java, kind);
            let server = Self { port, pid, warden, dir, java: java.to_vec(), kind: kind.clone() };
            if server.comes_up() {
                return server;
            }
        }
        panic!("ZooKeeper did not start: is it installed?");
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops it where it stands, and returns when the last of its threads has stopped.
    pub(super) fn freeze(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGSTOP).expect("we started it");
        let tasks = || std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs").flatten();
        let stands = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
        while !tasks().all(|task| std::fs::read_to_string(task.path().join("stat")).is_ok_and(stands)) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub(super) fn thaw(&self) {
        kill(Pid::from_raw(self.pid), Signal::SIGCONT).expect("we started it");
    }

    pub(super) fn kill(&mut self) {
        drop(self.warden.stdin.take());
        self.warden.wait().expect("our own child can be waited for");
    }

    /// Starts the killed server again with its data.
    pub(super) fn start_again(&mut self) {
        (self.warden, self.pid) = launch(self.port, self.dir.path(), &self.java, &self.kind);
        assert!(self.comes_up(), "the server starts again");
    }

    /// A client that is none of dlock's.
    pub(super) async fn client(&self) -> Client {
        Client::connector()
            .with_session_timeout(Duration::from_secs(4))
            .connect(&self.address())
            .await
            .expect("the server grants sessions")
    }

    fn comes_up(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < STARTS_WITHIN {
            if self.mode().is_some_and(|answer| answer.contains("Mode: ")) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    fn mode(&self) -> Option<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        connection.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        connection.write_all(b"srvr").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Three servers that elect one of them.
#[derive(Debug)]
pub(super) struct Ensemble(Vec<ZooKeeper>);

impl Ensemble {
    pub(super) fn start() -> Self {
        for _ in 0..5 {
            let peers = Self::peers();
            let launched: Vec<ZooKeeper> = (0..peers.len()).map(|index| ZooKeeper::peer(&peers, index)).collect();
            if launched.iter().all(ZooKeeper::comes_up) {
                return Self(launched);
            }
        }
        panic!("three ZooKeeper servers did not start");
    }

    /// One of the three, which finds nobody to elect with.
    pub(super) fn start_alone() -> ZooKeeper {
        let server = ZooKeeper::peer(&Self::peers(), 0);
        let began = Instant::now();
        while !server.mode().is_some_and(|answer| answer.contains("not currently serving requests")) {
            assert!(began.elapsed() < STARTS_WITHIN, "it answers, if only this");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    fn peers() -> Vec<Peer> {
        (1..=3).map(|_| Peer { client: free_port(), follow: free_port(), elect: free_port() }).collect()
    }

    pub(super) fn connect_string(&self) -> String {
        self.0.iter().map(ZooKeeper::address).collect::<Vec<_>>().join(",")
    }

    pub(super) fn followers(&self) -> Vec<&ZooKeeper> {
        let follows = |server: &&ZooKeeper| server.mode().is_some_and(|answer| answer.contains("Mode: follower"));
        let followers: Vec<&ZooKeeper> = self.0.iter().filter(follows).collect();
        assert_eq!(followers.len(), 2, "one of three leads");
        followers
    }
}

/// The three ports of a member.
#[derive(Debug, Clone)]
struct Peer {
    client: u16,
    follow: u16,
    elect: u16,
}

impl ZooKeeper {
    fn peer(peers: &[Peer], index: usize) -> Self {
        let dir = TempDir::with_prefix("dlock-zookeeper-").expect("the temporary directory takes files");
        let kind = Kind::Peer { peers: peers.to_vec(), index };
        let (warden, pid) = launch(peers[index].client, dir.path(), &[], &kind);
        Self { port: peers[index].client, pid, warden, dir, java: Vec::new(), kind }
    }
}

fn launch(port: u16, dir: &Path, java: &[&str], kind: &Kind) -> (Child, i32) {
    let config = dir.join("zoo.cfg");
    let mut text = format!(
        "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=200\nmaxClientCnxns=0\n\
         admin.enableServer=false\n",
        dir.display()
    );
    let mut main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    match kind {
        Kind::Standalone => main = "org.apache.zookeeper.server.ZooKeeperServerMain",
        Kind::Electing => {
            text += "standaloneEnabled=false\ninitLimit=50\nsyncLimit=50\n";
            text += &format!("server.1=127.0.0.1:{}:{}\n", free_port(), free_port());
            std::fs::write(dir.join("myid"), "1").expect("a fresh directory takes files");
        }
        // Followers that stand still for half a long session must not be given up for it.
        Kind::Peer { peers, index } => {
            text += "initLimit=50\nsyncLimit=50\nmaxSessionTimeout=20000\n";
            for (index, Peer { follow, elect, .. }) in peers.iter().enumerate() {
                text += &format!("server.{}=127.0.0.1:{follow}:{elect}\n", index + 1);
            }
            std::fs::write(dir.join("myid"), (index + 1).to_string()).expect("a fresh directory takes files");
        }
    }
    std::fs::write(&config, text).expect("a fresh directory takes files");
    let mut warden = Command::new("sh")
        .args(["-c", WARDEN, "warden", "java", "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(java)
        .args(["-cp", "/usr/share/java/zookeeper.jar", main])
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let mut said = String::new();
    BufReader::new(warden.stdout.take().expect("it is piped")).read_line(&mut said).expect("it says the pid");
    (warden, said.trim().parse().expect("a pid is a number"))
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
