//! How often something is done again: for as long as it may take, and no oftener than tells anything.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Enough for a 99th percentile that ten values stand above. More would load a server for nothing.
const MOST: u32 = 1_000;

/// Rounds spread evenly over a span of time; at least one, whatever the span.
#[derive(Debug)]
pub(super) struct Pacer {
    began: Instant,
    share: Duration,
    rounds: u32,
}

impl Pacer {
    pub(super) fn over(share: Duration) -> Self {
        Self { began: Instant::now(), share, rounds: 0 }
    }

    /// Waits until the next round is due; `false`: there is none.
    pub(super) async fn next(&mut self) -> bool {
        if self.rounds >= MOST || (self.rounds > 0 && self.began.elapsed() >= self.share) {
            return false;
        }
        sleep_until(self.began + self.share * self.rounds / MOST).await;
        self.rounds += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(share: Duration, each: Duration) -> u32 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut pacer = Pacer::over(share);
            let mut rounds = 0;
            while pacer.next().await {
                rounds += 1;
                tokio::time::sleep(each).await;
            }
            rounds
        })
    }

    #[test]
    fn however_short_the_time_is_there_is_one_round() {
        assert_eq!(rounds(Duration::ZERO, Duration::ZERO), 1);
        assert_eq!(rounds(Duration::from_millis(1), Duration::from_millis(20)), 1);
    }

    #[test]
    fn a_thousand_rounds_are_enough() {
        assert!(rounds(Duration::from_secs(2), Duration::ZERO) <= MOST);
    }
}
