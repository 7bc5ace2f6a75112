//! Certificates for one test, made by openssl.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A directory with an authority and what it has signed; each name is a pair of files, `NAME.pem` and `NAME.key`.
#[derive(Debug)]
pub(crate) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    /// With an authority called `ca`, and `server`, which it has signed for the loopback addresses and `localhost`.
    pub(crate) fn new() -> Self {
        let made =
            Self { dir: TempDir::with_prefix("dlock-certificates-").expect("the temporary directory takes files") };
        made.openssl(&["req", "-x509", "-nodes", "-subj", "/CN=dlock test authority", "-days", "2"], "ca");
        made.sign("server", "DNS:localhost,IP:127.0.0.1,IP:::1");
        made
    }

    /// Makes `name`, signed by the authority for these subjects (openssl's subjectAltName).
    pub(crate) fn sign(&self, name: &str, subjects: &str) {
        let subjects = format!("subjectAltName={subjects}");
        let subject = format!("/CN={name}");
        let (ca, key) = (self.pem("ca"), self.key("ca"));
        let signs = ["req", "-x509", "-nodes", "-days", "2", "-CA", text(&ca), "-CAkey", text(&key)];
        let about = ["-subj", &subject, "-addext", &subjects, "-addext", "basicConstraints=critical,CA:FALSE"];
        self.openssl(&[&signs[..], &about].concat(), name);
    }

    /// Makes `expired`, whose validity ended yesterday.
    pub(crate) fn sign_expired(&self) {
        let request = self.path("expired.csr");
        let subject = ["-subj", "/CN=expired", "-addext", "subjectAltName=IP:127.0.0.1"];
        self.openssl(&[&["req", "-new", "-nodes"], &subject[..]].concat(), "expired");
        std::fs::rename(self.pem("expired"), &request).expect("it was just made");
        let (ca, key, pem) = (self.pem("ca"), self.key("ca"), self.pem("expired"));
        let signs =
            ["x509", "-req", "-days", "-1", "-copy_extensions", "copyall", "-CA", text(&ca), "-CAkey", text(&key)];
        run(&[&signs[..], &["-in", text(&request), "-out", text(&pem)]].concat());
    }

    pub(crate) fn pem(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.pem"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.path(&format!("{name}.key"))
    }

    /// A further file with this content.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("our own directory takes files");
        path
    }

    /// redis-server's options to serve TLS on `port` with the certificate `name`.
    pub(crate) fn options(&self, port: u16, name: &str) -> Vec<String> {
        let [cert, key, ca] = [self.pem(name), self.key(name), self.pem("ca")].map(|path| text(&path).to_owned());
        let port = port.to_string();
        let pairs = [("port", port), ("cert-file", cert), ("key-file", key), ("ca-cert-file", ca)];
        pairs.into_iter().flat_map(|(name, value)| [format!("--tls-{name}"), value]).collect()
    }

    /// Lines of a ZooKeeper server's configuration to serve TLS on `port` with the certificate `name`, beside the plain
    /// port; `clients` is "none" or "need".
    pub(crate) fn zookeeper_lines(&self, port: u16, name: &str, clients: &str) -> String {
        let read = |path: PathBuf| std::fs::read_to_string(path).expect("it was made");
        let both = self.file(&format!("{name}-with-key.pem"), &(read(self.key(name)) + &read(self.pem(name))));
        let (both, ca) = (text(&both).to_owned(), self.pem("ca"));
        format!(
            "secureClientPort={port}\nsecureClientPortAddress=127.0.0.1\nmaxSessionTimeout=60000\n\
             serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
             ssl.keyStore.location={both}\nssl.keyStore.type=PEM\n\
             ssl.trustStore.location={}\nssl.trustStore.type=PEM\nssl.clientAuth={clients}\n",
            text(&ca)
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn openssl(&self, words: &[&str], name: &str) {
        let (pem, key) = (self.pem(name), self.key(name));
        let files = ["-keyout", text(&key), "-out", text(&pem)];
        run(&[words, &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], &files].concat());
    }
}

fn run(words: &[&str]) {
    let made = Command::new("openssl").args(words).stdin(Stdio::null()).output();
    let made = made.expect("openssl is installed: tests/run.sh installs what the tests need");
    assert!(made.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&made.stderr));
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary directories have plain names")
}
