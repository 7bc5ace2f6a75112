//! What the models take for granted: the arithmetic of leases and votes, names that lead back to their keys, whole scripts.

use std::time::Duration;

use dlock::backend::redis::quorum::{Quorum, Verdict, next_fence};
use dlock::lock::LockKey;
use dlock::lock::backoff::jittered;
use dlock::lock::pace::Pace;
use dlock::lock::validity::{of_server_lease, of_session};
use dlock::settings::duration;
use dlock::sys::boottime::BootInstant;
use proptest::prelude::*;

/// The longest lease there is, and what any test adds to it.
const YEAR_MS: u64 = 366 * 86_400_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(nanos: u64) -> BootInstant {
    BootInstant::from_nanos(nanos)
}

proptest! {
    #[test]
    fn a_server_lease_is_believed_for_a_hundredth_and_two_milliseconds_less(ttl in 0..=YEAR_MS) {
        let believed = of_server_lease(ms(ttl));
        prop_assert!(believed <= ms(ttl).saturating_sub(ms(2)).saturating_sub(ms(ttl) / 100));
        prop_assert!(ttl < 1_000 || believed >= ms(ttl) * 98 / 100 - ms(2));
        prop_assert!(believed <= of_server_lease(ms(ttl + 1)), "a longer lease is believed for longer");
    }

    #[test]
    fn a_session_is_never_believed_beyond_either_write_and_more_writes_never_shorten_it(
        timeout in 1..=YEAR_MS, last in 0..1_u64 << 60, before in 0..1_u64 << 60, later in 0..1_u64 << 40,
    ) {
        let (timeout, last, before) = (ms(timeout), at(last), at(before));
        let until = of_session(timeout, last, before);
        prop_assert!(until <= last + timeout * 2 / 3 && until <= before + timeout * 19 / 20);
        prop_assert!(until == last + timeout * 2 / 3 || until == before + timeout * 19 / 20);
        let later = Duration::from_nanos(later);
        prop_assert!(of_session(timeout, last + later, before) >= until);
        prop_assert!(of_session(timeout, last, before + later) >= until);
    }

    #[test]
    fn a_quorum_is_believed_until_one_master_too_few_would_keep_it(
        masters in 1_usize..=9, ends in prop::collection::vec(0_u64..1_000, 0..9), more in 0_u64..1_000,
    ) {
        let quorum = Quorum::of(masters);
        let deadlines: Vec<BootInstant> = ends.iter().map(|&end| at(end)).take(masters).collect();
        let until = quorum.valid_until(deadlines.clone());
        prop_assert_eq!(until.is_some(), deadlines.len() >= quorum.majority());
        if let Some(until) = until {
            let keep_longer = deadlines.iter().filter(|end| **end > until).count();
            let keep_so_long = deadlines.iter().filter(|end| **end >= until).count();
            prop_assert!(keep_longer < quorum.majority() && keep_so_long >= quorum.majority());
        }
        if deadlines.len() < masters {
            let with_one_more = quorum.valid_until([deadlines, vec![at(more)]].concat());
            prop_assert!(with_one_more >= until, "a vote more never shortens it");
        }
    }

    #[test]
    fn the_next_fence_is_above_all_that_were_seen(seen in prop::collection::vec(0..u64::MAX - 1, 0..9)) {
        prop_assert!(seen.iter().all(|fence| next_fence(seen.iter().copied()) > *fence));
    }

    #[test]
    fn a_pause_is_never_shorter_or_longer_than_its_bounds(least in 0_u64..10_000, more in 0_u64..10_000) {
        let pause = jittered(ms(least), ms(least + more));
        prop_assert!((ms(least)..=ms(least + more)).contains(&pause), "{pause:?}");
    }

    #[test]
    fn two_requests_and_the_pauses_between_them_fit_into_what_a_third_of_the_lease_leaves(ttl in 1_000..=YEAR_MS) {
        let pace = Pace::of(ms(ttl));
        prop_assert!(pace.pause.0 <= pace.pause.1 && pace.pause.1 <= ms(2_000) && pace.request_limit <= ms(3_000));
        prop_assert!((ms(50)..=ms(1_000)).contains(&pace.margin));
        prop_assert!(ms(ttl) / 3 + pace.request_limit * 2 + pace.pause.1 + pace.notice() < of_server_lease(ms(ttl)));
    }

    #[test]
    fn every_name_is_safe_as_a_file_and_as_a_node_and_leads_back_to_its_key(text in "[^\n\0]{1,60}") {
        let Ok(key) = LockKey::new(text) else { return Ok(()) };
        let name = key.encoded();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.%~".contains(&byte);
        prop_assert!(name.bytes().all(is_plain) && name.len() <= 200 && !name.starts_with('.'), "{name}");
        match LockKey::decode(&name) {
            Some(decoded) => prop_assert_eq!(decoded, key),
            None => prop_assert!(name.contains('~'), "{name} is not cut"),
        }
    }

    #[test]
    fn different_keys_have_different_names(one in "[a-zA-Z%~./é ]{1,90}", other in "[a-zA-Z%~./é ]{1,90}") {
        let (Ok(one), Ok(other)) = (LockKey::new(one), LockKey::new(other)) else { return Ok(()) };
        prop_assert_eq!(one.encoded() == other.encoded(), one == other);
    }

    #[test]
    fn a_duration_is_read_as_it_is_shown(ms in 0..=YEAR_MS) {
        let shown = humantime::format_duration(Duration::from_millis(ms)).to_string().replace(' ', "");
        prop_assert_eq!(duration::parse(&shown), Ok(Duration::from_millis(ms)), "{}", shown);
    }
}

#[test]
fn two_majorities_share_a_master() {
    for masters in 1..=9 {
        let quorum = Quorum::of(masters);
        for ours in 0..=masters {
            for theirs in 0..=masters - ours {
                let both = (quorum.verdict(ours, theirs), quorum.verdict(theirs, ours));
                assert_ne!(both, (Verdict::Ours, Verdict::Ours), "{ours} and {theirs} of {masters}");
                let none_is_left = masters - theirs < quorum.majority();
                assert_eq!(both.0 == Verdict::NotOurs, none_is_left && ours < quorum.majority());
            }
        }
    }
}
