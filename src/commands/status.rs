//! `dlock status`: who holds these keys, and who waits for them.

use crate::error::phrase::Quoted;
use crate::error::{Attempt, Error};
use crate::exit_code::{Ending, NOT_ACQUIRED};
use crate::lock::LockStatus;
use crate::report::{self, Stderr};
use crate::settings::{Deployment, Frequency, ReportForm, StatusSettings, Verdict};

use super::one_shot;
use super::watch::{Question, watch};

pub(super) fn status(settings: &StatusSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    if settings.frequency == Frequency::AtEachChange {
        return watch(&Question::Status(&settings.keys), settings.form, &settings.deployment, stderr);
    }
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
        differences_of(status).for_each(|difference| stderr.notice(difference));
    }
}

/// The same as sentences.
pub(super) fn differences_of(status: &LockStatus) -> impl Iterator<Item = String> {
    status.differences.iter().map(|difference| format!("{}: {difference}", Quoted(status.key.as_str())))
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
    report::show(&text).map_err(|source| Error::Output { source })
}
