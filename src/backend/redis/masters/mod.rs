//! One lock on several independent masters: held by whoever a majority of them grants it. What breaks it: a master that
//! forgets (its vote goes to somebody else), and a master that is counted twice.

mod attempt;
mod examination;
mod reading;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use redis::{Cmd, Value};
use tokio::time::{Instant, timeout_at};

use self::attempt::Outcome;
use super::contender::kept_words;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::names::Names;
use super::node::Node;
use super::quorum::{Quorum, Verdict, agreed_order};
use super::reply::{self, Renewed, Set};
use super::script::{PROLONG, RELEASE, RENEW, deletion, eval, millis};
use super::{revoking, unexpected};
use crate::backend::tls::Tls;
use crate::lock::backoff::jittered;
use crate::lock::validity::of_server_lease;
use crate::lock::{
    Acquired, BackendError, Claim, FIRST_CONTACT, Finding, HolderEntry, KeyPattern, Lease, LockBackend, LockKey,
    LockStatus, Manner, Mode, Namespace, OwnerToken, Parting, Patience, Progress, Prolonged, Release, Renewal,
    Revocation, Ttl,
};
use crate::sys::boottime::BootInstant;

/// Pause of a waiter between two tries: nobody tells it. As often as other Redlock clients try.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(250));

/// How long the rest may take once the answers of some have decided; longer where those took longer.
const LATECOMERS: Duration = Duration::from_millis(100);

/// Which masters, and which part of them.
#[derive(Debug, Clone)]
pub struct Config {
    /// At least two, none twice.
    pub endpoints: Vec<Endpoint>,
    pub namespace: Namespace,
    /// For those that are reached by TLS.
    pub tls: Tls,
}

/// A lock on several masters; `docs/protocol.md` has every byte.
pub struct MastersBackend {
    /// In the order in which every contender asks them.
    nodes: Vec<Rc<Node>>,
    namespace: Namespace,
    quorum: Quorum,
    /// A claim's token, and that of its latest attempt: each attempt has a token of its own, so that nothing late of an
    /// earlier one touches it.
    attempts: RefCell<HashMap<(LockKey, OwnerToken), OwnerToken>>,
    /// Requests that may yet be carried out: their release leaves word that they come too late.
    on_their_way: RefCell<HashSet<(usize, LockKey, OwnerToken)>>,
    /// What may have been released without our learning of it.
    maybe_released: RefCell<HashSet<(LockKey, OwnerToken)>>,
    /// Masters that said "not yours": they cannot change their mind.
    gone: RefCell<HashSet<(usize, LockKey, OwnerToken)>>,
    /// Masters that did not answer when they were asked last.
    silent: RefCell<HashSet<usize>>,
}

/// What each of the masters that were asked said; `Err`: nothing that helps.
type Answers<T> = Vec<(usize, Result<T, BackendError>)>;

impl MastersBackend {
    /// Nothing is sent before the first request.
    ///
    /// # Errors
    /// None at present; what URLs can get wrong has been refused before.
    pub fn open(config: &Config) -> Result<Self, BackendError> {
        let endpoints = agreed_order(config.endpoints.clone(), Endpoint::server);
        Ok(Self {
            quorum: Quorum::of(endpoints.len()),
            nodes: endpoints.into_iter().map(|endpoint| Rc::new(Node::new(endpoint, config.tls.clone()))).collect(),
            namespace: config.namespace.clone(),
            attempts: RefCell::default(),
            on_their_way: RefCell::default(),
            maybe_released: RefCell::default(),
            gone: RefCell::default(),
            silent: RefCell::default(),
        })
    }

    /// Asks these masters at once. Ends when all have answered, or soon after the answers so far have `decided`.
    async fn ask_all<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        masters: impl IntoIterator<Item = usize>,
        limit: Duration,
        ask: &impl Fn(usize) -> F,
        decided: impl Fn(&Answers<T>) -> bool,
    ) -> Answers<T> {
        let began = Instant::now();
        let mut until = began + limit;
        let mut answers = Vec::new();
        let mut missing: HashSet<usize> = masters.into_iter().collect();
        let questions = missing.clone().into_iter().map(|master| async move { (master, ask(master).await) });
        let mut asking: FuturesUnordered<_> = questions.collect();
        while let Ok(Some((master, answer))) = timeout_at(until, asking.next()).await {
            missing.remove(&master);
            self.note(master, !matches!(answer, Err(Failure { answered: false, .. })));
            answers.push((master, answer.map_err(|failure| failure.error)));
            if decided(&answers) {
                until = until.min(Instant::now() + LATECOMERS.max(began.elapsed()));
            }
        }
        drop(asking);
        for master in missing {
            self.note(master, false);
            answers.push((master, Err(self.silence(master))));
        }
        answers.sort_by_key(|(master, _)| *master);
        answers
    }

    fn note(&self, master: usize, answers: bool) {
        if answers {
            self.silent.borrow_mut().remove(&master);
        } else {
            self.silent.borrow_mut().insert(master);
        }
    }

    fn silence(&self, master: usize) -> BackendError {
        BackendError::unavailable(format!("{} does not answer in time", self.nodes[master].endpoint().masked()))
    }

    fn everyone(&self) -> std::ops::Range<usize> {
        0..self.nodes.len()
    }

    /// Renews on every master; the instants until which those that are ours keep it.
    async fn renew_all(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Duration,
    ) -> Result<(Verdict, Vec<BootInstant>, bool), BackendError> {
        let names = Names::of(&self.namespace, key)?;
        let keys = [names.lock().to_owned(), names.side("holders"), names.side("receipts")];
        let request = eval(RENEW, &keys, &[token.secret(), &millis(ttl)]);
        let sent = BootInstant::now();
        let known_gone = |master: &usize| self.gone.borrow().contains(&(*master, key.clone(), token.clone()));
        let asked: Vec<usize> = self.everyone().filter(|master| !known_gone(master)).collect();
        let lost_before = self.nodes.len() - asked.len();
        let count = |answers: &Answers<Renewed>| {
            let not_ours = answers.iter().filter(|(_, answer)| matches!(answer, Ok(Renewed::Lost))).count();
            let ours = answers.iter().filter(|(_, answer)| answer.is_ok()).count() - not_ours;
            self.quorum.verdict(ours, not_ours + lost_before)
        };
        let ask = async |master: usize| {
            let reply = self.nodes[master].ask_twice(&request, &|| request.clone(), node_limit(ttl)).await?;
            reply::renewed(&reply).ok_or_else(|| Failure::unanswered(unexpected(&self.nodes[master])))
        };
        let answers = self.ask_all(asked, node_limit(ttl), &ask, |answers| count(answers) != Verdict::Unknown).await;
        let verdict = count(&answers);
        let mut deadlines = Vec::new();
        let mut is_revoked = false;
        for (master, answer) in &answers {
            match answer {
                Ok(Renewed::Lost) => {
                    self.gone.borrow_mut().insert((*master, key.clone(), token.clone()));
                }
                Ok(Renewed::Ours(_) | Renewed::Revoked(_)) => {
                    deadlines.push(sent + of_server_lease(ttl));
                    is_revoked |= matches!(answer, Ok(Renewed::Revoked(_)));
                }
                Err(_) => {}
            }
        }
        if verdict == Verdict::Unknown {
            return Err(self.too_few(answers.len() + lost_before, answers.into_iter().filter_map(|(_, a)| a.err())));
        }
        Ok((verdict, deadlines, is_revoked))
    }

    /// Releases on `masters`; `again`: perhaps not for the first time.
    async fn release_on(
        &self,
        names: &Names,
        key: &LockKey,
        (token, parting): (&OwnerToken, Parting),
        masters: impl IntoIterator<Item = usize>,
        limit: Duration,
        decided: impl Fn(&Answers<bool>) -> bool,
    ) -> Answers<bool> {
        let again = if self.maybe_released.borrow_mut().insert((key.clone(), token.clone())) { "" } else { "again" };
        let request = |master: usize, again: &str| -> Cmd {
            let is_on_its_way = self.on_their_way.borrow().contains(&(master, key.clone(), token.clone()));
            let undo = if is_on_its_way { "undo" } else { "" };
            eval(RELEASE, &names.all(), &[token.secret(), &names.wake_prefix(), undo, again, kept_words(parting)])
        };
        let ask = async |master: usize| {
            let node = &self.nodes[master];
            let reply = node.ask_twice(&request(master, again), &|| request(master, "again"), limit).await?;
            self.on_their_way.borrow_mut().remove(&(master, key.clone(), token.clone()));
            match reply {
                Value::Int(1) => Ok(true),
                Value::Int(0) => Ok(false),
                _ => Err(Failure::unanswered(unexpected(node))),
            }
        };
        self.ask_all(masters, limit, &ask, decided).await
    }

    fn verdict_of(&self, answers: &Answers<bool>) -> Verdict {
        let yes = answers.iter().filter(|(_, answer)| *answer == Ok(true)).count();
        let no = answers.iter().filter(|(_, answer)| *answer == Ok(false)).count();
        self.quorum.verdict(yes, no)
    }

    /// The sentence for too few useful answers of `asked` masters: what most needs a hand comes first.
    fn too_few(&self, asked: usize, errors: impl Iterator<Item = BackendError>) -> BackendError {
        let errors: Vec<BackendError> = errors.collect();
        let answered = asked.saturating_sub(errors.len());
        let worst = errors
            .iter()
            .find(|error| !error.may_pass())
            .or(errors.first())
            .cloned()
            .unwrap_or_else(|| BackendError::unavailable("the others said otherwise"));
        let (masters, majority) = (self.nodes.len(), self.quorum.majority());
        BackendError::new(
            worst.kind,
            format!("{answered} of {masters} masters answered, and {majority} have to agree: {}", worst.message),
        )
    }
}

#[async_trait(?Send)]
impl LockBackend for MastersBackend {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        if claim.mode != Mode::Exclusive {
            return Err(BackendError::usage("several masters can only be locked exclusively"));
        }
        let began = BootInstant::now();
        let mut told = None;
        let mut met = false;
        let mut away_since = None;
        loop {
            let token =
                if told.is_none() && away_since.is_none() && !met { claim.token.clone() } else { OwnerToken::random() };
            match (self.attempt(claim, token).await?, claim.patience) {
                (Outcome::Granted(lease), _) => return Ok(Acquired::Granted(*lease)),
                (Outcome::Refused(contention), Patience::Refuse) => return Ok(Acquired::Held(contention)),
                (Outcome::Refused(contention), Patience::Queue { .. }) => {
                    (met, away_since) = (true, None);
                    let holder = (contention.holder.clone(), contention.since);
                    if told.as_ref() != Some(&holder) {
                        progress(Progress::Waiting(contention));
                        told = Some(holder);
                    }
                }
                (Outcome::Unreachable(error), Patience::Queue { reconnect_for }) if met => {
                    let since = *away_since.get_or_insert_with(BootInstant::now);
                    if (since + reconnect_for).has_passed() || !error.may_pass() {
                        return Err(error);
                    }
                    told = None;
                    progress(Progress::Disconnected(error));
                }
                // Some may only have been slow: each is left after a fraction of the time that first contact may take.
                (Outcome::Unreachable(error), Patience::Queue { .. })
                    if error.may_pass() && BootInstant::now().since(began) < FIRST_CONTACT =>
                {
                    away_since.get_or_insert_with(BootInstant::now);
                }
                (Outcome::Unreachable(error), _) => return Err(error),
            }
            tokio::time::sleep(jittered(RETRY.0, RETRY.1)).await;
        }
    }

    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError> {
        let (verdict, deadlines, is_revoked) = self.renew_all(&lease.key, &lease.token, lease.ttl).await?;
        Ok(match (verdict, self.quorum.valid_until(deadlines)) {
            (Verdict::Ours, Some(valid_until)) if is_revoked => Renewal::Revoked { valid_until },
            (Verdict::Ours, Some(valid_until)) => Renewal::Renewed { valid_until },
            _ => Renewal::Lost,
        })
    }

    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        let names = Names::of(&self.namespace, key)?;
        let args = [token.secret(), &ttl.map(millis).unwrap_or_default(), &names.wake_prefix()];
        let request = eval(PROLONG, &names.all(), &args);
        let count = |answers: &Answers<Set>| {
            let not_ours = answers.iter().filter(|(_, answer)| matches!(answer, Ok(Set::NotOurs))).count();
            let ours = answers.iter().filter(|(_, answer)| answer.is_ok()).count() - not_ours;
            self.quorum.verdict(ours, not_ours)
        };
        let ask = async |master: usize| {
            let reply = self.nodes[master].ask_twice(&request, &|| request.clone(), FIRST_CONTACT).await?;
            reply::set(&reply).ok_or_else(|| Failure::unanswered(unexpected(&self.nodes[master])))
        };
        let decided = |answers: &Answers<Set>| count(answers) != Verdict::Unknown;
        let answers = self.ask_all(self.everyone(), FIRST_CONTACT, &ask, decided).await;
        match count(&answers) {
            Verdict::NotOurs => return Ok(Prolonged::NotHeld),
            Verdict::Unknown => {
                return Err(self.too_few(answers.len(), answers.into_iter().filter_map(|(_, answer)| answer.err())));
            }
            Verdict::Ours => {}
        }
        let mut outcome = None;
        for (_, answer) in answers {
            match answer {
                Ok(Set::HeldByRun) => return Ok(Prolonged::HeldByRun),
                Ok(Set::Ttl(ttl, now)) if outcome.is_none() => outcome = Some((ttl, now)),
                _ => {}
            }
        }
        Ok(outcome
            .map_or(Prolonged::NotHeld, |(ttl, now)| Prolonged::Set { ttl, expires_at: now.wall().map(|at| at + ttl) }))
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        self.part(key, token, Parting::Unused).await
    }

    async fn part(&self, key: &LockKey, token: &OwnerToken, parting: Parting) -> Result<Release, BackendError> {
        let names = Names::of(&self.namespace, key)?;
        let latest = self.attempts.borrow().get(&(key.clone(), token.clone())).cloned();
        let token = latest.unwrap_or_else(|| token.clone());
        let decided = |answers: &Answers<bool>| self.verdict_of(answers) != Verdict::Unknown;
        let answers = self.release_on(&names, key, (&token, parting), self.everyone(), FIRST_CONTACT, decided).await;
        match self.verdict_of(&answers) {
            Verdict::Ours => Ok(Release::Released),
            Verdict::NotOurs => Ok(Release::NotHeld),
            Verdict::Unknown => {
                Err(self.too_few(answers.len(), answers.into_iter().filter_map(|(_, answer)| answer.err())))
            }
        }
    }

    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError> {
        let names = Names::of(&self.namespace, key)?;
        // Each master has recorded a number of its own until the holder told it the common one.
        let shown = HolderEntry { fence: None, ..shown.clone() };
        let ask = async |master: usize| {
            let node = &self.nodes[master];
            revoking::revoke(node, &names, &shown, manner, FIRST_CONTACT).await.map_err(Failure::unanswered)
        };
        let count = |answers: &Answers<Revocation>| {
            let not_theirs = answers.iter().filter(|(_, answer)| *answer == Ok(Revocation::Changed)).count();
            let done = answers.iter().filter(|(_, answer)| answer.is_ok()).count() - not_theirs;
            self.quorum.verdict(done, not_theirs)
        };
        let decided = |answers: &Answers<Revocation>| count(answers) != Verdict::Unknown;
        let answers = self.ask_all(self.everyone(), FIRST_CONTACT, &ask, decided).await;
        match count(&answers) {
            Verdict::NotOurs => Ok(Revocation::Changed),
            // The holder takes the mark of any master for the word of all.
            Verdict::Ours => {
                let done = answers.into_iter().filter_map(|(_, answer)| answer.ok()).max();
                Ok(done.unwrap_or(Revocation::Changed))
            }
            Verdict::Unknown => {
                Err(self.too_few(answers.len(), answers.into_iter().filter_map(|(_, answer)| answer.err())))
            }
        }
    }

    async fn forget(&self, key: &LockKey) -> Result<(), BackendError> {
        let request = deletion(&Names::of(&self.namespace, key)?.all());
        let ask = async |master: usize| {
            self.nodes[master].ask_twice(&request, &|| request.clone(), FIRST_CONTACT).await.map(drop)
        };
        let answers = self.ask_all(self.everyone(), FIRST_CONTACT, &ask, |_| false).await;
        answers.into_iter().try_for_each(|(_, answer)| answer)
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        self.status_of(key).await
    }

    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        self.listed(pattern).await
    }

    async fn examine(&self, ttl: Ttl) -> Result<Vec<Finding>, BackendError> {
        self.examined(ttl).await
    }

    async fn close(&self) {
        for node in &self.nodes {
            node.close();
        }
    }
}

/// How long one master may take: less than a renewal may in all, so that a frozen one costs no lease, and the same for
/// each, well below the lease.
fn node_limit(ttl: Duration) -> Duration {
    (ttl / 20).clamp(Duration::from_millis(50), Duration::from_secs(1))
}
