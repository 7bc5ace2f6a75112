//! What the suites stand on: the real binary, real servers on loopback, and a look at the real processes.

mod call;
mod certificates;
mod clock;
mod cluster;
mod compiler;
mod exec_gate;
mod executable;
pub(crate) mod history;
mod meddling;
mod place;
mod ports;
mod processes;
mod proxy;
mod pty;
mod scripts;
mod sentinels;
mod servers;
mod terminal;
mod waiting;

pub(crate) use call::{Dlock, Finished, Running};
pub(crate) use certificates::Certificates;
pub(crate) use clock::{Setting, SteppedClock};
pub(crate) use cluster::Cluster;
pub(crate) use compiler::compiled;
pub(crate) use exec_gate::ExecGate;
pub(crate) use executable::{install_program, install_script, path_with_dlock, program, run_out_of_reach};
pub(crate) use meddling::{Afterwards, Loser, Retainer, disowning_proxy, renaming_proxy};
pub(crate) use place::{Kind, Place};
pub(crate) use ports::{free_cluster_port, free_port};
pub(crate) use processes::{MARK, Process, processes_with};
pub(crate) use proxy::{Muteness, Proxy, mute_proxy, scripted_server, silent_server};
pub(crate) use pty::Pty;
pub(crate) use scripts::{LOOK_FOR_ANOTHER_JOB, STUBBORN};
pub(crate) use sentinels::{Watched, ask};
pub(crate) use servers::{Leads, Server};
pub(crate) use terminal::{CTRL_C, CTRL_Z, ESCAPE, Terminal};
pub(crate) use waiting::{A_WHILE, eventually, soak_time, within};

/// Makes one test of each sentence for each backend named: `crash::redis::a_killed_front_…`.
///
/// The sentence is a function that takes the [`Place`] to lock in; one that is in no list is dead code, which the
/// compiler reports.
macro_rules! sentences {
    ($($backend:ident: $place:expr, [$($sentence:ident),* $(,)?];)*) => {
        $(mod $backend {
            // Whatever the places are made of.
            use crate::support::*;
            $(#[test]
            fn $sentence() {
                let place: Place = $place;
                super::$sentence(&place);
            })*
        })*
    };
}

/// The same sentences for every backend, on the servers that the whole program shares.
macro_rules! sentences_for_every_backend {
    ($($sentence:ident),* $(,)?) => {
        crate::support::sentences! {
            file: Place::shared(Kind::File), [$($sentence),*];
            redis: Place::shared(Kind::Redis), [$($sentence),*];
            zookeeper: Place::shared(Kind::ZooKeeper), [$($sentence),*];
        }
    };
}

/// What is promised of a lock: for every backend, and for each way to find the Redis server that decides.
macro_rules! sentences_of_the_contract {
    ($($sentence:ident),* $(,)?) => {
        crate::support::sentences_for_every_backend![$($sentence),*];
        crate::support::sentences! {
            sentinel: Watched::shared(), [$($sentence),*];
        }
    };
}

pub(crate) use {sentences, sentences_for_every_backend, sentences_of_the_contract};
