//! Waiting for a lock that another library may hold. What breaks it: a message that never comes (an expiry tells nobody,
//! nor does a fair lock that nobody of its own awaits), so that every wait is bounded.

use std::time::Duration;

use super::super::ear::Ear;
use super::super::failure::Failure;
use super::Place;
use super::locks::LayoutBackend;
use super::reply::{Answer, Held};
use crate::lock::backoff::jittered;
use crate::lock::{BackendError, Claim, FIRST_CONTACT, Lease, Progress};
use crate::sys::boottime::{BootInstant, BootTimer};

/// One look may take this long: what one request of a holder may at most.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Looks where a release is told, but perhaps a fair lock's that nobody of its own awaits, and is told to nobody.
const TOLD_LOOK: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(1));

/// Looks where nothing is told: as often as polling clients look, lest they always come first.
const UNTOLD_LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(150));

/// Pauses between tries to connect again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A key is expired once its last millisecond is over, and the server rounds what is left down.
const EXPIRY_RESOLUTION: Duration = Duration::from_millis(2);

pub(super) struct Waiting<'a> {
    backend: &'a LayoutBackend,
    claim: &'a Claim,
    place: &'a Place,
    progress: &'a dyn Fn(Progress),
    reconnect_for: Duration,
    timer: BootTimer,
    /// The holder that was told last.
    told: Option<Vec<u8>>,
    /// Since when the connection is lost.
    away_since: Option<BootInstant>,
    /// What was told of that last.
    told_away: Option<BackendError>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        backend: &'a LayoutBackend,
        claim: &'a Claim,
        place: &'a Place,
        progress: &'a dyn Fn(Progress),
        reconnect_for: Duration,
    ) -> Result<Self, BackendError> {
        let timer = BootTimer::new().map_err(|error| BackendError::system(format!("no timer: {error}")))?;
        Ok(Self {
            backend,
            claim,
            place,
            progress,
            reconnect_for,
            timer,
            told: None,
            away_since: None,
            told_away: None,
        })
    }

    /// Waits for as long as it is polled.
    pub(super) async fn until_granted(mut self, first: Option<&Held>) -> Result<Lease, BackendError> {
        if let Some(held) = first {
            self.tell(held);
        }
        let mut moved_at: Option<BootInstant> = None;
        loop {
            let failure = match self.stay().await {
                Ok(lease) => return Ok(lease),
                Err(failure) if failure.error.may_pass() => failure,
                Err(failure) => return Err(failure.error),
            };
            let now = BootInstant::now();
            if failure.has_moved() && moved_at.replace(now).is_none_or(|last| now.since(last) > RECONNECT.1) {
                continue;
            }
            let error = failure.error;
            let give_up = *self.away_since.get_or_insert(now) + self.reconnect_for;
            if give_up.has_passed() {
                return Err(error);
            }
            if self.told_away.as_ref() != Some(&error) {
                self.told_away = Some(error.clone());
                (self.progress)(Progress::Disconnected(error));
            }
            self.told = None;
            let pause = jittered(RECONNECT.0, RECONNECT.1);
            self.timer.sleep_until((now + pause).min(give_up)).await;
        }
    }

    /// Looks again and again on one connection, until the lock is granted or the connection fails. What is subscribed to is
    /// confirmed before the first look, so that no release falls between them.
    async fn stay(&mut self) -> Result<Lease, Failure> {
        let mut ear = match self.place.channel() {
            Some(channel) => {
                let limit = self.limit(FIRST_CONTACT);
                self.backend.route.listen(self.place.names.lock(), &channel, limit).await?
            }
            None => Ear::Polls,
        };
        loop {
            let sent = BootInstant::now();
            let limit = self.limit(LOOK_LIMIT);
            let answer = self.backend.attempt(self.claim, self.place, Some(&ear), limit).await?;
            (self.away_since, self.told_away) = (None, None);
            let held = match answer {
                Answer::Granted(now) => {
                    return self.backend.granted(self.claim, sent, now).await.map_err(Failure::unanswered);
                }
                Answer::Undone => {
                    let released = BackendError::usage("the claim was released while it waited");
                    return Err(Failure::unanswered(released));
                }
                Answer::Held(held) => held,
            };
            self.tell(&held);
            let looks = if held.untold || matches!(ear, Ear::Polls) { UNTOLD_LOOK } else { TOLD_LOOK };
            let pause = jittered(looks.0, looks.1);
            let pause = held.left.map_or(pause, |left| pause.min(left + EXPIRY_RESOLUTION));
            self.hear(&mut ear, BootInstant::now() + pause).await?;
        }
    }

    /// Waits until `instant`, or until something says that looking earlier may pay.
    async fn hear(&mut self, ear: &mut Ear, instant: BootInstant) -> Result<(), Failure> {
        tokio::select! {
            () = self.timer.sleep_until(instant) => Ok(()),
            heard = ear.hint() => heard.map_err(|_| {
                let url = self.backend.route.masked();
                Failure::unanswered(BackendError::unavailable(format!("{url} closed the connection")))
            }),
        }
    }

    /// Tells whom we wait for when that has changed.
    fn tell(&mut self, held: &Held) {
        if self.told.as_ref() != Some(&held.owner) {
            self.told = Some(held.owner.clone());
            (self.progress)(Progress::Waiting(held.contention()));
        }
    }

    /// What a request may take: less while the connection is being sought and little of that time is left.
    fn limit(&self, usual: Duration) -> Duration {
        match self.away_since {
            // A tenth of a second is a hundred round trips in one data centre: a server that is back answers in it.
            Some(since) => usual.min((since + self.reconnect_for).remaining()).max(Duration::from_millis(100)),
            None => usual,
        }
    }
}
