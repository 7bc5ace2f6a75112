//! From validated options to each backend's own configuration: the only place that knows their shapes.

use std::path::PathBuf;

use super::deployment::Located;
use super::masters::Named;
use super::source::{Level, Stated};
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

/// The server with the password that counts.
pub(super) fn redis_endpoint(url: &Stated<String>, password: Option<Stated<String>>) -> Result<redis::Endpoint, Error> {
    let mut endpoint = redis::Endpoint::parse(&url.value).map_err(|reason| invalid(url, &reason))?;
    endpoint.password = counting(url, endpoint.password, password);
    Ok(endpoint)
}

/// The service with the password that counts.
pub(super) fn redis_service(url: &Stated<String>, password: Option<Stated<String>>) -> Result<redis::Service, Error> {
    let mut service = redis::Service::parse(&url.value).map_err(|reason| invalid(url, &reason))?;
    service.password = counting(url, service.password, password);
    Ok(service)
}

/// The value is not shown: it may hold a password, whatever else is wrong with it.
fn invalid(url: &Stated<String>, reason: &redis::InvalidUrl) -> Error {
    Error::usage(format!("invalid {}: {reason}", url.name))
}

/// What is typed comes before what stands in the environment; on one level a secret's own place before the URL.
fn counting(
    url: &Stated<String>,
    in_url: Option<redis::Secret>,
    apart: Option<Stated<String>>,
) -> Option<redis::Secret> {
    let typed_in_url = url.level == Level::CommandLine && in_url.is_some();
    match apart {
        Some(password) if password.level == Level::CommandLine || !typed_in_url => {
            Some(redis::Secret::new(password.value))
        }
        _ => in_url,
    }
}

/// What the URLs name: one server, several independent masters, or a service.
pub(super) fn redis(
    named: Named,
    tls: Tls,
    wait_replicas: u32,
    namespace: &Namespace,
    layout: Option<redis::Layout>,
) -> Result<Located, Error> {
    let namespace = namespace.clone();
    let (topology, variable) = match named {
        Named::Service(service) => {
            let variable = service.without_password();
            (Topology::Sentinel(service), variable)
        }
        Named::Servers(mut endpoints) => {
            let join =
                |write: fn(&redis::Endpoint) -> String| endpoints.iter().map(write).collect::<Vec<_>>().join(",");
            let (shown, variable) = (join(redis::Endpoint::masked), join(redis::Endpoint::without_password));
            match endpoints.pop() {
                Some(endpoint) if endpoints.is_empty() => (Topology::Server(endpoint), variable),
                last => {
                    refuse_layout(layout)?;
                    endpoints.extend(last);
                    let target = Target::RedisMasters(redis::masters::Config { endpoints, namespace, tls });
                    return Ok(Located { endpoint: shown, variable: Some(variable), target });
                }
            }
        }
    };
    if wait_replicas > 0 {
        refuse_layout(layout)?;
    }
    let endpoint = topology.masked();
    let config = redis::Config { topology, namespace, tls, wait_replicas };
    let target = match layout {
        Some(layout) => Target::RedisLayout(config, layout),
        None => Target::Redis(config),
    };
    Ok(Located { endpoint, variable: Some(variable), target })
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
) -> Located {
    Located {
        endpoint: servers.shown(),
        variable: Some(servers.to_string()),
        target: Target::ZooKeeper(zookeeper::Config { servers, access, namespace: namespace.clone(), family }),
    }
}
