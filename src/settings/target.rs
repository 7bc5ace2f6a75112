//! From validated options to each backend's own configuration: the only place that knows their shapes.

use std::path::PathBuf;

use super::deployment::Located;
use super::source::Stated;
use crate::backend::{Target, file, redis, zookeeper};
use crate::error::Error;
use crate::lock::Namespace;

pub(super) fn file(dir: Option<&Stated<PathBuf>>, _namespace: &Namespace) -> Result<Located, Error> {
    let shown = dir.map(|dir| dir.value.to_string_lossy().into_owned());
    Ok(Located {
        target: Target::File(file::Config {}),
        endpoint: shown.clone().unwrap_or_else(|| "/run/lock".to_owned()),
        variable: shown,
    })
}

pub(super) fn redis(url: &Stated<String>, _password: Option<String>, _namespace: &Namespace) -> Result<Located, Error> {
    let shown = without_password(&url.value);
    Ok(Located { target: Target::Redis(redis::Config {}), endpoint: shown.clone(), variable: Some(shown) })
}

pub(super) fn zookeeper(hosts: &Stated<String>, _namespace: &Namespace) -> Result<Located, Error> {
    Ok(Located {
        target: Target::ZooKeeper(zookeeper::Config {}),
        endpoint: hosts.value.clone(),
        variable: Some(hosts.value.clone()),
    })
}

fn without_password(url: &str) -> String {
    match url.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?))) {
        Some((scheme, (credentials, place))) => {
            let user = credentials.split(':').next().unwrap_or_default();
            if user.is_empty() { format!("{scheme}://{place}") } else { format!("{scheme}://{user}@{place}") }
        }
        None => url.to_owned(),
    }
}
