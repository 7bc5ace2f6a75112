//! `dlock release`: give up a lock that `acquire` took.

use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::Release;
use crate::report::{Stderr, running};
use crate::settings::ReleaseSettings;

use super::one_shot;

pub(super) fn release(settings: &ReleaseSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let attempt = Attempt::Release(settings.key.clone());
    one_shot(&settings.deployment, stderr, attempt.clone(), async |backend| {
        let released = backend.release(&settings.key, &settings.token).await;
        match released.map_err(|error| Error::backend(attempt.clone(), error))? {
            Release::Released => stderr.detail(running::released(&settings.key)),
            Release::NotHeld => return Err(Error::NotHeld { attempt }),
        }
        Ok(Ending::SUCCESS)
    })
}
