//! `dlock acquire`: take the locks, print the proof, and leave them taken.

use std::time::Duration;

use crate::cli;
use crate::error::{Attempt, Error, Fate};
use crate::exit_code::Ending;
use crate::lock::several::Wanted;
use crate::lock::{Claim, Lease, LeaseKind, LockBackend, LockKey, OwnerToken, Patience, Prolonged, backoff};
use crate::report::{self, Stderr};
use crate::settings::{self, AcquireSettings, Environment, TokenOutput, Wait};
use crate::sys::boottime::{BootInstant, BootTimer};
use crate::sys::interrupt::Interrupts;

use super::contend::{Contended, contend};
use super::run::nested;
use super::{describe, one_shot, strict};

/// # Errors
/// When the settings are wrong.
pub(super) fn acquire(typed: &cli::Acquire, environment: &Environment) -> Result<Ending, Error> {
    let ending = settings::acquire(typed, environment).map(|settings| acquire_as(&settings));
    if typed.export == Some(cli::ExportForm::Shell) {
        tell_eval(ending.as_ref().map_or_else(Ending::from, |ending| *ending));
    }
    ending
}

/// `eval "$(dlock acquire --export …)"` sees nothing of our exit status; this is how it learns of a failure. Where
/// even that cannot be written, the sentence on stderr is all there is.
pub(super) fn tell_eval(ending: Ending) {
    if ending != Ending::SUCCESS {
        report::print(&report::variables::failure(ending)).ok();
    }
}

fn acquire_as(settings: &AcquireSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    one_shot(&settings.deployment, stderr, Attempt::Acquire(settings.keys.first().clone()), async |backend| {
        let interrupts = Interrupts::watch().map_err(|error| Error::system("watch for signals", error))?;
        strict::check(backend, &settings.deployment, settings.ttl).await?;
        let leases = take(backend, settings, stderr, &interrupts).await?;
        hand_out(backend, &leases, settings).await?;
        let endpoint = &settings.deployment.endpoint;
        leases.iter().for_each(|lease| stderr.detail(|| report::running::acquired(lease).on(endpoint)));
        Ok(Ending::SUCCESS)
    })
}

/// The leases in the order in which their keys were given.
async fn take(
    backend: &dyn LockBackend,
    settings: &AcquireSettings,
    stderr: Stderr,
    interrupts: &Interrupts,
) -> Result<Vec<Lease>, Error> {
    nested::check_order(&settings.keys.in_order(), &settings.above, settings.contest)?;
    linger(settings.contest.jitter, interrupts).await?;
    let started = BootInstant::now();
    let mut contest = settings.contest;
    let holding = loop {
        let endpoint = &settings.deployment.endpoint;
        match contend(&wanted(backend, settings), contest, endpoint, stderr, || interrupts.next()).await? {
            Contended::Granted(holding) => break holding,
            Contended::LostOne => contest = settings.contest.after(started),
        }
    };
    let keys = settings.keys.as_slice();
    let mut leases: Vec<Lease> = keys.iter().filter_map(|key| Some(holding.part(key)?.renewing.as_of_now())).collect();
    if let Err(error) = even_out(backend, settings, &mut leases).await {
        give_back(backend, &leases).await.ok();
        return Err(error);
    }
    Ok(leases)
}

/// Sleeps for a random part of `longest`.
async fn linger(longest: Duration, interrupts: &Interrupts) -> Result<(), Error> {
    if longest.is_zero() {
        return Ok(());
    }
    let mut timer = BootTimer::new().map_err(|error| Error::system("set a timer", error))?;
    tokio::select! {
        biased;
        signal = interrupts.next() => Err(Error::Interrupted(signal)),
        () = timer.sleep_until(BootInstant::now() + backoff::jittered(Duration::ZERO, longest)) => Ok(()),
    }
}

/// Has all leases end together: those that were granted first have been waiting for the last.
async fn even_out(backend: &dyn LockBackend, settings: &AcquireSettings, leases: &mut [Lease]) -> Result<(), Error> {
    let Some(last) = settings.keys.in_order().last().copied() else { return Ok(()) };
    let granted_last = leases.iter().find(|lease| lease.key == *last).map(|lease| lease.requested_at);
    for lease in leases.iter_mut().filter(|lease| Some(lease.requested_at) != granted_last) {
        let attempt = || Attempt::Acquire(lease.key.clone());
        let prolonged = backend.prolong(&lease.key, &lease.token, Some(lease.ttl)).await;
        match prolonged.map_err(|error| Error::backend(attempt(), error))? {
            Prolonged::Set { expires_at, .. } => lease.expires_at = expires_at,
            Prolonged::HeldByRun | Prolonged::NotHeld => return Err(Error::NotHeld { attempt: attempt() }),
        }
    }
    Ok(())
}

/// A fresh claim for each key: a token is never used for a second try.
fn wanted<'a>(backend: &'a dyn LockBackend, settings: &AcquireSettings) -> Vec<Wanted<'a>> {
    // This process ends at once; the one that goes on with the token is whoever started it.
    let pid = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or_default();
    let token = OwnerToken::random();
    let holder = describe(pid, None, settings.label.as_deref());
    let claim = |key: &LockKey| Claim {
        key: key.clone(),
        token: token.clone(),
        holder: holder.clone(),
        ttl: settings.ttl,
        kind: LeaseKind::OneShot,
        mode: settings.mode,
        looks_first: settings.contest.max_waiters.is_some(),
        retention: settings.retention,
        patience: match settings.contest.wait {
            Wait::Refuse => Patience::Refuse,
            Wait::For(_) | Wait::Forever => Patience::Queue { reconnect_for: settings.ttl.duration() },
        },
    };
    settings
        .keys
        .in_order()
        .into_iter()
        .map(|key| Wanted { backend, claim: claim(key), most_ahead: settings.contest.max_waiters })
        .collect()
}

/// A lock whose token nobody learnt would only be in the way.
async fn hand_out(backend: &dyn LockBackend, leases: &[Lease], settings: &AcquireSettings) -> Result<(), Error> {
    let deployment = &settings.deployment;
    let text = match settings.output {
        TokenOutput::Token => format!("{}\n", leases[0].token.secret()),
        TokenOutput::Json => report::json::acquired(leases, deployment),
        TokenOutput::ShellExport => report::variables::for_shell(leases, deployment),
        TokenOutput::EnvironmentFile => report::variables::for_environment_file(leases, deployment),
    };
    let Err(source) = report::print(&text) else { return Ok(()) };
    let fate = match give_back(backend, leases).await {
        Ok(()) => Fate::ReleasedAgain,
        Err(because) => Fate::StaysFor { ttl: leases[0].ttl, because },
    };
    Err(Error::Token { keys: settings.keys.clone(), source, fate })
}

/// Releases all of them, whatever becomes of one.
async fn give_back(backend: &dyn LockBackend, leases: &[Lease]) -> Result<(), crate::lock::BackendError> {
    let mut outcome = Ok(());
    for lease in leases {
        let released = backend.release(&lease.key, &lease.token).await;
        outcome = outcome.and(released.map(drop));
    }
    outcome
}
