//! Five independent masters, of which never more than two are away, not always the same.

use std::collections::VecDeque;

use fastrand::Rng;

use super::super::history::Scribe;
use super::{Nemesis, a_while};
use crate::support::Server;

pub(in super::super) struct Masters {
    pub(in super::super) servers: Vec<Server>,
    /// Those that are away, the longest first, and whether they are only frozen.
    pub(in super::super) away: VecDeque<(usize, bool)>,
}

impl Masters {
    fn bring_one_back(&mut self, scribe: &Scribe) {
        if let Some((index, frozen)) = self.away.pop_front() {
            let kind = if frozen { "master-stopped" } else { "master-crash" };
            if frozen {
                self.servers[index].thaw();
            } else {
                // With all its data: a master that forgets betrays its vote.
                self.servers[index].start_again();
            }
            scribe.note(format_args!("calm {kind} minority"));
        }
    }
}

impl Nemesis for Masters {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        if self.away.len() == 2 {
            self.bring_one_back(scribe);
        }
        let index = dice.usize(..self.servers.len());
        if self.away.iter().any(|(away, _)| *away == index) {
            return;
        }
        let frozen = dice.bool();
        let kind = if frozen { "master-stopped" } else { "master-crash" };
        scribe.note(format_args!("fault {kind} minority"));
        if frozen {
            self.servers[index].freeze();
        } else {
            self.servers[index].crash();
        }
        self.away.push_back((index, frozen));
        std::thread::sleep(a_while(dice) / 2);
    }

    fn relent(&mut self) {
        while let Some((index, frozen)) = self.away.pop_front() {
            if frozen {
                self.servers[index].thaw();
            } else {
                self.servers[index].start_again();
            }
        }
    }
}
