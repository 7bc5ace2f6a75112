//! Real servers, started by the tests on loopback ports that are free, and gone when the tests are.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::clock::{SteppedClock, clock_ahead};
use super::ports::{KeptPort, free_cluster_port, free_port};
use super::proxy::Proxy;
use super::waiting::{eventually, within};

/// Java on two busy cores takes its time.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// Somebody else may take a port between our choice and the server's bind: then another one, and hardly a third.
const ATTEMPTS: usize = 5;

/// Starts the server given as its arguments in the background, says its pid, and kills it when standard input ends:
/// that is when the test process ends, however it ends. Then the data go too, but for a restart.
const WARDEN: &str = r#"
trap '' INT TERM HUP
dir=$1; shift
"$@" >>"$dir/log" 2>&1 &
echo $!
word=
read -r word
kill -KILL $!
wait $! 2>/dev/null
[ "$word" = keep ] || rm -rf "$dir"
"#;

/// The program that serves as Redis: the installed one, or the one that `DLOCK_TEST_REDIS_SERVER` names.
fn redis_server() -> OsString {
    std::env::var_os("DLOCK_TEST_REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

#[derive(Debug, Clone)]
enum Program {
    /// With further options of redis-server, and variables for its environment.
    Redis(Vec<String>, Vec<String>),
    /// With lines of its configuration, which it writes anew by itself.
    Sentinel(String),
    /// With further options of the Java machine and lines of its configuration; its wall clock runs so far ahead.
    ZooKeeper { java: Vec<String>, lines: String, leads: Leads, ahead: Duration },
}

/// How a ZooKeeper server comes to lead.
#[derive(Debug, Clone)]
pub(crate) enum Leads {
    Alone,
    /// As an ensemble of one: it elects itself, and each start begins a new epoch.
    ByElection,
    /// As the peer at this index, if the peers elect it.
    Among {
        peers: [Peer; 3],
        index: usize,
    },
}

/// The ports of one server of an ensemble.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    client: u16,
    follow: u16,
    elect: u16,
}

impl Peer {
    fn somewhere() -> Self {
        Self { client: free_port(), follow: free_port(), elect: free_port() }
    }
}

/// One server of our own.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    pub(crate) port: u16,
    pid: i32,
    warden: Child,
    dir: TempDir,
    /// While it does not run.
    place: Option<KeptPort>,
}

impl Server {
    /// The Redis server that all tests share which neither stop nor configure it.
    pub(crate) fn shared_redis() -> &'static Self {
        static REDIS: OnceLock<Server> = OnceLock::new();
        REDIS.get_or_init(|| Self::redis(&[]))
    }

    /// The ZooKeeper server that all tests share which do not stop it.
    pub(crate) fn shared_zookeeper() -> &'static Self {
        static ZOOKEEPER: OnceLock<Server> = OnceLock::new();
        ZOOKEEPER.get_or_init(Self::zookeeper)
    }

    /// A Redis server of one's own; every write is on the disk before it is answered, so that a restart loses none.
    pub(crate) fn redis(options: &[&str]) -> Self {
        Self::start_somewhere(&Program::Redis(options.iter().map(ToString::to_string).collect(), Vec::new()))
    }

    /// The same on a wall clock that the test sets.
    pub(crate) fn redis_on(clock: &SteppedClock) -> Self {
        Self::start_somewhere(&Program::Redis(Vec::new(), clock.variables().to_vec()))
    }

    /// A Sentinel with these lines of configuration.
    pub(crate) fn sentinel(lines: &str) -> Self {
        Self::start_somewhere(&Program::Sentinel(lines.to_owned()))
    }

    /// A node of a Redis Cluster that consists of it alone and has no slots yet.
    pub(crate) fn cluster_node(options: &[String]) -> Self {
        let shared = ["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--appendonly", "no"];
        let options = shared.iter().map(ToString::to_string).chain(options.iter().cloned()).collect();
        let program = Program::Redis(options, Vec::new());
        for _ in 0..ATTEMPTS {
            let server = Self::launched(&program, free_cluster_port());
            if server.comes_up() {
                return server;
            }
        }
        panic!("{program:?} did not start: is it installed? tests/run.sh installs what the tests need");
    }

    /// A ZooKeeper server of one's own, with the bounds that make sessions of 1 s to 2 min possible.
    pub(crate) fn zookeeper() -> Self {
        Self::zookeeper_with(&[], "minSessionTimeout=1000\nmaxSessionTimeout=120000\n", Leads::Alone)
    }

    /// A ZooKeeper server with options of the Java machine and lines of its configuration.
    pub(crate) fn zookeeper_with(java: &[&str], lines: &str, leads: Leads) -> Self {
        let java = java.iter().map(ToString::to_string).collect();
        Self::start_somewhere(&Program::ZooKeeper { java, lines: lines.to_owned(), leads, ahead: Duration::ZERO })
    }

    /// Three ZooKeeper servers that have elected one of them.
    pub(crate) fn zookeeper_ensemble() -> [Self; 3] {
        for _ in 0..ATTEMPTS {
            let peers = [(); 3].map(|()| Peer::somewhere());
            // None of them serves before two run.
            let launched = [0, 1, 2].map(|index| Self::zookeeper_peer(peers, index, &[]));
            if launched.iter().all(Self::comes_up) {
                return launched;
            }
        }
        panic!("three ZooKeeper servers did not start");
    }

    /// The same with a proxy on the way from each, the first index, to each other one, should that lead.
    pub(crate) fn zookeeper_ensemble_by_proxies() -> ([Self; 3], [[Proxy; 3]; 3]) {
        for _ in 0..ATTEMPTS {
            let peers = [(); 3].map(|()| Peer::somewhere());
            let links = [(); 3].map(|()| peers.map(|peer| Proxy::before(peer.follow)));
            let launched = [0, 1, 2].map(|index| {
                let mut seen = peers;
                for other in (0..3).filter(|other| *other != index) {
                    seen[other].follow = links[index][other].port;
                }
                Self::zookeeper_peer(seen, index, &[])
            });
            if launched.iter().all(Self::comes_up) {
                return (launched, links);
            }
        }
        panic!("three ZooKeeper servers did not start");
    }

    /// One of three ZooKeeper servers without the other two, which serves nothing but reading.
    pub(crate) fn zookeeper_that_only_reads() -> Self {
        let peers = [(); 3].map(|()| Peer::somewhere());
        let server = Self::zookeeper_peer(peers, 0, &["-Dreadonlymode.enabled=true"]);
        within(STARTS_WITHIN, "it serves those who only read", || {
            server.ask("srvr").is_some_and(|answer| answer.contains("Mode: read-only"))
        });
        server
    }

    /// One of three ZooKeeper servers without the other two: it answers, and finds nobody to elect with.
    pub(crate) fn zookeeper_without_a_leader() -> Self {
        let server = Self::zookeeper_peer([(); 3].map(|()| Peer::somewhere()), 0, &[]);
        within(STARTS_WITHIN, "it answers, if only that it does not serve", || {
            server.ask("srvr").is_some_and(|answer| answer.contains("not currently serving requests"))
        });
        server
    }

    fn zookeeper_peer(peers: [Peer; 3], index: usize, java: &[&str]) -> Self {
        // A session must outlast the move to another server; by default it is 20 ticks, 4 s, at most.
        let lines = "maxSessionTimeout=20000\n".to_owned();
        let leads = Leads::Among { peers, index };
        let java = java.iter().map(ToString::to_string).collect();
        let program = Program::ZooKeeper { java, lines, leads, ahead: Duration::ZERO };
        Self::launched(&program, peers[index].client)
    }

    fn start_somewhere(program: &Program) -> Self {
        for _ in 0..ATTEMPTS {
            let server = Self::launched(program, free_port());
            if server.comes_up() {
                return server;
            }
        }
        panic!("{program:?} did not start: is it installed? tests/run.sh installs what the tests need");
    }

    fn launched(program: &Program, port: u16) -> Self {
        let dir = TempDir::with_prefix_in("dlock-server-", data_home()).expect("a directory for files takes them");
        let (warden, pid) = launch(program, port, dir.path());
        Self { program: program.clone(), port, pid, warden, dir, place: None }
    }

    fn comes_up(&self) -> bool {
        let began = Instant::now();
        while began.elapsed() < STARTS_WITHIN {
            if self.serves() {
                return true;
            }
            if super::Process::find(self.pid).is_none() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// Whether it is this server that answers on the port, and that it is ready.
    fn serves(&self) -> bool {
        match self.program {
            Program::Redis(..) | Program::Sentinel(_) => {
                let info = self.ask("INFO server\r\n").unwrap_or_default();
                let is_ours = info.contains(&format!("process_id:{}\r", self.pid)) && !self.is_loading();
                // A server with a password answers, too.
                is_ours || info.starts_with("-NOAUTH")
            }
            Program::ZooKeeper { .. } => self.ask("srvr").is_some_and(|answer| answer.contains("Mode: ")),
        }
    }

    fn is_loading(&self) -> bool {
        self.ask("PING\r\n").is_none_or(|answer| answer.starts_with("-LOADING"))
    }

    /// What it answers to a command in plain text; nothing while it does not listen.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        connection.set_read_timeout(Some(Duration::from_millis(300))).ok()?;
        connection.write_all(question.as_bytes()).ok()?;
        let mut answer = Vec::new();
        // Redis keeps the connection open, so this ends with the timeout unless the answer is there.
        let mut piece = [0; 16 * 1024];
        while let Ok(read @ 1..) = connection.read(&mut piece) {
            answer.extend_from_slice(&piece[..read]);
            if answer.ends_with(b"\r\n") {
                break;
            }
        }
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Sends a command as it is and returns the reply.
    pub(crate) fn command<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(crate) fn try_command<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> ::redis::RedisResult<T> {
        let mut connection = self.connection();
        let (name, args) = words.split_first().expect("a command has a name");
        ::redis::cmd(name).arg(args).query(&mut connection)
    }

    pub(crate) fn connection(&self) -> ::redis::Connection {
        let client = ::redis::Client::open(("127.0.0.1", self.port)).expect("an address opens no connection yet");
        client.get_connection().expect("our own server accepts connections")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("the server was started by us and not waited for");
    }

    /// Stops it where it stands: connections stay open, and nothing is answered. Returns when the last of its threads
    /// has stopped.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let stands = |stat: String| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'));
        eventually("all of the server stands", || {
            let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid)).expect("it runs").flatten();
            let mut states = threads.map(|thread| std::fs::read_to_string(thread.path().join("stat")));
            states.all(|stat| stat.is_ok_and(stands))
        });
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Ends it as a power failure would, with its data kept.
    pub(crate) fn crash(&mut self) {
        let mut stdin = self.warden.stdin.take().expect("a warden is told once");
        stdin.write_all(b"keep\n").expect("a warden reads until it is told");
        drop(stdin);
        self.warden.wait().expect("our own child can be waited for");
        self.place = Some(KeptPort::of(self.port));
    }

    /// From the next start on, the server's wall clock is so far ahead of this machine's.
    pub(crate) fn set_clock_ahead(&mut self, by: Duration) {
        let Program::ZooKeeper { ahead, .. } = &mut self.program else { panic!("only ZooKeeper servers have clocks") };
        *ahead = by;
    }

    /// Starts it again after [`crash`](Self::crash), on the same port with the same data.
    pub(crate) fn start_again(&mut self) {
        self.place = None;
        (self.warden, self.pid) = launch(&self.program, self.port, self.dir.path());
        within(STARTS_WITHIN, "the server serves again", || self.serves());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        self.warden.wait().ok();
    }
}

fn launch(program: &Program, port: u16, dir: &Path) -> (Child, i32) {
    let mut command = Command::new("sh");
    command.args(["-c", WARDEN, "warden"]).arg(dir);
    match program {
        Program::Redis(options, variables) => {
            command
                .arg("env")
                .args(variables)
                .arg(redis_server())
                .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
                .arg(dir);
            command.args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]).args(options);
        }
        Program::Sentinel(lines) => {
            let config = dir.join("sentinel.conf");
            if !config.exists() {
                let text = format!("port {port}\nbind 127.0.0.1\n{lines}");
                std::fs::write(&config, text).expect("a fresh directory takes files");
            }
            command.arg(redis_server()).arg(config).arg("--sentinel");
        }
        Program::ZooKeeper { java, lines, leads, ahead } => {
            let config = dir.join("zoo.cfg");
            let text = zookeeper_config(port, dir, leads) + lines;
            std::fs::write(&config, text).expect("a fresh directory takes files");
            if !ahead.is_zero() {
                command.arg("env").arg(format!("LD_PRELOAD={}", clock_ahead(*ahead, dir).display()));
            }
            // A small heap and no optimising compiler: the server starts in a third of the time.
            command.args(["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
            // Its statistics are in no file that it would have to wait for.
            command.arg("-XX:+PerfDisableSharedMem");
            // What is written outlives a killed server without waiting for a disk that others write to as well.
            command.arg("-Dzookeeper.forceSync=no").args(java);
            command.args(["-cp", &zookeeper_classpath()]);
            command.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(config);
        }
    }
    let mut warden =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("there is a shell");
    let mut said = String::new();
    let stdout = warden.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut said).expect("a warden says the server's pid");
    (warden, said.trim().parse().expect("a pid is a number"))
}

/// Where the data of servers lie: in memory where there is room for them. Redis stands still for as long as the disk takes
/// its log, and a disk that ten tests, a compiler and a cache write to may take seconds, which a short lease does not have.
fn data_home() -> PathBuf {
    const MEMORY: &str = "/dev/shm";
    const ROOM: u64 = 1 << 30;
    let has_room = statvfs(MEMORY).is_ok_and(|shared| {
        let free = shared.blocks_available().saturating_mul(shared.fragment_size());
        // The library of a clock that is ahead lies with the data.
        free >= ROOM && !shared.flags().contains(FsFlags::ST_NOEXEC)
    });
    if has_room { PathBuf::from(MEMORY) } else { std::env::temp_dir() }
}

/// Debian's server, with what its manifest forgets of the netty that TLS needs; or another one, as `tests/zookeeper.sh`
/// fetches them.
fn zookeeper_classpath() -> String {
    std::env::var("DLOCK_TEST_ZOOKEEPER").unwrap_or_else(|_| {
        let jars = ["zookeeper", "netty-codec", "netty-resolver", "netty-transport-native-unix-common"];
        jars.map(|jar| format!("/usr/share/java/{jar}.jar")).join(":")
    })
}

/// Short ticks, so that sessions end close to their time; the other settings are the defaults of a plain server, TTL
/// nodes not allowed among them.
fn zookeeper_config(port: u16, dir: &Path, leads: &Leads) -> String {
    let mut config = format!(
        "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=200\nmaxClientCnxns=0\n\
         admin.enableServer=false\n",
        dir.display()
    );
    let (peers, index) = match leads {
        Leads::Alone => return config,
        Leads::ByElection => {
            config += "standaloneEnabled=false\n";
            (&[Peer { client: port, follow: free_port(), elect: free_port() }][..], 0)
        }
        Leads::Among { peers, index } => (&peers[..], *index),
    };
    std::fs::write(dir.join("myid"), (index + 1).to_string()).expect("a fresh directory takes files");
    // 10 s: a follower that a test has frozen must not be given up for it.
    config += "initLimit=50\nsyncLimit=50\n";
    for (index, Peer { follow, elect, .. }) in peers.iter().enumerate() {
        config += &format!("server.{}=127.0.0.1:{follow}:{elect}\n", index + 1);
    }
    config
}
