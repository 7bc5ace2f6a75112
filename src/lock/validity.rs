//! How long an answer is worth: pure arithmetic from the instant *before* the request was sent.

use std::time::Duration;

use crate::sys::boottime::BootInstant;
use crate::sys::seeded::seeded;

/// A server's clock and ours may differ in speed; one part in a hundred is far above any quartz and what redlock-rb,
/// node-redlock and the Redlock text take. The two milliseconds are Redis' expiry resolution.
const DRIFT_DIVISOR: u32 = 100;
const EXPIRY_RESOLUTION: Duration = Duration::from_millis(2);

/// How long a lease of `ttl`, kept by one server's clock, is worth from the instant before it was asked for.
#[must_use]
pub fn of_server_lease(ttl: Duration) -> Duration {
    let late = if seeded!("kills-late-by-one-grace") { ttl / 5 } else { Duration::ZERO };
    ttl.saturating_sub(ttl / DRIFT_DIVISOR + EXPIRY_RESOLUTION) + late
}

/// Until when a ZooKeeper session of `timeout` can be believed.
///
/// `last_write` is the instant before the last committed write that was answered, `write_before` that of the one before
/// it on the same connection (or of the attach). A follower tells the leader of our life only with its own next ping,
/// so even a committed write may leave the leader knowing no more than the write before it: nodes were seen to go from
/// 0.735 to 0.95 of the timeout after the last answered request.
#[must_use]
pub fn of_session(timeout: Duration, last_write: BootInstant, write_before: BootInstant) -> BootInstant {
    if seeded!("believes-a-session-too-long") {
        return last_write + timeout * 3 / 2;
    }
    (last_write + timeout * 2 / 3).min(write_before + timeout * 19 / 20)
}
