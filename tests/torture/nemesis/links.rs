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

/// Whoever uses one of the ways is cut off for longer than a lease, and the others are not.
pub(in super::super) struct CutOff {
    pub(in super::super) links: Vec<Arc<Proxy>>,
    /// Answers come late for longer than it takes to renew, before none come: whoever counted from the answer, and not from
    /// the request, believes in its lease for too long.
    pub(in super::super) answers_are_late: bool,
}

impl Nemesis for CutOff {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let link = &self.links[dice.usize(..self.links.len())];
        // As late as a renewal under a lease of three seconds waits for them.
        let delay = Duration::from_millis(dice.u64(150..280));
        let kind = if self.answers_are_late { "link-slow-then-silent" } else { "link-silent" };
        during(scribe, kind, "server", || {
            if self.answers_are_late {
                link.slow_answers(delay);
                std::thread::sleep(TTL / 2);
            }
            link.fall_silent();
            std::thread::sleep(TTL * 3 / 2);
            link.slow_answers(Duration::ZERO);
            link.recover();
        });
    }
}
