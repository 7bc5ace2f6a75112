//! `dlock release`: give up locks that `acquire` took.

use std::time::Duration;

use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::Release;
use crate::report::{Stderr, running};
use crate::settings::ReleaseSettings;

use super::{all_that_can, one_shot};

pub(super) fn release(settings: &ReleaseSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let attempt = Attempt::Release(settings.keys.first().clone());
    one_shot(&settings.deployment, stderr, attempt, async |backend| {
        all_that_can(&settings.keys, stderr, async |key| {
            let attempt = Attempt::Release(key.clone());
            let released = backend.release(key, &settings.token).await;
            match released.map_err(|error| Error::backend(attempt.clone(), error))? {
                Release::Released => stderr.detail(|| running::released(key, Duration::ZERO)),
                Release::NotHeld => return Err(Error::NotHeld { attempt }),
            }
            Ok(())
        })
        .await
    })
}
