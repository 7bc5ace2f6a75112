//! The Sentinels of a service, asked all at once until a majority names a master. What breaks it: asking only those that
//! somebody named, of whom one may stand alone.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, timeout_at};

use super::super::examination::PanelFacts;
use super::super::failure::{Failure, seconds};
use super::service::Service;
use super::testimony::{self, NoTestimony};
use super::vote::{Doubt, Electorate, Server, Testimony};
use crate::backend::tls::Tls;
use crate::lock::{BackendError, ErrorKind};

/// How long the Sentinels may take: two round trips each, all at once. A frozen one delays nobody where the others are
/// enough.
const LIMIT: Duration = Duration::from_secs(2);

/// The Sentinels as far as they are known.
pub(super) struct Panel {
    service: Service,
    tls: Tls,
    /// Those named first.
    contacts: RefCell<Vec<Rc<Contact>>>,
    electorate: RefCell<Electorate>,
}

/// An address at which a Sentinel answers, or is said to.
struct Contact {
    address: Server,
    is_named: bool,
    id: RefCell<Option<String>>,
    /// Whether it asks for a password.
    greets: Cell<bool>,
}

/// Why no master is named.
#[derive(Debug)]
pub(super) struct NoMaster {
    pub(super) error: BackendError,
    /// Whether a Sentinel that knows the service answered, so that there may be a master soon.
    pub(super) may_come: bool,
}

impl From<NoMaster> for Failure {
    fn from(none: NoMaster) -> Self {
        Self::unanswered(none.error)
    }
}

impl Panel {
    pub(super) fn new(service: Service, tls: Tls) -> Self {
        let named = service.sentinels.iter().map(|(host, port)| Rc::new(Contact::named(host.to_lowercase(), *port)));
        Self {
            contacts: RefCell::new(named.collect()),
            electorate: RefCell::new(Electorate::of(service.sentinels.len())),
            service,
            tls,
        }
    }

    pub(super) fn service(&self) -> &Service {
        &self.service
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    /// The server that a majority names at this moment and hears.
    pub(super) async fn master(&self, limit: Duration) -> Result<Server, NoMaster> {
        let mut master = None;
        let round = self.round(limit, |testimonies| {
            master = self.electorate.borrow().master(testimonies);
            master.is_some()
        });
        let round = round.await;
        master.ok_or_else(|| self.why(&round))
    }

    /// What all of them say that can be asked.
    pub(super) async fn poll(&self, limit: Duration) -> Result<PanelFacts, NoMaster> {
        let round = self.round(limit, |_| false).await;
        if round.testimonies.is_empty() {
            return Err(self.why(&round));
        }
        let answers = round.testimonies.iter().map(|one| (one.master.to_string(), one.quorum)).collect();
        Ok(PanelFacts { service: self.service.name.clone(), known: self.electorate.borrow().size(), answers })
    }

    /// Asks until what they said is `enough`, or all have been asked.
    async fn round(&self, limit: Duration, mut enough: impl FnMut(&[Testimony]) -> bool) -> Round {
        let deadline = Instant::now() + limit.min(LIMIT);
        let before = self.electorate.borrow().clone();
        let mut asking = FuturesUnordered::new();
        let mut round = Round::default();
        loop {
            for contact in round.next(&self.contacts.borrow()) {
                asking.push(async { (self.ask(&contact, deadline).await, contact) });
            }
            let Ok(Some((answer, contact))) = timeout_at(deadline, asking.next()).await else { break };
            round.take(&contact, answer);
            *self.electorate.borrow_mut() = before.after(&round.testimonies);
            self.meet(&round.testimonies);
            if enough(&round.testimonies) {
                break;
            }
        }
        round
    }

    async fn ask(&self, contact: &Contact, deadline: Instant) -> Result<Testimony, NoTestimony> {
        let mut sentinel = self.service.sentinel(&contact.address.host, contact.address.port);
        let left = || deadline.saturating_duration_since(Instant::now());
        if !contact.greets.get() {
            let answer = testimony::ask(&sentinel, &self.tls, &self.service.name, left()).await;
            // First without: a Sentinel of its own users would not know the master's.
            if !matches!(answer, Err(NoTestimony::NoAuth(_))) || self.service.password.is_none() {
                return answer;
            }
            contact.greets.set(true);
        }
        sentinel.user.clone_from(&self.service.user);
        sentinel.password.clone_from(&self.service.password);
        testimony::ask(&sentinel, &self.tls, &self.service.name, left()).await
    }

    /// Takes note of where those live who are known to those that answered.
    fn meet(&self, testimonies: &[Testimony]) {
        let electorate = self.electorate.borrow();
        let mut contacts = self.contacts.borrow_mut();
        let greets = contacts.iter().any(|contact| contact.greets.get());
        contacts
            .retain(|contact| contact.is_named || contact.id.borrow().as_ref().is_none_or(|id| electorate.knows(id)));
        // Port 0: another has taken its place.
        for peer in testimonies.iter().flat_map(|one| &one.others).filter(|peer| peer.address.port > 0) {
            match contacts.iter().find(|contact| contact.address == peer.address) {
                Some(contact) => drop(contact.id.borrow_mut().get_or_insert_with(|| peer.id.clone())),
                None => contacts.push(Rc::new(Contact {
                    address: peer.address.clone(),
                    is_named: false,
                    id: RefCell::new(Some(peer.id.clone())),
                    greets: Cell::new(greets),
                })),
            }
        }
    }

    fn why(&self, round: &Round) -> NoMaster {
        let name = &self.service.name;
        let mut failures = round.failures.iter();
        if round.testimonies.is_empty() {
            if let Some((url, known)) = &round.stranger {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let sentence = format!("the Sentinel {url} watches no service \"{name}\"; it knows {known}");
                return NoMaster { error: BackendError::misconfigured(sentence), may_come: false };
            }
            // Those that are away say less than one that refuses.
            let refused = failures.clone().find(|error| error.kind != ErrorKind::Unavailable);
            let error = match (refused, failures.next(), failures.next()) {
                (Some(refused), _, _) => refused.clone(),
                (None, Some(only), None) => BackendError::unavailable(format!("no Sentinel answers: {only}")),
                (None, Some(first), Some(_)) => {
                    BackendError::unavailable(format!("none of the Sentinels answers; the first: {first}"))
                }
                (None, None, _) => BackendError::unavailable(format!(
                    "no Sentinel of {} answers within {}",
                    self.service.masked(),
                    seconds(LIMIT)
                )),
            };
            return NoMaster { error, may_come: false };
        }
        let electorate = self.electorate.borrow();
        let (size, majority) = (electorate.size(), electorate.majority());
        let sentence = match electorate.doubt(&round.testimonies) {
            Doubt::TooFew(answered) => format!(
                "only {answered} of the {size} Sentinels of \"{name}\" can be asked, and {majority} have to agree on the \
                 master; check that the others run and can be reached from here"
            ),
            Doubt::Split(named) => {
                let named: Vec<String> = named.iter().map(|(server, votes)| format!("{server} ({votes})")).collect();
                format!(
                    "the {size} Sentinels of \"{name}\" do not agree on the master: {}; a fail-over may be under way",
                    named.join(", ")
                )
            }
            Doubt::Unheard(server) => format!(
                "the Sentinels of \"{name}\" have not heard from its master {server} lately; a fail-over may be due"
            ),
        };
        NoMaster { error: BackendError::unavailable(sentence), may_come: true }
    }
}

impl Contact {
    fn named(host: String, port: u16) -> Self {
        let address = Server { host, port };
        Self { address, is_named: true, id: RefCell::new(None), greets: Cell::new(false) }
    }
}

/// One round of questions.
#[derive(Default)]
struct Round {
    asked: BTreeSet<Server>,
    /// Names of those that were asked and have not answered yet, as far as they are known.
    pending: BTreeSet<String>,
    testimonies: Vec<Testimony>,
    failures: Vec<BackendError>,
    /// One that does not know the service, and those that it knows.
    stranger: Option<(String, Vec<String>)>,
}

impl Round {
    /// Whom to ask now: every address once, and no Sentinel at two while the first may yet answer.
    fn next(&mut self, contacts: &[Rc<Contact>]) -> Vec<Rc<Contact>> {
        let mut next = Vec::new();
        for contact in contacts {
            let id = contact.id.borrow();
            let answered = |id: &String| self.testimonies.iter().any(|one| one.by == *id);
            if self.asked.contains(&contact.address)
                || id.as_ref().is_some_and(|id| self.pending.contains(id) || answered(id))
            {
                continue;
            }
            self.asked.insert(contact.address.clone());
            self.pending.extend(id.clone());
            next.push(contact.clone());
        }
        next
    }

    fn take(&mut self, contact: &Contact, answer: Result<Testimony, NoTestimony>) {
        if let Some(id) = &*contact.id.borrow() {
            self.pending.remove(id);
        }
        match answer {
            Ok(testimony) => {
                contact.id.replace(Some(testimony.by.clone()));
                self.testimonies.push(testimony);
            }
            Err(NoTestimony::UnknownService(known)) => {
                self.stranger.get_or_insert((contact.address.to_string(), known));
            }
            Err(NoTestimony::NoAuth(failure) | NoTestimony::Failed(failure)) => self.failures.push(failure.error),
        }
    }
}
