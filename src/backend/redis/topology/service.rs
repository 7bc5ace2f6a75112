//! The URL of a service that Sentinels watch over. What breaks it: a secret that gets into a message.

use super::super::endpoint::{Address, Endpoint, InvalidUrl, Secret, Transport, decoded, parse_db, parse_hosts};
use percent_encoding::utf8_percent_encode;

/// Where Sentinels listen.
const DEFAULT_PORT: u16 = 26379;

/// A service, the Sentinels that know its master, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Those named; they know the others.
    pub sentinels: Vec<(String, u16)>,
    pub name: String,
    pub transport: Transport,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub db: u32,
}

impl Service {
    /// Whether a URL is one of these.
    #[must_use]
    pub fn is_named_by(url: &str) -> bool {
        transport(url).is_some()
    }

    /// Reads `redis-sentinel://[user[:password]@]host[:port][,…]/SERVICE[/db]`, `rediss-sentinel://` for TLS.
    ///
    /// # Errors
    /// [`InvalidUrl`] in one sentence.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let (transport, rest) = transport(url).ok_or(InvalidUrl::Service)?;
        let (user, password, address) = Endpoint::parse_credentials(rest)?;
        let (hosts, path) = address.split_once('/').ok_or(InvalidUrl::Service)?;
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        let name = decoded(name).map_err(|_| InvalidUrl::Service)?.ok_or(InvalidUrl::Service)?;
        if path.contains(',') || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidUrl::Service);
        }
        let mut sentinels = parse_hosts(hosts, DEFAULT_PORT)?;
        let mut seen = std::collections::HashSet::new();
        sentinels.retain(|sentinel| seen.insert(sentinel.clone()));
        Ok(Self { sentinels, name, transport, user, password, db: parse_db(db)? })
    }

    /// The URL as it may be shown to anybody.
    #[must_use]
    pub fn masked(&self) -> String {
        self.written(self.password.as_ref().map(|_| "***"))
    }

    /// The URL without its password, which [`Service::parse`] reads again.
    #[must_use]
    pub fn without_password(&self) -> String {
        self.written(None)
    }

    /// The server of the service at this address.
    pub(super) fn server(&self, host: &str, port: u16) -> Endpoint {
        Endpoint {
            address: Address::Tcp { host: host.to_owned(), port },
            transport: self.transport,
            user: self.user.clone(),
            password: self.password.clone(),
            db: self.db,
        }
    }

    /// The Sentinel at this address, without credentials.
    pub(super) fn sentinel(&self, host: &str, port: u16) -> Endpoint {
        Endpoint { user: None, password: None, db: 0, ..self.server(host, port) }
    }

    fn written(&self, password: Option<&str>) -> String {
        let scheme = match self.transport {
            Transport::Plain => "redis-sentinel",
            Transport::Tls => "rediss-sentinel",
        };
        let credentials = Endpoint::written_credentials(self.user.as_deref(), password);
        let hosts = self
            .sentinels
            .iter()
            .map(|(host, port)| if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        let name = utf8_percent_encode(&self.name, super::super::endpoint::USER);
        let db = if self.db == 0 { String::new() } else { format!("/{}", self.db) };
        format!("{scheme}://{credentials}{hosts}/{name}{db}")
    }
}

fn transport(url: &str) -> Option<(Transport, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    match scheme.to_ascii_lowercase().as_str() {
        "redis-sentinel" => Some((Transport::Plain, rest)),
        "rediss-sentinel" => Some((Transport::Tls, rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Service {
        Service::parse(url).unwrap_or_else(|why| panic!("{url}: {why}"))
    }

    #[test]
    fn a_full_url_is_taken_apart_and_written_again_without_its_password() {
        let service =
            parsed("redis-sentinel://al%40ice:p%2Fw@h1:7000,[::1],h3/my%20master/2".replace("%20", "-").as_str());
        assert_eq!(service.sentinels, [("h1".into(), 7000), ("::1".into(), 26379), ("h3".into(), 26379)]);
        assert_eq!((service.name.as_str(), service.db), ("my-master", 2));
        assert_eq!(service.user.as_deref(), Some("al@ice"));
        assert_eq!(service.password.as_ref().map(Secret::reveal), Some("p/w"));
        let shown = "redis-sentinel://al%40ice:***@h1:7000,[::1]:26379,h3:26379/my-master/2";
        assert_eq!(service.masked(), shown);
        assert_eq!(service.without_password(), shown.replace(":***", ""));
        assert_eq!(parsed(&service.without_password()), Service { password: None, ..service });
    }

    #[test]
    fn tls_has_a_scheme_of_its_own_and_a_sentinel_named_twice_is_one() {
        let service = parsed("rediss-sentinel://h1,h1:26379/svc");
        assert_eq!((service.transport, service.sentinels.len(), service.db), (Transport::Tls, 1, 0));
        assert!(Service::is_named_by("REDIS-SENTINEL://h/s") && !Service::is_named_by("redis://h"));
    }

    #[test]
    fn what_is_no_service_is_refused() {
        for url in
            ["redis-sentinel://h1", "redis-sentinel://h1/", "redis-sentinel://h1//1", "redis-sentinel://h1/s,h2/s"]
        {
            assert_eq!(Service::parse(url), Err(InvalidUrl::Service), "{url}");
        }
        assert_eq!(Service::parse("redis-sentinel:///s"), Err(InvalidUrl::NoHost));
        assert_eq!(Service::parse("redis-sentinel://h1,,h2/s"), Err(InvalidUrl::NoHost));
        assert!(matches!(Service::parse("redis-sentinel://h1:x/s"), Err(InvalidUrl::Port(_))));
        assert!(matches!(Service::parse("redis-sentinel://h1/s/x"), Err(InvalidUrl::Database(_))));
        assert_eq!(Service::parse("redis-sentinel://h1/0?sentinelMasterId=s"), Err(InvalidUrl::Options));
    }
}
