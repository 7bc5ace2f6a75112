//! A Redis server of one test's own, and what the tests do to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dlock::backend::redis::{Config, Endpoint, RedisBackend};
use dlock::lock::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(super) struct Server {
    pub(super) port: u16,
    options: Vec<String>,
    process: Child,
    dir: TempDir,
}

impl Server {
    /// Every write is on the disk before it is answered, so that a restart loses none.
    pub(super) fn durable() -> Self {
        Self::start(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    pub(super) fn start(options: &[&str]) -> Self {
        for _ in 0..5 {
            let dir = TempDir::with_prefix("dlock-redis-").expect("the temporary directory takes files");
            let port = free_port();
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            let process = launch(port, &dir, &options);
            let mut server = Self { port, options, process, dir };
            if server.comes_up() {
                return server;
            }
        }
        panic!("redis-server does not start: is it installed?");
    }

    fn comes_up(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return false;
            }
            if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket takes a time-out");
                let mut answer = String::new();
                stream.write_all(b"PING\r\n").ok();
                BufReader::new(stream).read_line(&mut answer).ok();
                if answer.starts_with("+PONG") || answer.starts_with("-NOAUTH") {
                    return true;
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub(super) fn backend(&self) -> RedisBackend {
        self.backend_at(&format!("redis://127.0.0.1:{}", self.port))
    }

    pub(super) fn backend_at(&self, url: &str) -> RedisBackend {
        backend(url, "dlock")
    }

    /// Sends a command as it is and returns the reply.
    pub(super) fn command<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub(super) fn try_command<T: ::redis::FromRedisValue>(&self, words: &[&str]) -> ::redis::RedisResult<T> {
        let mut connection = self.connection();
        let (name, args) = words.split_first().expect("a command has a name");
        ::redis::cmd(name).arg(args).query(&mut connection)
    }

    pub(super) fn connection(&self) -> ::redis::Connection {
        let client = ::redis::Client::open(("127.0.0.1", self.port)).expect("an address opens no connection yet");
        client.get_connection().expect("our own server accepts connections")
    }

    /// Stops it where it stands: connections stay open, and nothing is answered.
    pub(super) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(super) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).expect("a pid fits");
        kill(Pid::from_raw(pid), signal).expect("the server was started by us and not waited for");
    }

    /// Ends it as a power failure would, with what is on its disk kept.
    pub(super) fn crash(&mut self) {
        self.process.kill().expect("the server was started by us and not waited for");
        self.process.wait().expect("our own child can be waited for");
    }

    /// Starts it again after [`Server::crash`], on the same port with the same data.
    pub(super) fn start_again(&mut self) {
        self.process = launch(self.port, &self.dir, &self.options);
        assert!(self.comes_up(), "the server serves again");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

pub(super) fn backend(url: &str, namespace: &str) -> RedisBackend {
    let endpoint = Endpoint::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let namespace = Namespace::new(namespace).expect("a valid namespace");
    RedisBackend::open(&Config { endpoint, namespace }).expect("opening sends nothing")
}

/// A port that nobody listens on at this moment.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn launch(port: u16, dir: &TempDir, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--dir"])
        .arg(dir.path())
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
