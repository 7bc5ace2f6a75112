//! What `top` shows, and that there is something to show it on.

use std::io::IsTerminal as _;

use super::{Deployment, Environment, Voice, deployment, voice};
use crate::cli;
use crate::error::Error;
use crate::sys::stdio::{STDIN, STDOUT};

#[derive(Debug)]
pub struct TopSettings {
    pub deployment: Deployment,
    pub voice: Voice,
}

/// # Errors
/// As for [`run`](super::run); and when there is no terminal.
pub fn top(typed: &cli::Top, environment: &Environment) -> Result<TopSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let settings = TopSettings {
        voice: voice::voice(&typed.voice, environment)?,
        deployment: deployment::resolve(&typed.backend, environment)?,
    };
    let moves_its_cursor = environment.get("TERM").is_none_or(|kind| kind != "dumb");
    if STDIN.is_terminal() && STDOUT.is_terminal() && moves_its_cursor {
        Ok(settings)
    } else {
        Err(Error::usage("dlock top needs a terminal to draw on and to read keys from: use dlock list --watch"))
    }
}
