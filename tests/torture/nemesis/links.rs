//! The ways to the servers: proxies that lose everything, lose the answers, are slow, or hang up.

use std::sync::Arc;

use fastrand::Rng;

use super::super::history::Scribe;
use super::{Nemesis, a_while, during};
use crate::support::Proxy;

pub(in super::super) struct Links(pub(in super::super) Vec<Arc<Proxy>>);

impl Nemesis for Links {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        // One of them, or all at once: a partition, or a server that is away.
        let hit: Vec<&Arc<Proxy>> =
            if dice.bool() { self.0.iter().collect() } else { vec![&self.0[dice.usize(..self.0.len())]] };
        let a_while = a_while(dice);
        let kind = ["link-silent", "link-answers-lost", "link-slow", "link-cut"][dice.usize(..4)];
        let delay = std::time::Duration::from_millis(dice.u64(10..400));
        during(scribe, kind, "server", || {
            for link in &hit {
                match kind {
                    "link-silent" => link.fall_silent(),
                    "link-answers-lost" => link.lose_answers(),
                    "link-slow" => link.slow_down(delay),
                    _ => link.hang_up(),
                }
            }
            if kind != "link-cut" {
                std::thread::sleep(a_while);
            }
            for link in &hit {
                match kind {
                    "link-slow" => link.slow_down(std::time::Duration::ZERO),
                    "link-cut" => {}
                    _ => link.recover(),
                }
            }
        });
    }
}
