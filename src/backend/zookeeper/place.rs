//! One contender's place in a queue: the node it created, how to find it again, and how to take it out.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use zookeeper_client::{Client, Error, Stat, WatchedEvent};

use super::family::Family;
use super::node::Node;
use super::queue::Queue;
use super::session::Session;
use super::{ZooKeeperBackend, failure};
use crate::lock::{BackendError, Claim, LeaseKind, LockKey, OwnerToken, Parting, Phase, Release, Retention};
use crate::sys::boottime::BootInstant;

/// How many reads are sent before the first answer is awaited.
const READS_IN_FLIGHT: usize = 64;

/// A contender's node, known by its label before it exists and by its name afterwards.
#[derive(Debug)]
pub(super) struct Place {
    session: Rc<Session>,
    directory: String,
    /// Its name but for the sequence number; nobody else's begins like it.
    label: String,
    kind: LeaseKind,
    retention: Retention,
    /// When it was granted, by our own clock.
    granted_at: Cell<Option<BootInstant>>,
    name: RefCell<Option<String>>,
    stat: Cell<Option<(Stat, BootInstant)>>,
    standing: Cell<Standing>,
    watch: Watch,
    /// An operator wants the lock back, or one of Curator's clients does.
    asked_back: Cell<bool>,
    /// Its owner is about to take it out.
    leaving: Cell<bool>,
}

/// The watch on one's own node while it holds. Dropping one that has not fired takes a request.
#[derive(Default)]
struct Watch(RefCell<Option<Pin<Box<dyn Future<Output = WatchedEvent>>>>>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Waiting,
    Granted,
    /// Granted, and no longer hanging on its session.
    Persistent,
}

/// What became of a node that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    Removed,
    WasGone,
}

/// Whether the session is of use when the node has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    SessionStays,
    SessionCloses,
}

impl Place {
    pub(super) fn new(session: Rc<Session>, directory: &str, label: String, claim: &Claim) -> Self {
        Self {
            session,
            directory: directory.to_owned(),
            label,
            kind: claim.kind,
            retention: claim.retention,
            granted_at: Cell::default(),
            name: RefCell::default(),
            stat: Cell::default(),
            standing: Cell::new(Standing::Waiting),
            watch: Watch::default(),
            asked_back: Cell::new(false),
            leaving: Cell::new(false),
        }
    }

    pub(super) fn session(&self) -> &Rc<Session> {
        &self.session
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// The path that the create request names; ZooKeeper appends a sequence number.
    pub(super) fn prefix(&self) -> String {
        format!("{}/{}", self.directory, self.label)
    }

    /// The node's path, once it is known.
    pub(super) fn path(&self) -> Option<String> {
        self.name.borrow().as_ref().map(|name| format!("{}/{name}", self.directory))
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.name.borrow().as_deref() == Some(name)
    }

    /// The stamps of the node as it was created.
    pub(super) fn stat(&self) -> Option<Stat> {
        self.stat.get().map(|(stat, _)| stat)
    }

    /// The same, and when they were learnt by our own clock.
    pub(super) fn created_at(&self) -> Option<(Stat, BootInstant)> {
        self.stat.get()
    }

    pub(super) fn created(&self, name: &str, stat: Stat) {
        self.name.replace(Some(name.to_owned()));
        self.stat.set(Some((stat, BootInstant::now())));
    }

    pub(super) fn granted(&self) {
        self.granted_at.set(Some(BootInstant::now()));
        self.standing.set(Standing::Granted);
        if let Some(path) = self.path() {
            self.session.keep(&path);
        }
    }

    /// It is about to go: the heartbeat of the other keys must not fail for it.
    pub(super) fn leaves(&self) {
        self.leaving.set(true);
        if let Some(path) = self.path() {
            self.session.keep_no_longer(&path);
        }
    }

    /// What others are to be told when the holder parts so, and until when it lasts; the later of the two. Nothing that does not
    /// hang on the session has a retention.
    pub(super) fn left_by(&self, parting: Parting) -> Option<(&'static str, BootInstant)> {
        let Retention { hold_at_least, lock_delay } = self.retention;
        let granted_at = self.granted_at.get()?;
        let minimum = (granted_at + hold_at_least, "held-at-least");
        let delay = (BootInstant::now() + lock_delay, "lock-delay");
        let minimum = Some(minimum).filter(|(until, _)| parting.keeps_the_minimum() && !until.has_passed());
        let delay = Some(delay).filter(|_| parting.delays() && !lock_delay.is_zero());
        minimum.into_iter().chain(delay).max().map(|(until, lease)| (lease, until))
    }

    pub(super) fn made_persistent(&self) {
        self.standing.set(Standing::Persistent);
    }

    pub(super) fn was_granted(&self) -> bool {
        self.standing.get() != Standing::Waiting
    }

    pub(super) fn outlives_its_session(&self) -> bool {
        self.standing.get() == Standing::Persistent
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    pub(super) fn is_asked_back(&self) -> bool {
        self.asked_back.get()
    }

    /// Sets a watch on the node unless there is one, and reads what was written there before.
    pub(super) async fn be_watched(&self, path: &str) {
        let Ok(client) = self.session.client() else { return };
        if self.watch.0.borrow().is_some() {
            return;
        }
        // The requests that follow say what became of the node.
        if let Ok((data, stat, watcher)) = client.get_and_watch_data(path).await {
            self.asked_back.set(self.asked_back.get() || Node::new("", data, stat).phase() == Phase::Revoked);
            self.watch.0.replace(Some(Box::pin(watcher.changed())));
        }
    }

    /// Completes when the watch has fired, or the heartbeat of another key has told of this node.
    pub(super) async fn touched(&self) {
        let Some(path) = self.path() else { return std::future::pending().await };
        tokio::select! {
            biased;
            () = self.watch_fired() => self.session.was_touched(&path),
            () = self.session.told_of(&path) => {}
        }
    }

    async fn watch_fired(&self) {
        poll_fn(|context| {
            let mut watch = self.watch.0.borrow_mut();
            let fired = watch.as_mut().is_some_and(|event| event.as_mut().poll(context).is_ready());
            if !fired {
                return Poll::Pending;
            }
            watch.take();
            Poll::Ready(())
        })
        .await;
    }

    /// Whether the node may be persistent by now, known or not: the reply that says so may be lost.
    pub(super) fn may_outlive_its_session(&self) -> bool {
        self.kind == LeaseKind::OneShot
    }

    /// Takes the node out of the queue. Where it cannot be found, because the reply to its creation never came, the
    /// session is closed: the request could still be carried out.
    ///
    /// # Errors
    /// When the outcome is unknown.
    pub(super) async fn remove(
        &self,
        backend: &ZooKeeperBackend,
        afterwards: Afterwards,
    ) -> Result<Removal, BackendError> {
        let explained = |error: &Error| failure::explained(&backend.ensemble, "take the contender out", error);
        let client = self.session.client()?;
        if let Some(path) = self.path() {
            let deleting = client.delete(&path, None);
            drop(client);
            if afterwards == Afterwards::SessionCloses {
                // It goes out behind the delete, which still says whether the lock was ours.
                self.session.let_go();
            }
            return match deleting.await {
                Ok(()) => Ok(Removal::Removed),
                Err(Error::NoNode) => Ok(Removal::WasGone),
                Err(error) => Err(explained(&error)),
            };
        }
        // Sent after the create on the same session: the server answers in that order.
        let children = match client.list_children(&self.directory).await {
            Ok(children) => children,
            Err(Error::NoNode) => Vec::new(),
            Err(error) => return Err(explained(&error)),
        };
        let mut removal = Removal::WasGone;
        for name in Queue::of(backend.family, children).created_as(&self.label) {
            match client.delete(&format!("{}/{name}", self.directory), None).await {
                Ok(()) => removal = Removal::Removed,
                Err(Error::NoNode) => {}
                Err(error) => return Err(explained(&error)),
            }
        }
        drop(client);
        if removal == Removal::WasGone && !backend.is_shared(&self.session) {
            self.session.close().await;
        }
        Ok(removal)
    }
}

/// Reads the nodes of these names; those that are gone are left out, those that may not be read have no data.
///
/// # Errors
/// When one of the reads fails otherwise.
pub(super) async fn read(client: &Client, directory: &str, names: &[&str]) -> Result<Vec<Node>, Error> {
    let paths: Vec<String> = names.iter().map(|name| format!("{directory}/{name}")).collect();
    Ok(read_paths(client, &paths).await?.into_iter().flatten().collect())
}

/// The same for nodes anywhere, each answer in the place of its path.
///
/// # Errors
/// When one of the reads fails otherwise.
pub(super) async fn read_paths(client: &Client, paths: &[String]) -> Result<Vec<Option<Node>>, Error> {
    let mut nodes = Vec::with_capacity(paths.len());
    for some in paths.chunks(READS_IN_FLIGHT) {
        // A request is sent when its future is made.
        let sent: Vec<_> = some.iter().map(|path| client.get_data(path)).collect();
        for (path, answer) in some.iter().zip(sent) {
            let name = path.rsplit('/').next().unwrap_or_default();
            nodes.push(match answer.await {
                Ok((data, stat)) => Some(Node::new(name, data, stat)),
                Err(Error::NoNode) => None,
                // To ask for the stamps needs no right, up to 3.9.1: from then on (ZOOKEEPER-2590) that of reading.
                Err(Error::NoAuth) => match client.check_stat(path).await {
                    Ok(stat) => stat.map(|stat| Node::new(name, Vec::new(), stat)),
                    Err(Error::NoAuth) => Some(Node::hidden(name)),
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            });
        }
    }
    Ok(nodes)
}

/// A contender found by its owner token, and whether it holds the lock.
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) holds: bool,
}

/// Looks for the contender of `token` among everybody's.
///
/// # Errors
/// When the directory cannot be read.
pub(super) async fn find(
    client: &Client,
    family: Family,
    directory: &str,
    token: &OwnerToken,
) -> Result<Option<Found>, Error> {
    let queue = match client.list_children(directory).await {
        Ok(children) => Queue::of(family, children),
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(error),
    };
    let names: Vec<&str> = queue.entries().iter().map(|entry| entry.name.as_str()).collect();
    let ours = |node: &Node| {
        node.record.as_ref().is_some_and(|record| record.is_owned_by(token) && record.is_in_its_owners_hands())
    };
    let node = read(client, directory, &names).await?.into_iter().find(ours);
    Ok(node.map(|node| Found { holds: queue.position(&node.name).is_some_and(|at| at < queue.holders()), node }))
}

/// Takes out whatever contends with `token`, from whichever process.
///
/// # Errors
/// When the outcome is unknown.
pub(super) async fn release_by_token(
    backend: &ZooKeeperBackend,
    key: &LockKey,
    token: &OwnerToken,
) -> Result<Release, BackendError> {
    let explained = |error: Error| failure::explained(&backend.ensemble, "release", &error);
    let directory = backend.layout.directory(key)?;
    let client = backend.any_session().await?.client()?;
    loop {
        let Some(Found { node, holds }) = find(&client, backend.family, &directory, token).await.map_err(explained)?
        else {
            return Ok(Release::NotHeld);
        };
        match client.delete(&format!("{directory}/{}", node.name), node.version()).await {
            Ok(()) if holds => return Ok(Release::Released),
            // It was in the queue, or has changed in between: look again, there may be more of it.
            Ok(()) | Err(Error::NoNode | Error::BadVersion) => {}
            Err(error) => return Err(explained(error)),
        }
    }
}
