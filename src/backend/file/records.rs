//! What is written in a lock file, and what it means; pure. Breaks when two records claim to be the newest, so the
//! sequence number and the checksum decide, never the position.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::kept::Kept;
use crate::lock::key::MAX_KEY_BYTES;
use crate::lock::{Holder, LockKey, Mode, OwnerToken, Parting, Phase};
use crate::sys::boottime::BootInstant;

/// Two of these make up the records. Together one page: what the smallest file costs in memory anyway.
pub(super) const SLOT_LEN: usize = 2048;
pub(super) const RECORDS_LEN: usize = 2 * SLOT_LEN;

/// Holds any holder data of ordinary size; a thousand waiters take half a megabyte, a tenth of what `/run/lock` has.
pub(super) const ENTRY_LEN: usize = 512;

/// `dlock 1 <16> <4> <16>\n`
const LINE_LEN: usize = 47;
/// The line up to its checksum.
const SUMMED_LEN: usize = 30;
const MAGIC: &str = "dlock 1 ";

/// A UUID with its hyphens.
const BOOT_ID_LEN: usize = 36;
const LONGEST_MODE: &str = "exclusive";

/// The state of a key, as `docs/protocol.md` describes its members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    pub(super) fence: u64,
    pub(super) phase: WrittenPhase,
    #[serde(flatten)]
    pub(super) sharing: Sharing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    #[serde(skip_serializing_if = "is_nobody")]
    pub(super) holder: Holder,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since_boot_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asked_ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_boot_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold_until_boot_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lock_delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key_hex: Option<String>,
}

/// How the holders share the key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Sharing {
    #[serde(skip_serializing_if = "Option::is_none")]
    mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slots: Option<u32>,
}

/// The phase as written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WrittenPhase {
    #[default]
    Free,
    Running,
    OneShot,
    HeldAtLeast,
    LockDelay,
    Revoked,
    Group,
    /// Of a later version: held for as long as the kernel or the record's end say so.
    #[serde(other)]
    Unknown,
}

/// What a record tells a contender that has the ownership byte, or a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Only the kernel's lock, if anything, keeps others out.
    Kernel,
    /// Held until then, whoever has the ownership byte.
    Until(BootInstant),
    /// Its holder died, and asked for others to be kept out this long after that.
    Delayed(Duration),
}

/// This moment, by the clock of leases.
#[derive(Debug, Clone)]
pub(super) struct Now {
    pub(super) boot_id: String,
    pub(super) boottime: BootInstant,
}

/// One contender of the entries table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    pub(super) role: Role,
    #[serde(flatten)]
    pub(super) sharing: Sharing,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    #[serde(skip_serializing_if = "is_nobody")]
    pub(super) holder: Holder,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since_boot_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
    pub(super) phase: WrittenPhase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) boot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asked_ttl_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_boot_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hold_until_boot_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lock_delay_ms: Option<u64>,
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    Waiter,
    Holder,
    #[default]
    #[serde(other)]
    Unknown,
}

/// The newest record, and where the next one goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Current {
    pub(super) record: Record,
    sequence: u64,
    /// 0 or 1.
    slot: usize,
}

/// Neither slot holds a record, and something else stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Corrupt;

impl Record {
    /// A key that nobody holds, with the memory of its fence.
    pub(super) fn free(&self) -> Self {
        Self { fence: self.fence, key_hex: self.key_hex.clone(), ..Self::default() }
    }

    /// What its holder writes that parts so: nothing but the fence, or what is left to wait for.
    pub(super) fn left_by(&self, parting: Parting, now: &Now) -> Self {
        let kept = Kept { hold_until_boot_ns: self.hold_until_boot_ns, lock_delay_ms: self.lock_delay_ms };
        match kept.left_by(parting, now.boottime).filter(|_| self.is_of(&now.boot_id)) {
            Some((phase, until)) => Self { phase, end_boot_ns: Some(until.as_nanos()), ..self.clone() },
            None => self.free(),
        }
    }

    /// What it says to whoever has the ownership byte.
    pub(super) fn standing(&self, boot_id: &str, now: BootInstant) -> Standing {
        if !self.is_of(boot_id) {
            return Standing::Kernel;
        }
        match (self.end_boot_ns.map(instant), self.lock_delay_ms, self.phase) {
            // Whatever leases there are besides: one of the group has died.
            (_, Some(delay), WrittenPhase::Group) if delay > 0 => Standing::Delayed(Duration::from_millis(delay)),
            (Some(end), _, _) if now < end => Standing::Until(end),
            (None, Some(delay), WrittenPhase::Running | WrittenPhase::Revoked | WrittenPhase::Unknown) if delay > 0 => {
                Standing::Delayed(Duration::from_millis(delay))
            }
            _ => Standing::Kernel,
        }
    }

    /// Whether reading the boot id is worth it: nothing of a lease is written otherwise.
    pub(super) fn depends_on_boot(&self) -> bool {
        self.boot.is_some()
    }

    /// The same record, now of a holder that is gone and still keeps others out.
    pub(super) fn delayed(&self, until: BootInstant) -> Self {
        let until = self.end_boot_ns.into_iter().chain([until.as_nanos()]).max();
        Self { phase: WrittenPhase::LockDelay, end_boot_ns: until, ..self.clone() }
    }

    pub(super) fn end(&self) -> Option<BootInstant> {
        self.end_boot_ns.map(instant)
    }

    /// Without texts that no dlock writes, so that what was read can always be written again.
    fn bounded(self) -> Self {
        let at_most = |text: Option<String>, most: usize| text.filter(|text| text.len() <= most);
        Self {
            holder: self.holder.bounded(),
            sharing: self.sharing.bounded(),
            token: at_most(self.token, OwnerToken::LEN),
            boot: at_most(self.boot, BOOT_ID_LEN),
            key_hex: at_most(self.key_hex, 2 * MAX_KEY_BYTES),
            ..self
        }
    }

    fn is_of(&self, boot_id: &str) -> bool {
        self.boot.as_deref() == Some(boot_id)
    }

    /// The whole key, where the file's name does not tell it.
    pub(super) fn whole_key(&self) -> Option<LockKey> {
        let digits = self.key_hex.as_ref()?.as_bytes();
        let bytes: Option<Vec<u8>> = digits
            .chunks(2)
            .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        LockKey::new(String::from_utf8(bytes?).ok()?).ok()
    }
}

impl Sharing {
    pub(super) fn of(mode: Mode) -> Self {
        let named = |mode: &str| Some(mode.to_owned());
        match mode {
            Mode::Exclusive => Self::default(),
            Mode::Shared => Self { mode: named("shared"), slots: None },
            Mode::Slots(total) => Self { mode: named("slots"), slots: Some(total) },
        }
    }

    fn bounded(self) -> Self {
        Self { mode: self.mode.filter(|mode| mode.len() <= LONGEST_MODE.len()), ..self }
    }

    /// How the key is shared; what a later version calls otherwise counts as exclusive.
    pub(super) fn mode(&self) -> Mode {
        match (self.mode.as_deref(), self.slots) {
            (Some("shared"), _) => Mode::Shared,
            (Some("slots"), Some(slots)) => Mode::Slots(slots),
            _ => Mode::Exclusive,
        }
    }
}

impl WrittenPhase {
    /// As `status` names it; `None`: nobody holds it by what is written.
    pub(super) fn shown(self) -> Option<Phase> {
        Some(match self {
            Self::Free => return None,
            Self::Running | Self::Group | Self::Unknown => Phase::Running,
            Self::OneShot => Phase::OneShot,
            Self::HeldAtLeast => Phase::HeldAtLeast,
            Self::LockDelay => Phase::LockDelay,
            Self::Revoked => Phase::Revoked,
        })
    }
}

impl Current {
    /// Reads both slots; shorter than they are when the file is.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Corrupt> {
        let part = |index: usize| {
            let from = (index * SLOT_LEN).min(bytes.len());
            &bytes[from..(from + SLOT_LEN).min(bytes.len())]
        };
        let slot = |index: usize| {
            let (sequence, body) = open(part(index))?;
            let record = serde_json::from_slice::<Record>(body).ok()?.bounded();
            Some(Self { record, sequence, slot: index })
        };
        // The newer one decides if it is whole, and it nearly always is: the older one's checksum is not looked at then.
        let newer = usize::from(claimed_sequence(part(0)) <= claimed_sequence(part(1)));
        match slot(newer).or_else(|| slot(1 - newer)) {
            Some(current) => Ok(current),
            // Never used, or its content did not survive a power failure: so did not whoever held it.
            None if bytes.iter().all(|byte| *byte == 0) => Ok(Self { slot: 1, ..Self::default() }),
            None => Err(Corrupt),
        }
    }

    /// The bytes of both slots where `record` is to be the only one.
    pub(super) fn alone(record: Record) -> Vec<u8> {
        let (mut bytes, _) = Self { slot: 1, ..Self::default() }.replace(record);
        bytes.resize(RECORDS_LEN, 0);
        bytes
    }

    /// Puts `record` in this one's place: the bytes, and where in the file they go. They leave this one readable until
    /// they are written completely.
    pub(super) fn replace(&mut self, mut record: Record) -> (Vec<u8>, usize) {
        let slot = 1 - self.slot;
        let sequence = self.sequence.saturating_add(1);
        let bytes = seal_shortened(sequence, SLOT_LEN, |shorten| {
            record.holder = shorten(std::mem::take(&mut record.holder));
            serde_json::to_vec(&record).expect("strings and numbers always serialise")
        });
        *self = Self { record, sequence, slot };
        (bytes, slot * SLOT_LEN)
    }
}

impl Entry {
    /// `None`: no entry stands there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (_, body) = open(bytes)?;
        serde_json::from_slice(body).ok()
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut entry = self.clone();
        seal_shortened(0, ENTRY_LEN, |shorten| {
            entry.holder = shorten(std::mem::take(&mut entry.holder));
            serde_json::to_vec(&entry).expect("strings and numbers always serialise")
        })
    }

    /// Whether a lease keeps it alive, locked or not.
    pub(super) fn leased(&self, boot_id: &str, now: BootInstant) -> bool {
        self.boot.as_deref() == Some(boot_id)
            && match self.end_boot_ns {
                Some(end) => now < instant(end),
                // It runs; or it died, and nobody has written down yet until when it keeps others out.
                None => self.delay().is_some(),
            }
    }

    /// The lock delay of a running holder.
    pub(super) fn delay(&self) -> Option<Duration> {
        let delay = self.lock_delay_ms.filter(|delay| *delay > 0 && self.role == Role::Holder);
        delay.filter(|_| self.phase == WrittenPhase::Running).map(Duration::from_millis)
    }

    /// The same holder, which is gone and keeps others out until then.
    pub(super) fn left(&self, phase: WrittenPhase, until: BootInstant) -> Self {
        Self { phase, end_boot_ns: Some(until.as_nanos()), ..self.clone() }
    }
}

/// The fencing token after `last`: rises even while the wall clock is set back, and restarts no lower than the clock
/// where the file is new.
pub(super) fn next_fence(last: u64, wall_us: u64) -> u64 {
    last.saturating_add(1).max(wall_us)
}

/// The key as `key_hex` writes it.
pub(super) fn key_hex(key: &LockKey) -> String {
    hex::encode(key.as_str())
}

/// A moment written in microseconds since 1970.
pub(super) fn wall_time(us: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(us)
}

fn instant(nanos: u64) -> BootInstant {
    BootInstant::from_nanos(nanos)
}

fn is_nobody(holder: &Holder) -> bool {
    *holder == Holder::default()
}

/// How many hexadecimal digits a sequence number has.
const SEQUENCE_DIGITS: usize = 16;

/// A body with its line in front.
fn seal(sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{MAGIC}{sequence:016x} {:04x} ", body.len()).into_bytes();
    let sum = checksum(&bytes, body);
    bytes.extend_from_slice(sum.as_bytes());
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    bytes
}

/// Seals what `body` makes, with the holder's texts cut further and further until it fits into `room`.
fn seal_shortened(sequence: u64, room: usize, mut body: impl FnMut(&dyn Fn(Holder) -> Holder) -> Vec<u8>) -> Vec<u8> {
    let mut made = body(&Holder::bounded);
    while LINE_LEN + made.len() > room {
        made = body(&halve_longest);
    }
    seal(sequence, &made)
}

/// The holder with its longest text cut in half.
fn halve_longest(mut holder: Holder) -> Holder {
    let mut texts = [&mut holder.label, &mut holder.command, &mut holder.host, &mut holder.user];
    if let Some(text) = texts.iter_mut().filter_map(|text| text.as_mut()).max_by_key(|text| text.len()) {
        let kept = text.chars().count() / 2;
        *text = text.chars().take(kept).collect();
    }
    holder
}

/// The sequence number that a line begins with, whole or not.
fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(MAGIC.as_bytes())?.get(..SEQUENCE_DIGITS)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The sequence number and body of what `seal` wrote; `None` for anything else.
fn open(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let line = std::str::from_utf8(bytes.get(..LINE_LEN)?).ok()?;
    let rest = line.strip_prefix(MAGIC)?.strip_suffix('\n')?;
    let mut parts = rest.split(' ');
    let sequence = u64::from_str_radix(parts.next()?, 16).ok()?;
    let len = usize::from_str_radix(parts.next()?, 16).ok()?;
    let body = bytes.get(LINE_LEN..LINE_LEN.checked_add(len)?)?;
    (parts.next()? == checksum(&bytes[..SUMMED_LEN], body)).then_some((sequence, body))
}

fn checksum(line: &[u8], body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(line).chain_update(body).finalize();
    hex::encode(&digest[..8])
}

#[cfg(test)]
mod tests;
