//! Naming what does not end: processes that this user may not signal, and those that the kernel does not let go.

use std::time::{Duration, Instant};

use crate::child::tree::{self, Sent};
use crate::lock::Keys;
use crate::report::{Event, Stderr, running};

/// How often what does not end is named.
const NAME_EVERY: Duration = Duration::from_secs(60);

/// A killed process is gone as soon as it is next scheduled, on a loaded machine a little later. One that is still there
/// after this waits in the kernel for a disk or a network.
const KILLED_BUT_THERE: Duration = Duration::from_secs(2);

/// What is still there of a command that has to end.
pub(super) struct Survivors<'a> {
    keys: &'a Keys,
    stderr: Stderr,
    killing_since: Option<Instant>,
    named_at: Option<Instant>,
    standing: running::Standing,
}

impl<'a> Survivors<'a> {
    pub(super) fn new(keys: &'a Keys, stderr: Stderr) -> Self {
        Self { keys, stderr, killing_since: None, named_at: None, standing: running::Standing::Held }
    }

    /// From now on the lock is not held any more while they live.
    pub(super) fn lock_is_lost(&mut self) {
        self.standing = running::Standing::Lost;
    }

    pub(super) fn asked(&mut self, sent: &Sent) {
        if !sent.forbidden.is_empty() {
            self.name(running::may_not_end(self.keys, &tree::describe(&sent.forbidden), self.standing));
        }
    }

    pub(super) fn killed(&mut self, sent: &Sent) {
        let since = *self.killing_since.get_or_insert_with(Instant::now);
        if !sent.forbidden.is_empty() {
            self.name(running::may_not_end(self.keys, &tree::describe(&sent.forbidden), self.standing));
        } else if since.elapsed() >= KILLED_BUT_THERE && !sent.reached.is_empty() {
            self.name(running::does_not_end(self.keys, &tree::describe(&sent.reached), self.standing));
        }
    }

    fn name(&mut self, event: Event) {
        if self.named_at.is_none_or(|at| at.elapsed() >= NAME_EVERY) {
            self.stderr.say(event);
            self.named_at = Some(Instant::now());
        }
    }
}
