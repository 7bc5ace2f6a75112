//! Taking the lock and standing in line for it. Breaks when a grant is believed that the records forbid, or when a wait that
//! was given up is granted afterwards.

use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::FileBackend;
use super::directory::{Missing, NamespaceDir};
use super::lease::{LeaseEnd, expires_at};
use super::lock_file::{LockFile, elapsed};
use super::locks::{EXCLUSIVE, HEAD, HEAD_AND_GUARD, PLACE, UNCONTENDED};
use super::records::{Entry, Record, Role, Standing, WrittenPhase, key_hex, next_fence, wall_time};
use crate::lock::{
    Acquired, BackendError, Claim, Contention, FencingToken, Lease, LeaseKind, LockKey, Patience, Progress,
};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::ofd_lock::Attempt;
use crate::sys::readiness::Readiness;

/// What the records say to a contender to whom the kernel has given everything.
enum Decision {
    Granted(Lease),
    HeldUntil(BootInstant, Contention),
    /// The file is not the one that has the name now.
    Replaced,
}

/// How one description fared.
enum Outcome {
    Settled(Acquired),
    Replaced,
}

impl FileBackend {
    pub(super) async fn take(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        let requested_at = BootInstant::now();
        let name = claim.key.encoded();
        loop {
            let place = self.made_place()?;
            let attempt = Attempting { backend: self, place, name: &name, claim, requested_at, progress };
            if let Outcome::Settled(acquired) = attempt.contend().await? {
                return Ok(acquired);
            }
        }
    }
}

/// Opens the key's file, making it if need be.
fn open(place: &NamespaceDir, name: &str) -> Result<LockFile, BackendError> {
    let (file, identity) = place.open_file(name, Missing::Make)?.expect("a missing file was to be made");
    Ok(LockFile::new(file, identity, place.path.join(name)))
}

/// One claim at one file.
struct Attempting<'a> {
    backend: &'a FileBackend,
    place: &'a NamespaceDir,
    name: &'a str,
    claim: &'a Claim,
    requested_at: BootInstant,
    progress: &'a dyn Fn(Progress),
}

impl Attempting<'_> {
    async fn contend(&self) -> Result<Outcome, BackendError> {
        // Whatever is on the way out, and whoever drops us: one call undoes every lock, a grant of this instant too.
        let undo = |file: &LockFile| {
            file.unlock_everything().ok();
        };
        let opened = || open(self.place, self.name);
        let turn = self.backend.contenders.enter(&self.claim.key, &self.claim.token, opened, undo)?;
        let outcome = self.reach(turn.file()).await?;
        match &outcome {
            Outcome::Settled(Acquired::Granted(_)) if self.claim.kind == LeaseKind::Running => {
                turn.file().unlock(HEAD_AND_GUARD)?;
                turn.file().leave_table()?;
                turn.keep();
            }
            // The records keep a one-shot lease, nobody the rest.
            Outcome::Settled(_) => {}
            Outcome::Replaced => turn.retire(),
        }
        Ok(outcome)
    }

    /// Takes part until it is settled. Whatever was locked for that still is, the guard too after a grant.
    async fn reach(&self, file: &LockFile) -> Result<Outcome, BackendError> {
        let mut guard = if file.try_lock(UNCONTENDED)? == Attempt::Locked {
            file.guarded()
        } else {
            if file.try_lock(PLACE)? == Attempt::Busy {
                match self.claim.patience {
                    Patience::Refuse => return Ok(Outcome::Settled(Acquired::Held(self.seen(file, None)?))),
                    Patience::Queue { .. } => self.stand_in_line(file).await?,
                }
            }
            file.guard().await?
        };
        let mut change: Option<Change> = None;
        loop {
            let (until, contention) = match self.decide(file)? {
                Decision::Granted(lease) => {
                    guard.unlocked_with_the_rest();
                    return Ok(Outcome::Settled(Acquired::Granted(lease)));
                }
                Decision::Replaced => return Ok(Outcome::Replaced),
                Decision::HeldUntil(until, contention) => (until, contention),
            };
            if self.claim.patience == Patience::Refuse {
                return Ok(Outcome::Settled(Acquired::Held(contention)));
            }
            // Made while nobody else can write, after the last look and our own last write: misses nothing.
            let change = match &mut change {
                Some(change) => change,
                None => {
                    // Whoever stood in line has an entry already.
                    if !file.is_entered() {
                        file.enter(&self.entry())?;
                    }
                    change.insert(Change::watch(file)?)
                }
            };
            drop(guard);
            (self.progress)(Progress::Waiting(Contention { ahead: Some(0), ..contention }));
            change.next_or(until).await;
            guard = file.guard().await?;
        }
    }

    /// Waits in the kernel's queue: first to be its head, then for the holder to go.
    async fn stand_in_line(&self, file: &LockFile) -> Result<(), BackendError> {
        let contention = {
            let _guard = file.guard().await?;
            let ahead = file.enter(&self.entry())?;
            self.seen(file, Some(ahead))?
        };
        (self.progress)(Progress::Waiting(contention));
        if file.try_lock(HEAD)? == Attempt::Busy {
            file.lock(HEAD).await?;
            (self.progress)(Progress::Waiting(self.seen(file, Some(0))?));
        }
        file.lock(EXCLUSIVE).await
    }

    /// Reads the records and, if they allow it, writes ours. Needs everything and the guard.
    fn decide(&self, file: &LockFile) -> Result<Decision, BackendError> {
        if !self.place.is_current(self.name, file.identity)? {
            return Ok(Decision::Replaced);
        }
        let mut current = file.read()?;
        if current.record.depends_on_boot() {
            let now = self.backend.now()?;
            match current.record.standing(&now.boot_id, now.boottime) {
                Standing::Kernel => {}
                Standing::Until(end) => return Ok(Decision::HeldUntil(end, seen_in(&current.record, now.boottime))),
                Standing::Delayed(delay) => {
                    let until = now.boottime + delay;
                    let delayed = current.record.delayed(until);
                    file.write(&mut current, delayed)?;
                    return Ok(Decision::HeldUntil(until, seen_in(&current.record, now.boottime)));
                }
            }
        }
        let fence = next_fence(current.record.fence, self.backend.wall_us());
        let ttl = self.claim.ttl.duration();
        let end = match self.claim.kind {
            LeaseKind::Running => None,
            LeaseKind::OneShot => Some(LeaseEnd::after(ttl, self.backend.now()?)),
        };
        file.write(&mut current, self.record(fence, end.as_ref()))?;
        Ok(Decision::Granted(Lease {
            key: self.claim.key.clone(),
            token: self.claim.token.clone(),
            ttl,
            fence: Some(FencingToken(fence)),
            requested_at: self.requested_at,
            valid_until: end.as_ref().map(|end| end.at),
            renew_every: None,
            expires_at: end.map(|end| expires_at(end.at)),
        }))
    }

    fn record(&self, fence: u64, end: Option<&LeaseEnd>) -> Record {
        let lease = Record {
            fence,
            phase: WrittenPhase::Running,
            token: Some(self.claim.token.secret().to_owned()),
            holder: self.claim.holder.clone(),
            since_us: Some(self.backend.wall_us()),
            since_boot_ns: Some(BootInstant::now().as_nanos()),
            key_hex: whole_key(&self.claim.key, self.name),
            ..Record::default()
        };
        match end {
            None => lease,
            Some(end) => Record {
                phase: WrittenPhase::OneShot,
                boot: Some(end.boot_id.clone()),
                ttl_ms: Some(end.ttl_ms),
                asked_ttl_ms: Some(end.ttl_ms),
                end_boot_ns: Some(end.at.as_nanos()),
                ..lease
            },
        }
    }

    fn entry(&self) -> Entry {
        Entry {
            role: Role::Waiter,
            id: Some(self.claim.token.id()),
            holder: self.claim.holder.clone(),
            since_us: Some(self.backend.wall_us()),
            since_boot_ns: Some(BootInstant::now().as_nanos()),
            ..Entry::default()
        }
    }

    /// Who holds it, as far as the records tell while somebody may be writing them.
    fn seen(&self, file: &LockFile, ahead: Option<usize>) -> Result<Contention, BackendError> {
        let record = file.read_unguarded()?;
        Ok(Contention { ahead, ..seen_in(&record, BootInstant::now()) })
    }
}

fn seen_in(record: &Record, now: BootInstant) -> Contention {
    if record.phase == WrittenPhase::Free {
        return Contention::default();
    }
    Contention {
        holder: Some(record.holder.clone()),
        since: record.since_us.map(wall_time),
        held_for: record.since_boot_ns.and_then(|then| elapsed(then, now)),
        ..Contention::default()
    }
}

/// `None` where the file's name tells it.
fn whole_key(key: &LockKey, name: &str) -> Option<String> {
    LockKey::decode(name).is_none().then(|| key_hex(key))
}

/// How often the head looks when the kernel gives it no notice: sooner than people notice, and one look takes 20 µs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells the head of the queue that somebody wrote to the file.
struct Change {
    /// `None` when the user's other programs have used up what there is of inotify (128 instances by default). A lock
    /// must not fail for that.
    events: Option<Readiness<Inotify>>,
    timer: BootTimer,
}

impl Change {
    fn watch(file: &LockFile) -> Result<Self, BackendError> {
        let events = || {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            inotify.add_watch(&file.path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DONT_FOLLOW).ok()?;
            Readiness::new(inotify).ok()
        };
        let timer = BootTimer::new()
            .map_err(|error| BackendError::system(format!("no timer for the lease's end is to be had: {error}")))?;
        Ok(Self { events: events(), timer })
    }

    /// Completes when the file has changed, at `until` at the latest.
    async fn next_or(&mut self, until: BootInstant) {
        match &self.events {
            Some(events) => {
                tokio::select! {
                    _ = events.readable(Inotify::read_events) => {}
                    () = self.timer.sleep_until(until) => {}
                }
            }
            None => self.timer.sleep_until(until.min(BootInstant::now() + LOOK_EVERY)).await,
        }
    }
}
