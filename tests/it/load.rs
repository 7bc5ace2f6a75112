//! Many at once: waiters on one key, keys held, processes started in the same instant. What it costs goes to standard
//! error, as lines of the table in `docs/load.md`.
//!
//! Reduced by default. `DLOCK_TEST_WAITERS`, `DLOCK_TEST_KEYS` and `DLOCK_TEST_AT_ONCE` are the full sizes, and
//! `DLOCK_TEST_PROGRAM` is the optimised dlock that they are to be measured with.

mod at_once;
mod costs;
mod keys;
mod waiters;

use crate::support::{Dlock, Kind, Leads, Place, Server};

/// How many of something there are to be.
fn size(variable: &str, reduced: usize) -> usize {
    let said = std::env::var(variable).ok();
    said.map_or(reduced, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// A line of the table, for whoever asked for output.
#[expect(clippy::print_stderr, reason = "the figures are what these tests are run for by hand")]
fn tell(line: &str) {
    eprintln!("{line}");
}

/// `dlock` with these words at `place`.
fn dlock(place: &Place, words: &[&str]) -> Dlock {
    place.dlock_with(words.iter().copied())
}

/// A server that nobody else asks anything.
fn alone(kind: Kind) -> Place {
    match kind {
        Kind::File => Place::shared(kind),
        Kind::Redis => Place::private(kind),
        Kind::ZooKeeper => {
            let counts = "-Dzookeeper.4lw.commands.whitelist=srvr,mntr";
            let bounds = "minSessionTimeout=1000\nmaxSessionTimeout=120000\n";
            Place::alone_on(kind, Server::zookeeper_with(&[counts], bounds, Leads::Alone))
        }
    }
}

/// The same sentences on every backend, whose servers serve nobody else meanwhile.
macro_rules! sentences_of_load {
    ($($sentence:ident),* $(,)?) => {
        crate::support::sentences! {
            file: crate::load::alone(Kind::File), [$($sentence),*];
            redis: crate::load::alone(Kind::Redis), [$($sentence),*];
            zookeeper: crate::load::alone(Kind::ZooKeeper), [$($sentence),*];
        }
    };
}

use sentences_of_load;
