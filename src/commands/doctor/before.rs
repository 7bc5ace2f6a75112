//! `dlock doctor --before zk`: who still counts on Redis alone.

use std::time::Duration;

use crate::backend::{self, Target};
use crate::commands::one_shot;
use crate::commands::status::print;
use crate::error::{Attempt, Error};
use crate::exit_code::{Ending, NO};
use crate::lock::{KeyPattern, LockBackend, LockState, LockStatus};
use crate::report::Stderr;
use crate::settings::{Deployment, ReportForm};

/// Who takes both is on Redis first and a few round trips later in ZooKeeper's queue: whoever is still on Redis alone
/// after this was not on the way.
const SECOND_LOOK: Duration = Duration::from_secs(1);

pub(super) fn zookeeper(deployment: &Deployment, form: ReportForm, stderr: Stderr) -> Ending {
    let attempt = Attempt::List(deployment.namespace.clone());
    one_shot(deployment, stderr, attempt.clone(), async |_| {
        let failed = |error| Error::backend(attempt.clone(), error);
        let mut halves = Vec::new();
        for half in deployment.target.each() {
            halves.push((matches!(half, Target::ZooKeeper(_)), backend::open(half).map_err(failed)?));
        }
        // Redis before ZooKeeper, as contenders go.
        halves.sort_by_key(|(is_zookeeper, _)| *is_zookeeper);
        let look = async || -> Result<Vec<LockStatus>, Error> {
            let mut lists = Vec::new();
            for (_, half) in &halves {
                lists.push(everything(&**half).await.map_err(failed)?);
            }
            let zookeeper = lists.pop().unwrap_or_default();
            Ok(only_on_redis(lists.pop().unwrap_or_default(), &zookeeper))
        };
        let mut left = look().await?;
        if !left.is_empty() {
            tokio::time::sleep(SECOND_LOOK).await;
            left = in_both_looks(look().await?, &left);
        }
        for (_, half) in &halves {
            half.close().await;
        }
        if left.is_empty() && form == ReportForm::Table {
            stderr.notice("nobody holds or awaits a lock on Redis alone: everybody may change to -b zk");
        } else {
            print(&left, form, deployment)?;
        }
        Ok(if left.is_empty() { Ending::SUCCESS } else { Ending::Status(NO) })
    })
}

async fn everything(backend: &dyn LockBackend) -> Result<Vec<LockStatus>, crate::lock::BackendError> {
    let all = KeyPattern::new("*").expect("it is a pattern");
    backend.list(&all).await
}

fn names(status: &LockStatus) -> impl Iterator<Item = &str> {
    let holders = status.holders.iter().map(|holder| holder.id.as_str());
    holders.chain(status.waiters.iter().map(|waiter| waiter.id.as_str()))
}

/// What is left of `redis` without those whom ZooKeeper knows at the same key.
fn only_on_redis(redis: Vec<LockStatus>, zookeeper: &[LockStatus]) -> Vec<LockStatus> {
    keep(redis, |status, id| {
        let there = zookeeper.iter().find(|there| there.key == status.key);
        !there.is_some_and(|there| names(there).any(|known| known == id))
    })
}

fn in_both_looks(second: Vec<LockStatus>, first: &[LockStatus]) -> Vec<LockStatus> {
    keep(second, |status, id| first.iter().any(|before| before.key == status.key && names(before).any(|one| one == id)))
}

/// The holders and waiters for whom `is_left`, and the keys that have any.
fn keep(statuses: Vec<LockStatus>, is_left: impl Fn(&LockStatus, &str) -> bool) -> Vec<LockStatus> {
    let mut left = Vec::new();
    for status in statuses {
        let mut kept = status.clone();
        kept.holders.retain(|holder| is_left(&status, &holder.id));
        kept.waiters.retain(|waiter| is_left(&status, &waiter.id));
        if kept.holders.is_empty() {
            kept.state = LockState::Free;
        }
        if !kept.holders.is_empty() || !kept.waiters.is_empty() {
            left.push(kept);
        }
    }
    left
}
