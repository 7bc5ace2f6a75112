//! Waiting for something to become true: bounded, and loud when it does not.

use std::time::{Duration, Instant};

/// How long anything may take that should take milliseconds: two busy cores starting Java beside us are slow.
pub(crate) const A_WHILE: Duration = Duration::from_secs(20);

/// Pause between two looks: a part of what has passed, for most looks start a program, and the longer something takes the
/// less it matters when it is noticed.
fn pause(passed: Duration) -> Duration {
    (passed / 16).clamp(Duration::from_millis(5), Duration::from_millis(50))
}

/// Waits until `condition` holds; fails the test when it does not within [`A_WHILE`].
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) -> Duration {
    within(A_WHILE, what, condition)
}

/// Waits until `condition` holds, and returns how long that took; fails the test when it does not hold at a look that began
/// after `limit`. An earlier look that took until then has seen what was before it.
#[track_caller]
pub(crate) fn within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    loop {
        let looked_at = began.elapsed();
        if condition() {
            return began.elapsed();
        }
        assert!(looked_at < limit, "not within {limit:?}: {what}");
        std::thread::sleep(pause(began.elapsed()));
    }
}

/// How long a test that contends again and again should go on: `DLOCK_TEST_SECONDS`, else five seconds.
pub(crate) fn soak_time() -> Duration {
    let seconds = std::env::var("DLOCK_TEST_SECONDS").ok();
    Duration::from_secs(seconds.map_or(5, |text| text.parse().expect("DLOCK_TEST_SECONDS is a number of seconds")))
}
