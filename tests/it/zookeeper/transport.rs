//! TLS to a real server, by the real binary.

use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{
    Certificates, Dlock, Finished, Leads, Server, eventually, free_port, program, scripted_server, silent_server,
};

/// A server that speaks TLS on `port`, with the plain one beside it.
struct Secured {
    port: u16,
    certificates: Certificates,
    server: Server,
}

impl Secured {
    fn start(certificates: Certificates, name: &str, clients: &str) -> Self {
        let port = free_port();
        let server = Server::zookeeper_with(&[], &certificates.zookeeper_lines(port, name, clients), Leads::Alone);
        // It serves on the plain port first.
        eventually("it listens for TLS", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, certificates, server }
    }

    fn url(&self) -> String {
        format!("zks://127.0.0.1:{}", self.port)
    }

    fn ca(&self) -> String {
        shown(&self.certificates.pem("ca"))
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("temporary directories have plain names").to_owned()
}

fn run_at(hosts: &str, options: &[&str]) -> Finished {
    let words = [&["run", "-n", "--zk", hosts], options, &["-k", "job", "--", "echo", "ran"]].concat();
    Dlock::new(words).finish()
}

#[track_caller]
fn refused(finished: Finished, status: i32, words: &str) {
    let finished = finished.exits_with(status).mentions(&[words]);
    assert_eq!(finished.stderr().lines().count(), 1, "{}", finished.account());
}

const HOLD: [&str; 4] = ["--", "sh", "-c", "echo ready; cat >/dev/null"];

#[test]
fn a_run_and_a_wait_go_through_tls_and_meet_those_that_do_not() {
    let secured = Secured::start(Certificates::new(), "server", "none");
    let (url, ca) = (secured.url(), secured.ca());
    let plain = format!("zk://127.0.0.1:{}", secured.server.port);
    let holder = Dlock::new([&["run", "--zk", &url, "--tls-ca", &ca, "-k", "job"], &HOLD[..]].concat());
    let holder = holder.stdin_open().start();
    holder.says("ready");
    refused(run_at(&plain, &[]), 75, "held by");
    let waiter = Dlock::new(["run", "--zk", &url, "--tls-ca", &ca, "-k", "job", "--", "echo", "ran"]).start();
    eventually("it waits", || {
        let status = Dlock::new(["status", "--zk", &plain, "-k", "job", "--json"]).finish().succeeds();
        status.said().contains(r#""position":1"#)
    });
    let began = Instant::now();
    holder.let_go();
    assert_eq!(waiter.wait().succeeds().said(), "ran");
    assert!(began.elapsed() < Duration::from_secs(5), "it is told, not left to find out");
    holder.wait().succeeds();
}

#[test]
fn a_server_that_speaks_tls_and_comes_back_in_time_costs_a_job_nothing() {
    let mut secured = Secured::start(Certificates::new(), "server", "none");
    let (url, ca) = (secured.url(), secured.ca());
    // Java with TLS takes its time to start on busy cores, and that is not what this is about.
    let call = ["run", "-v", "--zk", &url, "--tls-ca", &ca, "-k", "job", "--ttl", "60s"];
    let holder = Dlock::new([&call[..], &HOLD].concat()).stdin_open().start();
    holder.says("ready");
    secured.server.crash();
    secured.server.start_again();
    let renewed = holder.stderr().matches("renewed").count();
    eventually("it is renewed over another connection", || holder.stderr().matches("renewed").count() > renewed);
    let failed = holder.stderr().matches("cannot renew").count();
    secured.server.freeze();
    eventually("a server that is silent under TLS is noticed", || {
        holder.stderr().matches("cannot renew").count() > failed
    });
    secured.server.thaw();
    let renewed = holder.stderr().matches("renewed").count();
    eventually("it is renewed again", || holder.stderr().matches("renewed").count() > renewed);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn the_name_in_the_certificate_is_the_name_in_the_connect_string() {
    let certificates = Certificates::new();
    certificates.sign("named", "DNS:localhost");
    let secured = Secured::start(certificates, "named", "none");
    let ca = secured.ca();
    run_at(&format!("zks://localhost:{}", secured.port), &["--tls-ca", &ca]).succeeds();
    // One wrong name beside a good one does no harm.
    let both = format!("zks://127.0.0.1:{0},localhost:{0}", secured.port);
    for _ in 0..4 {
        run_at(&both, &["--tls-ca", &ca]).succeeds();
    }
    refused(run_at(&secured.url(), &["--tls-ca", &ca]), 78, "shows a certificate for another name");
}

#[test]
fn each_certificate_that_does_not_do_has_its_own_sentence() {
    let certificates = Certificates::new();
    certificates.sign_expired();
    let secured = Secured::start(certificates, "expired", "none");
    refused(run_at(&secured.url(), &["--tls-ca", &secured.ca()]), 78, "shows a certificate that has expired");
    let secured = Secured::start(secured.certificates, "server", "none");
    let words = "an authority that is not trusted here; name that authority's with --tls-ca";
    refused(run_at(&secured.url(), &[]), 78, words);
    let stranger = Certificates::new();
    refused(run_at(&secured.url(), &["--tls-ca", &shown(&stranger.pem("ca"))]), 78, words);
}

#[test]
fn a_client_certificate_is_asked_for_and_looked_at_and_led_to_by_paths() {
    let certificates = Certificates::new();
    certificates.sign("client", "DNS:client");
    let secured = Secured::start(certificates, "server", "need");
    let (url, ca) = (secured.url(), secured.ca());
    for _ in 0..5 {
        let asked = run_at(&url, &["--tls-ca", &ca]);
        refused(asked, 77, "asks for a client certificate; name one with --tls-cert and --tls-key");
    }
    let stranger = Certificates::new();
    let [cert, key] = [stranger.pem("server"), stranger.key("server")].map(|path| shown(&path));
    let unknown = run_at(&url, &["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]);
    refused(unknown, 77, "does not accept the client certificate of --tls-cert");
    let [cert, key] = [secured.certificates.pem("client"), secured.certificates.key("client")].map(|path| shown(&path));
    let script = "env | grep ^DLOCK_TLS | sort; exec \"$0\" status -k job --json";
    let files = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    let words = [&["run", "--zk", &url, "-k", "job"], &files[..], &["--", "sh", "-c", script]].concat();
    let words = words.into_iter().chain([program()]);
    let finished = Dlock::new(words).finish().succeeds();
    let expected = format!("DLOCK_TLS_CA={ca}\nDLOCK_TLS_CERT={cert}\nDLOCK_TLS_KEY={key}\n");
    assert!(finished.said().starts_with(&expected), "{}", finished.account());
    assert!(finished.said().contains(r#""state":"held""#), "{}", finished.account());
    // Who the certificate names is a user like another.
    let creator = [&files[..], &["--zk-acl", "creator"]].concat();
    assert_eq!(run_at(&format!("{url}/"), &[&creator[..], &["--namespace", "own"]].concat()).succeeds().said(), "ran");
}

#[test]
fn tls_and_plain_servers_are_told_from_each_other_and_from_others() {
    let secured = Secured::start(Certificates::new(), "server", "none");
    let ca = secured.ca();
    let tls_for_plain = run_at(&format!("zks://127.0.0.1:{}", secured.server.port), &["--tls-ca", &ca]);
    refused(tls_for_plain, 78, "does not speak TLS; write zk:// instead of zks://");
    let plain_for_tls = run_at(&format!("zk://127.0.0.1:{}", secured.port), &[]);
    refused(plain_for_tls, 78, "speaks TLS; write zks:// instead of zk://");
    // Debian's plain server, which is not netty's.
    let plain = Server::shared_zookeeper().port;
    let tls_for_plain = run_at(&format!("zks://127.0.0.1:{plain}"), &["--tls-ca", &ca]);
    refused(tls_for_plain, 78, "does not speak TLS; write zk:// instead of zks://");
    let silent = run_at(&format!("zks://127.0.0.1:{}", silent_server()), &["--tls-ca", &ca]);
    refused(silent, 69, "accepts connections and never answers");
    let web = scripted_server(|_| Some(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec()));
    refused(run_at(&format!("zks://127.0.0.1:{web}"), &["--tls-ca", &ca]), 78, "does not speak TLS");
    let nobody = run_at(&format!("zks://127.0.0.1:{}", free_port()), &["--tls-ca", &ca]);
    refused(nobody, 69, "refuses connections");
    let other = format!("rediss://127.0.0.1:{}", secured.port);
    let other = Dlock::new(["run", "-n", "--redis", &other, "--tls-ca", &ca, "-k", "job", "--", "true"]).finish();
    assert!(!other.status.success(), "{}", other.account());
}

#[test]
fn options_of_tls_need_a_server_that_speaks_it() {
    let made = Certificates::new();
    let [ca, key] = [made.pem("ca"), made.key("ca")].map(|path| shown(&path));
    for (hosts, options, status, words) in [
        ("127.0.0.1:1", &["--tls-ca", &ca][..], 64, "--tls-ca needs servers that are reached by TLS, as zks://"),
        ("zks://127.0.0.1", &[], 64, "has no port"),
        ("zks://127.0.0.1:1", &["--tls-key", &key], 64, "--tls-key needs --tls-cert beside it"),
        ("zks://127.0.0.1:1", &["--tls-ca", &key], 78, "it holds no certificate in PEM form"),
        ("zks://127.0.0.1:1", &["--tls-ca", "/nonexistent"], 78, r#"cannot read --tls-ca "/nonexistent""#),
    ] {
        refused(run_at(hosts, options), status, words);
    }
}

#[test]
fn nobody_else_on_this_host_gets_in_by_the_way_that_dlock_keeps_open() {
    let secured = Secured::start(Certificates::new(), "server", "none");
    let (url, ca) = (secured.url(), secured.ca());
    let holder = Dlock::new([&["run", "--zk", &url, "--tls-ca", &ca, "-k", "job"], &HOLD[..]].concat());
    let holder = holder.stdin_open().start();
    holder.says("ready");
    let listening = listening_ports(holder.keeper().pid);
    assert_eq!(listening.len(), 1, "one way to one server: {listening:?}");
    for port in listening {
        use std::io::{Read as _, Write as _};
        let mut stranger = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        stranger.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a limit");
        stranger.write_all(b"srvr").ok();
        let mut answer = Vec::new();
        stranger.read_to_end(&mut answer).ok();
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    }
    holder.let_go();
    holder.wait().succeeds();
}

/// Ports on which a process of this pid listens on IPv4.
fn listening_ports(pid: i32) -> Vec<u16> {
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("it runs")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok()?.to_str().map(str::to_owned))
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{pid}/net/tcp")).expect("it runs");
    let listens = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let own = sockets.contains(&format!("socket:[{}]", fields[9]));
        let port = u16::from_str_radix(fields[1].rsplit(':').next()?, 16).ok()?;
        (own && fields[3] == "0A").then_some(port)
    });
    listens.collect()
}
