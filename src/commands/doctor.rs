//! `dlock doctor`: how far the locks of this deployment can be trusted, and what it is made of.

mod before;

use crate::error::{Attempt, Error};
use crate::exit_code::{Ending, NO};
use crate::lock::{Finding, Grade, Ttl};
use crate::report::{self, Stderr, findings};
use crate::settings::{Configuration, Deployment, DoctorSettings, ReportForm};

use super::one_shot;

/// # Errors
/// Of `--config`: the first value that is wrong, after all have been shown; or when standard output does not take them.
pub(super) fn doctor(settings: DoctorSettings) -> Result<Ending, Error> {
    match settings {
        DoctorSettings::Configuration(configuration, form) => show(*configuration, form),
        DoctorSettings::Examination { deployment, ttl, form, voice } => {
            Ok(examine(&deployment, ttl, form, Stderr::new(voice)))
        }
        DoctorSettings::BeforeZooKeeper { deployment, form, voice } => {
            Ok(before::zookeeper(&deployment, form, Stderr::new(voice)))
        }
    }
}

fn show(configuration: Configuration, form: ReportForm) -> Result<Ending, Error> {
    print(&match form {
        ReportForm::Table => report::configuration::table(&configuration),
        ReportForm::Json => report::configuration::json(&configuration),
    })?;
    configuration.wrong.map_or(Ok(Ending::SUCCESS), Err)
}

fn examine(deployment: &Deployment, ttl: Ttl, form: ReportForm, stderr: Stderr) -> Ending {
    one_shot(deployment, stderr, Attempt::Examine, async |backend| {
        let found = backend.examine(ttl).await.map_err(|error| Error::backend(Attempt::Examine, error))?;
        print(&match form {
            ReportForm::Table => findings::table(&found),
            ReportForm::Json => findings::json(&found),
        })?;
        Ok(verdict(&found))
    })
}

/// A warning is no reason for a script to stop.
fn verdict(findings: &[Finding]) -> Ending {
    let has_failed = findings.iter().any(|finding| finding.grade == Grade::Failed);
    if has_failed { Ending::Status(NO) } else { Ending::SUCCESS }
}

fn print(text: &str) -> Result<(), Error> {
    report::show(text).map_err(|source| Error::Output { source })
}
