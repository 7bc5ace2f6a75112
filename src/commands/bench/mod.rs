//! `dlock bench`: what a run would see of this deployment, in figures.
//!
//! Everything that is measured goes through [`LockBackend`], as in a run, on a key that nobody else can know of. Beside
//! this process, which measures what one process sees and asks the questions, there are for each backend some contenders
//! and a janitor, which removes the key when all others are gone.

mod advice;
mod contender;
mod crew;
mod hand_over;
mod janitor;
mod measure;
mod pace;
mod throughput;
mod wire;

use std::convert::Infallible;
use std::ffi::OsStr;
use std::time::Duration;

use tokio::time::timeout;

use super::{CLOSING_LIMIT, describe, event_loop, strict};
use crate::backend;
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::pace::Upkeep;
use crate::lock::{
    Acquired, BackendError, Claim, ErrorKind, LeaseKind, LockBackend, LockKey, Mode, OwnerToken, Patience, Ttl,
};
use crate::report::bench::{self as figures, Figures, Leases, Measured, Summary};
use crate::report::{self, Meter, Stderr};
use crate::settings::{BackendName, BenchSettings, Deployment, ReportForm};
use crate::sys::interrupt::Interrupts;
use crew::{Crew, Working};

/// How the time of one backend is spent, in hundredths.
const ACQUIRING: u32 = 30;
const RENEWING: u32 = 15;
const HANDING_OVER: u32 = 25;
const CONTENDING: u32 = 30;

/// What is measured of one backend, and by what key.
struct Plan<'a> {
    settings: &'a BenchSettings,
    deployment: &'a Deployment,
    key: LockKey,
    share: Duration,
}

impl<'a> Plan<'a> {
    fn new(settings: &'a BenchSettings, deployment: &'a Deployment) -> Self {
        // As unknown to others as a token.
        let key =
            LockKey::new(format!("dlock-bench-{}", &OwnerToken::random().secret()[..16])).expect("letters and digits");
        let share = settings.duration / u32::try_from(settings.deployments.len()).unwrap_or(1);
        Self { settings, deployment, key, share }
    }

    /// A fresh one, as a run makes it.
    fn claim(&self, mode: Mode) -> Claim {
        let BenchSettings { ttl, retention, label, .. } = self.settings;
        Claim {
            key: self.key.clone(),
            token: OwnerToken::random(),
            holder: describe(std::process::id(), Some(OsStr::new("dlock bench")), label.as_deref()),
            ttl: *ttl,
            kind: LeaseKind::Running,
            patience: Patience::Queue { reconnect_for: ttl.duration() },
            mode,
            looks_first: false,
            retention: *retention,
        }
    }

    async fn close(&self, backend: &dyn LockBackend) {
        timeout(CLOSING_LIMIT, backend.close()).await.ok();
    }

    fn part(&self, hundredths: u32) -> Duration {
        self.share * hundredths / 100
    }
}

fn failed(plan: &Plan<'_>) -> impl Fn(BackendError) -> Error {
    |error| Error::backend(Attempt::Acquire(plan.key.clone()), error)
}

pub(super) fn bench(settings: &BenchSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let mut said: Vec<&String> = Vec::new();
    for notice in settings.deployments.iter().flat_map(|deployment| &deployment.notices) {
        if !said.contains(&notice) {
            stderr.notice(notice);
            said.push(notice);
        }
    }
    let plans: Vec<Plan<'_>> = settings.deployments.iter().map(|deployment| Plan::new(settings, deployment)).collect();
    let measured = || {
        // Before there is a thread or a connection.
        let crews = crew::muster(&plans).map_err(|error| Error::system("start the contenders", error))?;
        let runtime = event_loop().map_err(|error| Error::system("start the event loop", error))?;
        runtime.block_on(measure_all(&plans, crews, stderr))
    };
    let ending = measured().and_then(|measured| tell(&measured, settings, stderr));
    ending.unwrap_or_else(|error| super::failed(&error, stderr))
}

/// One backend after the other: none is to slow another one down.
async fn measure_all<'a>(plans: &'a [Plan<'a>], crews: Vec<Crew>, stderr: Stderr) -> Result<Vec<Measured<'a>>, Error> {
    let interrupts = Interrupts::watch().map_err(|error| Error::system("watch for signals", error))?;
    let meter = Meter::new(stderr, plans[0].settings.duration);
    let mut measured: Vec<Measured<'a>> = Vec::new();
    for (plan, crew) in plans.iter().zip(crews) {
        let mut crew = crew.into_working(&plan.key).map_err(|error| Error::system("start the event loop", error))?;
        let outcome = tokio::select! {
            biased;
            signal = interrupts.next() => Err(Error::Interrupted(signal)),
            outcome = measure_one(plan, &mut crew, &measured, &meter) => outcome,
            never = keep_drawing(&meter) => match never {},
        };
        meter.clear();
        let cleaned = tokio::select! {
            biased;
            // Asked for twice: the janitor goes on by itself.
            signal = interrupts.next() => return Err(Error::Interrupted(signal)),
            cleaned = crew.dismiss() => cleaned,
        };
        if let Err(reason) = cleaned {
            stderr.notice(figures::left_behind(&plan.key, plan.deployment, &reason));
        }
        if let Err(Error::Interrupted(signal)) = outcome {
            return Err(Error::Interrupted(signal));
        }
        measured.push(Measured { deployment: plan.deployment, outcome });
    }
    Ok(measured)
}

async fn keep_drawing(meter: &Meter) -> Infallible {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        meter.draw();
    }
}

/// The story of one backend. `before`: what is known of others.
async fn measure_one(
    plan: &Plan<'_>,
    crew: &mut Working<'_>,
    before: &[Measured<'_>],
    meter: &Meter,
) -> Result<Figures, Error> {
    let told = |part: &'static str| meter.tell(plan.deployment.backend, part);
    told("first contact");
    check(plan).await?;
    crew.note(janitor::ASKED)?;
    let granted = measure::warm_up(plan).await?;
    crew.note(janitor::GRANTED)?;
    let upkeep = plan.deployment.backend.upkeep();

    told("acquire and release");
    let taken = measure::acquire_and_release(plan, plan.part(ACQUIRING)).await?;
    let (acquire, release) = (Summary::of(taken.acquire), Summary::of(taken.release));
    // The pair renews each lock when that one is due, so it has no pace of its own to be measured at.
    let is_renewed = upkeep.is_some() && plan.deployment.backend != BackendName::Both;
    let renew = if is_renewed {
        told("renewal");
        Summary::of(measure::renew(plan, plan.part(RENEWING)).await?)
    } else {
        None
    };
    told("hand-over");
    let usual = acquire.map(|acquire| acquire.median).unwrap_or_default();
    let hand_over = Summary::of(hand_over::measure(crew, usual, plan.part(HANDING_OVER)).await?);
    told("contention");
    let rest = if is_renewed { CONTENDING } else { CONTENDING + RENEWING };
    let contention = throughput::measure(crew, plan.settings.contenders, plan.part(rest)).await?;

    let renewals = renew.into_iter().chain(before.iter().filter_map(|other| other.outcome.as_ref().ok()?.renew));
    let slowest = match renew {
        Some(renew) => Some(renew.max),
        None => renewals.map(|renew| renew.max).max(),
    };
    let leases = match (upkeep, slowest) {
        (Some(upkeep), Some(slowest)) => {
            told("leases");
            Some(leases(plan, granted.ttl, slowest, upkeep).await?)
        }
        _ => None,
    };
    Ok(Figures { acquire, release, renew, hand_over, contention, leases })
}

/// As `run` would look at the servers first.
async fn check(plan: &Plan<'_>) -> Result<(), Error> {
    let backend = backend::open(&plan.deployment.target).map_err(failed(plan))?;
    let checked = strict::check(&*backend, plan.deployment, plan.settings.ttl).await;
    plan.close(&*backend).await;
    checked
}

/// Which leases there are to choose from, and whether the server grants them.
async fn leases(plan: &Plan<'_>, in_force: Duration, slowest: Duration, upkeep: Upkeep) -> Result<Leases, Error> {
    let mut choices = Vec::new();
    for ttl in advice::ttls(in_force) {
        let mut choice = advice::choice(ttl, slowest, upkeep);
        // A session's timeout is what the server says it is; an expiry is what was asked for.
        choice.is_granted = ttl == in_force || upkeep == Upkeep::Expiry || is_granted(plan, ttl).await?;
        choices.push(choice);
    }
    let shortest = choices.iter().find(|choice| choice.is_granted && advice::has_room(choice)).map(|choice| choice.ttl);
    Ok(Leases { in_force, slowest, room: advice::ROOM, choices, shortest })
}

async fn is_granted(plan: &Plan<'_>, ttl: Duration) -> Result<bool, Error> {
    let backend = backend::open(&plan.deployment.target).map_err(failed(plan))?;
    let claim = Claim { ttl: Ttl::Exactly(ttl), ..plan.claim(plan.settings.mode) };
    let answer = match backend.acquire(&claim, &|_| {}).await {
        Ok(Acquired::Granted(_)) => Ok(true),
        Ok(Acquired::Held(_) | Acquired::Lost) => Ok(false),
        Err(error) if error.kind == ErrorKind::Misconfigured => Ok(false),
        Err(error) => Err(failed(plan)(error)),
    };
    backend.release(&claim.key, &claim.token).await.ok();
    plan.close(&*backend).await;
    answer
}

/// What there is to tell, and of several failures the first.
fn tell(measured: &[Measured<'_>], settings: &BenchSettings, stderr: Stderr) -> Result<Ending, Error> {
    if measured.iter().any(|one| one.outcome.is_ok()) {
        let text = match settings.form {
            ReportForm::Table => figures::table(measured, settings),
            ReportForm::Json => figures::json(measured, settings),
        };
        report::show(&text).map_err(|source| Error::Output { source })?;
    }
    let failures: Vec<&Error> = measured.iter().filter_map(|one| one.outcome.as_ref().err()).collect();
    failures.iter().for_each(|failure| stderr.failure(failure));
    Ok(failures.first().map_or(Ending::SUCCESS, |first| Ending::from(*first)))
}
