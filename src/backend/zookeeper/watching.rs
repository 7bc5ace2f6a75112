//! Sleeping until one of several nodes goes. What breaks it: a node that went before its watch was set.

use futures_util::future::select_all;
use zookeeper_client::{Client, Error, OneshotWatcher};

/// Watches on nodes that were all there when they were set.
pub(super) struct Watches(Vec<OneshotWatcher>);

impl Watches {
    /// Watches every one of these; `None` when one of them has gone already.
    ///
    /// # Errors
    /// When a watch cannot be set for another reason.
    pub(super) async fn set(client: &Client, paths: &[String]) -> Result<Option<Self>, Error> {
        // A request is sent when its future is made.
        let sent: Vec<_> = paths.iter().map(|path| client.list_and_watch_children(path)).collect();
        let mut watches = Vec::with_capacity(paths.len());
        for (path, answer) in paths.iter().zip(sent) {
            // A watch on the children, of which a contender has none, is told when the node goes and nothing else. One on
            // the node itself is told of new data too: a second wake-up at each hand-over, when the next holder notes
            // its grant. It needs no right, though, and the children that of reading.
            watches.push(match answer.await {
                Ok((_, watch)) => watch,
                Err(Error::NoNode) => return Ok(None),
                Err(Error::NoAuth) => match client.check_and_watch_stat(path).await? {
                    (Some(_), watch) => watch,
                    (None, _) => return Ok(None),
                },
                Err(error) => return Err(error),
            });
        }
        Ok(Some(Self(watches)))
    }

    /// Returns when one of the nodes is gone, or looks different.
    pub(super) async fn changed(self) {
        let waiting: Vec<_> = self.0.into_iter().map(|watch| Box::pin(watch.changed())).collect();
        if waiting.is_empty() {
            std::future::pending::<()>().await;
        }
        let (event, ..) = select_all(waiting).await;
        drop(event);
    }
}
