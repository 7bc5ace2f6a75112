//! Who holds and who waits, read without locking anything. Breaks when a record is taken for the truth while the kernel
//! says otherwise.

use std::time::Duration;

use super::FileBackend;
use super::directory::Missing;
use super::lock_file::{LockFile, elapsed};
use super::records::{Entry, Record, Role, WrittenPhase, wall_time};
use crate::lock::{
    BackendError, FencingToken, HolderEntry, KeyPattern, LockKey, LockState, LockStatus, OwnerToken, Phase,
    WaiterEntry, token,
};
use crate::sys::boottime::BootInstant;

/// How often the kernel and the records are asked again when the one knows of a holder and the other of none: a
/// contender passes through that state within a few system calls.
const AGREEMENT_ATTEMPTS: usize = 4;

impl FileBackend {
    pub(super) fn read_status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        let free = LockStatus::free(key.clone());
        let Some(place) = self.place()? else { return Ok(free) };
        let name = key.encoded();
        let Some((file, identity)) = place.open_file(&name, Missing::Leave)? else { return Ok(free) };
        let file = LockFile::new(file, identity, place.path.join(&name));
        self.describe(key, &file)
    }

    pub(super) fn read_list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        let Some(place) = self.place()? else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for name in place.names()? {
            let known = LockKey::decode(&name);
            if known.as_ref().is_some_and(|key| !pattern.matches(key)) || !may_be_lock(&name) {
                continue;
            }
            let Some((file, identity)) = place.open_file(&name, Missing::Leave)? else { continue };
            let file = LockFile::new(file, identity, place.path.join(&name));
            let Some(key) = known.or_else(|| file.read_unguarded().ok()?.whole_key()) else { continue };
            if key.encoded() != name || !pattern.matches(&key) {
                continue;
            }
            let status = self.describe(&key, &file)?;
            if status.state != LockState::Free || !status.waiters.is_empty() {
                found.push(status);
            }
        }
        found.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(found)
    }

    pub(super) fn describe(&self, key: &LockKey, file: &LockFile) -> Result<LockStatus, BackendError> {
        let mut record = file.read_unguarded()?;
        let mut owned = file.owned_by_another()?;
        for _ in 1..AGREEMENT_ATTEMPTS {
            if !owned || record.phase != WrittenPhase::Free {
                break;
            }
            record = file.read_unguarded()?;
            owned = file.owned_by_another()?;
        }
        let now = BootInstant::now();
        let mut status = LockStatus::free(key.clone());
        let mut leased = self.stands(&record)?;
        if !owned && !leased && record.lock_delay_ms.is_some() {
            // Whoever gives it up in good order says so before the kernel does.
            record = file.read_unguarded()?;
            leased = self.is_uncleared(&record)?;
        }
        let mut entries: Vec<Entry> = file.entries(self.leases()?)?.into_iter().map(|(_, entry)| entry).collect();
        entries.sort_by_key(|entry| entry.since_boot_ns);
        if owned || leased {
            status.state = LockState::Held(record.sharing.mode());
            status.holders = match record.phase {
                WrittenPhase::Group => entries.iter().filter(|one| one.role == Role::Holder).map(member).collect(),
                _ => vec![holder(&record, now, owned)],
            };
            status.fence = status.holders.iter().filter_map(|holder| holder.fence).max();
        }
        let waiters = entries.iter().filter(|entry| entry.role == Role::Waiter);
        status.waiters = waiters.enumerate().map(|(ahead, entry)| waiter(entry, ahead + 1, now)).collect();
        Ok(status)
    }
}

/// Names with a bare `%` that no encoded key has are files of dlock's own.
fn may_be_lock(name: &str) -> bool {
    LockKey::decode(name).is_some() || name.contains('~')
}

fn holder(record: &Record, now: BootInstant, owned: bool) -> HolderEntry {
    // It died; how long it keeps others out counts from the first of them on.
    let delay = record.lock_delay_ms.filter(|_| !owned && record.end_boot_ns.is_none());
    HolderEntry {
        id: public_id(record.token.as_deref()),
        holder: record.holder.clone(),
        since: record.since_us.map(wall_time),
        held_for: record.since_boot_ns.and_then(|then| elapsed(then, now)),
        ttl: record.ttl_ms.map(Duration::from_millis),
        remaining: record.end().map(|end| end.since(now)).or(delay.map(Duration::from_millis)),
        phase: match (delay, record.phase.shown()) {
            (Some(_), _) => Phase::LockDelay,
            (None, Some(Phase::OneShot)) if is_in_delay(record.end(), record.lock_delay_ms, now) => Phase::LockDelay,
            // Owned and not written yet: somebody is stopped half-way.
            (None, phase) => phase.unwrap_or(Phase::Running),
        },
        fence: (record.phase != WrittenPhase::Free).then_some(FencingToken(record.fence)),
    }
}

/// Whether nothing is left of a lease but its lock delay.
fn is_in_delay(end: Option<BootInstant>, delay_ms: Option<u64>, now: BootInstant) -> bool {
    let delay = Duration::from_millis(delay_ms.unwrap_or_default());
    !delay.is_zero() && end.is_some_and(|end| end.since(now) <= delay)
}

fn member(entry: &Entry) -> HolderEntry {
    let now = BootInstant::now();
    let end = entry.end_boot_ns.map(BootInstant::from_nanos);
    HolderEntry {
        id: public_id(entry.token.as_deref()),
        holder: entry.holder.clone(),
        since: entry.since_us.map(wall_time),
        held_for: entry.since_boot_ns.and_then(|then| elapsed(then, now)),
        ttl: entry.ttl_ms.map(Duration::from_millis),
        remaining: end.map(|end| end.since(now)),
        phase: match entry.phase.shown() {
            Some(Phase::OneShot) if is_in_delay(end, entry.lock_delay_ms, now) => Phase::LockDelay,
            phase => phase.unwrap_or(Phase::Running),
        },
        fence: None,
    }
}

fn waiter(entry: &Entry, position: usize, now: BootInstant) -> WaiterEntry {
    WaiterEntry {
        id: entry.id.clone().unwrap_or_default(),
        holder: entry.holder.clone(),
        since: entry.since_us.map(wall_time),
        waited_for: entry.since_boot_ns.and_then(|then| elapsed(then, now)),
        position,
        mode: entry.sharing.mode(),
    }
}

pub(super) fn public_id(secret: Option<&str>) -> String {
    secret.and_then(|text| OwnerToken::parse(text).ok()).map_or_else(|| token::public_id(b""), |token| token.id())
}
