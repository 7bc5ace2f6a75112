//! What the command finds in its environment.

use std::env;
use std::process::Command;

use crate::lock::several::Holding;
use crate::lock::{Lease, LockKey};
use crate::report;
use crate::settings::RunSettings;

/// What nested dlock calls need, one line for each lock held above them, the outermost first.
const HELD: &str = "DLOCK_HELD";

/// Adds the lock's facts and the deployment to what the command inherits, and takes secrets out of it.
pub(super) fn set(command: &mut Command, settings: &RunSettings, holding: &Holding<'_>) {
    let keys = settings.keys.as_slice();
    let leases: Vec<&Lease> = keys.iter().map(|key| holding.part(key).renewing.lease()).collect();
    let token = &leases[0].token;
    command
        .env("DLOCK_KEY", lines(keys.iter().map(LockKey::as_str)))
        .env("DLOCK_TOKEN", token.secret())
        .env("DLOCK_HOLDER", token.id())
        .env(HELD, held(settings, &leases));
    match report::variables::fences(leases.iter().copied()) {
        Some(fences) => command.env("DLOCK_FENCE", fences),
        None => command.env_remove("DLOCK_FENCE"),
    };
    for (name, value) in &settings.deployment.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// The locks held above the command: those that we inherited, and each of these as
/// `1 BACKEND NAMESPACE MODE TOKEN ENCODED-KEY`.
fn held(settings: &RunSettings, leases: &[&Lease]) -> String {
    let deployment = &settings.deployment;
    let ours = lines(leases.iter().map(|lease| {
        format!(
            "1 {} {} {} {} {}",
            deployment.backend,
            deployment.namespace.as_str(),
            settings.mode,
            lease.token.secret(),
            lease.key.encoded()
        )
    }));
    match env::var(HELD) {
        Ok(above) if !above.is_empty() => format!("{above}\n{ours}"),
        _ => ours,
    }
}

fn lines<T: AsRef<str>>(texts: impl Iterator<Item = T>) -> String {
    texts.map(|text| text.as_ref().to_owned()).collect::<Vec<_>>().join("\n")
}
