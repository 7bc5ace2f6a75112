//! Many processes that want the same lock all the time: how many turns there are, and how they are shared out.

use std::time::Duration;

use super::crew::{Working, nonsense};
use super::wire::{Order, Word};
use crate::error::Error;
use crate::report::bench::{Contention, Summary};
use crate::sys::boottime::BootInstant;

/// Between the order and the first turn: every process has read it by then.
const START: Duration = Duration::from_millis(20);

pub(super) async fn measure(crew: &mut Working<'_>, contenders: usize, share: Duration) -> Result<Contention, Error> {
    let crowd = &mut crew.contenders[..contenders];
    for peer in crowd.iter_mut() {
        peer.order(Order::WarmUp).await?;
    }
    for peer in crowd.iter_mut() {
        peer.word().await?;
    }
    let from = BootInstant::now() + START;
    let (from, until) = (from.as_nanos(), (from + share).as_nanos());
    for peer in crowd.iter_mut() {
        peer.order(Order::Contend { from, until }).await?;
    }
    let (mut turns, mut waits) = (Vec::new(), Vec::new());
    for peer in crowd.iter_mut() {
        match peer.word().await? {
            Word::Contended { waits: of_one } => {
                turns.push(of_one.len());
                waits.extend(of_one.into_iter().map(Duration::from_nanos));
            }
            word => return Err(nonsense(&word)),
        }
    }
    Ok(Contention {
        contenders,
        lasted: share,
        turns: turns.iter().sum(),
        fewest: turns.iter().copied().min().unwrap_or_default(),
        most: turns.iter().copied().max().unwrap_or_default(),
        wait: Summary::of(waits),
    })
}
