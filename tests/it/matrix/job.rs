//! One job brought to the moment at which it is struck, and a successor that looks whether it is alone.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::cell::{End, Moment, Victim};
use crate::support::{ExecGate, LOOK_FOR_ANOTHER_JOB, Place, Process, Running, STUBBORN, eventually, within};

pub(super) const KEY: &str = "job";

/// Long enough for two busy cores to renew in time, short enough to wait for.
pub(super) const TTL: Duration = Duration::from_secs(4);
const TTL_OPTION: &str = "4s";

/// Without a limit a waiter that has lost its server gives up after a TTL.
const PATIENCE: &str = "60s";

#[derive(Debug)]
pub(super) struct Job {
    pub(super) run: Running,
    pub(super) successor: Running,
    /// The command's pid, where there is one yet.
    pub(super) command: Option<i32>,
    moment: Moment,
    gate: Option<ExecGate>,
    holder: Option<Running>,
    struck_at: Instant,
}

impl Job {
    /// A job at that moment, with a successor behind it in the queue.
    #[track_caller]
    pub(super) fn at(place: &Place, moment: Moment) -> Self {
        let gate = (moment == Moment::Starting).then(|| ExecGate::before("/bin/sh"));
        let shell = gate.as_ref().map_or("sh", |gate| gate.program.to_str().expect("a plain name"));
        let call = [
            "run",
            "-k",
            KEY,
            "-w",
            PATIENCE,
            "--ttl",
            TTL_OPTION,
            "--descendants",
            "kill",
            "--",
            shell,
            "-c",
            STUBBORN,
        ];
        // While its exec is held back a keeper stands still and renews nothing: all else has to be in its place by then.
        let holder = matches!(moment, Moment::Waiting | Moment::Starting).then(|| place.hold_for(KEY, TTL_OPTION));
        let run = match holder {
            Some(_) => place.queue_up_with(KEY, call),
            None => place.dlock(call).stdin_open().start(),
        };
        if holder.is_none() {
            run.says("ready");
        }
        let mark = run.mark();
        let look = [
            "run",
            "-k",
            KEY,
            "-w",
            PATIENCE,
            "--ttl",
            TTL_OPTION,
            "--",
            "sh",
            "-c",
            LOOK_FOR_ANOTHER_JOB,
            "sh",
            &mark,
        ];
        let successor = place.queue_up_with(KEY, look);
        let mut job = Self { run, successor, command: None, moment, gate, holder, struck_at: Instant::now() };
        job.reach_its_moment();
        job
    }

    #[track_caller]
    fn reach_its_moment(&mut self) {
        if self.moment == Moment::Starting {
            self.release_holder();
            self.gate.as_ref().expect("this moment has one").is_reached();
            self.command = Some(child_of(&self.run, self.run.keeper().pid).pid);
        } else {
            self.command = self.run.stdout().lines().next().and_then(|line| line.parse().ok());
        }
        if self.moment == Moment::Stopped {
            Process::find(self.command.expect("it runs")).expect("it runs").signal(Signal::SIGSTOP);
            eventually("the front has stopped with its command", || self.run.front().is_stopped());
        }
    }

    #[track_caller]
    pub(super) fn victims(&self, victim: Victim) -> Vec<Process> {
        match victim {
            Victim::Front => vec![self.run.front()],
            Victim::Keeper => vec![self.run.keeper()],
            Victim::Both => vec![self.run.front(), self.run.keeper()],
            Victim::Guard => {
                let guard = self.run.job().into_iter().find(|process| process.comm == "lock-guard");
                vec![guard.expect("a guard watches while the front is stopped")]
            }
            Victim::Command => {
                let command = Process::find(self.command.expect("there is a command"));
                vec![command.expect("it lives")]
            }
        }
    }

    pub(super) fn strike(&mut self, victims: &[Process], signal: Signal) {
        self.struck_at = Instant::now();
        for victim in victims {
            victim.signal(signal);
        }
    }

    /// Lets an exec that was held back go on.
    pub(super) fn pass_the_gate(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.open();
        }
    }

    /// Wakes what the moment had stopped.
    pub(super) fn resume(&self) {
        if let (Moment::Stopped, Some(command)) = (self.moment, self.command.and_then(Process::find)) {
            command.signal(Signal::SIGCONT);
        }
    }

    pub(super) fn release_holder(&mut self) {
        let holder = self.holder.take().expect("somebody holds the lock");
        holder.let_go();
        holder.wait().succeeds();
    }

    /// Whoever held the lock before the job was told that it has lost it.
    #[track_caller]
    pub(super) fn holder_has_lost(&mut self) {
        let holder = self.holder.take().expect("somebody held the lock");
        holder.wait().exits_with(79);
    }

    /// The lease that stood when the blow fell must have been renewed, and nobody else has got in.
    #[track_caller]
    pub(super) fn outlives_its_lease(&self) {
        eventually("a lease passes", || self.struck_at.elapsed() > TTL + TTL / 2);
        assert!(!self.run.has_ended(), "{}", self.run.stderr());
        assert_eq!(self.successor.stdout(), "", "the successor still waits");
    }

    /// Within the lease, and what two busy cores need later.
    #[track_caller]
    pub(super) fn successor_gets_in(&self) {
        let state =
            || format!("job: {:?}\n{}successor: {}", self.run.job(), self.run.stderr(), self.successor.stderr());
        within(TTL + Duration::from_secs(5), &format!("the successor gets in; {}", state()), || {
            self.successor.stdout().contains("ready")
        });
    }

    #[track_caller]
    pub(super) fn successor_gets_in_alone(&self) {
        self.successor_gets_in();
        assert_eq!(self.successor.stdout(), "ready\n", "{}", self.run.stderr());
        self.let_successor_go();
    }

    #[track_caller]
    pub(super) fn let_successor_go(&self) {
        self.successor.let_go();
        self.successor.wait().succeeds();
    }

    #[track_caller]
    pub(super) fn ends(&self, end: End) {
        let ended = self.run.wait();
        match end {
            End::Status(status @ (71 | 79)) => drop(ended.exits_with(status).mentions(&[])),
            End::Status(status) => drop(ended.exits_with(status)),
            End::Signal(signal) => drop(ended.dies_of(signal)),
        }
    }
}

#[track_caller]
fn child_of(run: &Running, parent: i32) -> Process {
    let child = run.job().into_iter().find(|process| process.parent == parent);
    child.unwrap_or_else(|| panic!("{parent} has a child: {:?}", run.job()))
}
