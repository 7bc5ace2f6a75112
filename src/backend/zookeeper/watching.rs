//! Sleeping until one of several contenders goes. What breaks it: one that went before its watch was set, and one whose going
//! the server tells nobody.

use std::pin::Pin;

use futures_util::future::select_all;
use zookeeper_client::{Client, Error, WatchedEvent};

use super::heartbeat::Existence;

type Event = Pin<Box<dyn Future<Output = WatchedEvent>>>;

/// Watches on contenders, kept from one look at the queue to the next: setting and dropping one each takes a request.
#[derive(Default)]
pub(super) struct Watches {
    each: Vec<Watched>,
    /// Those on others ahead, kept until they fire.
    beyond: Vec<Watched>,
    /// In place of those on each, one on the directory.
    on_directory: Option<Event>,
}

struct Watched {
    name: String,
    gone: Event,
    lease: LeaseOfItsOwn,
}

/// Whether a contender ends by time alone. For as long as its watch has not fired it is the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeaseOfItsOwn {
    Perhaps,
    None,
}

impl Watches {
    /// Watches just these children of `directory`, all of whom were in the last list of it. `Gone`: one of them is not there
    /// any more.
    ///
    /// # Errors
    /// When a watch cannot be set.
    pub(super) async fn turn_to(
        &mut self,
        client: &Client,
        directory: &str,
        names: &[&str],
    ) -> Result<Existence, Error> {
        if self.on_directory.is_some() {
            return Ok(Existence::Exists);
        }
        self.each.retain(|watched| names.contains(&watched.name.as_str()));
        let new: Vec<&str> = names.iter().copied().filter(|name| self.find(name).is_none()).collect();
        let paths: Vec<String> = new.iter().map(|name| format!("{directory}/{name}")).collect();
        // A watch on the children of a contender, of which it has none, is told when it goes and of nothing else. One on
        // the node itself is told of new data too: a second wake-up at each hand-over, when the next holder notes its
        // grant. A request is sent when its future is made.
        let sent: Vec<_> = paths.iter().map(|path| client.list_and_watch_children(path)).collect();
        for (name, answer) in new.into_iter().zip(sent) {
            match answer.await {
                Ok((_, watch)) => self.each.push(Watched {
                    name: name.to_owned(),
                    gone: Box::pin(watch.changed()),
                    lease: LeaseOfItsOwn::Perhaps,
                }),
                Err(Error::NoNode) => return Ok(Existence::Gone),
                Err(Error::NoAuth) => return self.turn_to_directory(client, directory, names).await,
                Err(error) => return Err(error),
            }
        }
        Ok(Existence::Exists)
    }

    /// The same where one may not be read. `exists` could watch it, but since CVE-2024-23944 was repaired (3.8.4, 3.9.2,
    /// and what distributions made of it) servers send no event about a node to those who may not read it. So it takes
    /// the directory, which tells of everybody who comes or goes.
    async fn turn_to_directory(
        &mut self,
        client: &Client,
        directory: &str,
        names: &[&str],
    ) -> Result<Existence, Error> {
        let (children, watch) = client.list_and_watch_children(directory).await?;
        self.each.clear();
        self.beyond.clear();
        self.on_directory = Some(Box::pin(watch.changed()));
        let all_there = names.iter().all(|name| children.iter().any(|child| child == name));
        Ok(if all_there { Existence::Exists } else { Existence::Gone })
    }

    /// Watches one more of them, further ahead. `Gone` as above.
    ///
    /// # Errors
    /// When the watch cannot be set.
    pub(super) async fn also_on(&mut self, client: &Client, directory: &str, name: &str) -> Result<Existence, Error> {
        match client.list_and_watch_children(&format!("{directory}/{name}")).await {
            Ok((_, watch)) => {
                self.beyond.push(Watched {
                    name: name.to_owned(),
                    gone: Box::pin(watch.changed()),
                    lease: LeaseOfItsOwn::Perhaps,
                });
                Ok(Existence::Exists)
            }
            Err(Error::NoNode) => Ok(Existence::Gone),
            Err(error) => Err(error),
        }
    }

    /// Whether it is told when the contender of this name goes.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.on_directory.is_some() || self.find(name).is_some()
    }

    /// Returns when one of them may have gone.
    pub(super) async fn changed(&mut self) {
        let contenders = self.each.iter_mut().chain(&mut self.beyond).map(|watched| &mut watched.gone);
        let events: Vec<&mut Event> = contenders.chain(&mut self.on_directory).collect();
        if events.is_empty() {
            std::future::pending::<()>().await;
        }
        let fired = select_all(events).await.1;
        let on_each = self.each.len();
        if fired < on_each {
            self.each.swap_remove(fired);
        } else if fired < on_each + self.beyond.len() {
            self.beyond.swap_remove(fired - on_each);
        } else {
            self.on_directory = None;
        }
    }

    /// Whether the contender of this name has been found to end with its session.
    pub(super) fn is_without_lease(&self, name: &str) -> bool {
        self.find(name).is_some_and(|watched| watched.lease == LeaseOfItsOwn::None)
    }

    /// Read since its watch was set, it ends with its session.
    pub(super) fn found_without_lease(&mut self, name: &str) {
        if let Some(watched) = self.each.iter_mut().find(|watched| watched.name == name) {
            watched.lease = LeaseOfItsOwn::None;
        }
    }

    fn find(&self, name: &str) -> Option<&Watched> {
        self.each.iter().chain(&self.beyond).find(|watched| watched.name == name)
    }
}
