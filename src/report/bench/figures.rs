//! What was measured, as it is handed to whoever shows it.

use std::time::Duration;

use crate::error::Error;
use crate::settings::Deployment;

/// One backend and what came of it.
#[derive(Debug)]
pub struct Measured<'a> {
    pub deployment: &'a Deployment,
    pub outcome: Result<Figures, Error>,
}

/// Of one backend. What is `None` does not exist there.
#[derive(Debug)]
pub struct Figures {
    /// From nothing to the grant, connecting included.
    pub acquire: Option<Summary>,
    pub release: Option<Summary>,
    pub renew: Option<Summary>,
    /// From before the holder's release to the waiter's grant, in another process.
    pub hand_over: Option<Summary>,
    pub contention: Contention,
    /// Where leases are renewed.
    pub leases: Option<Leases>,
}

/// Many times, as five of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    pub count: usize,
    pub median: Duration,
    pub p95: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Summary {
    /// `None` of nothing. Each percentile is a time that was measured: the smallest that so many are not above.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        let max = *times.last()?;
        let count = times.len();
        let percentile = |hundredths: usize| times[(count * hundredths).div_ceil(100).max(1) - 1];
        Some(Self { count, median: percentile(50), p95: percentile(95), p99: percentile(99), max })
    }
}

/// Processes that want the same lock all the time.
#[derive(Debug)]
pub struct Contention {
    pub contenders: usize,
    pub lasted: Duration,
    /// Grants to all of them together, to the one that got fewest, and to the one that got most.
    pub turns: usize,
    pub fewest: usize,
    pub most: usize,
    /// For how long a turn was waited for; `None`: there was none in time.
    pub wait: Option<Summary>,
}

/// Which leases leave a renewal how much room.
#[derive(Debug)]
pub struct Leases {
    pub in_force: Duration,
    /// Of all renewals that were measured.
    pub slowest: Duration,
    /// A renewal should be allowed so many times that.
    pub room: u32,
    /// The one in force among them, the shortest first.
    pub choices: Vec<Choice>,
    /// The shortest that has the room; `None`: none has.
    pub shortest: Option<Duration>,
}

#[derive(Debug)]
pub struct Choice {
    pub ttl: Duration,
    pub renew_every: Duration,
    /// After this a renewal counts as failed.
    pub request_limit: Duration,
    pub times_the_slowest: f64,
    /// How long the server may be away before the command is asked to end, at worst.
    pub outage: Duration,
    pub is_granted: bool,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let summary = Summary::of((1..=100).rev().map(ms).collect()).expect("there are some");
        let expected = Summary { count: 100, median: ms(50), p95: ms(95), p99: ms(99), max: ms(100) };
        assert_eq!(summary, expected);
        let one = Summary::of(vec![ms(7)]).expect("there is one");
        assert_eq!(one, Summary { count: 1, median: ms(7), p95: ms(7), p99: ms(7), max: ms(7) });
        assert_eq!(Summary::of(Vec::new()), None);
        assert_eq!(Summary::of(vec![ms(1), ms(3)]).map(|two| two.median), Some(ms(1)));
    }

    proptest! {
        #[test]
        fn so_many_are_not_above_a_percentile_and_it_is_the_smallest_such(times in prop::collection::vec(0_u64..50, 1..300)) {
            let summary = Summary::of(times.iter().copied().map(ms).collect()).expect("there are some");
            for (hundredths, value) in [(50, summary.median), (95, summary.p95), (99, summary.p99)] {
                let share = |below: &dyn Fn(Duration) -> bool| times.iter().filter(|time| below(ms(**time))).count() * 100;
                prop_assert!(share(&|time| time <= value) >= times.len() * hundredths);
                prop_assert!(share(&|time| time < value) < times.len() * hundredths);
            }
        }
    }
}
