//! From validated options to each backend's own configuration: the only place that knows their shapes.

use std::path::PathBuf;

use super::deployment::Located;
use super::source::Stated;
use crate::backend::redis::{Endpoint, Secret};
use crate::backend::{Target, file, redis, zookeeper};
use crate::error::Error;
use crate::lock::Namespace;

pub(super) fn file(dir: Option<&Stated<PathBuf>>, namespace: &Namespace) -> Result<Located, Error> {
    let config = file::Config { dir: dir.map(|dir| dir.value.clone()), namespace: namespace.clone() };
    Ok(Located {
        endpoint: config.directory().to_string_lossy().into_owned(),
        variable: dir.map(|dir| dir.value.to_string_lossy().into_owned()),
        target: Target::File(config),
    })
}

pub(super) fn redis(url: &Stated<String>, password: Option<String>, namespace: &Namespace) -> Result<Located, Error> {
    let endpoint = Endpoint::parse(&url.value).map_err(|reason| url.invalid(reason))?;
    let (shown, variable) = (endpoint.masked(), endpoint.without_password());
    let mut config = redis::Config { endpoint, namespace: namespace.clone() };
    if let Some(password) = password {
        config = config.with_password(Secret::new(password));
    }
    Ok(Located { target: Target::Redis(config), endpoint: shown, variable: Some(variable) })
}

pub(super) fn zookeeper(hosts: &Stated<String>, _namespace: &Namespace) -> Result<Located, Error> {
    Ok(Located {
        target: Target::ZooKeeper(zookeeper::Config {}),
        endpoint: hosts.value.clone(),
        variable: Some(hosts.value.clone()),
    })
}
