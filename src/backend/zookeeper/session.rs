//! One session: how it is opened within the time for first contact, for how long it can be believed, and how it is closed.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error, SessionState, StateWatcher};

use super::access::Approach;
use super::contact::{self, Verdict};
use super::endpoint::{ConnectString, Server};
use super::failure;
use super::node::millis;
use crate::lock::{BackendError, Ttl, validity};
use crate::sys::boottime::BootInstant;

/// How long the whole list may take before every server is asked by itself: several times what opening a session takes
/// across a continent, and little beside [`crate::lock::FIRST_CONTACT`].
const HEAD_START: Duration = Duration::from_millis(400);

/// A server that says less than its name within this time counts as silent; leaves time for the session itself.
const ASKING: Duration = Duration::from_secs(3);

/// How long the slower servers are waited for once one has answered well: whoever is left out is no longer tried
/// when the connection breaks.
const STRAGGLERS: Duration = Duration::from_millis(150);

/// Pause between two rounds while the ensemble elects: an election on a local network takes about 200 ms.
const ELECTION: Duration = Duration::from_millis(200);

/// Kept back from the time for opening a session, so that the reasons are told before somebody else's alarm goes off.
const LAST_WORD: Duration = Duration::from_millis(50);

/// How long the answer to a close is awaited. Nobody can be helped by waiting longer: the session expires by itself.
pub(super) const CLOSING: Duration = Duration::from_secs(1);

/// The same without a connection: time for one that is about to come back, and little beside what a lost lease leaves.
const CLOSING_UNHEARD: Duration = Duration::from_millis(200);

/// The protocol has 31 bits for a timeout in milliseconds; the client crate would wrap.
const LONGEST_TIMEOUT: Duration = Duration::from_millis(i32::MAX as u64);

/// Asked for to learn the least that a server grants. Far below any server's two ticks, and yet long enough to
/// open a session in: the client crate gives up connecting after this time.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(400);

/// A session and what is known of its life.
#[derive(Debug)]
pub(super) struct Session {
    ensemble: ConnectString,
    client: RefCell<Option<Client>>,
    id: i64,
    /// As granted.
    timeout: Duration,
    proofs: Cell<Proofs>,
}

impl Session {
    /// Opens a session of `ttl`, at `until` at the latest.
    ///
    /// # Errors
    /// When nobody grants one, with every server's reason; when `ttl` is exact and outside the range of the servers.
    pub(super) async fn open(
        ensemble: &ConnectString,
        approach: &Approach,
        ttl: Ttl,
        until: BootInstant,
    ) -> Result<Self, BackendError> {
        let wanted = Duration::from_millis(millis(ttl.duration())).min(LONGEST_TIMEOUT);
        let mut session = Self::attach(ensemble, approach, wanted, until).await?;
        if session.timeout == millis_of(ttl) {
            return Ok(session);
        }
        session.close().await;
        match ttl {
            Ttl::Exactly(ttl) => Err(Self::out_of_range(ensemble, approach, ttl, session.timeout, until).await),
            // Once more: what the client crate makes of the time it asks for would not fit the time that it got.
            Ttl::Default(_) => {
                session = Self::attach(ensemble, approach, session.timeout, until).await?;
                Ok(session)
            }
        }
    }

    /// A handle for requests. A session closes when the last one is dropped, so none may be kept.
    ///
    /// # Errors
    /// When the session was closed.
    pub(super) fn client(&self) -> Result<Client, BackendError> {
        self.client.borrow().clone().ok_or_else(|| failure::explained(&self.ensemble, "go on", &Error::SessionExpired))
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Time from one heartbeat to the next: six of them may be missed in 2/3 of the timeout.
    pub(super) fn heartbeat(&self) -> Duration {
        self.timeout / 10
    }

    /// Whether the session has ended for good.
    pub(super) fn is_over(&self) -> bool {
        self.client.borrow().as_ref().is_none_or(|client| client.state().is_terminated())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.client.borrow().as_ref().is_some_and(|client| client.state() == SessionState::SyncConnected)
    }

    pub(super) fn states(&self) -> Option<StateWatcher> {
        self.client.borrow().as_ref().map(Client::state_watcher)
    }

    /// A committed write, sent at `sent`, was answered.
    pub(super) fn committed(&self, sent: BootInstant) {
        self.proofs.set(self.proofs.get().and(sent, self.timeout / 20));
    }

    /// The client was sending and receiving at `instant`, and has not paused since.
    pub(super) fn was_alive(&self, instant: BootInstant) {
        self.proofs.set(self.proofs.get().and(instant, Duration::ZERO));
    }

    /// The instant before the last committed write that was answered was sent.
    pub(super) fn last_proof(&self) -> BootInstant {
        self.proofs.get().last
    }

    /// Until when the session's nodes are certain to exist.
    pub(super) fn valid_until(&self) -> BootInstant {
        let Proofs { before, last, .. } = self.proofs.get();
        validity::of_session(self.timeout, last, before)
    }

    /// Commits a write that changes nothing, if the node still exists. A follower cut off from its leader answers
    /// everything but this.
    ///
    /// # Errors
    /// When no answer came, or none that says anything about the node.
    pub(super) async fn commit_check(&self, path: &str) -> Result<Existence, Error> {
        let Ok(client) = self.client() else { return Err(Error::SessionExpired) };
        let sent = BootInstant::now();
        let mut heartbeat = client.new_multi_writer();
        heartbeat.add_check_version(path, ANY_VERSION)?;
        match heartbeat.commit().await.map_err(failure::of_multi) {
            Ok(_) => {
                self.committed(sent);
                Ok(Existence::Exists)
            }
            Err(Error::NoNode | Error::SessionExpired) => Ok(Existence::Gone),
            Err(error) => Err(error),
        }
    }

    /// Closes the session and waits for the server's word: its nodes are gone when this returns, unless the
    /// server could not be asked.
    pub(super) async fn close(&self) {
        let within = if self.is_connected() { CLOSING } else { CLOSING_UNHEARD };
        let Some(client) = self.client.take() else { return };
        timeout(within, closed(client)).await.ok();
    }

    async fn attach(
        ensemble: &ConnectString,
        approach: &Approach,
        wanted: Duration,
        until: BootInstant,
    ) -> Result<Self, BackendError> {
        let until = until - LAST_WORD;
        let mut verdicts: Vec<(Server, Verdict)> = Vec::new();
        while !until.has_passed() {
            let attached = BootInstant::now();
            let established = |client: Client| {
                let (id, timeout) = (client.session_id().0, client.session_timeout());
                let client = RefCell::new(Some(client));
                let ensemble = ensemble.clone();
                Self { ensemble, client, id, timeout, proofs: Cell::new(Proofs::since(attached)) }
            };
            let mut through_all = Attempt::new(ensemble, approach, wanted)?;
            let head_start = HEAD_START.min(until.remaining());
            if let Ok(Some(client)) = timeout(head_start, through_all.outcome()).await {
                return Ok(established(client));
            }
            if through_all.was_denied() {
                return Err(failure::explained(ensemble, "open a session", &Error::AuthFailed));
            }
            let asking = ASKING.min(until.remaining());
            verdicts = tokio::select! {
                client = through_all.success() => return Ok(established(client)),
                heard = hear(ensemble, approach, asking) => heard,
            };
            let told = |wanted: Verdict| verdicts.iter().filter(move |(_, verdict)| *verdict == wanted);
            let serving: Vec<Server> = told(Verdict::Serving).map(|(server, _)| server.clone()).collect();
            if !serving.is_empty() {
                let mut through_serving = Attempt::new(&ensemble.through(serving), approach, wanted)?;
                tokio::select! {
                    client = through_all.success() => {
                        approach.see_off(through_serving.gone());
                        return Ok(established(client));
                    }
                    client = through_serving.outcome() => if let Some(client) = client {
                        approach.see_off(through_all.gone());
                        return Ok(established(client));
                    },
                    () = sleep(until.remaining()) => {}
                }
            } else if told(Verdict::NotServing).chain(told(Verdict::ReadOnly)).next().is_none() {
                break;
            }
            sleep(ELECTION.min(until.remaining())).await;
        }
        Err(contact::unavailable(ensemble, &verdicts))
    }

    /// The shortest and the longest session that is granted.
    ///
    /// # Errors
    /// When nobody grants one.
    pub(super) async fn range(
        ensemble: &ConnectString,
        approach: &Approach,
        until: BootInstant,
    ) -> Result<(Duration, Duration), BackendError> {
        let mut ends = Vec::new();
        for end in [SHORTEST_TIMEOUT, LONGEST_TIMEOUT] {
            let session = Self::attach(ensemble, approach, end, until).await?;
            session.close().await;
            ends.push(session.timeout);
        }
        Ok((ends[0], ends[1]))
    }

    async fn out_of_range(
        ensemble: &ConnectString,
        approach: &Approach,
        wanted: Duration,
        granted: Duration,
        until: BootInstant,
    ) -> BackendError {
        let other_end = if granted < wanted { SHORTEST_TIMEOUT } else { LONGEST_TIMEOUT };
        let other = match Self::attach(ensemble, approach, other_end, until).await {
            Ok(session) => {
                session.close().await;
                Some(session.timeout)
            }
            Err(_) => None,
        };
        let shown = humantime::format_duration;
        let range = match other {
            Some(other) => format!("from {} to {}", shown(granted.min(other)), shown(granted.max(other))),
            None if granted < wanted => format!("up to {}", shown(granted)),
            None => format!("from {} up", shown(granted)),
        };
        BackendError::misconfigured(format!(
            "{} grants session timeouts {range}, not {}: choose a --ttl within that",
            ensemble.shown(),
            shown(wanted)
        ))
    }
}

/// The instants before the proofs of life were sent on which the deadline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proofs {
    /// When the current beat began: writes for several keys, sent close together, prove no more than one.
    beat: BootInstant,
    last: BootInstant,
    /// The last one of the beat before.
    before: BootInstant,
}

impl Proofs {
    fn since(attached: BootInstant) -> Self {
        Self { beat: attached, last: attached, before: attached }
    }

    /// With one more; a new beat begins when the current one is older than `beat`.
    fn and(self, sent: BootInstant, beat: Duration) -> Self {
        if sent <= self.last {
            self
        } else if sent.since(self.beat) >= beat {
            Self { beat: sent, last: sent, before: self.last }
        } else {
            Self { last: sent, ..self }
        }
    }
}

/// Whether a node was there when a committed write looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existence {
    Exists,
    Gone,
}

/// ZooKeeper's word for "whatever the version is".
const ANY_VERSION: i32 = -1;

fn millis_of(ttl: Ttl) -> Duration {
    Duration::from_millis(millis(ttl.duration()))
}

/// Asks every server, and does not wait for the slow ones once somebody serves.
async fn hear(ensemble: &ConnectString, approach: &Approach, within: Duration) -> Vec<(Server, Verdict)> {
    let mut answers = contact::ask_all(ensemble, &approach.access.tls, within);
    let mut heard = Vec::new();
    while let Some((server, verdict)) = answers.next().await {
        let serving = verdict == Verdict::Serving;
        heard.push((server, verdict));
        if serving {
            let mut stragglers = pin!(sleep(STRAGGLERS));
            while let Some(answer) = tokio::select! {
                answer = answers.next() => answer,
                () = &mut stragglers => None,
            } {
                heard.push(answer);
            }
            break;
        }
    }
    heard
}

/// Closes the session, the last handle of which this is, and completes when that is done.
async fn closed(client: Client) {
    let mut states = client.state_watcher();
    // A terminal state is told once; waiting for it after that would take for ever.
    if client.state().is_terminated() {
        return;
    }
    drop(client);
    while !states.changed().await.is_terminated() {}
}

type Connecting = Pin<Box<dyn Future<Output = Result<Client, Error>> + Send>>;

/// One attempt to open a session; it may be asked for its outcome again and again.
struct Attempt {
    running: Option<Connecting>,
    denied: bool,
}

impl Attempt {
    fn new(ensemble: &ConnectString, approach: &Approach, timeout: Duration) -> Result<Self, BackendError> {
        let connect_string = approach.entrance(ensemble)?.to_string();
        let mut connector = Client::connector()
            .with_session_timeout(timeout)
            .with_connection_timeout(silence(timeout))
            .with_fail_eagerly();
        if let Some(credentials) = &approach.access.credentials {
            connector = connector.with_auth("digest", credentials.reveal());
        }
        let connecting = async move { connector.connect(&connect_string).await };
        Ok(Self { running: Some(Box::pin(connecting)), denied: false })
    }

    /// The session, or `None` once the attempt has failed.
    async fn outcome(&mut self) -> Option<Client> {
        let outcome = self.running.as_mut()?.await;
        self.running = None;
        self.denied = matches!(outcome, Err(Error::AuthFailed));
        outcome.ok()
    }

    /// The session; a failed attempt never completes.
    async fn success(&mut self) -> Client {
        match self.outcome().await {
            Some(client) => client,
            None => std::future::pending().await,
        }
    }

    /// Completes when the session that nobody needs any more, should it come about, has been closed again.
    async fn gone(mut self) {
        if let Some(client) = self.outcome().await {
            closed(client).await;
        }
    }

    fn was_denied(&self) -> bool {
        self.denied
    }
}

/// How long a server may be silent before the client crate leaves it. The crate looks every eighth of this time, so
/// 2/9 of the session timeout makes a quarter at the latest, and leaves 5/12 of it to reach another server
/// before the lease can no longer be believed. (It also sends its pings 8/3 times as often.)
fn silence(timeout: Duration) -> Duration {
    timeout * 2 / 9
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> BootInstant {
        BootInstant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn each_beat_stands_on_the_one_before() {
        let proofs = Proofs::since(at(0)).and(at(10), BEAT);
        assert_eq!((proofs.before, proofs.last), (at(0), at(10)), "the first write stands on the attach");
        let proofs = proofs.and(at(1_000), BEAT).and(at(2_000), BEAT);
        assert_eq!((proofs.before, proofs.last), (at(1_000), at(2_000)));
    }

    #[test]
    fn two_keys_heartbeats_are_one_proof_after_a_pause() {
        let proofs = Proofs::since(at(0)).and(at(1_000), BEAT).and(at(9_000), BEAT).and(at(9_001), BEAT);
        assert_eq!((proofs.before, proofs.last), (at(1_000), at(9_001)), "the pause is not forgotten");
    }

    #[test]
    fn a_stream_of_writes_does_not_keep_the_deadline_back() {
        let proofs = (1..100).fold(Proofs::since(at(0)), |proofs, n| proofs.and(at(n * 100), BEAT));
        assert!(proofs.last.since(proofs.before) <= BEAT + Duration::from_millis(100));
    }

    #[test]
    fn an_answer_that_comes_late_takes_nothing_back() {
        let proofs = Proofs::since(at(0)).and(at(2_000), BEAT);
        assert_eq!(proofs.and(at(1_000), BEAT), proofs);
    }
}
