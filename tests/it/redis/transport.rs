//! TLS, sockets and names with several addresses, by the real binary.

use std::path::Path;
use std::time::{Duration, Instant};

use super::server::Server;
use crate::support::{
    Certificates, Cluster, Dlock, Finished, eventually, free_cluster_port, free_port, program, silent_server,
};

/// A server that speaks TLS on `port`, with the plain one beside it.
struct Secured {
    port: u16,
    certificates: Certificates,
    server: Server,
}

impl Secured {
    fn start(certificates: Certificates, name: &str, auth_clients: &str) -> Self {
        let port = free_port();
        let options = certificates.options(port, name);
        let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
        options.extend(["--tls-auth-clients", auth_clients]);
        let server = Server::start(&options);
        Self { port, certificates, server }
    }

    fn url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.port)
    }

    fn ca(&self) -> String {
        shown(&self.certificates.pem("ca"))
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("temporary directories have plain names").to_owned()
}

fn run_at(url: &str, options: &[&str]) -> Finished {
    let words = [&["run", "-n", "--redis", url], options, &["-k", "job", "--", "echo", "ran"]].concat();
    Dlock::new(words).finish()
}

#[track_caller]
fn refused(finished: Finished, status: i32, words: &str) {
    let finished = finished.exits_with(status).mentions(&[words]);
    assert_eq!(finished.stderr().lines().count(), 1, "{}", finished.account());
}

#[test]
fn a_run_and_a_wait_go_through_tls() {
    let secured = Secured::start(Certificates::new(), "server", "no");
    let (url, ca) = (secured.url(), secured.ca());
    let options = ["--redis", &url, "--tls-ca", &ca, "-k", "job"];
    let hold = [&["run"], &options[..], &["--", "sh", "-c", "echo ready; cat >/dev/null"]].concat();
    let holder = Dlock::new(hold).stdin_open().start();
    holder.says("ready");
    let waiter = Dlock::new([&["run"], &options[..], &["--", "echo", "ran"]].concat()).start();
    eventually("it listens through TLS", || {
        secured.server.command::<Vec<String>>(&["PUBSUB", "CHANNELS", "*"]).len() == 1
            && secured.server.command::<u32>(&["ZCARD", "{dlock:job}:dlock:queue"]) == 1
    });
    let began = Instant::now();
    holder.let_go();
    assert_eq!(waiter.wait().succeeds().said(), "ran");
    assert!(began.elapsed() < Duration::from_secs(5), "without the message it looks after 10 s");
}

#[test]
fn the_command_is_led_to_the_same_server_by_paths() {
    let secured = Secured::start(Certificates::new(), "server", "yes");
    secured.certificates.sign("client", "DNS:client");
    let [cert, key] = [secured.certificates.pem("client"), secured.certificates.key("client")].map(|path| shown(&path));
    let script = "env | grep ^DLOCK_TLS | sort; exec \"$0\" status -k job --json";
    let program = program();
    let files = ["--tls-ca", &secured.ca(), "--tls-cert", &cert, "--tls-key", &key].map(str::to_owned);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let words = [&["run", "--redis", &secured.url(), "-k", "job"], &files[..], &["--", "sh", "-c", script, program]];
    let finished = Dlock::new(words.concat()).finish().succeeds();
    let expected = format!("DLOCK_TLS_CA={}\nDLOCK_TLS_CERT={cert}\nDLOCK_TLS_KEY={key}\n", secured.ca());
    assert!(finished.said().starts_with(&expected), "{}", finished.account());
    assert!(finished.said().contains(r#""state":"held""#), "{}", finished.account());
}

#[test]
fn whom_to_trust_is_an_option_a_variable_or_the_systems() {
    let secured = Secured::start(Certificates::new(), "server", "no");
    let (url, ca) = (secured.url(), secured.ca());
    run_at(&url, &["--tls-ca", &ca]).succeeds();
    let run = || Dlock::new(["run", "--redis", &url, "-k", "job", "--", "true"]);
    run().env("DLOCK_TLS_CA", &ca).finish().succeeds();
    run().env("SSL_CERT_FILE", &ca).finish().succeeds();
    refused(run().finish(), 78, "an authority that is not trusted here; name that authority's with --tls-ca");
    let missing = run().env("SSL_CERT_FILE", "/nonexistent/ca.pem").finish();
    refused(missing, 78, r#"cannot read SSL_CERT_FILE "/nonexistent/ca.pem": No such file"#);
}

#[test]
fn each_certificate_that_does_not_do_has_its_own_sentence() {
    let certificates = Certificates::new();
    certificates.sign("elsewhere", "DNS:elsewhere.example");
    certificates.sign_expired();
    let mut kept = Some(certificates);
    for (name, words) in [
        ("elsewhere", "shows a certificate for another name"),
        ("expired", "shows a certificate that has expired"),
        ("ca", "shows the certificate of an authority as its own"),
    ] {
        let secured = Secured::start(kept.take().expect("given back below"), name, "no");
        refused(run_at(&secured.url(), &["--tls-ca", &secured.ca()]), 78, words);
        kept = Some(secured.certificates);
    }
}

#[test]
fn a_client_certificate_is_asked_for_and_looked_at() {
    let secured = Secured::start(Certificates::new(), "server", "yes");
    let ca = secured.ca();
    for _ in 0..5 {
        let asked = run_at(&secured.url(), &["--tls-ca", &ca]);
        refused(asked, 77, "asks for a client certificate; name one with --tls-cert and --tls-key");
    }
    let stranger = Certificates::new();
    let [cert, key] = [stranger.pem("server"), stranger.key("server")].map(|path| shown(&path));
    let unknown = run_at(&secured.url(), &["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key]);
    refused(unknown, 77, "does not accept the client certificate of --tls-cert (UnknownCA)");
    let other = shown(&secured.certificates.key("server"));
    let mixed = run_at(&secured.url(), &["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &other]);
    refused(mixed, 78, "the TLS key does not belong to the TLS certificate");
}

#[test]
fn files_that_do_not_do_are_named() {
    let made = Certificates::new();
    let url = "rediss://127.0.0.1:1";
    let [ca, cert, key] = [made.pem("ca"), made.pem("server"), made.key("server")].map(|path| shown(&path));
    let empty = shown(&made.file("empty", ""));
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked = shown(&made.file("locked", locked));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = shown(&made.file("broken", broken));
    for (options, status, words) in [
        (&["--tls-ca", "/nonexistent"][..], 78, r#"cannot read --tls-ca "/nonexistent": No such file"#),
        (&["--tls-ca", "/"], 78, r#"cannot read --tls-ca "/": Is a directory"#),
        (&["--tls-ca", &empty], 78, "it holds no certificate in PEM form"),
        (&["--tls-ca", &key], 78, "it holds no certificate in PEM form"),
        (&["--tls-ca", &broken], 78, "a certificate in it is damaged"),
        (&["--tls-cert", &cert, "--tls-key", &ca], 78, "it holds no private key in PEM form"),
        (&["--tls-cert", &cert, "--tls-key", &locked], 78, "its private key is encrypted"),
        (&["--tls-key", &key], 64, "--tls-key needs --tls-cert beside it"),
        (&["--tls-cert", &cert], 64, "--tls-cert needs --tls-key beside it"),
    ] {
        refused(run_at(url, options), status, words);
    }
    let plain = run_at("redis://127.0.0.1:1", &["--tls-ca", &ca]);
    refused(plain, 64, "--tls-ca needs a server that is reached by TLS, as rediss://");
}

#[test]
fn tls_and_plain_servers_are_told_from_each_other() {
    let secured = Secured::start(Certificates::new(), "server", "no");
    // A plain Redis server takes the handshake for the beginning of a command, and waits for the rest.
    let plain = format!("rediss://127.0.0.1:{}", secured.server.port);
    let began = Instant::now();
    let plain = run_at(&plain, &["--tls-ca", &secured.ca()]);
    refused(plain, 78, "does not speak TLS; write redis instead of rediss");
    assert!(began.elapsed() < Duration::from_secs(4), "it need not wait for the whole of a handshake");
    let locked = Server::start(&["--requirepass", "s3cret"]);
    let locked = run_at(&format!("rediss://127.0.0.1:{}", locked.port), &["--tls-ca", &secured.ca()]);
    refused(locked, 78, "does not speak TLS; write redis instead of rediss");
    let tls = format!("redis://127.0.0.1:{}", secured.port);
    refused(run_at(&tls, &[]), 78, "speaks TLS; write rediss instead of redis");
    let silent = format!("rediss://127.0.0.1:{}", silent_server());
    refused(run_at(&silent, &["--tls-ca", &secured.ca()]), 69, "does not finish the TLS handshake within 5 s");
}

#[test]
fn a_unix_socket_is_a_server_like_another() {
    let dir = tempfile::TempDir::with_prefix("dlock socket,").expect("the temporary directory takes files");
    let path = dir.path().join("r.sock");
    let server = Server::start(&["--unixsocket", &shown(&path), "--requirepass", "p&w"]);
    let encoded = shown(&path).replace(' ', "%20").replace(',', "%2C");
    let url = format!("unix://{encoded}?db=2&pass=p%26w");
    assert_eq!(run_at(&url, &[]).succeeds().said(), "ran");
    refused(run_at(&format!("unix://{encoded}?pass=wrong"), &[]), 77, "?pass=*** does not accept this user");
    refused(run_at(&format!("unix://{encoded}x"), &[]), 69, "is not there; check the path");
    drop(server);
    refused(run_at(&url, &[]), 69, "refuses the connection");
}

#[test]
fn a_name_with_several_addresses_is_reached_at_the_one_that_listens() {
    use std::net::ToSocketAddrs as _;
    let addresses: Vec<_> = ("localhost", 1).to_socket_addrs().expect("localhost is a name everywhere").collect();
    // Where it is only one, IPv6 has nothing to try beside it.
    for bind in [&["--bind", "127.0.0.1"][..], &["--bind", "127.0.0.1", "::1"]] {
        let server = Server::start(bind);
        run_at(&format!("redis://localhost:{}", server.port), &[]).succeeds();
        if bind.len() > 2 {
            run_at(&format!("redis://[::1]:{}", server.port), &[]).succeeds();
        }
    }
    assert!(!addresses.is_empty());
}

#[test]
fn every_node_of_a_cluster_is_reached_by_tls() {
    let certificates = Certificates::new();
    let ports = [free_cluster_port(), free_cluster_port(), free_cluster_port()];
    let secured = |node: usize| {
        let options = certificates.options(ports[node], "server");
        [&options[..], &["--tls-auth-clients", "no", "--tls-cluster", "yes"].map(str::to_owned)].concat()
    };
    let cluster = Cluster::start_each(3, 0, Duration::from_secs(60), secured);
    let (ca, url) = (shown(&certificates.pem("ca")), format!("rediss-cluster://127.0.0.1:{}", ports[0]));
    for (node, port) in ports.into_iter().enumerate() {
        let key = cluster.key_at("dlock", node);
        let run = |words: &[&str]| {
            let words = [&["run", "--redis", &url, "--tls-ca", &ca, "-k", &key], words].concat();
            Dlock::new(words)
        };
        let holder = run(&["--", "sh", "-c", "echo $DLOCK_REDIS; echo ready; cat >/dev/null"]).stdin_open().start();
        holder.says("ready");
        assert!(holder.stdout().starts_with(&url), "{}", holder.stdout());
        let waiter = run(&["--", "echo", "ran"]).start();
        eventually("it listens", || cluster.listeners(node) == 1);
        let clients = cluster.node(node).command::<String>(&["CLIENT", "LIST"]);
        // The holder and both connections of the waiter; we ask by the plain port.
        let at_tls = clients.lines().filter(|line| line.contains(&format!("laddr=127.0.0.1:{port} "))).count();
        assert_eq!(at_tls, 3, "{clients}");
        holder.let_go();
        holder.wait().succeeds();
        waiter.wait().succeeds();
    }
    let plain = format!("redis-cluster://127.0.0.1:{}", ports[0]);
    refused(run_at(&plain, &[]), 78, "speaks TLS; write rediss instead of redis");
}
