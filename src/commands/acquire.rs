//! `dlock acquire`: take the lock, print the proof, and leave it taken.

use crate::cli;
use crate::error::{Attempt, Error, Fate};
use crate::exit_code::Ending;
use crate::lock::{Claim, Lease, LeaseKind, LockBackend, OwnerToken, Patience};
use crate::report::{self, Stderr};
use crate::settings::{self, AcquireSettings, Environment, TokenOutput, Wait};
use crate::sys::interrupt::Interrupts;

use super::{contend, describe, one_shot};

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
    one_shot(&settings.deployment, stderr, Attempt::Acquire(settings.key.clone()), async |backend| {
        let interrupts = Interrupts::watch().map_err(|error| Error::system("watch for signals", error))?;
        let claim = claim(settings);
        let endpoint = &settings.deployment.endpoint;
        let lease = contend(backend, &claim, settings.contest, endpoint, stderr, || interrupts.next()).await?;
        hand_out(backend, &lease, settings).await?;
        stderr.detail(report::running::acquired(&lease).on(endpoint));
        Ok(Ending::SUCCESS)
    })
}

fn claim(settings: &AcquireSettings) -> Claim {
    // This process ends at once; the one that goes on with the token is whoever started it.
    let pid = u32::try_from(nix::unistd::getppid().as_raw()).unwrap_or_default();
    Claim {
        key: settings.key.clone(),
        token: OwnerToken::random(),
        holder: describe(pid, None, settings.label.as_deref()),
        ttl: settings.ttl,
        kind: LeaseKind::OneShot,
        mode: settings.mode,
        patience: match settings.contest.wait {
            Wait::Refuse => Patience::Refuse,
            Wait::For(_) | Wait::Forever => Patience::Queue { reconnect_for: settings.ttl.duration() },
        },
    }
}

/// A lock whose token nobody learnt would only be in the way.
async fn hand_out(backend: &dyn LockBackend, lease: &Lease, settings: &AcquireSettings) -> Result<(), Error> {
    let deployment = &settings.deployment;
    let text = match settings.output {
        TokenOutput::Token => format!("{}\n", lease.token.secret()),
        TokenOutput::Json => report::json::acquired(lease, deployment),
        TokenOutput::ShellExport => report::variables::for_shell(lease, deployment),
        TokenOutput::EnvironmentFile => report::variables::for_environment_file(lease, deployment),
    };
    let Err(source) = report::print(&text) else { return Ok(()) };
    let fate = match backend.release(&lease.key, &lease.token).await {
        Ok(_) => Fate::ReleasedAgain,
        Err(because) => Fate::StaysFor { ttl: lease.ttl, because },
    };
    Err(Error::Token { key: lease.key.clone(), source, fate })
}
