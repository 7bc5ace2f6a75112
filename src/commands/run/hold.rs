//! The one place that waits while the command runs: whatever happens becomes an event, and the supervisor decides.

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::{Duration, Instant};

use crate::child::supervisor::{Action, Event, Supervisor};
use crate::child::{FromFront, Keeper, TreeChange};
use crate::lock::LockBackend;
use crate::lock::keep_alive::{Beat, Ended, Pace, Renewing};
use crate::report::{Stderr, running};
use crate::settings::RunSettings;
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::process::{self, Exit};

/// How often what cannot be killed is named.
const NAME_EVERY: Duration = Duration::from_secs(60);

/// How the command ended.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) exit: Exit,
    /// dlock began to stop it because the lease was lost.
    pub(super) lost: bool,
}

enum Happened {
    Lease(io::Result<Ended>),
    Front(FromFront),
    Tree(TreeChange),
    Due,
}

/// Watches lease, command and front until nothing of the command has to be waited for. Renews meanwhile.
pub(super) async fn hold(
    keeper: &Keeper,
    backend: &dyn LockBackend,
    lease: &Renewing,
    settings: &RunSettings,
    stderr: Stderr,
) -> Held {
    let pace = Pace::of(lease.lease().ttl);
    let beat = |beat: Beat<'_>| match beat {
        Beat::Renewed => {
            keeper.deadline().set(lease.valid_until());
            stderr.detail(running::renewed(&settings.key));
        }
        Beat::Failed(error) => stderr.notice(running::renewal_failed(&settings.key, error, lease.left())),
    };
    let mut supervisor = Supervisor::new(pace.kill_after);
    let mut timer = BootTimer::new().ok();
    let survivors = Survivors { settings, stderr, named_at: Cell::new(None) };
    let (mut lost, mut lease_over, mut front_gone) = (false, false, false);
    // First until it is time to ask the command to end; after that for as long as the lease may yet be believed.
    let mut renewing = pin!(lease.keep_alive(backend, pace.notice(), &beat));
    let mut closing = pin!(keeper.close_inherited());
    let exit = loop {
        let due = supervisor.due();
        let happened = tokio::select! {
            biased;
            ended = &mut renewing, if !lease_over => Happened::Lease(ended),
            () = sleep_until(&mut timer, due), if due.is_some() => Happened::Due,
            change = keeper.change() => Happened::Tree(change),
            message = keeper.from_front(), if !front_gone => Happened::Front(message),
            never = &mut closing => match never {},
        };
        let now = BootInstant::now();
        let event = match happened {
            Happened::Due => Event::Due,
            Happened::Tree(TreeChange::Ended { exit, rest }) => Event::Ended { exit, rest },
            Happened::Tree(TreeChange::TreeGone) => Event::TreeGone,
            Happened::Tree(TreeChange::Stopped) => {
                keeper.command_stopped();
                continue;
            }
            Happened::Tree(TreeChange::Continued) => {
                keeper.command_continued();
                continue;
            }
            Happened::Front(FromFront::Signal { number, delivery }) => Event::Signal { number, delivery },
            Happened::Front(FromFront::Gone) => {
                front_gone = true;
                Event::Stop { grace: grace_within(lease, pace) }
            }
            Happened::Lease(ended) => {
                let event = match &ended {
                    Ok(Ended::Unrenewed(_) | Ended::Revoked) if !lease_is_over(lease) => {
                        renewing.set(lease.keep_alive(backend, Duration::ZERO, &beat));
                        Event::Stop { grace: grace_within(lease, pace) }
                    }
                    _ => {
                        lease_over = true;
                        Event::Kill
                    }
                };
                act(supervisor.on(event, now), keeper, &survivors);
                if !lost {
                    stderr.say(running::lost(&settings.key, &ended, &settings.program));
                }
                lost = true;
                continue;
            }
        };
        if let Some(exit) = act(supervisor.on(event, now), keeper, &survivors) {
            break exit;
        }
    };
    // Nothing is left that would have to be dead by then.
    keeper.deadline().set(None);
    if !lease_over {
        lease.stop();
        renewing.await.ok();
    }
    if process::has_children() {
        stderr.notice(running::left_running(&settings.program, keeper.count_tree()));
    }
    Held { exit, lost }
}

async fn sleep_until(timer: &mut Option<BootTimer>, due: Option<BootInstant>) {
    match (timer, due) {
        (Some(timer), Some(due)) => timer.sleep_until(due).await,
        // Without a descriptor for the alarm the runtime's own timer has to do: it only misses the machine's sleep.
        (None, Some(due)) => tokio::time::sleep(due.remaining()).await,
        (_, None) => std::future::pending().await,
    }
}

fn lease_is_over(lease: &Renewing) -> bool {
    lease.valid_until().is_some_and(BootInstant::has_passed)
}

/// The grace, as far as the lease covers it with its margin.
fn grace_within(lease: &Renewing, pace: Pace) -> Duration {
    lease.left().map_or(pace.kill_after, |left| left.saturating_sub(pace.margin).min(pace.kill_after))
}

/// Does what the supervisor wants; `Some` when it is over.
fn act(action: Action, keeper: &Keeper, survivors: &Survivors<'_>) -> Option<Exit> {
    match action {
        Action::Nothing => {}
        Action::Forward(signal) => keeper.forward(signal),
        Action::TerminateTree => survivors.name(keeper.terminate_tree()),
        Action::KillTree => survivors.name(keeper.kill_tree()),
        Action::Finish(exit) => return Some(exit),
    }
    None
}

/// Those that this user may not signal, named at once and then once a minute.
struct Survivors<'a> {
    settings: &'a RunSettings,
    stderr: Stderr,
    named_at: Cell<Option<Instant>>,
}

impl Survivors<'_> {
    fn name(&self, survivors: Option<String>) {
        let Some(survivors) = survivors else { return };
        if self.named_at.get().is_none_or(|at| at.elapsed() >= NAME_EVERY) {
            self.stderr.say(running::cannot_kill(&self.settings.key, &survivors));
            self.named_at.set(Some(Instant::now()));
        }
    }
}
