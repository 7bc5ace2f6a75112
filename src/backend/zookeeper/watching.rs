//! Sleeping until one of several contenders goes. What breaks it: one that went before its watch was set, and one whose going
//! the server tells nobody.

use futures_util::future::select_all;
use zookeeper_client::{Client, Error, OneshotWatcher};

/// Watches on contenders that were all there when they were set.
pub(super) struct Watches(Vec<OneshotWatcher>);

impl Watches {
    /// Watches every one of these children of `directory`; `None` when one of them has gone already.
    ///
    /// # Errors
    /// When a watch cannot be set.
    pub(super) async fn set(client: &Client, directory: &str, names: &[&str]) -> Result<Option<Self>, Error> {
        let paths: Vec<String> = names.iter().map(|name| format!("{directory}/{name}")).collect();
        // A watch on the children of a contender, of which it has none, is told when it goes and of nothing else. One on
        // the node itself is told of new data too: a second wake-up at each hand-over, when the next holder notes its
        // grant. A request is sent when its future is made.
        let sent: Vec<_> = paths.iter().map(|path| client.list_and_watch_children(path)).collect();
        let mut watches = Vec::with_capacity(names.len());
        for answer in sent {
            watches.push(match answer.await {
                Ok((_, watch)) => watch,
                Err(Error::NoNode) => return Ok(None),
                Err(Error::NoAuth) => return Self::on_all(client, directory, names).await,
                Err(error) => return Err(error),
            });
        }
        Ok(Some(Self(watches)))
    }

    /// The same where one may not be read. `exists` could watch it, but since CVE-2024-23944 was repaired (3.8.4, 3.9.2,
    /// and what distributions made of it) servers send no event about a node to those who may not read it. So it takes
    /// the directory, which tells of everybody who comes or goes.
    async fn on_all(client: &Client, directory: &str, names: &[&str]) -> Result<Option<Self>, Error> {
        let (children, watch) = client.list_and_watch_children(directory).await?;
        let all_there = names.iter().all(|name| children.iter().any(|child| child == name));
        Ok(all_there.then(|| Self(vec![watch])))
    }

    /// Returns when one of them may have gone.
    pub(super) async fn changed(self) {
        let waiting: Vec<_> = self.0.into_iter().map(|watch| Box::pin(watch.changed())).collect();
        if waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        let (event, ..) = select_all(waiting).await;
        drop(event);
    }
}
