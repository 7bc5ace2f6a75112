//! Masters that Sentinel replaces: moved, killed, frozen.

use fastrand::Rng;

use super::super::history::Scribe;
use super::{Nemesis, during};
use crate::support::Watched;

pub(in super::super) struct Failovers(pub(in super::super) Watched);

impl Nemesis for Failovers {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let watched = &self.0;
        let old = watched.master().port;
        match dice.u8(..3) {
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
            _ => during(scribe, "master-stopped", "server", || {
                watched.at(old).freeze();
                watched.moves_from(old);
                watched.at(old).thaw();
                watched.follow();
            }),
        }
    }
}
