//! Removing a key that nobody but its only user knows of. What breaks it: a contender that is still at work, which makes the
//! nodes anew.

use zookeeper_client::{Client, Error};

use super::{ZooKeeperBackend, failure};
use crate::lock::{BackendError, LockKey};

/// A namespace's node that is older than the key's by more than this, in milliseconds, was not made for it.
const MADE_TOGETHER: i64 = 1_000;

/// How often a node is looked at anew whose children changed meanwhile.
const ATTEMPTS: usize = 3;

pub(super) async fn forget(backend: &ZooKeeperBackend, key: &LockKey) -> Result<(), BackendError> {
    let explained = |error: Error| failure::explained(&backend.ensemble, "remove a key's node", &error);
    let directory = backend.layout.directory(key)?;
    let client = backend.any_session().await?.client()?;
    let Some(made) = client.check_stat(&directory).await.map_err(explained)? else { return Ok(()) };
    let mut removed = remove(&client, &directory).await;
    for _ in 1..ATTEMPTS {
        if removed == Err(Error::NotEmpty) {
            removed = remove(&client, &directory).await;
        }
    }
    removed.map_err(explained)?;
    let top = backend.layout.top();
    if top.is_empty() {
        return Ok(());
    }
    // A container that nobody uses goes by itself in a minute; what an operator has made stays.
    match client.check_stat(&top).await {
        Ok(Some(stat)) if (made.ctime - stat.ctime).abs() <= MADE_TOGETHER => {
            client.delete(&top, None).await.ok();
        }
        _ => {}
    }
    Ok(())
}

/// The node and its children.
async fn remove(client: &Client, directory: &str) -> Result<(), Error> {
    let there = |done: Result<(), Error>| if done == Err(Error::NoNode) { Ok(()) } else { done };
    let (children, _) = match client.get_children(directory).await {
        Err(Error::NoNode) => return Ok(()),
        listed => listed?,
    };
    for child in children {
        there(client.delete(&format!("{directory}/{child}"), None).await)?;
    }
    there(client.delete(directory, None).await)
}
