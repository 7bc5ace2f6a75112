//! Which holder is to lose its lock, and whether that has to be asked first.

use std::io::IsTerminal as _;

use super::source::Environment;
use super::{Deployment, Voice, deployment, voice, wanted_keys};
use crate::cli;
use crate::error::Error;
use crate::lock::{Keys, Manner, token};
use crate::sys::stdio::{STDERR, STDIN};

#[derive(Debug)]
pub struct ForceSettings {
    /// Only what was typed: the keys that a run hands on to its command are its own.
    pub keys: Keys,
    /// `None`: there is to be just one.
    pub id: Option<String>,
    pub manner: Manner,
    pub consent: Consent,
    pub deployment: Deployment,
    pub voice: Voice,
}

/// Whether somebody has said yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    Given,
    /// On the terminal.
    ToBeAsked,
}

/// # Errors
/// As for [`run`](super::run); and when nobody has agreed and nobody can be asked.
pub fn force(typed: &cli::Release, environment: &Environment) -> Result<ForceSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let settings = ForceSettings {
        keys: wanted_keys(&typed.owned.key)?,
        id: typed.forcing.id.as_deref().map(id).transpose()?,
        manner: if typed.forcing.now { Manner::AtOnce } else { Manner::Asking },
        consent: if typed.forcing.yes { Consent::Given } else { Consent::ToBeAsked },
        voice: voice::voice(&typed.voice, environment)?,
        deployment: deployment::resolve(&typed.backend, environment)?,
    };
    if settings.consent == Consent::ToBeAsked && !(STDIN.is_terminal() && STDERR.is_terminal()) {
        return Err(Error::usage(
            "--force asks before it breaks a lock, and there is no terminal to ask on: give --yes",
        ));
    }
    Ok(settings)
}

fn id(typed: &str) -> Result<String, Error> {
    let id = typed.to_ascii_lowercase();
    if id.len() == token::ID_LEN && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(id);
    }
    Err(Error::usage("invalid --id: an id is 8 hexadecimal digits, as dlock status shows them"))
}
