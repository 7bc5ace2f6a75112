//! A Redis Cluster whose slots move name by name, and whose nodes stand still.

use std::time::Duration;

use fastrand::Rng;

use super::super::history::Scribe;
use super::{Nemesis, a_while, during};
use crate::support::Cluster;

/// Between two names that are moved: long enough that somebody asks while a lock is here and its queue there.
const STEP: Duration = Duration::from_millis(10);

pub(in super::super) struct Migrations {
    pub(in super::super) cluster: Cluster,
    /// As the cluster knows them.
    pub(in super::super) locks: Vec<String>,
}

impl Nemesis for Migrations {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let lock = self.locks[dice.usize(..self.locks.len())].clone();
        let owner = self.cluster.owner(&lock);
        if dice.u8(..4) == 0 {
            let a_while = a_while(dice);
            return during(scribe, "node-stopped", "server", || {
                self.cluster.node(owner).freeze();
                std::thread::sleep(a_while);
                self.cluster.node(owner).thaw();
            });
        }
        let to = (owner + 1 + dice.usize(..2)) % self.cluster.masters().len();
        if owner == to {
            return;
        }
        during(scribe, "slot-moved", "server", || {
            self.cluster.begin_to_move(&lock, to);
            while let Some(name) = self.cluster.first_name(&lock, owner) {
                self.cluster.carry_one(&name, owner, to);
                std::thread::sleep(STEP);
            }
            self.cluster.end_to_move(&lock, to);
        });
    }
}
