//! Where the server is and who asks it. What breaks it: a secret that gets into a message.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

const DEFAULT_PORT: u16 = 6379;

/// What a user name may contain as it stands when the URL is written again.
const USER: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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

/// One Redis server, as a URL names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub db: u32,
}

/// Why a text is no URL of a server. The messages never repeat the whole URL: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidUrl {
    #[error("{0} is not supported by this version; use redis://[user[:password]@]host[:port][/db]")]
    Unsupported(&'static str),
    #[error("\"{0}://\" is not a Redis URL; use redis://[user[:password]@]host[:port][/db]")]
    Scheme(String),
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
}

impl Endpoint {
    /// Reads `redis://[user[:password]@]host[:port][/db]`, with or without the scheme.
    ///
    /// # Errors
    /// [`InvalidUrl`] in one sentence.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("redis", url));
        match scheme.to_ascii_lowercase().as_str() {
            "redis" => {}
            "rediss" => return Err(InvalidUrl::Unsupported("TLS (rediss://)")),
            "unix" | "redis+unix" => return Err(InvalidUrl::Unsupported("a unix socket (unix://)")),
            "redis-sentinel" => return Err(InvalidUrl::Unsupported("Sentinel (redis-sentinel://)")),
            "redis-cluster" => return Err(InvalidUrl::Unsupported("Cluster (redis-cluster://)")),
            // Whatever stands before "://" may be a password that contains it.
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) => {
                return Err(InvalidUrl::Scheme(other.to_owned()));
            }
            _ => return Err(InvalidUrl::Credentials),
        }
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
        if address.contains(',') {
            return Err(InvalidUrl::Unsupported("a list of servers"));
        }
        let (user, password) = match credentials {
            Some(text) => parse_credentials(text)?,
            None => (None, None),
        };
        let (host_and_port, db) = address.split_once('/').unwrap_or((address, ""));
        let (host, port) = parse_address(host_and_port)?;
        Ok(Self { host, port, user, password, db: parse_db(db)? })
    }

    /// The URL as it may be shown to anybody.
    #[must_use]
    pub fn masked(&self) -> String {
        self.written(if self.password.is_some() { ":***" } else { "" })
    }

    /// The URL without its password, which [`Endpoint::parse`] reads again.
    #[must_use]
    pub fn without_password(&self) -> String {
        self.written("")
    }

    fn written(&self, password: &str) -> String {
        let user = self.user.as_deref().map(|user| utf8_percent_encode(user, USER).to_string()).unwrap_or_default();
        let at = if user.is_empty() && password.is_empty() { "" } else { "@" };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let db = if self.db == 0 { String::new() } else { format!("/{}", self.db) };
        format!("redis://{user}{password}{at}{host}:{}{db}", self.port)
    }
}

fn parse_credentials(text: &str) -> Result<(Option<String>, Option<Secret>), InvalidUrl> {
    let decode = |part: &str| {
        let valid = part
            .split('%')
            .skip(1)
            .all(|rest| rest.len() >= 2 && rest.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit));
        let text = percent_decode_str(part).decode_utf8().ok().filter(|_| valid).ok_or(InvalidUrl::Credentials)?;
        Ok(Some(text.into_owned()).filter(|text| !text.is_empty()))
    };
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    Ok((decode(user)?, decode(password)?.map(Secret)))
}

fn parse_address(text: &str) -> Result<(String, u16), InvalidUrl> {
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
        None => DEFAULT_PORT,
        Some(digits) => number(digits)
            .and_then(|port| u16::try_from(port).ok())
            .filter(|port| *port > 0)
            .ok_or_else(|| InvalidUrl::Port(digits.escape_debug().to_string()))?,
    };
    Ok((host.to_owned(), port))
}

fn parse_db(text: &str) -> Result<u32, InvalidUrl> {
    if text.is_empty() {
        return Ok(0);
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(url: &str) -> Endpoint {
        Endpoint::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    #[test]
    fn a_full_url_is_taken_apart_and_decoded() {
        let endpoint = parsed("redis://al%40ice:p%2Fw%3A%40@r1.example:7000/3");
        assert_eq!(endpoint.host, "r1.example");
        assert_eq!(endpoint.port, 7000);
        assert_eq!(endpoint.user.as_deref(), Some("al@ice"));
        assert_eq!(endpoint.password.as_ref().map(Secret::reveal), Some("p/w:@"));
        assert_eq!(endpoint.db, 3);
    }

    #[test]
    fn whatever_a_url_leaves_out_has_its_default() {
        for url in ["redis://r1", "redis://r1/", "r1", "r1:6379", "redis://r1:6379/0", "REDIS://r1"] {
            let endpoint = parsed(url);
            assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.db), ("r1", 6379, 0), "{url}");
            assert_eq!((endpoint.user, endpoint.password), (None, None), "{url}");
        }
    }

    #[test]
    fn an_ipv6_address_stands_in_brackets_with_or_without_a_port() {
        assert_eq!(parsed("redis://[::1]").host, "::1");
        assert_eq!(parsed("[fe80::2]:7001").port, 7001);
        assert_eq!(parsed("redis://[::1]:7001/2").masked(), "redis://[::1]:7001/2");
        for url in ["redis://::1", "redis://fe80::2:7001", "redis://[::1", "redis://[r1]", "redis://[::1]7001"] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_password_without_a_user_is_the_default_users() {
        let endpoint = parsed("redis://:pw@r1");
        assert_eq!((endpoint.user.as_deref(), endpoint.password.as_ref().map(Secret::reveal)), (None, Some("pw")));
    }

    #[test]
    fn secrets_are_masked_in_every_form_that_is_shown() {
        let endpoint = parsed("redis://bob:hunter2@r1/1");
        assert_eq!(endpoint.masked(), "redis://bob:***@r1:6379/1");
        assert_eq!(endpoint.without_password(), "redis://bob@r1:6379/1");
        assert!(!format!("{endpoint:?}").contains("hunter2"));
    }

    #[test]
    fn what_a_later_version_will_support_is_refused_by_name() {
        for (url, what) in [
            ("rediss://r1", "TLS"),
            ("unix:///run/redis.sock", "unix socket"),
            ("redis-sentinel://s1:26379/main", "Sentinel"),
            ("redis-cluster://c1,c2", "Cluster"),
            ("redis://r1,redis://r2", "list"),
            ("r1:1,r2:2", "list"),
        ] {
            let why = Endpoint::parse(url).expect_err(url).to_string();
            assert!(why.contains(what) && why.contains("not supported by this version"), "{url}: {why}");
        }
    }

    #[test]
    fn each_wrong_part_is_named() {
        assert_eq!(Endpoint::parse("http://r1"), Err(InvalidUrl::Scheme("http".into())));
        assert_eq!(Endpoint::parse("redis://"), Err(InvalidUrl::NoHost));
        assert_eq!(Endpoint::parse(""), Err(InvalidUrl::NoHost));
        assert_eq!(Endpoint::parse("redis://:6379"), Err(InvalidUrl::NoHost));
        for port in ["0", "65536", "-1", "+1", "abc", "", "99999999999"] {
            assert_eq!(Endpoint::parse(&format!("redis://r1:{port}")), Err(InvalidUrl::Port(port.into())));
        }
        for db in ["x", "-1", "1/2", "2147483648"] {
            assert_eq!(Endpoint::parse(&format!("redis://r1/{db}")), Err(InvalidUrl::Database(db.into())));
        }
        assert_eq!(Endpoint::parse("redis://r1/0?protocol=resp3"), Err(InvalidUrl::Options));
        assert_eq!(Endpoint::parse("redis://u:%zz@r1"), Err(InvalidUrl::Credentials));
        assert_eq!(Endpoint::parse("redis://u:p/w@r1"), Err(InvalidUrl::Credentials));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_and_no_error_shows_a_password(text in ".*", password in "[a-zA-Z0-9]{12}") {
            Endpoint::parse(&text).ok();
            if let Err(why) = Endpoint::parse(&format!("redis://user:{password}@{text}")) {
                prop_assert!(!why.to_string().contains(&password));
            }
        }

        #[test]
        fn a_url_without_its_password_reads_as_the_same_endpoint(
            user in proptest::option::of("[a-z@:/% é]{1,8}"), port in 1u16.., db in 0u32..100,
        ) {
            let endpoint = Endpoint { host: "r1".into(), port, user, password: None, db };
            prop_assert_eq!(Endpoint::parse(&endpoint.without_password()), Ok(endpoint));
        }
    }
}
