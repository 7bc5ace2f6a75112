//! Entering a queue: the directory, the node, and what is said of those ahead.

use std::rc::Rc;
use std::time::Duration;

use uuid::Uuid;
use zookeeper_client::{Client, CreateMode, Error};

use super::contender::{Contest, Trouble};
use super::family::Family;
use super::node::{Node, Record, time_of_day};
use super::place::{self, Place};
use super::queue::{self, Entry, Queue};
use super::session::Terms;
use super::watching::Watches;
use super::{ASIDE, ZooKeeperBackend, expiry, failure, lease};
use crate::lock::{BackendError, Contention, LeaseKind, Patience};
use crate::sys::boottime::BootInstant;

/// A container without children is removed, at any moment between the making of it and the create below it. Losing
/// that race three times in a row means something else: most likely the chroot is missing.
const CONTAINER_TRIES: u32 = 3;

/// How entering the queue ended.
pub(super) enum Entered {
    At(Rc<Place>),
    Refused(Contention),
}

impl Contest<'_> {
    pub(super) async fn enter(&self, until: BootInstant) -> Result<Entered, Trouble> {
        let terms = match self.claim.kind {
            LeaseKind::Running => Terms { ttl: self.claim.ttl, lock_delay: self.claim.retention.lock_delay },
            LeaseKind::OneShot => ASIDE,
        };
        let session = self.backend.session(terms, until).await?;
        let client = session.client()?;
        // An earlier attempt may have been granted without our learning of it.
        if self.claim.kind == LeaseKind::OneShot && self.has_queued() {
            place::release_by_token(self.backend, &self.claim.key, &self.claim.token).await?;
        }
        if self.claim.patience == Patience::Refuse
            && let Some(contention) = self.held_already(&client).await?
        {
            return Ok(Entered::Refused(contention));
        }
        // Apart from the owner token: everybody can read the names of nodes.
        let label = self.backend.family.label(Uuid::new_v4(), self.claim.mode).ok_or_else(|| self.no_such_mode())?;
        let place = Rc::new(Place::new(session, &self.directory, label, self.claim));
        // Before the request: this future may be dropped while it is under way.
        self.backend.remember(&self.claim.key, &self.claim.token, Some(Rc::clone(&place)));
        self.create(&client, &place).await?;
        Ok(Entered::At(place))
    }

    async fn create(&self, client: &Client, place: &Place) -> Result<(), Trouble> {
        let (prefix, data) = (place.prefix(), self.record(place).to_bytes());
        let ephemeral = CreateMode::EphemeralSequential.with_acls(self.backend.acl().of_contenders());
        let mut containers_left = CONTAINER_TRIES;
        loop {
            let sent = BootInstant::now();
            let creating = client.create(&prefix, &data, &ephemeral);
            // In the same round trip: of one session's requests the server carries out one after the other.
            let listing = client.list_children(&self.directory);
            match creating.await {
                Ok((stat, sequence)) => {
                    place.session().committed(sent);
                    if stat.ephemeral_owner != place.session().id() {
                        return Err(Trouble::Client(Error::SessionExpired));
                    }
                    place.created(&format!("{}{sequence}", place.label()), stat);
                    if queue::near_the_end(sequence.into_i64()) {
                        return Err(self.used_up().into());
                    }
                    // What failed is asked for once more by whoever looks.
                    self.first_list.set(listing.await.ok());
                    return Ok(());
                }
                Err(Error::NoNode) if containers_left > 0 => {
                    containers_left -= 1;
                    make_directory(self.backend, client, &self.directory).await?;
                }
                // The node may exist. The list waits for the connection, and the place is taken up again by its label; a
                // server that lags behind shows it later, beside the one that is created next.
                Err(error) if failure::leaves_the_outcome_open(&error) => {
                    let children = match client.list_children(&self.directory).await {
                        Ok(children) => children,
                        Err(Error::NoNode) => Vec::new(),
                        Err(error) => return Err(error.into()),
                    };
                    if !Queue::of(self.backend.family, children).created_as(place.label()).is_empty() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a claim that may not wait would have to: looked at before anything is created.
    async fn held_already(&self, client: &Client) -> Result<Option<Contention>, Trouble> {
        loop {
            let queue = match client.list_children(&self.directory).await {
                Ok(children) => Queue::of(self.backend.family, children),
                Err(Error::NoNode) => return Ok(None),
                Err(error) => return Err(error.into()),
            };
            self.refuse_strangers(&queue)?;
            let Some(crowd) = self.crowd(&queue, queue.entries())? else { return Ok(None) };
            let unwatched = &mut Watches::default();
            let (expiry, contention) = tokio::join!(
                lease::expire(self.backend, client, &self.directory, &crowd, unwatched),
                self.contention(client, &crowd, None)
            );
            if expiry? == lease::Expiry::Changed {
                continue;
            }
            return Ok(Some(contention?));
        }
    }

    /// Who keeps a contender behind `ahead` from holding; `None`: nobody.
    pub(super) fn crowd<'q>(&self, queue: &Queue, ahead: &'q [Entry]) -> Result<Option<Crowd<'q>>, BackendError> {
        if let Some(total) = queue::other_slots(ahead, self.claim.mode) {
            return Err(BackendError::misconfigured(format!(
                "others use it with --slots {total}; give all the same number, or wait until nobody holds or awaits it"
            )));
        }
        let must_go = queue::must_go(ahead, self.claim.mode);
        Ok((!must_go.is_empty()).then(|| Crowd { ahead, must_go, holders: queue.holders() }))
    }

    pub(super) async fn contention(
        &self,
        client: &Client,
        crowd: &Crowd<'_>,
        own: Option<&Place>,
    ) -> Result<Contention, Trouble> {
        let head = crowd.ahead.first().map_or("", |entry| entry.name.as_str());
        let holder = place::read(client, &self.directory, &[head]).await?.pop();
        Ok(Contention {
            others: crowd.holders.saturating_sub(1),
            since: holder.as_ref().and_then(|node| time_of_day(node.granted_ms()?)),
            held_for: holder.as_ref().and_then(|node| held_for(node, own?)),
            holder: holder.map(|node| node.holder()),
            ahead: Some(crowd.ahead.len().saturating_sub(crowd.holders)),
        })
    }

    pub(super) fn record(&self, place: &Place) -> Record {
        let ttl = match self.claim.kind {
            LeaseKind::Running => place.session().ttl(),
            LeaseKind::OneShot => self.claim.ttl.duration(),
        };
        let record = Record::entering(&self.claim.key, &self.claim.token, &self.claim.holder, ttl);
        record.delaying(self.claim.retention.lock_delay)
    }

    pub(super) fn refuse_strangers(&self, queue: &Queue) -> Result<(), BackendError> {
        let Some(stranger) = queue.stranger() else { return Ok(()) };
        let advice = match Family::of(stranger) {
            Some(theirs) => format!("give --layout {} to share it, or choose another key", theirs.layout()),
            None => "choose another key or namespace".to_owned(),
        };
        Err(BackendError::misconfigured(format!(
            "{} on {} is in use by another kind of lock (its child {:?} has no {} in its name): neither would see the \
             other; {advice}",
            self.directory,
            self.backend.ensemble.shown(),
            queue::shown(stranger),
            self.backend.family.marks()
        )))
    }

    /// The settings refuse this first.
    fn no_such_mode(&self) -> BackendError {
        let (layout, mode) = (self.backend.family.layout(), self.claim.mode);
        BackendError::usage(format!("the layout {layout} has no mode {mode}"))
    }

    fn used_up(&self) -> BackendError {
        BackendError::misconfigured(format!(
            "the sequence numbers of {} on {} are nearly used up: delete the node while nobody uses the key, and it \
             begins anew",
            self.directory,
            self.backend.ensemble.shown()
        ))
    }
}

/// Those ahead of a contender that has to wait.
pub(super) struct Crowd<'q> {
    pub(super) ahead: &'q [Entry],
    /// The indices of [`queue::must_go`].
    pub(super) must_go: Vec<usize>,
    /// How many of them hold the lock.
    pub(super) holders: usize,
}

impl Crowd<'_> {
    /// The names of those of whom one has to go.
    pub(super) fn in_the_way(&self) -> Vec<&str> {
        self.must_go.iter().map(|&index| self.ahead[index].name.as_str()).collect()
    }
}

/// Creates the directory and whatever is missing above it, as containers where that will do: they go when nobody uses
/// them.
pub(super) async fn make_directory(
    backend: &ZooKeeperBackend,
    client: &Client,
    directory: &str,
) -> Result<(), Trouble> {
    let kind = if backend.family.recreates_directories() { CreateMode::Container } else { CreateMode::Persistent };
    match client.mkdir(directory, &kind.with_acls(backend.acl().of_common_ground())).await {
        Ok(()) => Ok(()),
        Err(Error::NoNode) if !backend.ensemble.chroot().is_empty() => match client.check_stat("/").await? {
            None => Err(failure::no_chroot(&backend.ensemble).into()),
            Some(_) => Ok(()),
        },
        Err(error) => Err(error.into()),
    }
}

/// How long `node` has held the lock: from its grant to the creation of `own` by one leader's stamps, and by our own
/// clock since then.
fn held_for(node: &Node, own: &Place) -> Option<Duration> {
    let (stat, created_at) = own.created_at()?;
    if expiry::epoch(node.stat?.mzxid) != expiry::epoch(stat.czxid) {
        return None;
    }
    let before_us = stat.ctime.checked_sub(node.granted_ms()?)?;
    let since_then = i64::try_from(BootInstant::now().since(created_at).as_millis()).ok()?;
    Some(Duration::from_millis(u64::try_from(before_us.saturating_add(since_then)).unwrap_or(0)))
}
