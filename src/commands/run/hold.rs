//! The one place that waits while the command runs: whatever happens becomes an event, and the supervisor decides.

use std::pin::pin;
use std::time::Duration;

use tokio::time::Instant;

use super::nested::Users;
use super::survivors::Survivors;
use crate::child::supervisor::{Action, Event, LeftBehind, Rest, Supervisor};
use crate::child::{FromFront, Keeper, TreeChange};
use crate::lock::keep_alive::{Beat, Ended};
use crate::lock::pace::Pace;
use crate::lock::several::{EndedLease, Holding, Part};
use crate::report::{Stderr, running};
use crate::settings::{Descendants, OnLost, RunSettings};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::process::{self, Exit};
use crate::sys::seeded::seeded;

/// How the command ended, and what of dlock's own had begun by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) exit: Exit,
    pub(super) ended_at: BootInstant,
    /// The lease was lost while the command ran: dlock began to stop it, or said so.
    pub(super) lost: bool,
    /// It was asked to end because it had run for `--max-runtime`.
    pub(super) timed_out: bool,
    /// Nothing can be believed of the lease any more, whenever that began.
    pub(super) lease_over: bool,
    /// An operator wanted it back: it is ours until it is given up.
    pub(super) asked_back: bool,
    /// The front had died: it was asked to end for that, or has died with it.
    pub(super) orphaned: bool,
}

/// How long the front may take to tell of a signal that came with the command's end: it may be stopped.
const TELLS_WITHIN: Duration = Duration::from_secs(1);

/// How often we look whether a run inside the command still uses the lock once the command itself has ended. It is a look
/// at a file of this host.
const USERS_LOOK: Duration = Duration::from_millis(100);

/// A run inside the command stops using the lock as it ends: an instant later it is gone.
const LAST_STEPS: Duration = Duration::from_millis(250);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

enum Happened {
    Lease(EndedLease),
    Front(FromFront),
    /// It does not tell of its signals in time.
    FrontSilent,
    Tree(TreeChange),
    Due,
    OutOfReach,
}

/// Publishes the instant by which the command must be dead; none where a loss is only to be told.
pub(super) fn publish_deadline(keeper: &Keeper, holding: &Holding<'_>, settings: &RunSettings) {
    keeper.deadline().set(match settings.stopping.on_lost {
        OnLost::Kill => holding.valid_until(),
        OnLost::Warn => None,
    });
}

/// Watches leases, command and front until nothing of the command has to be waited for. Renews meanwhile.
pub(super) async fn hold(
    keeper: &Keeper,
    holding: &Holding<'_>,
    users: &mut Users,
    settings: &RunSettings,
    stderr: Stderr,
) -> Held {
    let beat = |part: &Part<'_>, beat: Beat<'_>| match beat {
        Beat::Renewed => {
            publish_deadline(keeper, holding, settings);
            stderr.detail(|| running::renewed(part.key()));
        }
        Beat::Failed(error) => stderr.notice(running::renewal_failed(part.key(), error, part.renewing.left())),
    };
    let mut job = Job::new(keeper, holding, users, settings, stderr);
    let mut timer = None;
    let mut renewing = pin!(holding.keep_alive(job.notice(), &beat));
    let mut closing = pin!(keeper.close_inherited());
    let mut slipping = pin!(keeper.command_out_of_reach());
    let exit = loop {
        let due = job.due();
        let happened = tokio::select! {
            biased;
            ended = &mut renewing, if !job.lease_over => Happened::Lease(ended),
            () = sleep_until(&mut timer, due), if due.is_some() => Happened::Due,
            change = keeper.change(), if job.unjudged.is_none() && !job.tree_gone => Happened::Tree(change),
            message = keeper.from_front(), if !job.front_gone => Happened::Front(message),
            () = judging_time(job.unjudged.as_ref()), if job.unjudged.is_some() => Happened::FrontSilent,
            () = &mut slipping, if job.within_reach => Happened::OutOfReach,
            never = &mut closing => match never {},
        };
        let renewing_ended = matches!(happened, Happened::Lease(_));
        if let Some(exit) = job.take(happened) {
            break exit;
        }
        if renewing_ended && !job.lease_over {
            // The command was asked to end, or runs on without one of several locks; what may yet be believed is kept.
            renewing.set(holding.keep_alive(Duration::ZERO, &beat));
        }
    };
    // Nothing is left that would have to be dead by then.
    keeper.deadline().set(None);
    if !job.lease_over && !holding.parts().is_empty() {
        holding.stop();
        renewing.await;
    }
    let patience = if job.was_used_below { LAST_STEPS } else { Duration::ZERO };
    let left = if job.tree_gone { 0 } else { left_behind(keeper, patience).await };
    if left > 0 {
        stderr.notice(running::left_running(&settings.program, left));
    }
    let Job { ended_at, lost, timed_out, lease_over, asked_back, front_gone, .. } = job;
    let ended_at = ended_at.unwrap_or_else(BootInstant::now);
    Held { exit, ended_at, lost, timed_out, lease_over, asked_back, orphaned: front_gone }
}

/// How many processes of the command live on, `patience` later if there are any now.
async fn left_behind(keeper: &Keeper, patience: Duration) -> usize {
    let until = Instant::now() + patience;
    loop {
        let left = if process::has_children() { keeper.count_tree() } else { 0 };
        if left == 0 || Instant::now() >= until {
            return left;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn sleep_until(timer: &mut Option<BootTimer>, due: Option<BootInstant>) {
    let Some(due) = due else { return std::future::pending().await };
    // Most commands end before anything of theirs is due.
    if timer.is_none() {
        *timer = BootTimer::new().ok();
    }
    match timer {
        Some(timer) => timer.sleep_until(due).await,
        // Without a descriptor for the alarm the runtime's own timer has to do: it only misses the machine's sleep.
        None => tokio::time::sleep(due.remaining()).await,
    }
}

async fn judging_time(unjudged: Option<&Unjudged>) {
    match unjudged {
        Some(Unjudged { at, .. }) => tokio::time::sleep_until(*at).await,
        None => std::future::pending().await,
    }
}

/// The command has ended, and nobody knows yet what its end has to do with dlock: a signal that reached both may have
/// brought it about, or what is killing the front, too.
struct Unjudged {
    exit: Exit,
    rest: Rest,
    /// When it is judged by what is known.
    at: Instant,
}

/// The command under its lock: what has happened so far, and what follows from it.
struct Job<'a> {
    keeper: &'a Keeper,
    holding: &'a Holding<'a>,
    users: &'a mut Users,
    settings: &'a RunSettings,
    stderr: Stderr,
    pace: Pace,
    supervisor: Supervisor,
    survivors: Survivors<'a>,
    /// When `--max-runtime` is over, until it is.
    out_of_time_at: Option<BootInstant>,
    /// When the command itself was reaped.
    ended_at: Option<BootInstant>,
    lost: bool,
    timed_out: bool,
    lease_over: bool,
    asked_back: bool,
    /// It was told that the lease was lost after the command's end.
    told_late: bool,
    front_gone: bool,
    unjudged: Option<Unjudged>,
    /// Nothing has shown yet that this user may not signal the command.
    within_reach: bool,
    /// When to look again whether the lock is still being used by runs inside the command, which has ended.
    users_at: Option<BootInstant>,
    /// A run inside the command still used the lock when the command ended.
    was_used_below: bool,
    tree_gone: bool,
}

impl<'a> Job<'a> {
    fn new(
        keeper: &'a Keeper,
        holding: &'a Holding<'a>,
        users: &'a mut Users,
        settings: &'a RunSettings,
        stderr: Stderr,
    ) -> Self {
        let stopping = settings.stopping;
        let pace = settings.pace(holding.ttl().unwrap_or(settings.ttl.duration()));
        let left_behind = match stopping.descendants {
            Descendants::Ignore => LeftBehind::Ignore,
            Descendants::Wait => LeftBehind::Await,
            Descendants::Kill => LeftBehind::Stop,
        };
        Self {
            keeper,
            holding,
            users,
            settings,
            stderr,
            pace,
            supervisor: Supervisor::new(left_behind, pace.kill_after),
            survivors: Survivors::new(&settings.keys, stderr),
            out_of_time_at: stopping.max_runtime.map(|limit| BootInstant::now() + limit),
            ended_at: None,
            lost: false,
            timed_out: false,
            lease_over: false,
            asked_back: false,
            told_late: false,
            front_gone: false,
            unjudged: None,
            within_reach: true,
            users_at: None,
            was_used_below: false,
            tree_gone: false,
        }
    }

    /// How long before its end the lease is given up on: time for the command to end by itself, where it has to end.
    fn notice(&self) -> Duration {
        match self.settings.stopping.on_lost {
            OnLost::Kill => self.pace.notice(),
            OnLost::Warn => Duration::ZERO,
        }
    }

    fn due(&self) -> Option<BootInstant> {
        let out_of_time_at = self.out_of_time_at.filter(|_| self.unjudged.is_none());
        [self.supervisor.due(), out_of_time_at, self.users_at].into_iter().flatten().min()
    }

    /// `Some`: it is over.
    fn take(&mut self, happened: Happened) -> Option<Exit> {
        if let Happened::Tree(TreeChange::Ended { .. }) = happened {
            self.ended_at = Some(BootInstant::now());
        }
        match happened {
            Happened::Due if self.out_of_time_at.is_some_and(BootInstant::has_passed) => self.out_of_time(),
            Happened::Due if self.users_at.is_some_and(BootInstant::has_passed) => self.look_for_users(),
            Happened::Due => self.on(Event::Due),
            Happened::Tree(TreeChange::Ended { exit, rest }) if self.front_has_a_say(rest) => {
                self.keeper.ask_for_signals();
                self.unjudged = Some(Unjudged { exit, rest, at: Instant::now() + TELLS_WITHIN });
                None
            }
            Happened::Tree(TreeChange::Ended { exit, rest }) => self.ended(exit, rest),
            Happened::Tree(TreeChange::TreeGone) => {
                self.tree_gone = true;
                if self.users_at.is_some() { self.look_for_users() } else { self.on(Event::TreeGone) }
            }
            Happened::Tree(TreeChange::Stopped(signal)) => {
                self.keeper.command_stopped(signal);
                None
            }
            Happened::Tree(TreeChange::Continued) => {
                self.keeper.command_continued();
                None
            }
            Happened::Front(FromFront::Signal { number, delivery }) => {
                let action = self.supervisor.on(Event::Signal { number, delivery }, BootInstant::now());
                let over = self.act(action);
                self.tell_signal(number, action);
                over
            }
            Happened::Front(FromFront::Gone) => {
                self.front_gone = true;
                self.on(Event::Stop { grace: self.grace() }).or_else(|| self.judge())
            }
            Happened::Front(FromFront::CaughtUp) | Happened::FrontSilent => self.judge(),
            Happened::Lease(ended) => self.lease_ended(&ended),
            Happened::OutOfReach => {
                self.within_reach = false;
                self.stderr.notice(running::out_of_reach(&self.settings.program));
                None
            }
        }
    }

    fn tell_signal(&self, number: i32, action: Action) {
        // Of a terminal that changes its size nobody wants to read.
        if ![libc::SIGWINCH, libc::SIGCONT, libc::SIGURG].contains(&number) {
            let passed_on = match action {
                Action::Forward(_) => running::PassedOn::Forwarded,
                Action::Nothing => running::PassedOn::HadItToo,
                _ => running::PassedOn::StopsTheRest,
            };
            self.stderr.detail(|| running::signalled(&self.settings.keys, number, passed_on));
        }
    }

    /// A key of the terminal, or a service manager, reaches the command and the front at the same time, and decides what
    /// becomes of the rest. Whatever kills both leaves a delay, whichever dies first.
    fn front_has_a_say(&self, rest: Rest) -> bool {
        !self.front_gone && (rest == Rest::Alive || !self.settings.retention.lock_delay.is_zero())
    }

    fn judge(&mut self) -> Option<Exit> {
        let Unjudged { exit, rest, .. } = self.unjudged.take()?;
        self.ended(exit, rest)
    }

    fn ended(&mut self, exit: Exit, rest: Rest) -> Option<Exit> {
        let rest = if seeded!("releases-beside-the-rest") { Rest::Gone } else { rest };
        self.tree_gone = rest == Rest::Gone;
        if self.lease_over || !self.users.are_there(rest) {
            return self.on(Event::Ended { exit, rest });
        }
        self.users_at = Some(BootInstant::now() + USERS_LOOK);
        self.was_used_below = true;
        self.stderr.notice(running::still_used(&self.settings.program, &self.settings.keys));
        self.on(Event::Ended { exit, rest: Rest::UsesTheLock })
    }

    fn look_for_users(&mut self) -> Option<Exit> {
        let rest = if self.tree_gone { Rest::Gone } else { Rest::Alive };
        if !self.lease_over && self.users.are_there(rest) {
            self.users_at = Some(BootInstant::now() + USERS_LOOK);
            return None;
        }
        self.users_at = None;
        self.on(if self.tree_gone { Event::TreeGone } else { Event::UsersGone })
    }

    fn out_of_time(&mut self) -> Option<Exit> {
        self.out_of_time_at = None;
        let action = self.supervisor.on(Event::Stop { grace: self.grace() }, BootInstant::now());
        // Where it is being stopped already, something else was the reason.
        if action == Action::TerminateTree {
            self.timed_out = true;
        }
        let over = self.act(action);
        if self.timed_out {
            self.stderr.say(running::timed_out(&self.settings.program, self.settings.stopping.max_runtime));
        }
        over
    }

    fn lease_ended(&mut self, EndedLease { key, why }: &EndedLease) -> Option<Exit> {
        let is_believed =
            !self.holding.part(key).and_then(|part| part.renewing.valid_until()).is_some_and(BootInstant::has_passed);
        let mut is_news = !self.lost;
        let was_asked_back = self.asked_back;
        if matches!(why, Ok(Ended::Revoked)) && is_believed {
            self.asked_back = true;
            // The question was a renewal, too, and no beat tells of it.
            publish_deadline(self.keeper, self.holding, self.settings);
        }
        let event = match why {
            Ok(Ended::Unrenewed(_) | Ended::Revoked) if is_believed => Some(Event::Stop { grace: self.grace() }),
            Err(_) if is_believed => {
                self.lease_over = true;
                Some(Event::Stop { grace: self.grace() })
            }
            _ if self.settings.stopping.on_lost == OnLost::Warn => {
                self.holding.forsake(key);
                self.lease_over = self.holding.is_over();
                is_news = true;
                None
            }
            _ => {
                self.lease_over = true;
                Some(Event::Kill)
            }
        };
        // Signal first, print second.
        let over = event.and_then(|event| self.on(event));
        if is_news && self.supervisor.exit().is_none() && self.unjudged.is_none() {
            self.lost = true;
            self.stderr.say(running::lost(self.settings, key, why));
        } else if self.asked_back && !was_asked_back && !self.lost {
            self.stderr.notice(running::asked_back_late(key));
        } else if is_news && !self.asked_back && !self.told_late {
            // Where the rest runs on, so do the other leases.
            self.told_late = self.settings.stopping.on_lost == OnLost::Kill;
            self.stderr.notice(running::lost_late(self.settings, key, why));
        }
        if self.lease_over {
            self.survivors.lock_is_lost();
        }
        over
    }

    /// The grace, as far as the lease covers it with its margin; all of it where the command outlives a lost lease anyway.
    fn grace(&self) -> Duration {
        if self.lease_over && self.settings.stopping.on_lost == OnLost::Warn {
            return self.pace.kill_after;
        }
        let covered = self.holding.left().map(|left| left.saturating_sub(self.pace.margin));
        covered.map_or(self.pace.kill_after, |covered| covered.min(self.pace.kill_after))
    }

    fn on(&mut self, event: Event) -> Option<Exit> {
        let action = self.supervisor.on(event, BootInstant::now());
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Option<Exit> {
        match action {
            Action::Nothing => {}
            Action::Forward(signal) => self.keeper.forward(signal),
            Action::TerminateTree => {
                self.survivors.asked(&self.keeper.terminate_tree(self.settings.stopping.signal));
            }
            Action::KillTree => self.survivors.killed(&self.keeper.kill_tree()),
            Action::Finish(exit) => return Some(exit),
        }
        None
    }
}
