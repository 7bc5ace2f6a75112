//! `dlock list`: every key of the namespace that is held or awaited.

use crate::error::phrase::Quoted;
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::LockState;
use crate::report::Stderr;
use crate::settings::{ListSettings, ReportForm};

use super::one_shot;
use super::status::{print, tell_differences};

pub(super) fn list(settings: &ListSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let namespace = &settings.deployment.namespace;
    let attempt = Attempt::List(namespace.clone());
    one_shot(&settings.deployment, stderr, attempt.clone(), async |backend| {
        let mut statuses = backend.list(&settings.pattern).await.map_err(|error| Error::backend(attempt, error))?;
        tell_differences(&statuses, stderr);
        statuses.retain(|status| status.state != LockState::Free || !status.waiters.is_empty());
        if statuses.is_empty() && settings.form == ReportForm::Table {
            let namespace = Quoted(namespace.as_str());
            stderr.notice(format_args!("nothing that matches is held or awaited in namespace {namespace}"));
        } else {
            print(&statuses, settings.form, &settings.deployment)?;
        }
        Ok(Ending::SUCCESS)
    })
}
