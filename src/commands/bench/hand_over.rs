//! From one process to another: from the instant before the holder sends its release to the instant at which the waiter
//! knows that the lock is its own. Both stamp by the clock of this machine since its start, which is the same for all.

use std::time::Duration;

use super::crew::{Peer, Working, nonsense};
use super::pace::Pacer;
use super::wire::{Order, Share, Word};
use crate::error::Error;
use crate::sys::boottime::BootInstant;

/// How long the time between "I wait" and the release is at least and at most.
const SETTLING: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(500));

/// One holds the lock for itself, the other one waits for it as the options say, in turn. `acquire`: how long taking it
/// takes, by which a waiter is given the time to have done all that comes before its sleep.
pub(super) async fn measure(
    crew: &mut Working<'_>,
    acquire: Duration,
    share: Duration,
) -> Result<Vec<Duration>, Error> {
    let [holder, waiter, ..] = &mut crew.contenders[..] else { return Ok(Vec::new()) };
    let settling = (acquire * 2).clamp(SETTLING.0, SETTLING.1);
    let mut measured = Vec::new();
    let mut pacer = Pacer::over(share);
    while pacer.next().await {
        holder.order(Order::Acquire(Share::WithNobody)).await?;
        granted(holder).await?;
        waiter.order(Order::Acquire(Share::AsAsked)).await?;
        match waiter.word().await? {
            Word::Waiting => {}
            word => return Err(nonsense(&word)),
        }
        tokio::time::sleep(settling).await;
        holder.order(Order::Release).await?;
        let given_up = match holder.word().await? {
            Word::Released { began } => BootInstant::from_nanos(began),
            word => return Err(nonsense(&word)),
        };
        measured.push(granted(waiter).await?.since(given_up));
        waiter.order(Order::Release).await?;
        waiter.word().await?;
    }
    Ok(measured)
}

async fn granted(peer: &mut Peer<'_>) -> Result<BootInstant, Error> {
    match peer.word().await? {
        Word::Granted { at } => Ok(BootInstant::from_nanos(at)),
        word => Err(nonsense(&word)),
    }
}
