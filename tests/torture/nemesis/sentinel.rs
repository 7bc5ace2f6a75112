//! Masters that Sentinel replaces: moved, killed, frozen.

use std::time::Duration;

use fastrand::Rng;

use super::super::history::Scribe;
use super::{Nemesis, during};
use crate::support::Watched;

pub(in super::super) struct Failovers(pub(in super::super) Watched);

impl Nemesis for Failovers {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let watched = &self.0;
        let old = watched.master().port;
        match dice.u8(..4) {
            0 => during(scribe, "failover-asked", "server", || {
                watched.fail_over();
                watched.follow();
            }),
            1 => during(scribe, "master-crash", "server", || {
                watched.at(old).crash();
                watched.moves_from(old);
                watched.at(old).start_again();
                watched.follow();
            }),
            2 => during(scribe, "replicas-cut-off", "server", || {
                // What the master grants from here on none of them learns, and one of them takes its place.
                let replicas: Vec<u16> = watched.replicas().iter().map(|replica| replica.port).collect();
                for port in &replicas {
                    watched.at(*port).command::<()>(&["CONFIG", "SET", "masterauth", "not-its-password"]);
                    watched.at(*port).command::<i64>(&["CLIENT", "KILL", "TYPE", "master"]);
                }
                std::thread::sleep(Duration::from_millis(dice.u64(500..2500)));
                watched.fail_over();
                for port in &replicas {
                    watched.at(*port).command::<()>(&["CONFIG", "SET", "masterauth", ""]);
                }
                watched.follow();
            }),
            _ => during(scribe, "master-stopped", "server", || {
                watched.at(old).freeze();
                watched.moves_from(old);
                watched.at(old).thaw();
                watched.follow();
            }),
        }
    }
}
