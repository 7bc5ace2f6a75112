//! The cells of the matrix, and what has to come of each.

use nix::sys::signal::Signal;

use crate::support::Kind;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Front,
    Keeper,
    Both,
    /// Watches while the front is stopped.
    Guard,
    Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blow {
    Kill,
    /// And thawed afterwards.
    FreezeBeyondTheLease,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// The command runs.
    Running,
    /// The command is stopped, as by Ctrl-Z, and the front with it.
    Stopped,
    /// dlock waits for the lock.
    Waiting,
    /// Between the grant and the exec.
    Starting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) victim: Victim,
    pub(super) blow: Blow,
    pub(super) moment: Moment,
}

/// How the front ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Status(i32),
    Signal(Signal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// All of the job is dead before anybody else gets the lock.
    Dies(End),
    /// All frozen at once: it dies when it wakes.
    DiesWhenItWakes,
    /// Both processes of dlock killed at once: the command dies, what it started is the service manager's.
    CommandDiesAlone,
    /// It keeps the lock and goes on.
    GoesOn,
    /// While it waits: it is gone and in nobody's way.
    LeavesTheQueue(End),
    /// While it waits: it gets the lock when it is its turn.
    GetsItsTurn,
    /// While it waits: it gets the lock when it is its turn, and keeps all others waiting until it wakes.
    HoldsUpOthers,
    /// While it waits: others get the lock before it, and it gets it when it wakes.
    IsPassedOver,
}

impl Cell {
    pub(super) fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for moment in [Moment::Running, Moment::Stopped, Moment::Waiting, Moment::Starting] {
            for blow in [Blow::Kill, Blow::FreezeBeyondTheLease] {
                for victim in [Victim::Front, Victim::Keeper, Victim::Both, Victim::Guard, Victim::Command] {
                    cells.push(Self { victim, blow, moment });
                }
            }
        }
        cells
    }

    /// `None`: there is no such victim at that moment.
    pub(super) fn fate(self, kind: Kind) -> Option<Fate> {
        match self.blow {
            Blow::Kill => self.fate_of_the_killed(),
            Blow::FreezeBeyondTheLease => self.fate_of_the_frozen(kind),
        }
    }

    fn fate_of_the_killed(self) -> Option<Fate> {
        let killed = End::Signal(Signal::SIGKILL);
        Some(match (self.moment, self.victim) {
            (Moment::Stopped, Victim::Guard) => Fate::GoesOn,
            (_, Victim::Guard) | (Moment::Waiting, Victim::Command) => return None,
            // 71: the system took the keeper away, and there was nothing to lose yet.
            (Moment::Waiting, Victim::Keeper) => Fate::LeavesTheQueue(End::Status(71)),
            (Moment::Waiting, _) => Fate::LeavesTheQueue(killed),
            (Moment::Running | Moment::Stopped, Victim::Both) => Fate::CommandDiesAlone,
            (_, Victim::Keeper) => Fate::Dies(End::Status(79)),
            (_, Victim::Front | Victim::Both | Victim::Command) => Fate::Dies(killed),
        })
    }

    fn fate_of_the_frozen(self, kind: Kind) -> Option<Fate> {
        let lost = Fate::Dies(End::Status(79));
        Some(match (self.moment, self.victim, kind) {
            (Moment::Stopped, Victim::Guard, _) => Fate::GoesOn,
            (_, Victim::Guard, _) | (Moment::Waiting, Victim::Command, _) => return None,
            (Moment::Waiting, Victim::Front, _) => Fate::GetsItsTurn,
            // A kernel lock knows no frozen waiters: it is granted, and stays so, until the waiter wakes.
            (Moment::Waiting, _, Kind::File) => Fate::HoldsUpOthers,
            (Moment::Waiting, _, _) => Fate::IsPassedOver,
            // Nor a lease that could pass.
            (_, _, Kind::File) => Fate::GoesOn,
            (_, Victim::Front, _) | (Moment::Running | Moment::Stopped, Victim::Command, _) => Fate::GoesOn,
            // The guard still watches.
            (Moment::Stopped, Victim::Both, _) => lost,
            (Moment::Running | Moment::Starting, Victim::Both, _) => Fate::DiesWhenItWakes,
            (_, Victim::Keeper, _) | (Moment::Starting, Victim::Command, _) => lost,
        })
    }
}
