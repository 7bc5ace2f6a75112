//! The fencing token on its way to what checks it: `--fence-file`, and `fence-check`.

use std::path::PathBuf;

use super::source::Environment;
use super::{Deployment, Voice, voice};
use crate::backend::Target;
use crate::cli;
use crate::error::Error;
use crate::lock::{FencingToken, Mode};

#[derive(Debug)]
pub struct FenceCheckSettings {
    /// What the resource remembers.
    pub file: PathBuf,
    pub fence: FencingToken,
    pub voice: Voice,
}

/// # Errors
/// As for [`super::run`]; also when there is no fencing token in the environment.
pub fn fence_check(typed: &cli::FenceCheck, environment: &Environment) -> Result<FenceCheckSettings, Error> {
    let environment = environment.with_files(&cli::Files::default())?;
    let stated = environment.text("DLOCK_FENCE")?.ok_or_else(|| {
        Error::usage(
            "no fencing token: DLOCK_FENCE is not set; call it from the command of a dlock run that holds its lock \
             exclusively",
        )
    })?;
    if stated.value.contains('\n') {
        return Err(Error::usage(
            "DLOCK_FENCE has a line for each of several keys: set it to the one that this file is for",
        ));
    }
    // `u64::from_str` takes a plus sign; nobody types one on purpose.
    let is_number = stated.value.bytes().all(|byte| byte.is_ascii_digit());
    let fence = stated.value.parse().ok().filter(|_| is_number);
    let fence = fence.ok_or_else(|| stated.invalid("a fencing token is a whole number"))?;
    Ok(FenceCheckSettings {
        file: typed.file.clone(),
        fence: FencingToken(fence),
        voice: voice::voice(&typed.voice, &environment)?,
    })
}

/// Refuses to promise a token that will not come.
///
/// # Errors
/// When the mode or the layout has none.
pub(super) fn file(typed: Option<PathBuf>, mode: Mode, deployment: &Deployment) -> Result<Option<PathBuf>, Error> {
    let without = match (&typed, &deployment.target) {
        (None, _) => None,
        (Some(_), Target::RedisLayout(_, layout)) => Some(format!("with --layout {}", layout.name())),
        (Some(_), _) if mode != Mode::Exclusive => Some("unless the lock is held exclusively".to_owned()),
        (Some(_), _) => None,
    };
    match without {
        Some(without) => Err(Error::usage(format!("--fence-file: there is no fencing token {without}"))),
        None => Ok(typed),
    }
}
