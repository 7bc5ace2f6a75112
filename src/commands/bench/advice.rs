//! From the slowest renewal to the leases that leave it room. Pure: the arithmetic is that of `lock::pace`.

use std::time::Duration;

use crate::lock::pace::{Pace, Upkeep};
use crate::lock::validity;
use crate::report::bench::Choice;

/// A renewal may take so many times as long as the slowest seen before dlock takes it for failed: what was seen in half a
/// minute is not the worst that a network does.
pub(super) const ROOM: u32 = 10;

/// Shorter leases stand no pause of two seconds, and a machine that is short of memory or of processors makes some, whatever
/// the network does.
const SHORTEST: Duration = Duration::from_secs(5);

/// In seconds: what people would choose from. From 30 on a single request has no more time.
const CHOICES: [u64; 5] = [5, 10, 20, 30, 60];

/// What a lease of `ttl` is like where a renewal took `slowest`.
pub(super) fn choice(ttl: Duration, slowest: Duration, upkeep: Upkeep) -> Choice {
    let pace = Pace::of(ttl);
    let (renew_every, believed) = match upkeep {
        Upkeep::Expiry => (ttl / 3, validity::of_server_lease(ttl)),
        Upkeep::Session => (ttl / 10, ttl * 2 / 3),
    };
    Choice {
        ttl,
        renew_every,
        request_limit: pace.request_limit,
        times_the_slowest: pace.request_limit.as_secs_f64() / slowest.as_secs_f64().max(f64::MIN_POSITIVE),
        // From a renewal that was answered, over the time to the next one, which is not.
        outage: believed.saturating_sub(renew_every + pace.notice()),
        is_granted: true,
    }
}

/// Whether it leaves room for a renewal that is much slower than any that was seen.
pub(super) fn has_room(choice: &Choice) -> bool {
    choice.ttl >= SHORTEST && choice.times_the_slowest >= f64::from(ROOM)
}

/// Those to be shown: the usual ones, and the one in force.
pub(super) fn ttls(in_force: Duration) -> Vec<Duration> {
    let mut ttls: Vec<Duration> = CHOICES.iter().copied().map(Duration::from_secs).chain([in_force]).collect();
    ttls.sort_unstable();
    ttls.dedup();
    ttls
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lock::pace::check_grace;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Safety rule 5: a third of it, or a tenth on a session; one request takes a tenth of it, three seconds at most.
    #[test]
    fn the_sums_are_those_of_a_run() {
        let of_server = choice(ms(30_000), ms(30), Upkeep::Expiry);
        assert_eq!((of_server.renew_every, of_server.request_limit), (ms(10_000), ms(3_000)));
        assert!((of_server.times_the_slowest - 100.0).abs() < 1e-9);
        // 29.698 s are believed; 10 s to the renewal, 5 s of grace and 600 ms of margin come off.
        assert_eq!(of_server.outage, ms(29_698 - 10_000 - 5_000 - 600));
        let of_session = choice(ms(30_000), ms(30), Upkeep::Session);
        assert_eq!((of_session.renew_every, of_session.outage), (ms(3_000), ms(20_000 - 3_000 - 5_000 - 600)));
        assert_eq!(choice(ms(60_000), ms(30), Upkeep::Expiry).request_limit, ms(3_000));
    }

    #[test]
    fn the_shortest_lease_with_room_is_ten_times_ten_renewals() {
        let shortest = |slowest| {
            let all = ttls(ms(30_000)).into_iter().map(|ttl| choice(ttl, slowest, Upkeep::Expiry));
            all.filter(has_room).map(|choice| choice.ttl).min()
        };
        assert_eq!(shortest(ms(1)), Some(SHORTEST), "however fast the network is");
        assert_eq!(shortest(ms(50)), Some(ms(5_000)));
        assert_eq!(shortest(ms(51)), Some(ms(10_000)));
        assert_eq!(shortest(ms(300)), Some(ms(30_000)));
        assert_eq!(shortest(ms(301)), None, "no request may take longer than three seconds");
    }

    #[test]
    fn the_lease_in_force_is_among_those_that_are_shown_once() {
        assert_eq!(ttls(ms(30_000)).len(), CHOICES.len());
        assert!(ttls(ms(7_500)).windows(2).all(|pair| pair[0] < pair[1]) && ttls(ms(7_500)).contains(&ms(7_500)));
    }

    proptest! {
        /// What is advised has room for the default grace, as every lease has.
        #[test]
        fn a_longer_lease_never_has_less_room(seconds in 5_u64..10_000, slowest in 1_u64..1_000) {
            for upkeep in [Upkeep::Expiry, Upkeep::Session] {
                let one = choice(ms(seconds * 1_000), ms(slowest), upkeep);
                let longer = choice(ms(seconds * 1_000 + 1_000), ms(slowest), upkeep);
                prop_assert!(longer.times_the_slowest >= one.times_the_slowest && longer.outage >= one.outage);
                prop_assert!(!one.outage.is_zero());
                prop_assert_eq!(check_grace(one.ttl, Pace::of(one.ttl).kill_after, upkeep), Ok(()));
            }
        }
    }
}
