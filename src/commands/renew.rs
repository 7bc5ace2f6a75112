//! `dlock renew`: the leases of locks that `acquire` took, from now.

use crate::error::phrase::{Quoted, Rough};
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::Prolonged;
use crate::report::Stderr;
use crate::settings::RenewSettings;

use super::{all_that_can, one_shot};

pub(super) fn renew(settings: &RenewSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let attempt = Attempt::Renew(settings.keys.first().clone());
    one_shot(&settings.deployment, stderr, attempt, async |backend| {
        all_that_can(&settings.keys, stderr, async |key| {
            let attempt = Attempt::Renew(key.clone());
            let prolonged = backend.prolong(key, &settings.token, settings.ttl).await;
            let key = Quoted(key.as_str());
            match prolonged.map_err(|error| Error::backend(attempt.clone(), error))? {
                Prolonged::Set { ttl, .. } => stderr.detail(|| format!("renewed {key} for {}", Rough(ttl))),
                Prolonged::HeldByRun => {
                    stderr.notice(format_args!("{key} is held by a dlock run, which renews it: nothing was shortened"));
                }
                Prolonged::NotHeld => return Err(Error::NotHeld { attempt }),
            }
            Ok(())
        })
        .await
    })
}
