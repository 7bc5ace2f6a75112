//! Where the ensemble is: `h1:2181,h2:2181[/chroot]`, with or without `zk://` in front, or with `zks://` (TLS).

use std::fmt::{self, Write as _};

use thiserror::Error;

use super::path::{self, InvalidPath};

/// The port that ZooKeeper's own documentation uses for clients.
const DEFAULT_PORT: u16 = 2181;

/// A connect string that cannot be wrong: at least one server, every port a number, the chroot a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectString {
    pub transport: Transport,
    servers: Vec<Server>,
    /// Without a trailing slash; empty when there is none.
    chroot: String,
}

/// What the servers are spoken to with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// One server of the ensemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// A name or an address; an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
}

/// Why a text is no connect string.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidConnectString {
    #[error("a ZooKeeper address is needed: host:2181,host2:2181[/chroot]")]
    Empty,
    #[error("{0:?} has no port: ZooKeeper has no usual one for TLS; write zks://host:2281 with its secureClientPort")]
    NoTlsPort(String),
    #[error("{0:?} is not a ZooKeeper scheme; write zk://host:2181, zks://host:2281 (TLS) or host:2181")]
    Scheme(String),
    #[error("there is a server without a name in {0:?}; write host:2181,host2:2181")]
    EmptyHost(String),
    #[error("{0:?} is no port in {1:?}; a port is a number from 1 to 65535")]
    Port(String, String),
    #[error("{0:?} cannot be a host name; write host:2181, an IPv6 address in brackets")]
    Host(String),
    #[error("ZooKeeper URLs take no user or password ({0:?} has one); they would be shown in ps")]
    Credentials(String),
    #[error("the chroot comes once, after the last server: host:2181,host2:2181/chroot")]
    ChrootInside,
    #[error("the chroot {0:?} is no path: {1}")]
    Chroot(String, InvalidPath),
}

impl ConnectString {
    /// # Errors
    /// [`InvalidConnectString`] says what is wrong in one sentence.
    pub fn parse(text: &str) -> Result<Self, InvalidConnectString> {
        let text = text.trim();
        let (transport, rest) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("zk") => (Transport::Plain, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("zks") => (Transport::Tls, rest),
            // Whatever stands before "://" may be a password that contains it.
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                return Err(InvalidConnectString::Scheme(format!("{scheme}://")));
            }
            Some(_) => return Err(InvalidConnectString::Scheme("…://".to_owned())),
            None => (Transport::Plain, text),
        };
        // Where something is wrong, what stands before an @ was meant for credentials, whatever else it looks like.
        Self::parse_servers(transport, rest).map_err(|why| match rest.rsplit_once('@') {
            Some((_, after)) => InvalidConnectString::Credentials(format!("…@{after}")),
            None => why,
        })
    }

    fn parse_servers(transport: Transport, rest: &str) -> Result<Self, InvalidConnectString> {
        let (hosts, chroot) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if hosts.is_empty() {
            return Err(InvalidConnectString::Empty);
        }
        if chroot.contains(',') {
            return Err(InvalidConnectString::ChrootInside);
        }
        let chroot = chroot.strip_suffix('/').unwrap_or(chroot);
        if let Some(path) = chroot.strip_prefix('/') {
            path::validate(path).map_err(|why| InvalidConnectString::Chroot(chroot.to_owned(), why))?;
        }
        let server = |server| Server::parse(server, hosts, transport);
        let servers = hosts.split(',').map(server).collect::<Result<_, _>>()?;
        Ok(Self { transport, servers, chroot: chroot.to_owned() })
    }

    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The path that every key is below; empty when it is the root.
    #[must_use]
    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    /// The connect string for messages: `zookeeper h1:2181,h2:2181/chroot`. It holds no secret.
    #[must_use]
    pub fn shown(&self) -> String {
        format!("zookeeper {self}")
    }

    /// The same ensemble, contacted through `servers` alone.
    pub(super) fn through(&self, servers: Vec<Server>) -> Self {
        Self { servers, ..self.clone() }
    }

    /// The same chroot behind servers that speak plainly.
    pub(super) fn through_plain(&self, servers: Vec<Server>) -> Self {
        Self { transport: Transport::Plain, ..self.through(servers) }
    }
}

impl Default for ConnectString {
    /// A server on this machine.
    fn default() -> Self {
        let here = Server { host: "127.0.0.1".to_owned(), port: DEFAULT_PORT };
        Self { transport: Transport::Plain, servers: vec![here], chroot: String::new() }
    }
}

impl fmt::Display for ConnectString {
    /// The form that every ZooKeeper client understands, but for the scheme of TLS.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transport == Transport::Tls {
            f.write_str("zks://")?;
        }
        for (index, server) in self.servers.iter().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            server.fmt(f)?;
        }
        f.write_str(&self.chroot)
    }
}

impl Server {
    fn parse(text: &str, all: &str, transport: Transport) -> Result<Self, InvalidConnectString> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| InvalidConnectString::Host(text.to_owned()))?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(InvalidConnectString::Host(text.to_owned()));
                }
                match after.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if after.is_empty() => (host, None),
                    None => return Err(InvalidConnectString::Host(text.to_owned())),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(InvalidConnectString::EmptyHost(all.to_owned()));
        }
        // More than one colon outside brackets: most likely an IPv6 address.
        if port.is_some_and(|port| port.contains(':')) && !text.starts_with('[') {
            return Err(InvalidConnectString::Host(text.to_owned()));
        }
        let of_a_host = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        if !host.chars().all(of_a_host) {
            return Err(InvalidConnectString::Host(host.to_owned()));
        }
        let port = match port {
            None if transport == Transport::Tls => return Err(InvalidConnectString::NoTlsPort(text.to_owned())),
            None => DEFAULT_PORT,
            // `parse` alone would take "+2181".
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
                _ => return Err(InvalidConnectString::Port(digits.to_owned(), text.to_owned())),
            },
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Result<String, InvalidConnectString> {
        ConnectString::parse(text).map(|parsed| parsed.to_string())
    }

    #[test]
    fn every_form_that_users_write_is_understood() {
        for (text, meant) in [
            ("z1", "z1:2181"),
            ("z1:2182", "z1:2182"),
            ("zk://z1", "z1:2181"),
            ("ZK://z1:2182/", "z1:2182"),
            ("z1:2181,z2,z3:2183/app/locks", "z1:2181,z2:2181,z3:2183/app/locks"),
            ("z1/app/", "z1:2181/app"),
            ("[::1]", "[::1]:2181"),
            ("[fe80::1]:2182,127.0.0.1:1/x", "[fe80::1]:2182,127.0.0.1:1/x"),
            (" z1:2181 ", "z1:2181"),
            ("zks://z1:2281,[::1]:2282/app", "zks://z1:2281,[::1]:2282/app"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(meant), "{text}");
        }
    }

    #[test]
    fn every_wrong_form_is_refused_for_its_own_reason() {
        use InvalidConnectString as Invalid;
        type Reason = fn(&Invalid) -> bool;
        let cases: [(&str, Reason); 20] = [
            ("", |why| *why == Invalid::Empty),
            ("zk://", |why| *why == Invalid::Empty),
            ("/chroot", |why| *why == Invalid::Empty),
            ("zks://", |why| *why == Invalid::Empty),
            ("zks://z1", |why| matches!(why, Invalid::NoTlsPort(_))),
            ("zks://z1:2281,[::1]", |why| matches!(why, Invalid::NoTlsPort(_))),
            ("http://z1", |why| matches!(why, Invalid::Scheme(_))),
            ("z1,,z2", |why| matches!(why, Invalid::EmptyHost(_))),
            (":2181", |why| matches!(why, Invalid::EmptyHost(_))),
            ("z1,", |why| matches!(why, Invalid::EmptyHost(_))),
            ("z1:", |why| matches!(why, Invalid::Port(..))),
            ("z1:0", |why| matches!(why, Invalid::Port(..))),
            ("z1:65536", |why| matches!(why, Invalid::Port(..))),
            ("z1:+1", |why| matches!(why, Invalid::Port(..))),
            ("::1", |why| matches!(why, Invalid::EmptyHost(_) | Invalid::Host(_))),
            ("fe80::1", |why| matches!(why, Invalid::Host(_))),
            ("[::1", |why| matches!(why, Invalid::Host(_))),
            ("user:pw@z1", |why| matches!(why, Invalid::Credentials(_))),
            ("z1/a,z2/a", |why| *why == Invalid::ChrootInside),
            ("z1/a//b", |why| matches!(why, Invalid::Chroot(..))),
        ];
        for (text, reason) in cases {
            let why = ConnectString::parse(text).expect_err(text);
            assert!(reason(&why), "{text}: {why:?}");
            assert!(!why.to_string().ends_with('.'), "{why}");
            assert!(!why.to_string().contains("pw"), "a password is never shown: {why}");
        }
    }

    #[test]
    fn what_may_be_a_password_is_never_shown() {
        for text in [
            "zk://bob:hunter2@z1",
            "bob:hunter2@z1:port",
            ",bob:hunter2@z1",
            "z1:port,bob:hunter2@z2",
            "bob:hunter2,x@z1",
            "bob:hunter2/x@z1",
            "bob:hunter2://x@z1",
        ] {
            let why = ConnectString::parse(text).expect_err(text).to_string();
            assert!(!why.contains("hunter2"), "{text}: {why}");
        }
        let why = ConnectString::parse("bob:hunter2@z1:2181").expect_err("credentials");
        assert_eq!(why, InvalidConnectString::Credentials("…@z1:2181".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,60}") {
            let _ignored = ConnectString::parse(&text).is_ok();
        }

        #[test]
        fn what_is_shown_reads_back_the_same(
            hosts in prop::collection::vec(("[a-z][a-z0-9.-]{0,12}", 1_u16..), 1..5),
            chroot in "(/[a-z0-9_]{1,8}){0,3}",
        ) {
            let text = hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>().join(",");
            let parsed = ConnectString::parse(&format!("{text}{chroot}")).expect("well formed");
            prop_assert_eq!(ConnectString::parse(&parsed.to_string()), Ok(parsed));
        }
    }
}
