//! What other lock tools were caught by, where no other test sets the same trap.

mod answers;
mod ends;
mod hosts;
mod nodes;
mod numbers;
mod queue;
mod servers;

use crate::support::Place;

/// Publishes `words` where the one waiter of the place listens.
fn tell_the_waiter(place: &Place, words: &str) {
    let mut redis = place.redis();
    let channels: Vec<String> = ::redis::cmd("PUBSUB").arg("CHANNELS").query(&mut redis).expect("it answers");
    let channel = channels.iter().find(|name| name.contains(&place.namespace)).expect("one listens");
    let heard: u32 = ::redis::cmd("PUBLISH").arg(channel).arg(words).query(&mut redis).expect("it answers");
    assert_eq!(heard, 1, "{channel}");
}

/// How many scripts the server has run.
fn scripts_run(place: &Place) -> u64 {
    let info: String = ::redis::cmd("INFO").arg("commandstats").query(&mut place.redis()).expect("it answers");
    let line = info.lines().find(|line| line.starts_with("cmdstat_eval:")).expect("something was granted");
    line.split(['=', ',']).nth(1).expect("a count").parse().expect("a number")
}
