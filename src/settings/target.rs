//! From validated options to each backend's own configuration: the only place that knows their shapes.

use std::path::PathBuf;

use super::deployment::Located;
use super::source::Stated;
use crate::backend::redis::Topology;
use crate::backend::tls::Tls;
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

/// Where a URL leads, with the password that counts.
pub(super) fn topology(url: &Stated<String>, password: Option<Stated<String>>) -> Result<Topology, Error> {
    // The value is not shown: it may hold a password, whatever else is wrong with it.
    let mut topology =
        Topology::parse(&url.value).map_err(|reason| url.level.error(format!("invalid {}: {reason}", url.name)))?;
    // The higher level comes first; on one level a secret's own place before the URL.
    if let Some(password) = password
        && (password.level <= url.level || topology.password().is_none())
    {
        topology.set_password(redis::Secret::new(password.value));
    }
    Ok(topology)
}

/// One deployment, or several independent masters.
pub(super) fn redis(
    mut topologies: Vec<Topology>,
    tls: Tls,
    wait_replicas: u32,
    namespace: &Namespace,
    layout: Option<redis::Layout>,
) -> Result<Located, Error> {
    let join = |write: fn(&Topology) -> String| topologies.iter().map(write).collect::<Vec<_>>().join(",");
    let (shown, variable) = (join(Topology::masked), join(Topology::without_password));
    let namespace = namespace.clone();
    if topologies.len() > 1 || wait_replicas > 0 {
        refuse_layout(layout)?;
    }
    let target = match (topologies.pop(), layout) {
        (Some(topology), Some(layout)) => {
            Target::RedisLayout(redis::Config { topology, namespace, tls, wait_replicas }, layout)
        }
        (Some(topology), None) if topologies.is_empty() => {
            Target::Redis(redis::Config { topology, namespace, tls, wait_replicas })
        }
        (last, _) => {
            topologies.extend(last);
            let endpoints = topologies.into_iter().filter_map(Topology::into_server).collect();
            Target::RedisMasters(redis::masters::Config { endpoints, namespace, tls })
        }
    };
    Ok(Located { endpoint: shown, variable: Some(variable), target })
}

fn refuse_layout(layout: Option<redis::Layout>) -> Result<(), Error> {
    let Some(layout) = layout else { return Ok(()) };
    let reason = "its library knows neither several masters nor --wait-replicas: give one --redis URL alone";
    Err(Error::usage(format!("--layout {}: {reason}", layout.name())))
}

pub(super) fn zookeeper(
    servers: zookeeper::ConnectString,
    access: zookeeper::Access,
    namespace: &Namespace,
    family: zookeeper::Family,
    fence_floor: u64,
) -> Located {
    Located {
        endpoint: servers.shown(),
        variable: Some(servers.to_string()),
        target: Target::ZooKeeper(zookeeper::Config {
            servers,
            access,
            namespace: namespace.clone(),
            family,
            fence_floor,
        }),
    }
}
