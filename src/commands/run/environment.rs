//! What the command finds in its environment.

use std::env;
use std::process::Command;

use super::nested::{Nested, Users};
use crate::lock::several::Holding;
use crate::lock::{FencingToken, LockKey, OwnerToken};
use crate::report::variables;
use crate::settings::{HELD, RunSettings};

/// Adds the locks' facts and the deployment to what the command inherits, and takes secrets out of it.
pub(super) fn set(
    command: &mut Command,
    settings: &RunSettings,
    holding: &Holding<'_>,
    nested: &[Nested],
    users: &Users,
) {
    let keys = settings.keys.as_slice();
    let facts = |key: &LockKey| -> Option<(&OwnerToken, Option<FencingToken>)> {
        let own = holding.part(key).map(|part| part.renewing.lease()).map(|lease| (&lease.token, lease.fence));
        own.or_else(|| nested.iter().find(|nested| nested.key == *key).map(|nested| (&nested.token, nested.fence)))
    };
    // Of its own acquisition, where it has one; else that of the run above.
    let own = holding.parts().first().map(|part| &part.renewing.lease().token);
    if let Some(token) = own.or_else(|| keys.iter().find_map(facts).map(|(token, _)| token)) {
        command.env("DLOCK_TOKEN", token.secret()).env("DLOCK_HOLDER", token.id());
    }
    command.env("DLOCK_KEY", variables::lines(keys.iter().map(LockKey::as_str)));
    match variables::fences(keys.iter().map(|key| facts(key).and_then(|(_, fence)| fence))) {
        Some(fences) => command.env("DLOCK_FENCE", fences),
        None => command.env_remove("DLOCK_FENCE"),
    };
    let above = env::var(HELD).ok().filter(|above| !above.is_empty());
    let held: Vec<String> = above.into_iter().chain(users.held(holding, settings)).collect();
    if !held.is_empty() {
        command.env(HELD, variables::lines(held.iter().map(String::as_str)));
    }
    for (name, value) in &settings.deployment.environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}
