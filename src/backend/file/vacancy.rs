//! What ends the wait of the queue's head: a change of the file, the end of a lease, a slot whose holder has gone. Breaks
//! when something of that happens between the last look and the first moment of the wait.

use std::cell::OnceCell;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::lock_file::LockFile;
use super::locks;
use crate::lock::BackendError;
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::readiness::Readiness;

/// How often the head looks when the kernel gives it no notice: sooner than people notice, and one look takes 20 µs.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The kernel's notices of a file, asked for when they are first needed. They stay for as long as the file is open: the
/// kernel takes up to 20 ms to close them, which whoever waits for the lock would wait, too.
#[derive(Debug, Default)]
pub(super) struct Notices(OnceCell<Readiness<Inotify>>);

impl Notices {
    /// `None` when the user's other programs have used up what there is of inotify (128 instances by default). A lock must
    /// not fail for that.
    fn of(&self, path: &Path) -> Option<&Readiness<Inotify>> {
        if self.0.get().is_none() {
            let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).ok()?;
            inotify.add_watch(path, AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_DONT_FOLLOW).ok()?;
            self.0.set(Readiness::new(inotify).ok()?).expect("nobody has set it since");
        }
        self.0.get()
    }
}

/// Tells the head of the queue, or a holder, that somebody wrote to the file.
pub(super) struct Change<'a> {
    notices: Option<&'a Readiness<Inotify>>,
    timer: BootTimer,
}

impl<'a> Change<'a> {
    /// What was written before may be told as well.
    pub(super) fn watch(file: &'a LockFile) -> Result<Self, BackendError> {
        let timer = BootTimer::new()
            .map_err(|error| BackendError::system(format!("no timer for the lease's end is to be had: {error}")))?;
        Ok(Self { notices: file.notices.of(&file.path), timer })
    }

    /// Completes when the file has changed, at `until` at the latest.
    pub(super) async fn next_or(&mut self, until: BootInstant) {
        match self.notices {
            Some(notices) => {
                tokio::select! {
                    _ = notices.readable(Inotify::read_events) => {}
                    () = self.timer.sleep_until(until) => {}
                }
            }
            None => self.timer.sleep_until(until.min(BootInstant::now() + LOOK_EVERY)).await,
        }
    }
}

/// How many slots are watched each by a process of its own. The kernel tells nobody that any one of many has become free;
/// beyond this number a holder that is killed is noticed by looking.
const WATCHED_SLOTS: usize = 32;

/// Completes when a holder of one of `slots` has gone, with that slot or another of them locked by us, or when the file
/// has changed, at `until` at the latest. A release changes the file, whichever slot it was.
pub(super) async fn slot_or_change(
    file: &LockFile,
    slots: &[i64],
    change: &mut Change<'_>,
    until: Option<BootInstant>,
) -> Result<(), BackendError> {
    let watched = &slots[..slots.len().min(WATCHED_SLOTS)];
    let look = (slots.len() > watched.len()).then(|| BootInstant::now() + LOOK_EVERY);
    let until = until.into_iter().chain(look).min().unwrap_or(BootInstant::from_nanos(u64::MAX));
    let mut waits: Vec<_> = watched.iter().map(|slot| Box::pin(file.lock(locks::slot(*slot)))).collect();
    let any = poll_fn(|context| {
        let ended = waits.iter_mut().find_map(|wait| match wait.as_mut().poll(context) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => None,
        });
        ended.map_or(Poll::Pending, Poll::Ready)
    });
    tokio::select! {
        ended = any => ended,
        () = change.next_or(until) => Ok(()),
    }
}
