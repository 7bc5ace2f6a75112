//! How long a contender or renewer pauses before it tries again: jittered, so that many of them do not try at once.

use std::time::Duration;

/// A pause between `least` and `most`, evenly distributed.
#[must_use]
pub fn jittered(least: Duration, most: Duration) -> Duration {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    // The upper half is free of the UUID's version bits.
    let share = (random >> 32) as f64 / f64::from(u32::MAX);
    least + most.saturating_sub(least).mul_f64(share)
}
