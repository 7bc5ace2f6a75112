//! One committed check in each beat for all nodes that a session keeps. Each key asks when its own time has come; who comes
//! first asks for all, and the others are told. What breaks it: one node that fails the check of all others, and those
//! who wait for an answer being sent away before it comes.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::Shared;
use tokio::sync::Notify;
use zookeeper_client::{Client, Error, MultiWriteError};

use super::roster::{Roster, Word};
use super::session::Session;
use crate::sys::boottime::BootInstant;

/// ZooKeeper's word for "whatever the version is".
const ANY_VERSION: i32 = -1;

/// Whether a node was there when a committed write looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existence {
    Exists,
    Gone,
}

/// What a check says of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pulse {
    /// It was there in a check that was sent after this instant.
    There(BootInstant),
    Gone,
}

/// What the keys of one session share.
#[derive(Debug, Default)]
pub(super) struct Heart {
    roster: RefCell<Roster>,
    /// The last one, which outlives those who wait for it: who comes back to it need not ask once more.
    check: RefCell<Option<Check>>,
    news: Notify,
}

/// A check of several nodes in one request.
#[derive(Debug, Clone)]
struct Check {
    /// The instant before it was sent.
    sent: BootInstant,
    paths: Rc<[String]>,
    answer: Shared<Answering>,
}

type Answering = Pin<Box<dyn Future<Output = Result<(), MultiWriteError>>>>;

impl Heart {
    /// Lets go of the session: a check that has no answer yet holds a handle of it.
    pub(super) fn stop(&self) {
        self.check.take();
    }
}

impl Session {
    /// From now on [`Session::beat`] checks the node at `path`, whoever asks.
    pub(super) fn keep(&self, path: &str) {
        self.heart().roster.borrow_mut().enter(path, BootInstant::now());
    }

    /// Takes that back.
    pub(super) fn keep_no_longer(&self, path: &str) {
        self.heart().roster.borrow_mut().leave(path);
    }

    /// Somebody has touched the node at `path`: only a check that is sent from now on says anything of it.
    pub(super) fn was_touched(&self, path: &str) {
        self.heart().roster.borrow_mut().touch(path, BootInstant::now());
    }

    /// Completes when a check for another node has told something of the one at `path`.
    pub(super) async fn told_of(&self, path: &str) {
        loop {
            // Before the look: what is told in between is not missed.
            let news = self.heart().news.notified();
            if matches!(self.word(path), Word::Gone | Word::Proved(_)) {
                return;
            }
            news.await;
        }
    }

    /// Whether the node at `path` is there, by a committed check of all nodes that are kept: its own, that of another one of
    /// them in the same beat, or one that is on its way. The same answer is given until [`Session::has_heard`].
    ///
    /// # Errors
    /// When no answer came, or none that says anything about the node.
    pub(super) async fn beat(&self, path: &str) -> Result<Pulse, Error> {
        loop {
            let after = match self.word(path) {
                Word::Gone => return Ok(Pulse::Gone),
                Word::Proved(sent) => return Ok(Pulse::There(sent)),
                Word::Ask(after) => after,
                Word::AskAlone => {
                    let sent = BootInstant::now();
                    return Ok(match self.commit_check(path).await? {
                        Existence::Exists => Pulse::There(sent),
                        Existence::Gone => Pulse::Gone,
                    });
                }
            };
            let check = match self.check_on_its_way(path, after) {
                Some(check) => check,
                None => self.check_all()?,
            };
            let Check { sent, paths, answer } = check;
            match answer.await {
                Ok(()) => {
                    self.all_there(&paths, sent);
                    return Ok(Pulse::There(sent));
                }
                // Nothing is known of the others: they are asked for once more without it.
                Err(MultiWriteError::OperationFailed { index, source }) => {
                    let Some(failed) = paths.get(index) else { return Err(source) };
                    self.one_failed(failed, &source);
                }
                Err(MultiWriteError::RequestFailed { source: Error::SessionExpired }) => return Ok(Pulse::Gone),
                Err(MultiWriteError::RequestFailed { source }) => return Err(source),
            }
        }
    }

    /// The owner of the node at `path` knows of the check that was sent after `sent`: the next question is a new one.
    pub(super) fn has_heard(&self, path: &str, sent: BootInstant) {
        self.heart().roster.borrow_mut().told(path, sent);
    }

    /// Whether this one node is there, kept or not.
    ///
    /// # Errors
    /// When no answer came, or none that says anything about the node.
    pub(super) async fn commit_check(&self, path: &str) -> Result<Existence, Error> {
        let Ok(client) = self.client() else { return Err(Error::SessionExpired) };
        let sent = BootInstant::now();
        match committed(client, [path.to_owned()].into()).await.map_err(Error::from) {
            Ok(()) => {
                self.committed(sent);
                Ok(Existence::Exists)
            }
            Err(Error::NoNode | Error::SessionExpired) => Ok(Existence::Gone),
            Err(error) => Err(error),
        }
    }

    fn word(&self, path: &str) -> Word {
        self.heart().roster.borrow().word(path, BootInstant::now(), self.heartbeat() / 2)
    }

    /// One that was sent after `after`, and lately, and asks about `path` too. What was answered is in the roster.
    fn check_on_its_way(&self, path: &str, after: BootInstant) -> Option<Check> {
        let check = self.heart().check.borrow();
        let is_recent = |sent| sent > after && BootInstant::now().since(sent) < self.heartbeat() / 2;
        let asks = |check: &Check| check.paths.iter().any(|asked| asked == path);
        check.clone().filter(|check| check.answer.peek().is_none() && is_recent(check.sent) && asks(check))
    }

    fn check_all(&self) -> Result<Check, Error> {
        let Ok(client) = self.client() else { return Err(Error::SessionExpired) };
        let paths: Rc<[String]> = self.heart().roster.borrow().firm().into();
        let sent = BootInstant::now();
        let check = Check { sent, paths: Rc::clone(&paths), answer: committed(client, paths).shared() };
        self.heart().check.replace(Some(check.clone()));
        Ok(check)
    }

    /// Everybody who waited for the answer says so; the first one changes something.
    fn all_there(&self, paths: &[String], sent: BootInstant) {
        self.committed(sent);
        self.heart().roster.borrow_mut().committed(paths, sent);
        self.heart().news.notify_waiters();
    }

    fn one_failed(&self, path: &str, why: &Error) {
        let mut roster = self.heart().roster.borrow_mut();
        if *why == Error::NoNode {
            roster.gone(path);
            self.heart().news.notify_waiters();
        } else {
            roster.apart(path);
        }
    }
}

/// Commits a write that changes nothing, if all of these nodes exist; it is sent when this is first polled. A follower cut off
/// from its leader answers everything but this. For the 64 keys of a run it takes some 40 kB at most, of the 1 MB that a
/// server takes by default.
fn committed(client: Client, paths: Rc<[String]>) -> Answering {
    Box::pin(async move {
        let mut checks = client.new_multi_writer();
        for path in &*paths {
            checks.add_check_version(path, ANY_VERSION)?;
        }
        let checked = checks.commit().await?.len();
        if checked == paths.len() {
            Ok(())
        } else {
            Err(Error::UnexpectedError(format!("{checked} checks were answered of {}", paths.len())).into())
        }
    })
}
