//! One session: how it is opened within the time for first contact, for how long it can be believed, and how it is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error, SessionState, StateWatcher};

use super::access::Approach;
use super::contact::{self, Verdict};
use super::endpoint::{ConnectString, Server};
use super::failure;
use super::heartbeat::Heart;
use super::node::millis;
use super::opening::{Attempt, silence_of};
use super::proofs::Proofs;
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

/// What a session is to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) ttl: Ttl,
    /// How long its nodes are to outlast what is believed of it.
    pub(super) lock_delay: Duration,
}

impl Terms {
    /// The session timeout that keeps a lease of `ttl`. The lease is believed for 2/3 of it; two thirds of what comes on top are
    /// the delay.
    fn timeout(self, ttl: Duration) -> Duration {
        ttl + self.beyond()
    }

    fn beyond(self) -> Duration {
        self.lock_delay * 3 / 2
    }
}

/// The least that a lease may become where a delay takes its part of what the server grants.
const LEAST_TTL: Duration = Duration::from_secs(4);

/// A session and what is known of its life.
#[derive(Debug)]
pub(super) struct Session {
    ensemble: ConnectString,
    client: RefCell<Option<Client>>,
    /// Tells when the session has ended, once it was let go.
    closing: RefCell<Option<StateWatcher>>,
    id: i64,
    /// As granted.
    timeout: Duration,
    /// The part of it that is a lease; the rest is a delay for others.
    ttl: Duration,
    /// Nodes that would let others in too early if they went with it now: its end is left to the server's clock.
    left_open_for: RefCell<HashSet<String>>,
    proofs: Cell<Proofs>,
    heart: Heart,
}

impl Session {
    /// Opens a session on these `terms`, at `until` at the latest.
    ///
    /// # Errors
    /// When nobody grants one, with every server's reason; when the TTL is exact and outside the range of the servers, or
    /// the delay leaves too little of what they grant.
    pub(super) async fn open(
        ensemble: &ConnectString,
        approach: &Approach,
        terms: Terms,
        until: BootInstant,
    ) -> Result<Self, BackendError> {
        let ttl = terms.ttl.duration();
        let wanted = Duration::from_millis(millis(terms.timeout(ttl))).min(LONGEST_TIMEOUT);
        let silence = silence_of(ttl.min(wanted));
        let session = Self::attach(ensemble, approach, (wanted, silence), until).await?;
        if session.timeout == Duration::from_millis(millis(terms.timeout(ttl))) {
            return Ok(session.lasting(ttl));
        }
        session.close().await;
        match terms.ttl {
            Ttl::Exactly(_) => Err(Self::out_of_range(ensemble, approach, terms, session.timeout, until).await),
            Ttl::Default(_) => {
                let ttl = session.timeout.saturating_sub(terms.beyond());
                if !terms.lock_delay.is_zero() && ttl < LEAST_TTL {
                    return Err(Self::out_of_range(ensemble, approach, terms, session.timeout, until).await);
                }
                // Once more: what the client crate makes of the time it asks for would not fit the time that it got.
                let asked = (session.timeout, silence_of(ttl));
                Ok(Self::attach(ensemble, approach, asked, until).await?.lasting(ttl))
            }
        }
    }

    fn lasting(self, ttl: Duration) -> Self {
        Self { ttl, ..self }
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

    /// As granted.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The lease that it keeps: the timeout, but for what a lock delay takes of it.
    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Time from one heartbeat to the next: six of them may be missed in 2/3 of the lease.
    pub(super) fn heartbeat(&self) -> Duration {
        self.ttl / 10
    }

    pub(super) fn heart(&self) -> &Heart {
        &self.heart
    }

    /// From now on [`Session::close`] leaves it to the server to end it in time, as the node at `path` needs it.
    pub(super) fn leave_open_for(&self, path: &str) {
        self.left_open_for.borrow_mut().insert(path.to_owned());
    }

    /// Takes that back.
    pub(super) fn may_close_for(&self, path: &str) {
        self.left_open_for.borrow_mut().remove(path);
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
        self.proofs.set(self.proofs.get().and(sent, self.ttl / 20));
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
        validity::of_session(self.ttl, last, before)
    }

    /// Has the session closed behind the requests that were sent: the server carries them out in this order. What becomes of
    /// it is for [`Session::close`] to hear.
    pub(super) fn let_go(&self) {
        self.heart.stop();
        if let Some(client) = self.client.take() {
            // The last handle closes the session when it is dropped.
            self.closing.replace(Some(client.state_watcher()));
        }
    }

    /// Whether its end was asked for: that it is over then says nothing of what it kept.
    pub(super) fn was_let_go(&self) -> bool {
        self.closing.borrow().is_some()
    }

    /// Closes the session and waits for the server's word: its nodes are gone when this returns, unless the
    /// server could not be asked.
    pub(super) async fn close(&self) {
        if !self.left_open_for.borrow().is_empty() {
            self.heart.stop();
            // With this process the connection ends, and nothing else.
            return std::mem::forget(self.client.take());
        }
        self.let_go();
        let Some(mut states) = self.closing.take() else { return };
        let within = match states.state() {
            // A terminal state is told once; waiting for it after that would take for ever.
            state if state.is_terminated() => return,
            SessionState::SyncConnected => CLOSING,
            _ => CLOSING_UNHEARD,
        };
        timeout(within, async { while !states.changed().await.is_terminated() {} }).await.ok();
    }

    async fn attach(
        ensemble: &ConnectString,
        approach: &Approach,
        (wanted, silence): (Duration, Duration),
        until: BootInstant,
    ) -> Result<Self, BackendError> {
        let until = until - LAST_WORD;
        let mut verdicts: Vec<(Server, Verdict)> = Vec::new();
        while !until.has_passed() {
            let attached = BootInstant::now();
            let established = |client: Client| {
                let (id, timeout) = (client.session_id().0, client.session_timeout());
                let (client, closing) = (RefCell::new(Some(client)), RefCell::default());
                let ensemble = ensemble.clone();
                let proofs = Cell::new(Proofs::since(attached));
                let (left_open_for, heart) = (RefCell::default(), Heart::default());
                Self { ensemble, client, closing, id, timeout, ttl: timeout, left_open_for, proofs, heart }
            };
            let mut through_all = Attempt::new(ensemble, approach, wanted, silence)?;
            let head_start = HEAD_START.min(until.remaining());
            if let Ok(Some(client)) = timeout(head_start, through_all.outcome()).await {
                return Ok(established(client));
            }
            if through_all.was_denied() {
                return Err(failure::explained(ensemble, "open a session", &Error::AuthFailed));
            }
            let asking = ASKING.min(until.remaining());
            let heard = tokio::select! {
                client = through_all.success() => return Ok(established(client)),
                heard = hear(ensemble, approach, asking) => heard,
            };
            // Who had less time than it takes to call a server silent has learnt nothing of one that answered before.
            verdicts = if asking < ASKING { contact::unless_unheard(heard, verdicts) } else { heard };
            let told = |wanted: Verdict| verdicts.iter().filter(move |(_, verdict)| *verdict == wanted);
            let serving: Vec<Server> = told(Verdict::Serving).map(|(server, _)| server.clone()).collect();
            if !serving.is_empty() {
                let mut through_serving = Attempt::new(&ensemble.through(serving), approach, wanted, silence)?;
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
            let session = Self::attach(ensemble, approach, (end, silence_of(end)), until).await?;
            session.close().await;
            ends.push(session.timeout);
        }
        Ok((ends[0], ends[1]))
    }

    async fn out_of_range(
        ensemble: &ConnectString,
        approach: &Approach,
        terms: Terms,
        granted: Duration,
        until: BootInstant,
    ) -> BackendError {
        let ttl = terms.ttl.duration();
        let wanted = terms.timeout(ttl);
        let other_end = if granted < wanted { SHORTEST_TIMEOUT } else { LONGEST_TIMEOUT };
        let other = match Self::attach(ensemble, approach, (other_end, silence_of(other_end)), until).await {
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
        let servers = ensemble.shown();
        BackendError::misconfigured(match (terms.lock_delay, terms.ttl) {
            (Duration::ZERO, _) => {
                format!("{servers} grants session timeouts {range}, not {}: choose a --ttl within that", shown(wanted))
            }
            (delay, Ttl::Exactly(_)) => format!(
                "{servers} grants session timeouts {range}, and --ttl {} with --lock-delay {} takes {}: choose others",
                shown(ttl),
                shown(delay),
                shown(wanted)
            ),
            (delay, Ttl::Default(_)) => format!(
                "{servers} grants session timeouts {range}, of which --lock-delay {} leaves less than the {} that a lease \
                 takes: choose a shorter delay",
                shown(delay),
                shown(LEAST_TTL)
            ),
        })
    }
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
