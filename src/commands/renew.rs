//! `dlock renew`: the lease of a lock that `acquire` took, from now.

use crate::error::phrase::{Quoted, Rough};
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::Prolonged;
use crate::report::Stderr;
use crate::settings::RenewSettings;

use super::one_shot;

pub(super) fn renew(settings: &RenewSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let attempt = Attempt::Renew(settings.key.clone());
    let key = Quoted(settings.key.as_str());
    one_shot(&settings.deployment, stderr, attempt.clone(), async |backend| {
        let prolonged = backend.prolong(&settings.key, &settings.token, settings.ttl).await;
        match prolonged.map_err(|error| Error::backend(attempt.clone(), error))? {
            Prolonged::Set { ttl, .. } => stderr.detail(format_args!("renewed {key} for {}", Rough(ttl))),
            Prolonged::HeldByRun => {
                stderr.notice(format_args!("{key} is held by a dlock run, which renews it: nothing was shortened"));
            }
            Prolonged::NotHeld => return Err(Error::NotHeld { attempt }),
        }
        Ok(Ending::SUCCESS)
    })
}
