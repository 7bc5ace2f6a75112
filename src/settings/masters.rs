//! A list of Redis URLs: one server, or several independent masters.

use super::source::{Environment, Level, Stated, text};
use super::target;
use crate::backend::redis::Topology;
use crate::backend::{Target, redis};
use crate::cli;
use crate::error::Error;
use crate::error::phrase::Quoted;

/// Schemes that name a whole deployment: nothing stands beside them.
const DEPLOYMENTS: [&str; 4] = ["redis-sentinel://", "rediss-sentinel://", "redis-cluster://", "rediss-cluster://"];

/// # Errors
/// When a URL is invalid, or they cannot stand together.
pub(super) fn topologies(
    urls: &Stated<Vec<String>>,
    password: Option<&Stated<String>>,
) -> Result<Vec<Topology>, Error> {
    let is_deployment = |url: &String| DEPLOYMENTS.iter().any(|scheme| url.to_ascii_lowercase().starts_with(scheme));
    if urls.value.len() > 1 && urls.value.iter().any(is_deployment) {
        return Err(urls.level.error(format!(
            "{} mixes kinds of URLs: several plain ones are independent masters; a Sentinel or Cluster URL stands alone",
            urls.name
        )));
    }
    let mut found: Vec<Topology> = Vec::new();
    for url in &urls.value {
        let url = Stated { value: url.clone(), name: urls.name.clone(), level: urls.level };
        let topology = target::topology(&url, password.cloned())?;
        if let Topology::Server(endpoint) = &topology
            && servers(&found).any(|known| known.server() == endpoint.server())
        {
            return Err(urls.level.error(format!(
                "{} names {} twice: independent masters are different servers",
                urls.name,
                Quoted(&endpoint.server())
            )));
        }
        found.push(topology);
    }
    Ok(found)
}

/// Those that are one server each.
fn servers(topologies: &[Topology]) -> impl Iterator<Item = &redis::Endpoint> {
    topologies.iter().filter_map(|topology| match topology {
        Topology::Server(endpoint) => Some(endpoint),
        Topology::Sentinel(_) | Topology::Cluster(_) => None,
    })
}

/// What is said of an even number of masters.
pub(super) fn warning(target: &Target) -> Option<String> {
    let config = target.each().into_iter().find_map(|target| match target {
        Target::RedisMasters(config) => Some(config),
        _ => None,
    })?;
    let masters = config.endpoints.len();
    (masters % 2 == 0).then(|| {
        format!(
            "{masters} masters survive no more failures than {} would, since {} of them have to agree: use an odd number",
            masters - 1,
            masters / 2 + 1
        )
    })
}

/// How many replicas have to confirm; 0: none. Several masters have none, which is an error where somebody typed it.
///
/// # Errors
/// When it is no number of replicas, or typed for several masters.
pub(super) fn wait_replicas(
    typed: &cli::Backend,
    environment: &Environment,
    topologies: &[Topology],
) -> Result<u32, Error> {
    let Some(stated) = text(typed.wait_replicas.as_ref(), "wait-replicas", environment)? else { return Ok(0) };
    let is_number = stated.value.bytes().all(|byte| byte.is_ascii_digit());
    // Redis takes a C int.
    let number = stated.value.parse().ok().filter(|number| is_number && (1..=i32::MAX as u32).contains(number));
    let number = number.ok_or_else(|| stated.invalid("replicas are a whole number from 1 on"))?;
    match (topologies.len(), stated.level) {
        (1, _) => Ok(number),
        (_, Level::CommandLine) => Err(Error::usage(format!(
            "{} is for one Redis server; of several masters a majority confirms each grant",
            stated.name
        ))),
        _ => Ok(0),
    }
}

/// A scheme holds no `@`: what has one before its `://` is the rest of a password with a comma in it.
fn begins_a_url(piece: &str) -> bool {
    piece.split_once("://").is_some_and(|(scheme, _)| !scheme.contains(['@', ':', '/']))
}

/// The URLs of a comma list. A comma before anything but another URL belongs to the one that it stands in.
pub(super) fn urls(list: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for piece in list.split(',').map(str::trim).filter(|piece| !piece.is_empty()) {
        match urls.last_mut() {
            Some(url) if !begins_a_url(piece) => *url += &format!(",{piece}"),
            _ => urls.push(piece.to_owned()),
        }
    }
    urls
}
