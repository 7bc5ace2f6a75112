//! One command and everything it starts, watched by two processes.
//!
//! The *front* is what the shell started: it takes the signals and mirrors the command's end. The *keeper* is forked
//! from it before anything else happens; it holds the lock and is the command's parent. Each kills the command's tree
//! when the other one dies. The deadline after which nothing of the command may live is one word that both see.
//!
//! Nothing here knows what the deadline stands for.

mod channel;
mod front;
mod guard;
mod keeper;
mod shared;
pub mod supervisor;
mod terminal;
pub mod tree;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub use channel::FromFront;
pub use front::{Front, Verdict};
pub use keeper::{Keeper, KeeperStart, SpawnError, TreeChange};
pub use shared::Deadline;
pub use terminal::Terminal;

use crate::sys::lifeline;
use crate::sys::process::{self, Forked};
use crate::sys::signals;

/// What the keeper is called in `ps` and for `pkill`, so that `pkill dlock` does not hit both processes.
pub const KEEPER_NAME: &std::ffi::CStr = c"lock-keeper";

/// How long after the command's start front and keeper close what they inherited. A pipe's other end must see the
/// command's view of it, but not at once: a command that is over by then need not wait for two walks over /proc.
const CLOSE_INHERITED_AFTER: Duration = Duration::from_millis(20);

/// Which of the two processes this is after [`split`].
#[derive(Debug)]
pub enum Side {
    Front(Front),
    Keeper(KeeperStart),
}

/// Forks the keeper off. Before anything else: the process must have one thread and no children of its own making.
///
/// # Errors
/// When the system refuses a process, a descriptor or a page.
pub fn split() -> nix::Result<Side> {
    let (inherited, handled) = signals::take_over();
    let (deadline, held_since, outcome) = shared::share()?;
    let (front_end, keeper_end) = channel::pair()?;
    let (fronts_life, watch_on_front) = lifeline::pair()?;
    // What `exec dlock` inherited from the program before it are not ours to kill.
    let earlier_children = if process::has_children() { tree::children(nix::unistd::getpid()) } else { Vec::new() };
    // Both are subreapers: the attribute is not inherited by a fork, and an orphan must fall to one of the two.
    nix::sys::prctl::set_child_subreaper(true)?;
    let front = nix::unistd::getpid();
    // All that may be refused comes before the fork: afterwards there would be two to say so.
    let sources = front::Sources::new(front_end, &handled)?;
    match process::fork_single_threaded()? {
        Forked::Parent { child: keeper } => {
            drop((keeper_end, watch_on_front));
            let shared = (deadline, held_since, outcome);
            Ok(Side::Front(Front::new(keeper, sources, shared, earlier_children, fronts_life)))
        }
        Forked::Child => {
            let fronts_alarm = Rc::new(sources.into_alarm());
            drop(fronts_life);
            nix::sys::prctl::set_child_subreaper(true)?;
            nix::sys::prctl::set_name(KEEPER_NAME)?;
            let (channel, watch_on_front) = (Rc::new(keeper_end), RefCell::new(Some(watch_on_front)));
            Ok(Side::Keeper(KeeperStart {
                front,
                channel,
                watch_on_front,
                inherited,
                deadline,
                held_since,
                outcome,
                fronts_alarm,
            }))
        }
    }
}
