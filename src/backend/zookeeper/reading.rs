//! Reading thousands of nodes. What breaks it: a server older than 3.6, which does not know reads of many in one request and
//! hangs up on them.

use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Client, Error, MultiReadResult, MultiReader, SessionState};

use super::node::Node;
use super::{ZooKeeperBackend, place};

/// How many nodes one request asks about, and how many such requests are sent before the first answer is awaited.
const EACH: usize = 64;
const IN_FLIGHT: usize = 4;

/// How long an old server may take to hang up, and the client crate to come back.
const HANGING_UP: Duration = Duration::from_millis(500);

/// How many single requests are sent before the first answer is awaited.
const SINGLY_IN_FLIGHT: usize = 64;

/// The children of each of these directories; `None`: it is gone, or we may not look.
///
/// # Errors
/// When one of them cannot be read for another reason.
pub(super) async fn children(
    backend: &ZooKeeperBackend,
    client: &Client,
    directories: &[String],
) -> Result<Vec<Option<Vec<String>>>, Error> {
    let Some(answers) = many(backend, client, directories, |reader, path| reader.add_get_children(path)).await else {
        return children_singly(client, directories).await;
    };
    let listed = answers.into_iter().map(|answer| match answer {
        MultiReadResult::Children { children } => Ok(Some(children)),
        MultiReadResult::Error { err: Error::NoNode | Error::NoAuth } => Ok(None),
        MultiReadResult::Error { err } => Err(err),
        other => Err(Error::UnexpectedError(format!("no list of children: {other:?}"))),
    });
    listed.collect()
}

/// The nodes at these paths, each in the place of its path, as [`place::read_paths`] reads them.
///
/// # Errors
/// As there.
pub(super) async fn nodes(
    backend: &ZooKeeperBackend,
    client: &Client,
    paths: &[String],
) -> Result<Vec<Option<Node>>, Error> {
    let Some(answers) = many(backend, client, paths, |reader, path| reader.add_get_data(path)).await else {
        return place::read_paths(client, paths).await;
    };
    let mut nodes = Vec::with_capacity(paths.len());
    for (path, answer) in paths.iter().zip(answers) {
        let name = path.rsplit('/').next().unwrap_or_default();
        nodes.push(match answer {
            MultiReadResult::Data { data, stat } => Some(Node::new(name, data, stat)),
            MultiReadResult::Error { err: Error::NoNode } => None,
            // What can be known of it takes a request of another kind.
            _ => place::read_paths(client, std::slice::from_ref(path)).await?.pop().flatten(),
        });
    }
    Ok(nodes)
}

/// How a request for many nodes is put together.
type Add = fn(&mut MultiReader<'_>, &str) -> Result<(), Error>;

/// Answers for all of `paths`, or none: then they are asked for one by one.
async fn many(backend: &ZooKeeperBackend, client: &Client, paths: &[String], add: Add) -> Option<Vec<MultiReadResult>> {
    if backend.reads_singly.get() {
        return None;
    }
    let mut states = client.state_watcher();
    let answers = try_many(client, paths, add).await;
    if answers.as_ref().is_err_and(|error| *error == Error::Unimplemented) {
        backend.reads_singly.set(true);
        // It hangs up behind its answer. Whoever wrote meanwhile would write into the void.
        let again = async { while states.changed().await != SessionState::SyncConnected {} };
        timeout(HANGING_UP, again).await.ok();
    }
    answers.ok().filter(|answers| answers.len() == paths.len())
}

async fn try_many(client: &Client, paths: &[String], add: Add) -> Result<Vec<MultiReadResult>, Error> {
    let mut answers = Vec::with_capacity(paths.len());
    // The first one alone: it shows whether the server knows such requests.
    let (first, rest) = paths.split_at(EACH.min(paths.len()));
    for some in std::iter::once(first).chain(rest.chunks(EACH * IN_FLIGHT)) {
        let requests = some.chunks(EACH).map(|each| {
            let mut reader = client.new_multi_reader();
            each.iter().try_for_each(|path| add(&mut reader, path))?;
            // It is sent when its future is made.
            Ok::<_, Error>(reader.commit())
        });
        for request in requests.collect::<Result<Vec<_>, _>>()? {
            answers.extend(request.await?);
        }
    }
    Ok(answers)
}

async fn children_singly(client: &Client, directories: &[String]) -> Result<Vec<Option<Vec<String>>>, Error> {
    let mut listed = Vec::with_capacity(directories.len());
    for some in directories.chunks(SINGLY_IN_FLIGHT) {
        // A request is sent when its future is made.
        let sent: Vec<_> = some.iter().map(|directory| client.list_children(directory)).collect();
        for answer in sent {
            listed.push(match answer.await {
                Ok(children) => Some(children),
                Err(Error::NoNode | Error::NoAuth) => None,
                Err(error) => return Err(error),
            });
        }
    }
    Ok(listed)
}
