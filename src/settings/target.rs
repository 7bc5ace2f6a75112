//! From validated options to each backend's own configuration: the only place that knows their shapes.

use std::path::PathBuf;

use super::deployment::Located;
use super::source::{Level, Stated};
use crate::backend::{Target, file, redis, zookeeper};
use crate::error::Error;
use crate::lock::Namespace;

pub(super) fn file(dir: Option<&Stated<PathBuf>>, namespace: &Namespace) -> Located {
    let config = file::Config { dir: dir.map(|dir| dir.value.clone()), namespace: namespace.clone() };
    Located {
        endpoint: config.directory().to_string_lossy().into_owned(),
        variable: dir.map(|dir| dir.value.to_string_lossy().into_owned()),
        target: Target::File(config),
    }
}

pub(super) fn redis(
    url: &Stated<String>,
    password: Option<Stated<String>>,
    namespace: &Namespace,
    layout: Option<redis::Layout>,
) -> Result<Located, Error> {
    // The value is not shown: it may hold a password, whatever else is wrong with it.
    let endpoint =
        redis::Endpoint::parse(&url.value).map_err(|reason| Error::usage(format!("invalid {}: {reason}", url.name)))?;
    let config = redis::Config { endpoint, namespace: namespace.clone() };
    // What is typed comes before what stands in the environment; on one level a secret's own place before the URL.
    let typed_in_url = url.level == Level::CommandLine && config.endpoint.password.is_some();
    let config = match password {
        Some(password) if password.level == Level::CommandLine || !typed_in_url => {
            config.with_password(redis::Secret::new(password.value))
        }
        Some(_) | None => config,
    };
    Ok(Located {
        endpoint: config.endpoint.masked(),
        variable: Some(config.endpoint.without_password()),
        target: match layout {
            Some(layout) => Target::RedisLayout(config, layout),
            None => Target::Redis(config),
        },
    })
}

pub(super) fn zookeeper(hosts: &Stated<String>, namespace: &Namespace) -> Result<Located, Error> {
    // Not shown either: somebody may have tried to put a password into it.
    let servers = zookeeper::ConnectString::parse(&hosts.value)
        .map_err(|reason| Error::usage(format!("invalid {}: {reason}", hosts.name)))?;
    Ok(Located {
        endpoint: servers.shown(),
        variable: Some(servers.to_string()),
        target: Target::ZooKeeper(zookeeper::Config { servers, namespace: namespace.clone() }),
    })
}
