//! Pure: when a lease that outlives its session has ended, by the stamps that a leader puts on what is written. What breaks
//! it: two leaders' clocks, and a node that is taken for the one that stood in its place before.

use std::time::Duration;

use zookeeper_client::Stat;

/// A request has at most 1 MiB, and each of these takes little more than the node's path: some 300 bytes below a short
/// chroot.
const MOST_SETS: i32 = 1_000;

/// What a leader notes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub zxid: i64,
    /// Milliseconds since 1970 by this leader's clock.
    pub time_ms: i64,
}

impl Stamp {
    /// Of the last change of a node.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self { zxid: stat.mzxid, time_ms: stat.mtime }
    }
}

/// What a contender makes of a lease in its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It ends in this much, if nobody renews it.
    EndsIn(Duration),
    /// Another leader stamped it, and nobody knows how long ago: it starts anew.
    Anew,
    /// It may be removed, under the version that was read.
    Ended,
}

/// Judges a lease of `kept_for` that was `written` last, by the stamp of a write of just `now`.
#[must_use]
pub fn judge(written: Stamp, now: Stamp, kept_for: Duration) -> Judgement {
    // Two leaders' clocks are never compared.
    if epoch(written.zxid) == epoch(now.zxid) { since(written.time_ms, now.time_ms, kept_for) } else { Judgement::Anew }
}

/// The same for one that began at `began_ms` by the clock that reads `now_ms`.
#[must_use]
pub fn since(began_ms: i64, now_ms: i64, kept_for: Duration) -> Judgement {
    let age = Duration::from_millis(u64::try_from(now_ms.saturating_sub(began_ms)).unwrap_or(0));
    // The server stamps whole milliseconds, and a lease has ended only when more than it has passed.
    if age <= kept_for { Judgement::EndsIn(kept_for - age) } else { Judgement::Ended }
}

/// Which leader a transaction is of.
#[must_use]
pub fn epoch(zxid: i64) -> i64 {
    zxid >> 32
}

/// How often a node that replaces one of `version` is set at once: versions begin at 0 again with every node, and somebody
/// who has found the old lease at its end may be about to delete it under its version.
#[must_use]
pub fn age_at_birth(version: Option<i32>) -> i32 {
    match version {
        // An ephemeral: nobody judges its age.
        None => 0,
        Some(version) if version < MOST_SETS => version + 1,
        // So many renewals ago nobody is still about to do anything.
        Some(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_replacement_never_has_the_version_of_what_it_replaces() {
        for version in [0, 1, 2, MOST_SETS - 1, MOST_SETS, i32::MAX] {
            assert_ne!(age_at_birth(Some(version)), version);
        }
        assert_eq!(age_at_birth(Some(0)), 1);
        assert_eq!(age_at_birth(None), 0);
    }

    proptest! {
        #[test]
        fn a_lease_never_ends_before_all_of_it_has_passed_and_always_after(
            epoch in 0_i64..1 << 30, began in any::<i64>(), kept_ms in 0_u64..=366 * 86_400_000, age in any::<i64>(),
        ) {
            let kept_for = Duration::from_millis(kept_ms);
            let stamp = |time_ms: i64, change: i64| Stamp { zxid: epoch << 32 | change, time_ms };
            let now = began.saturating_add(age);
            let passed = i128::from(now) - i128::from(began);
            match judge(stamp(began, 7), stamp(now, 9), kept_for) {
                Judgement::Ended => prop_assert!(passed > i128::from(kept_ms)),
                Judgement::EndsIn(left) => {
                    prop_assert!(left <= kept_for);
                    prop_assert_eq!(left.as_millis().cast_signed(), i128::from(kept_ms) - passed.max(0));
                }
                Judgement::Anew => prop_assert!(false, "one leader"),
            }
        }

        #[test]
        fn no_lease_is_judged_by_another_leaders_clock(
            epochs in (0_i64..1 << 30, 0_i64..1 << 30), changes in (0_i64..1 << 32, 0_i64..1 << 32), times: (i64, i64),
        ) {
            prop_assume!(epochs.0 != epochs.1);
            let stamps = [(epochs.0, changes.0, times.0), (epochs.1, changes.1, times.1)]
                .map(|(epoch, change, time_ms)| Stamp { zxid: epoch << 32 | change, time_ms });
            prop_assert_eq!(judge(stamps[0], stamps[1], Duration::ZERO), Judgement::Anew);
        }

        #[test]
        fn a_replacement_is_of_another_version_than_any_it_replaces(version in 0..i32::MAX) {
            prop_assert_ne!(age_at_birth(Some(version)), version);
        }
    }
}
