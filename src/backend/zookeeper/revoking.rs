//! Taking a lock back from one holder. What breaks it: data that were changed between the look and the mark, which the
//! node's version tells.

use zookeeper_client::{Client, Error};

use super::node::Node;
use super::queue::Queue;
use super::{ZooKeeperBackend, failure, place};
use crate::lock::{BackendError, HolderEntry, LockKey, Manner, Phase, Revocation};

pub(super) async fn revoke(
    backend: &ZooKeeperBackend,
    key: &LockKey,
    shown: &HolderEntry,
    manner: Manner,
) -> Result<Revocation, BackendError> {
    let explained = |error: Error| failure::explained(&backend.ensemble, "take the lock back", &error);
    let directory = backend.layout.directory(key)?;
    let client = backend.any_session().await?.client()?;
    loop {
        let Some(node) = holder(backend, &client, &directory, shown).await.map_err(explained)? else {
            return Ok(Revocation::Changed);
        };
        let (path, version) = (format!("{directory}/{}", node.name), node.version());
        let is_marked = node.phase() == Phase::Revoked;
        let (done, outcome) = match (manner, &node.record) {
            (Manner::Asking, _) if is_marked => return Ok(Revocation::Asked),
            (Manner::Asking, Some(record)) if node.is_ephemeral() => {
                let data = record.revoked(node.granted_ms()).to_bytes();
                (client.set_data(&path, &data, version).await.map(drop), Revocation::Asked)
            }
            // Other programs cannot be asked: only those of Curator's clients would hear it that have prepared for that.
            _ => (client.delete(&path, version).await, Revocation::Freed),
        };
        match done {
            Ok(()) => return Ok(outcome),
            Err(Error::NoNode | Error::BadVersion) => {}
            Err(error) => return Err(explained(error)),
        }
    }
}

/// The node whose contender `shown` shows, if it holds the lock.
async fn holder(
    backend: &ZooKeeperBackend,
    client: &Client,
    directory: &str,
    shown: &HolderEntry,
) -> Result<Option<Node>, Error> {
    let queue = match client.list_children(directory).await {
        Ok(children) => Queue::of(backend.family, children),
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(error),
    };
    let holders = &queue.entries()[..queue.holders()];
    let names: Vec<&str> = holders.iter().map(|entry| entry.name.as_str()).collect();
    let is_it = |node: &Node| {
        node.id() == shown.id
            && shown.fence.is_none_or(|fence| node.fence().and_then(|own| backend.fence(own)) == Some(fence))
    };
    Ok(place::read(client, directory, &names).await?.into_iter().find(is_it))
}
