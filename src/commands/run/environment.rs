//! What the command finds in its environment.

use std::env;
use std::process::Command;

use crate::lock::Lease;
use crate::settings::RunSettings;

/// What nested dlock calls need, one line for each lock held above them, the outermost first.
const HELD: &str = "DLOCK_HELD";

/// Adds the lock's facts and the deployment to what the command inherits, and takes secrets out of it.
pub(super) fn set(command: &mut Command, settings: &RunSettings, lease: &Lease) {
    command
        .env("DLOCK_KEY", lease.key.as_str())
        .env("DLOCK_TOKEN", lease.token.secret())
        .env("DLOCK_HOLDER", lease.token.id())
        .env(HELD, held(settings, lease));
    match lease.fence {
        Some(fence) => command.env("DLOCK_FENCE", fence.to_string()),
        None => command.env_remove("DLOCK_FENCE"),
    };
    for (name, value) in &settings.deployment.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

/// The locks held above the command: those that we inherited, and this one as
/// `1 BACKEND NAMESPACE MODE TOKEN ENCODED-KEY`.
fn held(settings: &RunSettings, lease: &Lease) -> String {
    let deployment = &settings.deployment;
    let ours = format!(
        "1 {} {} {} {} {}",
        deployment.backend,
        deployment.namespace.as_str(),
        settings.mode,
        lease.token.secret(),
        lease.key.encoded()
    );
    match env::var(HELD) {
        Ok(above) if !above.is_empty() => format!("{above}\n{ours}"),
        _ => ours,
    }
}
