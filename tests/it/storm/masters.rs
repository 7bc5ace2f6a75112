//! The storm on five independent masters, of which two are always down, not always the same.

use std::io::Write as _;
use std::time::{Duration, Instant};

use super::go_through;
use super::jobs::{Jobs, Ports};
use crate::support::history::{falling_fences, overlaps, stays};
use crate::support::{Server, eventually};

const MASTERS: usize = 5;

/// How long two stay down: some leases.
const SPELL: Duration = Duration::from_secs(5);

#[test]
fn five_masters_of_which_two_are_down_in_a_storm() {
    let mut masters: Vec<Server> = (0..MASTERS).map(|_| Server::redis(&[])).collect();
    let urls: Vec<String> = masters.iter().map(|master| format!("redis://127.0.0.1:{}", master.port)).collect();
    let jobs = Jobs::new(Ports::Deployment(urls.join(",")), "50s");
    masters[0].crash();
    masters[1].crash();
    let (mut turns, mut next) = (0, Instant::now() + SPELL);
    let outcomes = go_through(&jobs, || {
        if next > Instant::now() {
            return;
        }
        // With all its data, before another one goes: never more than two are missing.
        masters[turns % MASTERS].start_again();
        masters[(turns + 2) % MASTERS].crash();
        turns += 1;
        next = Instant::now() + SPELL;
    });
    let stays = stays(&jobs.log());
    let (overlaps, fall) = (overlaps(&stays), falling_fences(&stays));
    let figures = format!(
        "5 masters, 2 down: {} grants, {outcomes:?}, {turns} changes, overlaps {}, fences that fell {}",
        stays.len(),
        overlaps.len(),
        fall.len()
    );
    writeln!(std::io::stderr(), "{figures}").expect("standard error is open");
    masters[turns % MASTERS].start_again();
    masters[(turns + 1) % MASTERS].start_again();
    for key in jobs.keys() {
        eventually("every key is free in the end", || jobs.place().is_free(key));
    }
    assert!(overlaps.is_empty() && fall.is_empty(), "{figures}\n{overlaps:#?}\n{fall:#?}");
    assert!(outcomes.succeeded > 10, "{figures}");
}
