//! Which byte of a lock file is locked for what. Breaks when two contenders share an open file description: the kernel
//! grants a description everything it has already, so each contender opens its own.

use std::os::fd::BorrowedFd;

use crate::sys::ofd_lock::{self, ByteRange, Extent};

/// Where the locked bytes begin: far behind any data, so that no program which locks what it writes meets them.
const BASE: i64 = 1 << 40;

/// How many holders can share a key by number.
pub(super) const MAX_SLOTS: i64 = 1 << 16;

/// The first N are the places of `--slots N`.
pub(super) const SLOTS: ByteRange = ByteRange { start: BASE, len: MAX_SLOTS };
pub(super) const OWNERSHIP: ByteRange = ByteRange::byte(BASE + MAX_SLOTS);
const TURNSTILE: ByteRange = ByteRange::byte(OWNERSHIP.start + 1);

/// Held by whoever writes, for that moment; nobody waits for anything else while holding it.
pub(super) const GUARD: ByteRange = ByteRange::byte(OWNERSHIP.start + 2);

/// What an exclusive holder holds. The slots are in it, because their holders do not lock the ownership byte.
pub(super) const EXCLUSIVE: ByteRange = SLOTS.through(OWNERSHIP);

/// The head of the queue: the one contender that waits for [`EXCLUSIVE`] itself.
pub(super) const HEAD: ByteRange = TURNSTILE;

/// Ownership and turnstile at once: what is free when nobody holds and nobody waits.
pub(super) const PLACE: ByteRange = SLOTS.through(TURNSTILE);

/// Everything that an uncontended acquisition needs, in one call.
pub(super) const UNCONTENDED: ByteRange = SLOTS.through(GUARD);

/// What a new holder gives up.
pub(super) const HEAD_AND_GUARD: ByteRange = TURNSTILE.through(GUARD);

/// How many contenders can be shown.
pub(super) const MAX_ENTRIES: i64 = 1 << 20;
const ENTRIES: ByteRange = ByteRange { start: BASE + (1 << 17), len: MAX_ENTRIES };

/// Whatever one contender can have locked.
pub(super) const EVERYTHING: ByteRange = SLOTS.through(ENTRIES);

/// The byte that keeps entry `index` alive.
pub(super) fn entry(index: i64) -> ByteRange {
    ByteRange::byte(ENTRIES.start + index)
}

/// The byte of one slot.
pub(super) fn slot(index: i64) -> ByteRange {
    ByteRange::byte(SLOTS.start + index)
}

/// Those of the first `count` entries that somebody else keeps alive, in ascending order.
pub(super) fn live_entries(file: BorrowedFd<'_>, count: i64) -> nix::Result<Vec<i64>> {
    locked_by_others(file, ByteRange { len: count.clamp(0, MAX_ENTRIES), ..ENTRIES })
}

/// The slots that somebody else has, in ascending order.
pub(super) fn used_slots(file: BorrowedFd<'_>) -> nix::Result<Vec<i64>> {
    locked_by_others(file, SLOTS)
}

/// Which bytes of `area` others have locked, counted from its start.
///
/// The kernel names one conflict at a time and any of them, so the range is divided at each until all is known: two
/// questions for each byte found.
fn locked_by_others(file: BorrowedFd<'_>, area: ByteRange) -> nix::Result<Vec<i64>> {
    let mut locked = Vec::new();
    let mut unknown = vec![area];
    while let Some(range) = unknown.pop() {
        if range.len == 0 {
            continue;
        }
        let Some(found) = ofd_lock::locked_by_another(file, range)? else { continue };
        let end = range.start + range.len;
        let from = found.start.max(range.start);
        let to = (found.start + found.len).min(end);
        locked.extend((from..to).map(|byte| byte - area.start));
        unknown.push(ByteRange { start: range.start, len: from - range.start });
        unknown.push(ByteRange { start: to, len: end - to });
    }
    locked.sort_unstable();
    Ok(locked)
}

/// Whether anybody else holds the key, as far as the kernel knows.
pub(super) fn owned_by_another(file: BorrowedFd<'_>) -> nix::Result<bool> {
    ofd_lock::locked_by_another(file, EXCLUSIVE).map(|found| found.is_some())
}

pub(super) fn bytes(range: ByteRange) -> Extent {
    Extent::Bytes(range)
}
