//! The way to a grant: enter the queue, stand in it, confirm. Every way out of it takes the node along.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use zookeeper_client::{Client, Error, SessionState};

use super::entry::Entered;
use super::heartbeat::Existence;
use super::node::Record;
use super::place::{Afterwards, Place};
use super::queue::Queue;
use super::session::Session;
use super::watching::Watches;
use super::{ZooKeeperBackend, failure, lease};
use crate::lock::backoff::jittered;
use crate::lock::{
    Acquired, BackendError, Claim, Contention, FIRST_CONTACT, Lease, LeaseKind, Mode, Patience, Progress,
};
use crate::sys::boottime::{BootInstant, BootTimer};

/// Pauses before a broken connection is used or sought again; the crate's own pauses begin at the same length.
const RETRY: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// How long one's own node is taken out by a request; after that, closing the session must do.
const LEAVING: Duration = Duration::from_secs(1);

/// Looks at its own session's life per timeout while waiting. With T/8 between two looks and T/4 for a silent server to be noticed,
/// something was sent within the last 3/8 of the timeout, which leaves a lease of 0.575 T.
const LOOKS: u32 = 8;

/// So many looks in time, one after another, show that the pings went out in time as well; fewer may be the first ones
/// after this process was stopped, before the client crate has noticed anything.
const STEADY_LOOKS: u32 = 3;

/// Why a step did not succeed: the client's word may pass with the connection, ours is final.
pub(super) enum Trouble {
    Client(Error),
    Final(BackendError),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

impl From<BackendError> for Trouble {
    fn from(error: BackendError) -> Self {
        Self::Final(error)
    }
}

/// What one look at the queue came to.
pub(super) enum Turn {
    Granted(Lease),
    Refused(Contention),
    /// Our node is gone: somebody removed it.
    Gone,
    /// Something has changed; look again.
    Again,
}

pub(super) async fn acquire(
    backend: &ZooKeeperBackend,
    claim: &Claim,
    progress: &dyn Fn(Progress),
) -> Result<Acquired, BackendError> {
    let directory = backend.layout.directory(&claim.key)?;
    backend.remember(&claim.key, &claim.token, None);
    let (queued, first_list, lost_at) = (Cell::new(Queued::Never), Cell::default(), Cell::new(None));
    let contest = Contest { backend, claim, progress, directory, queued, first_list, lost_at };
    let mut until = BootInstant::now() + FIRST_CONTACT;
    loop {
        let failure = match contest.once(until).await {
            Ok(Turn::Granted(lease)) => return Ok(Acquired::Granted(lease)),
            Ok(Turn::Refused(contention)) => {
                contest.leave().await?;
                return Ok(Acquired::Held(contention));
            }
            Ok(Turn::Gone | Turn::Again) => {
                until = BootInstant::now() + FIRST_CONTACT;
                continue;
            }
            Err(failure) => failure,
        };
        // Whatever the reason is, nothing of ours may stay in others' way. What cannot be asked for now goes with
        // the session, or is undone by the caller's release.
        contest.leave().await.ok();
        let Patience::Queue { reconnect_for } = claim.patience else { return Err(failure) };
        if !contest.has_queued() || !failure.may_pass() {
            return Err(failure);
        }
        let lost_at = contest.lost_at.get().unwrap_or_else(BootInstant::now);
        contest.lost_at.set(Some(lost_at));
        let end = lost_at + reconnect_for;
        if end.has_passed() {
            return Err(failure);
        }
        progress(Progress::Disconnected(failure));
        sleep(jittered(RETRY[0], RETRY[1])).await;
        until = end.min(BootInstant::now() + FIRST_CONTACT);
    }
}

/// Whether the contender has ever stood in the queue: before that, an error is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Queued {
    Never,
    Once,
}

/// One claim on its way.
pub(super) struct Contest<'a> {
    pub(super) backend: &'a ZooKeeperBackend,
    pub(super) claim: &'a Claim,
    progress: &'a dyn Fn(Progress),
    pub(super) directory: String,
    queued: Cell<Queued>,
    /// The queue as it was when the node had been created.
    pub(super) first_list: Cell<Option<Vec<String>>>,
    /// Since when the connection has been lost.
    lost_at: Cell<Option<BootInstant>>,
}

impl Contest<'_> {
    pub(super) fn has_queued(&self) -> bool {
        self.queued.get() == Queued::Once
    }

    async fn once(&self, until: BootInstant) -> Result<Turn, BackendError> {
        let no_answer = || failure::no_answer(&self.backend.ensemble, "enter the queue");
        let entering = timeout(until.remaining(), self.enter(until));
        let place = match entering.await.unwrap_or_else(|_| Err(no_answer().into())) {
            Ok(Entered::At(place)) => place,
            Ok(Entered::Refused(contention)) => return Ok(Turn::Refused(contention)),
            Err(trouble) => return Err(self.explained(trouble)),
        };
        self.queued.set(Queued::Once);
        self.lost_at.set(None);
        let relook = Notify::new();
        match self.claim.patience {
            Patience::Refuse => {
                timeout(until.remaining(), self.stand(&place, &relook)).await.unwrap_or_else(|_| Err(no_answer()))
            }
            Patience::Queue { reconnect_for } => tokio::select! {
                turn = self.stand(&place, &relook) => turn,
                lost = self.mind(place.session(), reconnect_for, &relook) => Err(lost),
            },
        }
    }

    /// Looks at the queue again and again until our turn has come.
    async fn stand(&self, place: &Place, relook: &Notify) -> Result<Turn, BackendError> {
        let (mut waited, mut watches) = (Waited::No, Watches::default());
        let mut timer = BootTimer::new().map_err(|error| BackendError::system(format!("no timer left: {error}")))?;
        loop {
            match self.turn(place, &mut waited, &mut watches, &mut timer, relook).await {
                Ok(Turn::Again) => {}
                Ok(turn) => return Ok(turn),
                Err(Trouble::Client(error))
                    if self.claim.patience != Patience::Refuse
                        && failure::leaves_the_outcome_open(&error)
                        && !place.session().is_over() =>
                {
                    sleep(jittered(RETRY[0], RETRY[1])).await;
                }
                Err(trouble) => return Err(self.explained(trouble)),
            }
        }
    }

    async fn turn(
        &self,
        place: &Place,
        waited: &mut Waited,
        watches: &mut Watches,
        timer: &mut BootTimer,
        relook: &Notify,
    ) -> Result<Turn, Trouble> {
        let client = place.session().client()?;
        let listed = match self.first_list.take() {
            Some(children) => Ok(children),
            None => client.list_children(&self.directory).await,
        };
        let queue = match listed {
            Ok(children) => Queue::of(self.backend.family, children),
            Err(Error::NoNode) => return Ok(Turn::Gone),
            Err(error) => return Err(error.into()),
        };
        self.refuse_strangers(&queue)?;
        let Some(own) = self.settle(&client, place, &queue).await? else { return Ok(Turn::Gone) };
        let position = queue.position(&own).expect("it was found in this very list");
        let Some(crowd) = self.crowd(&queue, &queue.entries()[..position])? else {
            return match self.claim.kind {
                LeaseKind::Running => self.take(&client, place, *waited).await,
                LeaseKind::OneShot => lease::take(self, &client, place).await,
            };
        };
        if watches.turn_to(&client, &self.directory, &crowd.in_the_way()).await? == Existence::Gone {
            return Ok(Turn::Again);
        }
        let (expiry, contention) = tokio::join!(
            lease::expire(self.backend, &client, &self.directory, &crowd, watches),
            self.contention(&client, &crowd, Some(place))
        );
        let end = match expiry? {
            lease::Expiry::Changed => return Ok(Turn::Again),
            lease::Expiry::At(end) => Some(end),
            lease::Expiry::Never => None,
        };
        let contention = contention?;
        if self.claim.patience == Patience::Refuse {
            return Ok(Turn::Refused(contention));
        }
        (self.progress)(Progress::Waiting(contention));
        // A request handle kept over the wait would keep the session from closing.
        drop(client);
        *waited = Waited::Yes;
        tokio::select! {
            () = watches.changed() => {}
            () = relook.notified() => {}
            () = timer.sleep_until(end.unwrap_or_else(BootInstant::now)), if end.is_some() => {}
        }
        Ok(Turn::Again)
    }

    /// Makes sure that exactly one node is ours: a create whose reply was lost may have left another.
    async fn settle(&self, client: &Client, place: &Place, queue: &Queue) -> Result<Option<String>, Trouble> {
        let mine = queue.created_as(place.label());
        let Some((own, ghosts)) = mine.split_first() else { return Ok(None) };
        for ghost in ghosts {
            match client.delete(&format!("{}/{ghost}", self.directory), None).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !place.is_named(own) {
            let Some(stat) = client.check_stat(&format!("{}/{own}", self.directory)).await? else { return Ok(None) };
            if stat.ephemeral_owner != place.session().id() {
                return Err(Trouble::Client(Error::SessionExpired));
            }
            place.created(own, stat);
        }
        Ok(Some((*own).to_owned()))
    }

    /// Our turn has come: after a wait, a committed write decides whether our node is still there.
    async fn take(&self, client: &Client, place: &Place, waited: Waited) -> Result<Turn, Trouble> {
        let session = place.session();
        let (Some(path), Some(stat)) = (place.path(), place.stat()) else { return Ok(Turn::Gone) };
        if waited == Waited::Yes {
            let (mut data, mut version) = (self.record(place).granted().to_bytes(), stat.version);
            loop {
                let sent = BootInstant::now();
                match client.set_data(&path, &data, Some(version)).await {
                    Ok(_) => break session.committed(sent),
                    Err(Error::NoNode) => return Ok(Turn::Gone),
                    // Somebody has left a mark in it while we waited, which stays.
                    Err(Error::BadVersion) => {
                        let (theirs, now) = client.get_data(&path).await?;
                        let Some(marked) = Record::parse(&theirs) else {
                            match session.commit_check(&path).await? {
                                Existence::Exists => break,
                                Existence::Gone => return Ok(Turn::Gone),
                            }
                        };
                        (data, version) = (marked.granted().to_bytes(), now.version);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        // This process was stopped while it waited: the leader may know nothing of our life since then. After a quarter
        // of the timeout, which is half a tick at least, its follower has told it of the write above.
        if session.valid_until().remaining() < session.ttl() / 3 {
            sleep(session.ttl() / 4).await;
            if session.commit_check(&path).await? == Existence::Gone {
                return Ok(Turn::Gone);
            }
        }
        let fence = match self.claim.mode {
            Mode::Exclusive => Some(self.backend.granted_fence(stat.czxid)?),
            Mode::Shared | Mode::Slots(_) => None,
        };
        place.granted();
        Ok(Turn::Granted(Lease {
            key: self.claim.key.clone(),
            token: self.claim.token.clone(),
            ttl: session.ttl(),
            fence,
            requested_at: session.last_proof(),
            valid_until: Some(session.valid_until()),
            renew_every: Some(session.heartbeat()),
            expires_at: None,
        }))
    }

    /// Minds the session while its node waits: tells of a lost connection, and when it is lost for too long.
    async fn mind(&self, session: &Session, reconnect_for: Duration, relook: &Notify) -> BackendError {
        let lost = || failure::explained(&self.backend.ensemble, "wait in the queue", &Error::ConnectionLoss);
        let expired = || failure::explained(&self.backend.ensemble, "wait in the queue", &Error::SessionExpired);
        let Some(mut states) = session.states() else { return expired() };
        let Ok(mut timer) = BootTimer::new() else { return BackendError::system("no timer left") };
        let pause = session.ttl() / LOOKS;
        let (mut last_look, mut in_time) = (BootInstant::now(), 0);
        loop {
            let state = tokio::select! {
                state = states.changed() => state,
                () = timer.sleep_until(last_look + pause) => {
                    let now = BootInstant::now();
                    in_time = if now.since(last_look) < pause * 2 && session.is_connected() { in_time + 1 } else { 0 };
                    if in_time >= STEADY_LOOKS {
                        session.was_alive(now - session.ttl() / 4);
                    }
                    last_look = now;
                    if self.lost_at.get().is_some_and(|since| (since + reconnect_for).has_passed()) {
                        return lost();
                    }
                    continue;
                }
            };
            match state {
                SessionState::SyncConnected => {
                    self.lost_at.set(None);
                    relook.notify_one();
                }
                SessionState::Disconnected | SessionState::ConnectedReadOnly => {
                    if self.lost_at.get().is_none() {
                        self.lost_at.set(Some(BootInstant::now()));
                        (self.progress)(Progress::Disconnected(lost()));
                    }
                }
                SessionState::AuthFailed => {
                    return failure::explained(&self.backend.ensemble, "wait in the queue", &Error::AuthFailed);
                }
                SessionState::Expired | SessionState::Closed => return expired(),
            }
        }
    }

    /// Takes our node out again.
    async fn leave(&self) -> Result<(), BackendError> {
        let (key, token) = (&self.claim.key, &self.claim.token);
        let Some(Some(place)) = self.backend.place(key, token) else { return Ok(()) };
        let late = || failure::no_answer(&self.backend.ensemble, "leave the queue");
        let removed = timeout(LEAVING, place.remove(self.backend, Afterwards::SessionStays))
            .await
            .unwrap_or_else(|_| Err(late()));
        let gone_with_its_session = place.session().is_over() && !place.may_outlive_its_session();
        if removed.is_ok() || gone_with_its_session {
            self.backend.remember(key, token, None);
            return Ok(());
        }
        // The session's end is the server's to carry out, even when it cannot answer.
        if !self.backend.is_shared(place.session()) {
            place.session().close().await;
        }
        removed.map(|_| ())
    }

    fn explained(&self, trouble: Trouble) -> BackendError {
        match trouble {
            Trouble::Client(error) => failure::explained(&self.backend.ensemble, "take the lock", &error),
            Trouble::Final(error) => error,
        }
    }
}

/// Whether time has passed in the queue since the node was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    No,
    Yes,
}
