//! A single Redis server: it crashes and returns with its data, stands still, has its clock set, or betrays its locks.

use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::super::crew::TTL;
use super::super::history::Scribe;
use super::{Nemesis, a_while, during};
use crate::support::{Server, SteppedClock};

/// What a lease survives.
pub(in super::super) struct Redis {
    pub(in super::super) server: Arc<Mutex<Server>>,
    /// Of a server on a clock of its own; set back only, which keeps everybody out for longer.
    pub(in super::super) clock: Option<Arc<SteppedClock>>,
}

impl Nemesis for Redis {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let mut server = self.server.lock().expect("no nemesis panics");
        let a_while = a_while(dice);
        match (dice.u8(..4), &self.clock) {
            (0, _) => during(scribe, "server-crash", "server", || {
                server.crash();
                std::thread::sleep(a_while / 3);
                server.start_again();
            }),
            (1, _) => during(scribe, "server-stopped", "server", || {
                server.freeze();
                std::thread::sleep(a_while);
                server.thaw();
            }),
            (2, Some(clock)) => during(scribe, "clock-back", "server", || clock.step(-1000)),
            _ => during(scribe, "connections-killed", "server", || {
                let killed: redis::RedisResult<i64> = server.try_command(&["CLIENT", "KILL", "TYPE", "normal"]);
                drop(killed);
                let killed: redis::RedisResult<i64> = server.try_command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
                drop(killed);
            }),
        }
    }
}

/// What no lease survives: it forgets everything, or its clock leaps over leases that still run.
pub(in super::super) struct Betrayal {
    pub(in super::super) server: Arc<Mutex<Server>>,
    pub(in super::super) clock: Arc<SteppedClock>,
}

impl Nemesis for Betrayal {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let server = self.server.lock().expect("no nemesis panics");
        if dice.bool() {
            during(scribe, "flush", "server", || server.command::<()>(&["FLUSHALL"]));
        } else {
            during(scribe, "clock-forward", "server", || self.clock.step(60_000));
        }
        // Longer than it takes to learn of it: each overlap has the one reason or none.
        std::thread::sleep(TTL);
    }
}
