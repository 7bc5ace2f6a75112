//! How a Cluster is named.

use crate::backend::redis::endpoint::{Address, Endpoint, InvalidUrl, Secret, Transport};

/// `redis-cluster://[user[:password]@]host[:port][,host[:port]…]`, or `rediss-cluster://` for TLS: nodes that know the
/// others, each reached in the same way by the same user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterUrl {
    /// At least one.
    seeds: Vec<Endpoint>,
}

impl ClusterUrl {
    /// `None`: the URL names no Cluster.
    ///
    /// # Errors
    /// [`InvalidUrl`] in one sentence.
    pub fn parse(url: &str) -> Option<Result<Self, InvalidUrl>> {
        let (scheme, rest) = url.split_once("://")?;
        let transport = match scheme.to_ascii_lowercase().as_str() {
            "redis-cluster" => Transport::Plain,
            "rediss-cluster" => Transport::Tls,
            _ => return None,
        };
        let mut seeds: Vec<Endpoint> = Vec::new();
        match Endpoint::parse_list(rest, transport) {
            // One that is named twice is asked once.
            Ok(named) => named.into_iter().for_each(|seed| {
                if !seeds.contains(&seed) {
                    seeds.push(seed);
                }
            }),
            Err(invalid) => return Some(Err(invalid)),
        }
        match seeds.iter().find(|seed| seed.db != 0) {
            Some(seed) => Some(Err(InvalidUrl::ClusterDatabase(seed.db))),
            None => Some(Ok(Self { seeds })),
        }
    }

    #[must_use]
    pub fn transport(&self) -> Transport {
        self.template().transport
    }

    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.template().password.as_ref()
    }

    pub fn set_password(&mut self, password: &Secret) {
        for seed in &mut self.seeds {
            seed.password = Some(password.clone());
        }
    }

    /// The URL as it may be shown to anybody.
    #[must_use]
    pub fn masked(&self) -> String {
        self.written(&self.template().masked())
    }

    /// The URL without its password, which [`ClusterUrl::parse`] reads again.
    #[must_use]
    pub fn without_password(&self) -> String {
        self.written(&self.template().without_password())
    }

    pub(super) fn seeds(&self) -> impl Iterator<Item = (String, u16)> {
        self.seeds.iter().filter_map(|seed| match &seed.address {
            Address::Tcp { host, port } => Some((host.clone(), *port)),
            Address::Unix(_) => None,
        })
    }

    /// What every node's way of being reached has in common.
    pub(super) fn template(&self) -> &Endpoint {
        self.seeds.first().expect("an empty list of hosts is no URL")
    }

    /// `first` is the first seed's own URL.
    fn written(&self, first: &str) -> String {
        let (scheme, first) = first.split_once("://").unwrap_or(("redis", first));
        let others = self.seeds.iter().skip(1).map(|seed| format!(",{}", seed.server())).collect::<String>();
        format!("{scheme}-cluster://{first}{others}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> ClusterUrl {
        ClusterUrl::parse(url).expect("it names a Cluster").unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn all_nodes_share_the_credentials_and_secrets_are_masked() {
        let url = parsed("redis-cluster://bob:hunter2@c1,c2:7000,[::1]:7001,c1:6379");
        assert_eq!(url.masked(), "redis-cluster://bob:***@c1:6379,c2:7000,[::1]:7001");
        assert_eq!(url.without_password(), "redis-cluster://bob@c1:6379,c2:7000,[::1]:7001");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert!(url.seeds.iter().all(|seed| seed.password.as_ref().map(Secret::reveal) == Some("hunter2")));
        assert_eq!(parsed(&url.without_password()).masked(), url.without_password());
    }

    #[test]
    fn tls_is_the_same_with_another_scheme() {
        let url = parsed("rediss-cluster://c1,c2/0");
        assert_eq!(url.transport(), Transport::Tls);
        assert_eq!(url.masked(), "rediss-cluster://c1:6379,c2:6379");
    }

    #[test]
    fn what_is_no_cluster_and_what_no_cluster_can_be_is_told() {
        assert_eq!(ClusterUrl::parse("redis://c1"), None);
        assert_eq!(ClusterUrl::parse("c1,c2"), None);
        for (url, invalid) in [
            ("redis-cluster://c1,c2/3", InvalidUrl::ClusterDatabase(3)),
            ("redis-cluster://", InvalidUrl::NoHost),
            ("redis-cluster://c1,:7000", InvalidUrl::NoHost),
            ("redis-cluster://c1:0", InvalidUrl::Port("0".into())),
            ("redis-cluster://c1?x=1", InvalidUrl::Options),
        ] {
            assert_eq!(ClusterUrl::parse(url), Some(Err(invalid)), "{url}");
        }
    }
}
