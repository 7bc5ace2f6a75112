//! `dlock doctor`: what this deployment is made of. So far its configuration.

use crate::error::Error;
use crate::exit_code::Ending;
use crate::report;
use crate::settings::{DoctorSettings, ReportForm};

/// # Errors
/// With the first value that is wrong, after all have been shown; or when standard output does not take them.
pub(super) fn doctor(settings: DoctorSettings) -> Result<Ending, Error> {
    let text = match settings.form {
        ReportForm::Table => report::configuration::table(&settings.configuration),
        ReportForm::Json => report::configuration::json(&settings.configuration),
    };
    report::print(&text).map_err(|source| Error::Output { source })?;
    settings.configuration.wrong.map_or(Ok(Ending::SUCCESS), Err)
}
