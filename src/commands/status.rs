//! `dlock status`: who holds these keys, and who waits for them.

use crate::error::phrase::Quoted;
use crate::error::{Attempt, Error};
use crate::exit_code::{Ending, NOT_ACQUIRED};
use crate::lock::LockStatus;
use crate::report::{self, Stderr};
use crate::settings::{Deployment, ReportForm, StatusSettings, Verdict};

use super::one_shot;

pub(super) fn status(settings: &StatusSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let first = Attempt::Status(settings.keys[0].clone());
    one_shot(&settings.deployment, stderr, first, async |backend| {
        let mut statuses = Vec::new();
        for key in &settings.keys {
            let status = backend.status(key).await;
            statuses.push(status.map_err(|error| Error::backend(Attempt::Status(key.clone()), error))?);
        }
        print(&statuses, settings.form, &settings.deployment)?;
        tell_differences(&statuses, stderr);
        Ok(match settings.verdict {
            Verdict::WouldRefuse(mode) if statuses.iter().any(|status| status.would_refuse(mode)) => {
                Ending::Status(NOT_ACQUIRED)
            }
            Verdict::WouldRefuse(_) | Verdict::Answered => Ending::SUCCESS,
        })
    })
}

/// Says where single servers tell something else than the majority that decides.
pub(super) fn tell_differences(statuses: &[LockStatus], stderr: Stderr) {
    for status in statuses {
        for difference in &status.differences {
            stderr.notice(format_args!("{}: {difference}", Quoted(status.key.as_str())));
        }
    }
}

/// Prints the statuses in the form asked for.
///
/// # Errors
/// When standard output does not take them.
pub(super) fn print(statuses: &[LockStatus], form: ReportForm, deployment: &Deployment) -> Result<(), Error> {
    let text = match form {
        ReportForm::Table => report::table(statuses),
        ReportForm::Json => report::json::statuses(statuses, deployment),
    };
    report::print(&text).map_err(|source| Error::Output { source })
}
