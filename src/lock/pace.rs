//! When a lease must be renewed and when what it protects must end: pure arithmetic, safety rules 5 and 6.

use std::time::Duration;

use thiserror::Error;

use super::validity;

/// No request of a renewal takes longer, so that two of them and a pause fit into any lease.
const LONGEST_REQUEST: Duration = Duration::from_secs(3);

/// No pause after a failed renewal is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is kept between "everything is dead" and "the lease may pass": at least what a loaded machine needs to kill and
/// reap a tree, at most a second.
const LEAST_MARGIN: Duration = Duration::from_millis(50);
const MOST_MARGIN: Duration = Duration::from_secs(1);

/// The share of a lease that is kept as margin.
const MARGIN_DIVISOR: u32 = 50;

/// What a proposal is rounded up to: nobody wants to type more digits.
const ROUND_TTL: Duration = Duration::from_millis(100);

/// How a backend keeps a lease, which decides how often it is renewed and for how long an answer is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// A server's expiry that each renewal sets anew.
    Expiry,
    /// A session with heartbeats.
    Session,
}

/// The pace of one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The limit of one request.
    pub request_limit: Duration,
    /// The shortest and the longest pause after a renewal without answer.
    pub pause: (Duration, Duration),
    /// Nothing may live this long before the deadline.
    pub margin: Duration,
    /// How long a command has between TERM and KILL.
    pub kill_after: Duration,
}

/// A grace that leaves no room for a renewal to fail once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a grace of {kill_after:?} does not fit a lease of {ttl:?}")]
pub struct DoesNotFit {
    pub ttl: Duration,
    pub kill_after: Duration,
    /// What renewing takes at worst, from one proof to the moment when the command must be told.
    pub renewing: Duration,
    pub margin: Duration,
    /// How long a proof is believed.
    pub believed: Duration,
    /// The shortest lease, in tenths of a second, that has room for this grace.
    pub ttl_that_fits: Duration,
}

impl Pace {
    /// The pace of a lease of `ttl` whose command gets the default grace.
    #[must_use]
    pub fn of(ttl: Duration) -> Self {
        Self::with_grace(ttl, default_kill_after(ttl))
    }

    /// The pace of a lease of `ttl` whose command gets this grace.
    #[must_use]
    pub fn with_grace(ttl: Duration, kill_after: Duration) -> Self {
        Self {
            request_limit: (ttl / 10).min(LONGEST_REQUEST),
            pause: ((ttl / 20).min(LONGEST_PAUSE), (ttl / 10).min(LONGEST_PAUSE)),
            margin: (ttl / MARGIN_DIVISOR).clamp(LEAST_MARGIN, MOST_MARGIN),
            kill_after,
        }
    }

    /// How long before the deadline the command must be asked to end.
    #[must_use]
    pub fn notice(self) -> Duration {
        self.kill_after + self.margin
    }
}

/// The grace between TERM and KILL for a lease of `ttl` when nobody chose one: a fifth fits into any lease from 1 s up.
#[must_use]
pub fn default_kill_after(ttl: Duration) -> Duration {
    (ttl / 5).min(Duration::from_secs(5))
}

/// Whether one renewal may fail by its full limit, another be answered, and then TERM, grace, KILL and the margin still
/// lie within what is believed of a lease of `ttl`.
///
/// # Errors
/// [`DoesNotFit`] with the sums.
pub fn check_grace(ttl: Duration, kill_after: Duration, upkeep: Upkeep) -> Result<(), DoesNotFit> {
    let Some(too_long) = excess(ttl, kill_after, upkeep) else { return Ok(()) };
    let ttl_that_fits = shortest_ttl(ttl, kill_after, upkeep);
    Err(DoesNotFit { ttl_that_fits, ..too_long })
}

/// The sums of a grace that does not fit; `None` when it does.
fn excess(ttl: Duration, kill_after: Duration, upkeep: Upkeep) -> Option<DoesNotFit> {
    let pace = Pace::with_grace(ttl, kill_after);
    let (renewing, believed) = match upkeep {
        Upkeep::Expiry => (ttl / 3 + pace.request_limit * 2 + pace.pause.1, validity::of_server_lease(ttl)),
        // Heartbeats come every tenth: one is missed, one fails by its limit, one comes after a pause.
        Upkeep::Session => (ttl * 4 / 10, ttl * 2 / 3),
    };
    let margin = pace.margin;
    let needed = renewing.saturating_add(kill_after).saturating_add(margin);
    let fits = match upkeep {
        Upkeep::Expiry => needed < believed,
        Upkeep::Session => needed <= believed,
    };
    (!fits).then_some(DoesNotFit { ttl, kill_after, renewing, margin, believed, ttl_that_fits: ttl })
}

/// The shortest lease from `too_short` up that has room for the grace.
fn shortest_ttl(too_short: Duration, kill_after: Duration, upkeep: Upkeep) -> Duration {
    let fits = |steps: u64| excess(duration_of(steps), kill_after, upkeep).is_none();
    let mut low = u64::try_from(too_short.as_millis() / ROUND_TTL.as_millis()).unwrap_or(u64::MAX / 4);
    let mut high = low.max(1);
    // What is believed grows faster than what is needed, so some lease fits unless the grace is beyond all counting.
    while !fits(high) && high < u64::MAX / 2_000 {
        high *= 2;
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle) { high = middle } else { low = middle }
    }
    duration_of(high)
}

fn duration_of(steps: u64) -> Duration {
    Duration::from_millis(steps.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// "An explicit 5 s needs 15 s, on ZooKeeper 20.3 s."
    #[test]
    fn five_seconds_of_grace_need_fifteen_and_on_a_session_twenty() {
        assert_eq!(check_grace(s(15.0), s(5.0), Upkeep::Expiry), Ok(()));
        let short = check_grace(s(10.0), s(5.0), Upkeep::Expiry).expect_err("10 s are too short");
        assert!(short.ttl_that_fits <= s(15.0) && short.ttl_that_fits > s(14.0), "{short:?}");
        let short = check_grace(s(20.0), s(5.0), Upkeep::Session).expect_err("20 s are too short");
        assert_eq!(short.ttl_that_fits, s(20.3));
        assert_eq!((short.renewing, short.margin), (s(8.0), s(0.4)));
    }

    #[test]
    fn a_grace_beyond_all_counting_is_refused_all_the_same() {
        for upkeep in [Upkeep::Expiry, Upkeep::Session] {
            assert!(check_grace(s(30.0), Duration::MAX, upkeep).is_err());
        }
    }

    proptest! {
        /// The rule that every default must keep.
        #[test]
        fn the_default_grace_fits_every_lease(millis in 1_000_u64..=366 * 86_400_000) {
            let ttl = Duration::from_millis(millis);
            for upkeep in [Upkeep::Expiry, Upkeep::Session] {
                prop_assert_eq!(check_grace(ttl, default_kill_after(ttl), upkeep), Ok(()));
            }
        }

        #[test]
        fn the_lease_that_is_proposed_fits_and_one_that_is_shorter_by_a_tenth_does_not(
            ttl in 1_000_u64..100_000, grace in 1_u64..1_000_000,
        ) {
            for upkeep in [Upkeep::Expiry, Upkeep::Session] {
                let grace = Duration::from_millis(grace);
                let Err(short) = check_grace(Duration::from_millis(ttl), grace, upkeep) else { continue };
                prop_assert_eq!(check_grace(short.ttl_that_fits, grace, upkeep), Ok(()));
                let shorter = short.ttl_that_fits - ROUND_TTL;
                prop_assert!(shorter <= short.ttl || check_grace(shorter, grace, upkeep).is_err());
            }
        }
    }
}
