//! One contender in the queue. What breaks it: a message taken for a grant, a place kept by somebody who is gone, a lease
//! that vanished and is still believed in.

use std::time::Duration;

use redis::Cmd;

use super::ear::Ear;
use super::failure::Failure;
use super::names::Names;
use super::reply::{Answer, Held};
use super::script::{TAKE_OFFERED, WAIT};
use super::value::{LockValue, Sharer};
use super::{RedisBackend, glance, masters_of, other_masters, other_slots};
use crate::lock::backoff::jittered;
use crate::lock::{BackendError, Claim, Contention, FIRST_CONTACT, Lease, Mode, Progress};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::seeded::seeded;

/// The longest lease of a waiter: how long one that died is counted at most.
const LONGEST_PLACE: Duration = Duration::from_secs(30);

/// A waiter renews its lease this often within it: two looks may fail before the place is lost.
const LOOKS_PER_LEASE: u32 = 3;

/// How long an offered lock waits for its waiter at most; CONFIRM_MS of the scripts.
const CONFIRM: Duration = Duration::from_secs(3);

/// One look may take this long: what one request of a holder may at most.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Looks at a foreign holder, which tells nobody of its end; as often as polling clients (50 to 250 ms) look, lest they
/// always come first.
const FOREIGN_LOOK: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(150));

/// Looks of the first waiter where nobody can be told.
const DEAF_LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(300));

/// Pauses between tries to connect again: a server that restarts is back within a second or two.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// A key is expired once its last millisecond is over, and the server rounds what is left down.
const EXPIRY_RESOLUTION: Duration = Duration::from_millis(2);

/// How many leases that may have vanished are remembered: more have to change hands within one pause between looks, and
/// then the longest count.
const REMEMBERED: usize = 16;

pub(super) struct Waiting<'a> {
    backend: &'a RedisBackend,
    claim: &'a Claim,
    names: &'a Names,
    progress: &'a dyn Fn(Progress),
    reconnect_for: Duration,
    timer: BootTimer,
    /// Owner tokens and generations seen in the lock, and until when their leases last.
    seen: Vec<(String, BootInstant)>,
    /// Our ticket, and until when our place lasts if nobody forgets it.
    place: Option<(String, BootInstant)>,
    /// The holder and position that were told last.
    told: Option<(Vec<u8>, Vec<u8>, usize)>,
    /// What asks for the lock when it is offered, put together while there is time.
    prepared: Option<Cmd>,
    /// Since when the connection is lost.
    away_since: Option<BootInstant>,
    /// What was told of that last.
    told_away: Option<BackendError>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(
        backend: &'a RedisBackend,
        claim: &'a Claim,
        names: &'a Names,
        progress: &'a dyn Fn(Progress),
        reconnect_for: Duration,
    ) -> Result<Self, BackendError> {
        let timer = BootTimer::new().map_err(|error| BackendError::system(format!("no timer: {error}")))?;
        Ok(Self {
            backend,
            claim,
            names,
            progress,
            reconnect_for,
            timer,
            seen: Vec::new(),
            place: None,
            told: None,
            prepared: None,
            away_since: None,
            told_away: None,
        })
    }

    /// Waits for as long as it is polled.
    pub(super) async fn until_granted(mut self, first: Option<Held>) -> Result<Lease, BackendError> {
        if let Some(held) = first {
            self.note(&held);
        }
        let mut moved_at: Option<BootInstant> = None;
        loop {
            let failure = match self.stay().await {
                Ok((lease, ear)) => {
                    if matches!(ear, Ear::Listens { .. }) {
                        self.backend.waited_for.borrow_mut().insert((lease.key.clone(), lease.token.clone()));
                    }
                    self.backend.laid_aside.borrow_mut().push((ear, self.timer));
                    return Ok(lease);
                }
                Err(failure) if failure.error.may_pass() => failure,
                Err(failure) => return Err(failure.error),
            };
            let now = BootInstant::now();
            if failure.has_moved() && moved_at.replace(now).is_none_or(|last| now.since(last) > RECONNECT.1) {
                continue;
            }
            let error = failure.error;
            let since = *self.away_since.get_or_insert(now);
            let give_up = since + self.reconnect_for;
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

    /// Queues on one connection until the lock is granted or the connection fails.
    async fn stay(&mut self) -> Result<(Lease, Ear), Failure> {
        let channel = format!("{}{}", self.names.wake_prefix(), self.claim.token.secret());
        let limit = self.limit(FIRST_CONTACT);
        let mut is_late = seeded!("subscribes-after-it-looked");
        let first = if is_late { "elsewhere" } else { &channel };
        let mut ear = self.backend.route.listen(self.names.lock(), first, limit).await?;
        let mut polls = matches!(ear, Ear::Polls);
        let mut was_told = false;
        loop {
            let sent = BootInstant::now();
            let pause = match self.look(&ear, was_told).await? {
                Answer::Granted { fence, now } => {
                    let lease = self.backend.granted(self.claim, self.names, sent, fence, now).await;
                    return lease.map(|lease| (lease, ear)).map_err(Failure::unanswered);
                }
                Answer::Vanished(left) => (left + EXPIRY_RESOLUTION).min(place(self.claim) / LOOKS_PER_LEASE),
                Answer::Held(held) if masters_of(&held) != 1 => {
                    return Err(Failure::unanswered(other_masters(masters_of(&held))));
                }
                Answer::Held(held) => {
                    self.note(&held);
                    polls |= held.turn.deaf && !seeded!("subscribes-after-it-looked");
                    next_look(self.claim, &held, polls)
                }
                Answer::OtherSlots(total) => return Err(Failure::unanswered(other_slots(total))),
                Answer::Awaited | Answer::Undone => {
                    let released = BackendError::usage("the claim was released while it waited");
                    return Err(Failure::unanswered(released));
                }
            };
            if std::mem::take(&mut is_late) {
                ear = self.backend.route.listen(self.names.lock(), &channel, limit).await?;
            }
            if self.claim.mode == Mode::Exclusive {
                let ticket = self.place.as_ref().map_or("", |(ticket, _)| ticket);
                let way = (TAKE_OFFERED, Some(&ear));
                self.prepared = Some(glance(self.claim, self.names, way, ticket, &self.seen));
            }
            was_told = self.hear(&mut ear, BootInstant::now() + pause).await?;
        }
    }

    /// `was_told`: a message has come, as it does when the lock is offered.
    async fn look(&mut self, ear: &Ear, was_told: bool) -> Result<Answer, Failure> {
        self.seen.retain(|(_, over)| !over.has_passed());
        let limit = self.limit(LOOK_LIMIT);
        // A queue that forgot us (a flush, a restart) lets us in where we stood; one that we left unattended does not.
        let ticket = self.place.as_ref().filter(|(_, over)| !over.has_passed()).map_or("", |(ticket, _)| ticket);
        let until = BootInstant::now() + place(self.claim);
        let mut answer = Answer::Awaited;
        if let Some(prepared) = self.prepared.take().filter(|_| was_told) {
            answer = self.backend.look_by(&prepared, self.claim, self.names, Some(ear), limit).await?;
        }
        if answer == Answer::Awaited {
            let way = (WAIT, Some(ear));
            answer = self.backend.look(self.claim, self.names, way, ticket, &self.seen, limit).await?;
        }
        (self.away_since, self.told_away) = (None, None);
        match (&answer, &mut self.place) {
            (Answer::Held(held), _) => self.place = Some((held.ticket.clone(), until)),
            (_, Some((_, over))) => *over = until,
            (_, None) => {}
        }
        Ok(answer)
    }

    /// Waits until `instant`, or until something says that looking earlier may pay: whether it does.
    async fn hear(&mut self, ear: &mut Ear, instant: BootInstant) -> Result<bool, Failure> {
        tokio::select! {
            () = self.timer.sleep_until(instant) => Ok(false),
            heard = ear.hint() => heard.map(|()| true).map_err(|_| {
                let url = self.backend.route.masked();
                Failure::unanswered(BackendError::unavailable(format!("{url} closed the connection")))
            }),
        }
    }

    /// Remembers whose lease was seen, and tells whom we wait for when that has changed.
    fn note(&mut self, held: &Held) {
        self.seen.retain(|(token, _)| !held.given_up.contains(token));
        if let (LockValue::Ours(record), Some(left)) = (LockValue::parse(&held.value), held.left) {
            self.seen.retain(|(token, _)| *token != record.token);
            self.seen.push((record.token, BootInstant::now() + left));
            if self.seen.len() > REMEMBERED {
                self.seen.sort_by_key(|(_, over)| std::cmp::Reverse(*over));
                self.seen.truncate(REMEMBERED);
            }
        }
        let news = (held.value.clone(), held.sharer.clone(), held.ahead);
        if self.told.as_ref() != Some(&news) {
            (self.progress)(Progress::Waiting(contention(held)));
            self.told = Some(news);
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

/// Whom a contender waits for.
pub(super) fn contention(held: &Held) -> Contention {
    let ahead = Some(held.ahead);
    if let Some(sharer) = Sharer::parse(&held.sharer) {
        return Contention {
            since: sharer.since.wall(),
            held_for: Some(held.now.since(sharer.since)),
            holder: Some(sharer.holder),
            others: held.sharers.saturating_sub(1),
            ahead,
        };
    }
    match LockValue::parse(&held.value) {
        LockValue::Ours(record) => Contention {
            since: record.since.wall(),
            held_for: Some(held.now.since(record.since)),
            holder: Some(record.holder),
            others: 0,
            ahead,
        },
        LockValue::Foreign => Contention { ahead, ..Contention::default() },
    }
}

/// How long a waiter's place outlives its last look.
pub(super) fn place(claim: &Claim) -> Duration {
    claim.ttl.duration().min(LONGEST_PLACE)
}

/// How long a waiter may sleep after a look.
fn next_look(claim: &Claim, held: &Held, polls: bool) -> Duration {
    let next = held.turn.next;
    let foreign =
        held.left.is_none() || (!held.value.is_empty() && LockValue::parse(&held.value) == LockValue::Foreign);
    let confirm = claim.ttl.duration().min(CONFIRM);
    let mut pause = place(claim) / LOOKS_PER_LEASE;
    if let (true, Some(left)) = (next, held.turn.due) {
        pause = pause.min(left + EXPIRY_RESOLUTION);
    }
    if next && foreign {
        pause = pause.min(jittered(FOREIGN_LOOK.0, FOREIGN_LOOK.1));
    } else if next && polls {
        pause = pause.min(jittered(DEAF_LOOK.0, DEAF_LOOK.1));
    } else if polls {
        pause = pause.min(jittered(confirm / 6, confirm / 3));
    }
    pause
}

#[cfg(test)]
mod tests {
    use super::super::reply::Turn;
    use super::super::value::ServerTime;
    use super::*;
    use crate::lock::{Holder, LeaseKind, LockKey, Mode, OwnerToken, Patience, Ttl};

    const OURS: &[u8] = b"0123456789abcdef0123456789abcdef dlock/1 exclusive running 1 30000 7 {}";

    fn claim(ttl: Duration) -> Claim {
        Claim {
            key: LockKey::new("job").expect("a valid key"),
            token: OwnerToken::random(),
            holder: Holder::default(),
            ttl: Ttl::Exactly(ttl),
            kind: LeaseKind::Running,
            patience: Patience::Queue { reconnect_for: ttl },
            mode: Mode::Exclusive,
            looks_first: false,
            retention: crate::lock::Retention::default(),
        }
    }

    fn held(value: &[u8], left: Option<u64>, next: bool) -> Held {
        Held {
            value: value.to_vec(),
            left: left.map(Duration::from_millis),
            now: ServerTime::from_micros(1),
            ahead: 0,
            sharer: Vec::new(),
            sharers: 0,
            turn: Turn { next, due: left.map(Duration::from_millis), deaf: false },
            given_up: Vec::new(),
            ticket: String::new(),
        }
    }

    fn millis(ttl: u64, held: &Held, polls: bool) -> u128 {
        next_look(&claim(Duration::from_millis(ttl)), held, polls).as_millis()
    }

    #[test]
    fn the_first_waiter_looks_when_the_holders_lease_ends_and_the_others_only_keep_their_place() {
        assert_eq!(millis(30_000, &held(OURS, Some(4_000), true), false), 4_002);
        assert_eq!(millis(30_000, &held(OURS, Some(4_000), false), false), 10_000);
        assert_eq!(millis(600_000, &held(OURS, Some(400_000), true), false), 10_000);
        assert_eq!(millis(1_500, &held(OURS, Some(4_000), false), false), 500);
    }

    #[test]
    fn only_the_first_waiter_polls_a_foreign_holder() {
        for left in [None, Some(60_000)] {
            let pause = millis(30_000, &held(b"locked", left, true), false);
            assert!((50..=150).contains(&pause), "{pause}");
            assert_eq!(millis(30_000, &held(b"locked", left, false), false), 10_000);
        }
    }

    #[test]
    fn where_nobody_is_told_everyone_looks_within_the_confirm_lease() {
        for ttl in [1_000, 30_000] {
            for next in [true, false] {
                let pause = millis(ttl, &held(OURS, Some(60_000), next), true);
                assert!(pause <= u128::from(ttl.min(3_000)) / 3, "{pause}");
            }
        }
    }
}
