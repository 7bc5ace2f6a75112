//! ZooKeeper servers, one or three: leaders and followers are killed and stopped, and return with other clocks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::super::history::Scribe;
use super::{Nemesis, a_while, during};
use crate::support::Server;

pub(in super::super) struct Ensemble(pub(in super::super) Arc<Mutex<Vec<Server>>>);

impl Nemesis for Ensemble {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let mut servers = self.0.lock().expect("no nemesis panics");
        let leads = |server: &Server| {
            server.ask("srvr").is_some_and(|says| says.contains("Mode: leader") || says.contains("Mode: standalone"))
        };
        let Some(leader) = servers.iter().position(leads) else { return };
        let others = servers.len() - 1;
        let hit = if others > 0 && dice.bool() { (leader + 1 + dice.usize(..others)) % servers.len() } else { leader };
        let who = if hit == leader { "leader" } else { "follower" };
        let (a_while, stopped) = (a_while(dice), dice.bool());
        // No lease of dlock depends on what a server's clock says, whoever leads.
        let ahead = Duration::from_secs(600 * dice.u64(..2));
        let kind = format!("{who}-{}", if stopped { "stopped" } else { "crash" });
        during(scribe, &kind, "server", || {
            if stopped {
                servers[hit].freeze();
                std::thread::sleep(a_while);
                servers[hit].thaw();
            } else {
                servers[hit].crash();
                servers[hit].set_clock_ahead(ahead);
                servers[hit].start_again();
            }
        });
    }
}
