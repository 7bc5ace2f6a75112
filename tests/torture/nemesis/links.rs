//! The ways to the servers: proxies that lose everything, lose the answers, are slow, or hang up.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::crew::TTL;
use super::super::history::Scribe;
use super::{Nemesis, a_while, during};
use crate::support::Proxy;

pub(in super::super) struct Links(pub(in super::super) Vec<Arc<Proxy>>);

impl Nemesis for Links {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        // One of them, or all at once: a partition, or a server that is away.
        let hit: Vec<&Arc<Proxy>> =
            if dice.u8(..4) == 0 { self.0.iter().collect() } else { vec![&self.0[dice.usize(..self.0.len())]] };
        // Long enough, mostly, that a lease ends for whoever is cut off, and for nobody else.
        let a_while = a_while(dice).max(Duration::from_millis(dice.u64(..6000)));
        let kind = ["link-silent", "link-answers-lost", "link-slow", "link-cut"][dice.usize(..4)];
        let delay = Duration::from_millis(dice.u64(10..400));
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
                    "link-slow" => link.slow_down(Duration::ZERO),
                    "link-cut" => {}
                    _ => link.recover(),
                }
            }
        });
    }
}

/// Answers come late for longer than it takes to renew, and then none come: whoever counted from the answer, and not
/// from the request, believes in its lease for too long.
pub(in super::super) struct LateAnswers(pub(in super::super) Vec<Arc<Proxy>>);

impl Nemesis for LateAnswers {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let link = &self.0[dice.usize(..self.0.len())];
        // As late as a renewal under a lease of three seconds waits for them.
        let delay = Duration::from_millis(dice.u64(150..280));
        during(scribe, "link-slow-then-silent", "server", || {
            link.slow_answers(delay);
            std::thread::sleep(TTL / 2);
            link.fall_silent();
            std::thread::sleep(TTL + TTL / 3);
            link.slow_answers(Duration::ZERO);
            link.recover();
        });
    }
}
