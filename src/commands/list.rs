//! `dlock list`: every key of the namespace that is held or awaited.

use crate::error::phrase::Quoted;
use crate::error::{Attempt, Error};
use crate::exit_code::Ending;
use crate::lock::{LockState, LockStatus, Namespace};
use crate::report::Stderr;
use crate::settings::{Frequency, ListSettings, ReportForm};

use super::one_shot;
use super::status::{print, tell_differences};
use super::watch::{Question, watch};

pub(super) fn list(settings: &ListSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    let namespace = &settings.deployment.namespace;
    if settings.frequency == Frequency::AtEachChange {
        let question = Question::List(&settings.pattern);
        return watch(&question, settings.form, &settings.deployment, stderr);
    }
    let attempt = Attempt::List(namespace.clone());
    one_shot(&settings.deployment, stderr, attempt.clone(), async |backend| {
        let mut statuses = backend.list(&settings.pattern).await.map_err(|error| Error::backend(attempt, error))?;
        tell_differences(&statuses, stderr);
        statuses.retain(is_taken);
        if statuses.is_empty() && settings.form == ReportForm::Table {
            stderr.notice(nothing_in(namespace));
        } else {
            print(&statuses, settings.form, &settings.deployment)?;
        }
        Ok(Ending::SUCCESS)
    })
}

/// Whether anybody holds or awaits it: free keys that only kept their counter are not listed.
pub(super) fn is_taken(status: &LockStatus) -> bool {
    status.state != LockState::Free || !status.waiters.is_empty()
}

/// What is said in place of an empty table.
pub(super) fn nothing_in(namespace: &Namespace) -> String {
    format!("nothing that matches is held or awaited in namespace {}", Quoted(namespace.as_str()))
}
