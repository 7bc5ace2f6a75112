//! The master that a majority of Sentinels names. What breaks it: a master that does not know yet that another has taken
//! its place, and goes on granting and renewing.
//!
//! So its grants and renewals count only while a majority names it. A renewal asks the Sentinels at the same time as the
//! master; a grant asks them afterwards. What such a grant left on a master that was deposed is overwritten when it
//! follows the new one; what was replicated is released there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Cmd, Value};
use tokio::time::{Instant, sleep};

use super::super::ear::{Ear, Manner};
use super::super::examination::{Station, judge_panel};
use super::super::failure::Failure;
use super::super::node::{Again, Node};
use super::Route;
use super::panel::Panel;
use super::service::Service;
use super::vote::Server;
use crate::backend::tls::Tls;
use crate::lock::backoff::jittered;
use crate::lock::{BackendError, ErrorKind, Finding};

/// Pauses while a master is sought: a fail-over takes a second or more once the Sentinels have agreed on it.
const SEEK: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(500));

pub(super) struct SentinelRoute {
    panel: Panel,
    /// As it was named last. It is asked for as long as the connection to it stands.
    master: RefCell<Option<(Server, Rc<Node>)>>,
    /// Where we listen, for as long as we wait.
    heard_at: RefCell<Option<Server>>,
}

impl SentinelRoute {
    pub(super) fn new(service: Service, tls: Tls) -> Self {
        Self { panel: Panel::new(service, tls), master: RefCell::new(None), heard_at: RefCell::new(None) }
    }

    /// The master to which the connection stands.
    fn linked(&self) -> Option<(Server, Rc<Node>)> {
        self.master.borrow().clone().filter(|(_, node)| Node::is_linked(node))
    }

    fn forget(&self) {
        self.master.replace(None);
    }

    /// A master with a connection to it, sought until `deadline` where the Sentinels may yet name one.
    async fn found(&self, deadline: Instant) -> Result<(Server, Rc<Node>), Failure> {
        if let Some(linked) = self.linked() {
            return Ok(linked);
        }
        let mut heard: Option<Failure> = None;
        loop {
            // Half of what is left: the rest is for the request.
            let half = || deadline.saturating_duration_since(Instant::now()) / 2;
            let failure = match self.panel.master(half()).await {
                Ok(server) => {
                    let node = self.node(&server);
                    match node.reach(half()).await {
                        Ok(()) => return Ok((server, node)),
                        Err(failure) if !failure.error.may_pass() => return Err(failure),
                        Err(failure) => {
                            let reason = format!("{}; the Sentinels name no other master", failure.error);
                            Failure { error: BackendError::unavailable(reason), ..failure }
                        }
                    }
                }
                Err(none) if none.may_come => none.into(),
                // The less time was left for the question, the less silence says.
                Err(none) if none.error.kind == ErrorKind::Unavailable => return Err(heard.unwrap_or(none.into())),
                Err(none) => return Err(none.into()),
            };
            let pause = jittered(SEEK.0, SEEK.1);
            if Instant::now() + pause >= deadline {
                return Err(failure);
            }
            heard = Some(failure);
            sleep(pause).await;
        }
    }

    fn node(&self, server: &Server) -> Rc<Node> {
        if let Some((known, node)) = &*self.master.borrow()
            && known == server
        {
            return node.clone();
        }
        let endpoint = self.panel.service().server(&server.host, server.port);
        let node = Rc::new(Node::new(endpoint, self.panel.tls().clone()));
        self.master.replace(Some((server.clone(), node.clone())));
        node
    }

    /// Whether a waiter hears of what happens at `server`: it has to listen there before it queues there.
    fn is_heard(&self, server: &Server) -> Result<(), Failure> {
        match self.heard_at.take() {
            Some(heard_at) if heard_at != *server => Err(Failure::unanswered(BackendError::unavailable(format!(
                "the master is {server} now, in place of {heard_at}"
            )))),
            heard_at => {
                self.heard_at.replace(heard_at);
                Ok(())
            }
        }
    }

    /// What the Sentinels say of `server`, which has answered or may do so yet.
    async fn word_on(&self, server: &Server, limit: Duration) -> Result<Word, Failure> {
        let named = match self.panel.master(limit).await {
            Ok(named) => named,
            Err(none) => return Ok(Word::Unknown(none.error)),
        };
        if named == *server {
            return Ok(Word::Decides);
        }
        self.forget();
        let sentence = format!("{server} is not the master any more: the Sentinels name {named}");
        Err(Failure { answered: true, ..Failure::unanswered(BackendError::unavailable(sentence)) })
    }
}

/// What the Sentinels say of a server, unless they name another.
enum Word {
    Decides,
    /// Nothing that helps.
    Unknown(BackendError),
}

impl Word {
    fn counts(self) -> Result<(), Failure> {
        match self {
            Self::Decides => Ok(()),
            Self::Unknown(error) => Err(Failure { answered: true, ..Failure::unanswered(error) }),
        }
    }
}

#[async_trait(?Send)]
impl Route for SentinelRoute {
    fn masked(&self) -> String {
        match &*self.master.borrow() {
            Some((_, node)) => node.endpoint().masked(),
            None => self.panel.service().masked(),
        }
    }

    fn is_linked(&self, _: &str) -> bool {
        self.linked().is_some()
    }

    async fn ask(&self, _: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + limit;
        let (server, node) = self.found(deadline).await?;
        self.is_heard(&server)?;
        match Node::ask(&node, request, left(deadline)).await {
            // A replica carries out nothing of it.
            Err(failure) if failure.by_replica => {
                self.forget();
                let (next, node) = self.found(deadline).await?;
                self.is_heard(&next)?;
                if next == server { Err(failure) } else { Node::ask(&node, request, left(deadline)).await }
            }
            outcome => outcome,
        }
    }

    async fn ask_twice(&self, _: &str, request: &Cmd, again: Again<'_>, limit: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + limit;
        self.heard_at.take();
        let stood_before = self.linked().is_some();
        let (server, node) = self.found(deadline).await?;
        match Node::ask(&node, request, left(deadline)).await {
            Err(failure) if may_have_moved(&failure, stood_before) && Instant::now() < deadline => {
                self.forget();
                let (next, node) = self.found(deadline).await?;
                if failure.by_replica && next == server {
                    return Err(failure);
                }
                Node::ask(&node, &again(), left(deadline)).await
            }
            outcome => outcome,
        }
    }

    fn give_way(&self, _: &str) {
        if let Some((_, node)) = self.master.borrow().as_ref() {
            Node::give_way(node);
        }
    }

    async fn ask_vouched(&self, _: &str, request: &Cmd, limit: Duration) -> Result<Value, Failure> {
        let deadline = Instant::now() + limit;
        self.heard_at.take();
        let mut stood_before = self.linked().is_some();
        loop {
            let (server, node) = self.found(deadline).await?;
            // Sentinels that name another end it at once, whether this one answers or not. Where they say nothing its
            // answer is awaited: a connection that is given up could not be found again for the release.
            let asked = async { Ok(Node::ask(&node, request, left(deadline)).await) };
            let (answer, word) = tokio::try_join!(asked, self.word_on(&server, left(deadline)))?;
            match answer {
                Err(failure) if may_have_moved(&failure, stood_before) && Instant::now() < deadline => {
                    self.forget();
                    stood_before = false;
                }
                Err(failure) => {
                    if failure.by_replica {
                        self.forget();
                    }
                    return Err(failure);
                }
                Ok(value) => return word.counts().map(|()| value),
            }
        }
    }

    async fn vouch(&self, _: &str, limit: Duration) -> Result<(), Failure> {
        match self.linked() {
            Some((server, _)) => self.word_on(&server, limit).await?.counts(),
            None => Err(Failure::unanswered(BackendError::unavailable(format!(
                "{} closed the connection before the Sentinels were asked about it",
                self.masked()
            )))),
        }
    }

    async fn listen(&self, _: &str, channel: &str, limit: Duration) -> Result<Ear, Failure> {
        let deadline = Instant::now() + limit;
        self.heard_at.replace(None);
        let (server, node) = self.found(deadline).await?;
        match Node::listen(&node, channel, &[Manner::Plain], left(deadline)).await {
            Ok(ear) => {
                self.heard_at.replace(Some(server));
                Ok(ear)
            }
            Err(failure) => {
                // The connection that stands may lead to nowhere, too.
                self.forget();
                Err(failure)
            }
        }
    }

    async fn servers(&self, limit: Duration) -> Result<Vec<Rc<Node>>, Failure> {
        self.found(Instant::now() + limit).await.map(|(_, node)| vec![node])
    }

    fn station(&self) -> Station {
        Station::UnderSentinels
    }

    async fn survey(&self, limit: Duration) -> Result<Vec<Finding>, Failure> {
        Ok(judge_panel(&self.panel.poll(limit).await?))
    }

    fn close(&self) {
        if let Some((_, node)) = self.master.borrow().as_ref() {
            Node::close(node);
        }
    }
}

/// Whether the request may be sent again, and perhaps to another server.
fn may_have_moved(failure: &Failure, stood_before: bool) -> bool {
    failure.by_replica || (stood_before && !failure.answered)
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
