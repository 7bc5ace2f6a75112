//! Where the server is and who asks it. What breaks it: a secret that gets into a message.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};
use thiserror::Error;

const DEFAULT_PORT: u16 = 6379;

/// What a user name may contain as it stands when the URL is written again.
pub(super) const USER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// And what a path may.
const PATH: &AsciiSet = &USER.remove(b'/');

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For the server, and nowhere else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// What is spoken below Redis' own protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Plain,
    Tls,
}

/// One Redis server, as a URL names it: all that a connection to it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub address: Address,
    pub transport: Transport,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub db: u32,
}

/// Why a text is no URL of a server. The messages never repeat the whole URL: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    #[error("{0} is not supported by this version; use redis://[user[:password]@]host[:port][/db]")]
    Unsupported(&'static str),
    #[error("{0} cannot be used here; name one server, as in redis://[user[:password]@]host[:port][/db]")]
    Deployment(&'static str),
    #[error(
        "\"{0}://\" is not a Redis URL; use redis://[user[:password]@]host[:port][/db], rediss://, unix:///path, \
         redis-sentinel://host,host/SERVICE or redis-cluster://host,host"
    )]
    Scheme(String),
    #[error(
        "Sentinels are named redis-sentinel://[user[:password]@]HOST[:PORT][,HOST…]/SERVICE[/DB], rediss-sentinel:// for TLS"
    )]
    Service,
    #[error("the URL names no host; use redis://[user[:password]@]host[:port][/db]")]
    NoHost,
    #[error("\"{0}\" is not a host name (an IPv6 address stands in brackets)")]
    Host(String),
    #[error("\"{0}\" is not a port; a port is a number from 1 to 65535")]
    Port(String),
    #[error("\"{0}\" is not a database; a database is a number, 0 by default")]
    Database(String),
    #[error("the user or password is not percent-encoded UTF-8 (write @ as %40, / as %2F, % as %25)")]
    Credentials,
    #[error("a Redis URL takes no options after \"?\" or \"#\"")]
    Options,
    #[error("a Redis Cluster has only database 0; leave /{0} out, and use --namespace to keep locks apart")]
    ClusterDatabase(u32),
    #[error("a Unix socket is named unix:///path, with ?db=N&user=NAME&pass=PASSWORD behind it where they are needed")]
    Socket,
}

impl Endpoint {
    /// Reads `redis://[user[:password]@]host[:port][/db]`, with or without the scheme, `rediss://` for TLS, or
    /// `unix:///path[?db=N&user=NAME&pass=PASSWORD]`.
    ///
    /// # Errors
    /// [`InvalidUrl`] in one sentence.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => Self::parse_tcp(rest, Transport::Plain),
            "rediss" => Self::parse_tcp(rest, Transport::Tls),
            "unix" => Self::parse_unix(rest),
            "redis-sentinel" | "rediss-sentinel" => Err(InvalidUrl::Service),
            "redis-cluster" | "rediss-cluster" => Err(InvalidUrl::Deployment("Redis Cluster")),
            // Whatever stands before "://" may be a password that contains it.
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                Err(InvalidUrl::Scheme(other.to_owned()))
            }
            _ => Err(InvalidUrl::Credentials),
        }
    }

    fn parse_tcp(rest: &str, transport: Transport) -> Result<Self, InvalidUrl> {
        let is_list = rest.rsplit('@').next().is_some_and(|address| address.contains(','));
        match Self::parse_list(rest, transport) {
            Err(refused @ (InvalidUrl::Credentials | InvalidUrl::Options)) => Err(refused),
            _ if is_list => Err(InvalidUrl::Unsupported("a list of servers")),
            servers => servers?.pop().ok_or(InvalidUrl::NoHost),
        }
    }

    /// Reads `[user[:password]@]host[:port][,host[:port]…][/db]`: servers with the same credentials.
    pub(super) fn parse_list(rest: &str, transport: Transport) -> Result<Vec<Self>, InvalidUrl> {
        let (user, password, address) = Self::parse_credentials(rest)?;
        let (hosts, db) = address.split_once('/').unwrap_or((address, ""));
        let db = parse_db(db)?;
        let server = |host_and_port| {
            let (host, port) = parse_address(host_and_port, DEFAULT_PORT)?;
            let (user, password) = (user.clone(), password.clone());
            Ok(Self { address: Address::Tcp { host, port }, transport, user, password, db })
        };
        hosts.split(',').map(server).collect()
    }

    /// The server at another address, reached in the same way by the same user.
    #[must_use]
    pub(super) fn elsewhere(&self, host: String, port: u16) -> Self {
        Self { address: Address::Tcp { host, port }, ..self.clone() }
    }

    /// User, password, and what stands behind them.
    pub(super) fn parse_credentials(rest: &str) -> Result<(Option<String>, Option<Secret>, &str), InvalidUrl> {
        // The last @ ends the credentials: one that was not percent-encoded belongs to the password.
        let (credentials, address) = match rest.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, rest),
        };
        if credentials.is_some_and(|text| text.contains(['/', '?', '#'])) {
            return Err(InvalidUrl::Credentials);
        }
        if address.contains(['?', '#']) {
            return Err(InvalidUrl::Options);
        }
        let Some(text) = credentials else { return Ok((None, None, address)) };
        let (user, password) = text.split_once(':').unwrap_or((text, ""));
        Ok((decoded(user)?, decoded(password)?.map(Secret), address))
    }

    fn parse_unix(rest: &str) -> Result<Self, InvalidUrl> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.contains(',') {
            return Err(InvalidUrl::Unsupported("a list of servers"));
        }
        if !path.starts_with('/') || path.contains('#') {
            return Err(InvalidUrl::Socket);
        }
        let path: Vec<u8> = percent_decode_str(path).collect();
        if path.contains(&0) {
            return Err(InvalidUrl::Socket);
        }
        let address = Address::Unix(OsString::from_vec(path).into());
        let mut endpoint = Self { address, transport: Transport::Plain, user: None, password: None, db: 0 };
        for option in query.split('&').filter(|option| !option.is_empty()) {
            match option.split_once('=') {
                // What stands behind a second "?" is another option, and may be the password.
                Some(("db", db)) if db.contains('?') => return Err(InvalidUrl::Socket),
                Some(("db", db)) => endpoint.db = parse_db(db)?,
                Some(("user", user)) => endpoint.user = decoded(user)?,
                Some(("pass", password)) => endpoint.password = decoded(password)?.map(Secret),
                _ => return Err(InvalidUrl::Socket),
            }
        }
        Ok(endpoint)
    }

    /// The URL as it may be shown to anybody.
    #[must_use]
    pub fn masked(&self) -> String {
        self.written(self.password.as_ref().map(|_| "***"))
    }

    /// The URL without its password, which [`Endpoint::parse`] reads again.
    #[must_use]
    pub fn without_password(&self) -> String {
        self.written(None)
    }

    /// User and password as they stand before a host.
    pub(super) fn written_credentials(user: Option<&str>, password: Option<&str>) -> String {
        let at = if user.is_none() && password.is_none() { "" } else { "@" };
        let user = user.map(|user| utf8_percent_encode(user, USER).to_string()).unwrap_or_default();
        let password = password.map(|password| format!(":{password}")).unwrap_or_default();
        format!("{user}{password}{at}")
    }

    fn written(&self, password: Option<&str>) -> String {
        let user = self.user.as_deref().map(|user| utf8_percent_encode(user, USER).to_string());
        let scheme = match self.transport {
            Transport::Plain => "redis",
            Transport::Tls => "rediss",
        };
        match &self.address {
            Address::Tcp { host, port } => {
                let credentials = Self::written_credentials(self.user.as_deref(), password);
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let db = if self.db == 0 { String::new() } else { format!("/{}", self.db) };
                format!("{scheme}://{credentials}{host}:{port}{db}")
            }
            Address::Unix(path) => {
                let path = percent_encode(path.as_os_str().as_bytes(), PATH);
                let db = (self.db != 0).then(|| format!("db={}", self.db));
                let user = user.map(|user| format!("user={user}"));
                let password = password.map(|password| format!("pass={password}"));
                let options: Vec<String> = [db, user, password].into_iter().flatten().collect();
                let mark = if options.is_empty() { "" } else { "?" };
                format!("unix://{path}{mark}{}", options.join("&"))
            }
        }
    }
}

/// The text behind percent-encoding; `None` when it is empty.
pub(super) fn decoded(part: &str) -> Result<Option<String>, InvalidUrl> {
    let valid =
        part.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
    let text = percent_decode_str(part).decode_utf8().ok().filter(|_| valid).ok_or(InvalidUrl::Credentials)?;
    Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
}

/// A comma list of hosts, each with its port or this one.
pub(super) fn parse_hosts(text: &str, default_port: u16) -> Result<Vec<(String, u16)>, InvalidUrl> {
    text.split(',').map(|host| parse_address(host, default_port)).collect()
}

fn parse_address(text: &str, default_port: u16) -> Result<(String, u16), InvalidUrl> {
    let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
        let (host, after) = bracketed.split_once(']').ok_or_else(|| InvalidUrl::Host(text.to_owned()))?;
        if host.parse::<std::net::Ipv6Addr>().is_err() {
            return Err(InvalidUrl::Host(host.to_owned()));
        }
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(InvalidUrl::Port(after.to_owned())),
        };
        (host, port)
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(InvalidUrl::Host(text.to_owned())),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(InvalidUrl::NoHost);
    }
    if host.chars().any(|c| c.is_whitespace() || c.is_control() || "[]\\%\"".contains(c)) {
        return Err(InvalidUrl::Host(host.escape_debug().to_string()));
    }
    let port = match port {
        None => default_port,
        Some(digits) => number(digits)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| InvalidUrl::Port(digits.escape_debug().to_string()))?,
    };
    Ok((host.to_owned(), port))
}

pub(super) fn parse_db(text: &str) -> Result<u32, InvalidUrl> {
    if text.is_empty() {
        return Ok(0);
    }
    // A password with a slash in it and a comma or a slash behind it ends up here: not to be shown.
    if text.contains([':', '@']) {
        return Err(InvalidUrl::Credentials);
    }
    // Redis keeps the number in a C int.
    number(text)
        .filter(|db| i32::try_from(*db).is_ok())
        .ok_or_else(|| InvalidUrl::Database(text.escape_debug().to_string()))
}

/// Plain digits: `str::parse` would take a sign as well.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests;
