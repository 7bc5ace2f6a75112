//! The scripts, put together, and how they are sent. What breaks it: an expiry that rounds to nothing.

use std::time::Duration;

use redis::Cmd;

use crate::sys::seeded::seeded;

/// An exclusive lock that is free and awaited by nobody.
pub const ACQUIRE: &str =
    concat!(include_str!("scripts/base.lua"), include_str!("scripts/grant.lua"), include_str!("scripts/acquire.lua"));
/// The same in every mode.
pub const ACQUIRE_BESIDE_OTHERS: &str = concat!(
    include_str!("scripts/base.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/grant.lua"),
    include_str!("scripts/acquire.lua")
);
pub const WAIT: &str = concat!(
    include_str!("scripts/base.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/grant.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/wait.lua")
);
pub const RELEASE: &str = concat!(
    include_str!("scripts/base.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/release.lua")
);
pub const PROLONG: &str = concat!(
    include_str!("scripts/base.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/prolong.lua")
);
pub const RENEW: &str = include_str!("scripts/renew.lua");
pub const FENCE: &str = include_str!("scripts/fence.lua");
/// One master's part of a lock on several.
pub const TAKE: &str = concat!(include_str!("scripts/base.lua"), include_str!("scripts/masters/take.lua"));

/// Plain EVAL, always: it costs what EVALSHA costs, and no second request when the server has forgotten the script.
pub(super) fn eval(script: &str, keys: &[impl AsRef<str>], args: &[&str]) -> Cmd {
    let mut request = redis::cmd("EVAL");
    let mut script = lean(script);
    if seeded!("fence-from-the-clock") {
        script = script.replace("math.max(last + 1, now_us)", "now_us");
    }
    if seeded!("wakes-nobody") {
        script = script.replace("'PUBLISH', channel", "'PUBLISH', channel .. '-'");
    }
    request.arg(script).arg(keys.len());
    for key in keys {
        request.arg(key.as_ref());
    }
    request.arg(args);
    request
}

/// The script without comments and indentation, which the server would have to read and hash each time.
#[must_use]
pub fn lean(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Whole milliseconds, above zero: an expiry of 0 would delete.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_expiry_that_is_sent_is_what_was_asked_and_never_nothing(nanos in 0..=366 * 86_400_000_000_000_u64) {
            let asked = Duration::from_nanos(nanos);
            let sent = Duration::from_millis(millis(asked).parse().expect("digits"));
            prop_assert!(sent >= Duration::from_millis(1));
            prop_assert!(sent <= asked.max(Duration::from_millis(1)) && asked.saturating_sub(sent) < Duration::from_millis(1));
        }
    }

    #[test]
    fn no_time_is_sent_as_none_at_all() {
        assert_eq!([0, 1, 999_999].map(|nanos| millis(Duration::from_nanos(nanos))), ["1", "1", "1"]);
        assert_eq!(millis(Duration::from_micros(1_500_900)), "1500");
    }
}
