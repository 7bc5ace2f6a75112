//! The command line as meant: flags, environment and files become values that cannot be wrong.

mod bench;
mod contest;
mod deployment;
pub mod duration;
mod effective;
mod fence;
mod files;
mod forcing;
mod held;
mod layout;
mod masters;
mod mode;
mod options;
mod retention;
mod secrets;
mod source;
mod stopping;
mod target;
mod tls;
mod top;
mod voice;
mod zookeeper;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

pub use bench::{BenchSettings, bench};
pub use deployment::{BackendName, Deployment, SECRETS, Scrutiny};
pub use effective::{Configuration, DoctorSettings, Effective, doctor};
pub use fence::{FenceCheckSettings, fence_check};
pub use forcing::{Consent, ForceSettings, force};
pub use held::{HELD, HeldAbove};
pub use source::Environment;
pub use top::{TopSettings, top};
pub use voice::{Color, LogFormat, Voice, Volume, voice_of_failures};

use crate::cli;
use crate::error::Error;
use crate::error::phrase::Quoted;
use crate::lock::key::InvalidKeys;
use crate::lock::pace::Pace;
use crate::lock::{KeyPattern, Keys, LockKey, Mode, OwnerToken, Retention, Ttl};
use crate::sys::boottime::BootInstant;
use duration::{DEFAULT_TTL, parse_ttl};
use source::{on_command_line, text};

/// How long to contend for a lock that somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    Refuse,
    For(Duration),
    Forever,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    pub wait: Wait,
    /// Not to join a queue of so many.
    pub max_waiters: Option<usize>,
    /// Up to so much later than the others.
    pub jitter: Duration,
    /// 75, or what `-E` put in its place.
    pub conflict_status: u8,
}

impl Contest {
    /// What is left of it for somebody who began at `started`.
    #[must_use]
    pub fn after(self, started: BootInstant) -> Self {
        let wait = match self.wait {
            Wait::For(limit) => Wait::For((started + limit).remaining()),
            Wait::Refuse | Wait::Forever => self.wait,
        };
        Self { wait, ..self }
    }
}

/// When and how dlock itself stops the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopping {
    /// Between the signal that asks and the one that kills. `None`: what the lease has room for.
    pub kill_after: Option<Duration>,
    /// What asks the command to end: TERM unless told otherwise.
    pub signal: i32,
    pub max_runtime: Option<Duration>,
    pub on_lost: OnLost,
    pub descendants: Descendants,
}

/// What a lost lease means for the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLost {
    Kill,
    Warn,
}

/// What happens to processes that the command leaves behind when it ends of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descendants {
    Ignore,
    Wait,
    Kill,
}

#[derive(Debug)]
pub struct RunSettings {
    pub keys: Keys,
    pub deployment: Deployment,
    pub ttl: Ttl,
    pub mode: Mode,
    pub retention: Retention,
    pub contest: Contest,
    pub stopping: Stopping,
    pub label: Option<String>,
    /// Where the fencing token is written before the command starts.
    pub fence_file: Option<PathBuf>,
    /// What runs above this one hold in the same place.
    pub above: Vec<HeldAbove>,
    pub program: OsString,
    pub arguments: Vec<OsString>,
    pub voice: Voice,
}

impl RunSettings {
    /// How a lease of `ttl` is renewed and the command stopped before its end.
    #[must_use]
    pub fn pace(&self, ttl: Duration) -> Pace {
        match self.stopping.kill_after {
            Some(grace) => Pace::with_grace(ttl, grace),
            None => Pace::of(ttl),
        }
    }
}

#[derive(Debug)]
pub struct AcquireSettings {
    pub keys: Keys,
    pub deployment: Deployment,
    pub ttl: Ttl,
    pub mode: Mode,
    pub retention: Retention,
    pub contest: Contest,
    pub label: Option<String>,
    /// What runs above this call hold in the same place.
    pub above: Vec<HeldAbove>,
    pub output: TokenOutput,
    pub voice: Voice,
}

/// How `acquire` hands out what it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutput {
    Token,
    Json,
    /// `export` lines for the shell's `eval`.
    ShellExport,
    /// Bare `NAME=value` lines.
    EnvironmentFile,
}

#[derive(Debug)]
pub struct RenewSettings {
    pub keys: Keys,
    pub token: OwnerToken,
    /// `None`: what the lock was acquired with.
    pub ttl: Option<Duration>,
    pub deployment: Deployment,
    pub voice: Voice,
}

#[derive(Debug)]
pub struct ReleaseSettings {
    pub keys: Keys,
    pub token: OwnerToken,
    pub deployment: Deployment,
    pub voice: Voice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportForm {
    Table,
    Json,
}

/// How often `status` and `list` answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequency {
    Once,
    /// At each change, until somebody ends it.
    AtEachChange,
}

/// What `status` makes of its exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 0 whenever the question was answered.
    Answered,
    /// 75 when any key would refuse `-n` in this mode.
    WouldRefuse(Mode),
}

#[derive(Debug)]
pub struct StatusSettings {
    /// At least one, each once, in the order given.
    pub keys: Vec<LockKey>,
    pub deployment: Deployment,
    pub form: ReportForm,
    pub frequency: Frequency,
    pub verdict: Verdict,
    pub voice: Voice,
}

#[derive(Debug)]
pub struct ListSettings {
    pub pattern: KeyPattern,
    pub deployment: Deployment,
    pub form: ReportForm,
    pub frequency: Frequency,
    pub voice: Voice,
}

/// # Errors
/// [`Error::Usage`] for the first thing that is wrong; [`Error::Configuration`] for what is wrong with a file.
pub fn run(typed: cli::Run, environment: &Environment) -> Result<RunSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let (program, arguments) = program(typed.command, typed.program, environment)?;
    let deployment = deployment::resolve(&typed.backend, environment)?;
    let mode = mode::mode(&typed.sharing, environment, &deployment)?;
    let settings = RunSettings {
        keys: wanted_keys(&typed.key)?,
        ttl: ttl(typed.ttl.as_ref(), environment)?.unwrap_or(Ttl::Default(DEFAULT_TTL)),
        contest: contest::contest(&typed.contest, environment)?,
        stopping: stopping::stopping(&typed.stopping, environment)?,
        label: label(&typed.label, environment)?,
        fence_file: fence::file(typed.fence_file, mode, &deployment)?,
        retention: retention::retention(&typed.retention, environment, &deployment)?,
        mode,
        voice: voice::voice(&typed.voice, environment)?,
        above: held::above(environment, &deployment),
        deployment,
        program,
        arguments,
    };
    let level = stopping::grace_level(&typed.stopping, environment)?;
    stopping::check(&settings.stopping, settings.ttl, settings.deployment.backend.upkeep(), level)?;
    Ok(settings)
}

/// # Errors
/// As for [`run`].
pub fn acquire(typed: &cli::Acquire, environment: &Environment) -> Result<AcquireSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let keys = wanted_keys(&typed.key)?;
    let ttl = ttl(typed.ttl.as_ref(), environment)?
        .ok_or_else(|| Error::usage("no --ttl given: say after how long the lock may be taken from its owner"))?;
    let contest = contest::of_acquire(&typed.contest, environment)?;
    let output = match (typed.json, typed.export) {
        (true, _) => TokenOutput::Json,
        (false, None) => TokenOutput::Token,
        (false, Some(cli::ExportForm::Shell)) => TokenOutput::ShellExport,
        (false, Some(cli::ExportForm::Env)) => TokenOutput::EnvironmentFile,
    };
    let deployment = deployment::resolve(&typed.backend, environment)?;
    if output == TokenOutput::EnvironmentFile {
        if keys.as_slice().len() > 1 {
            return Err(Error::usage("--export=env has one line for each variable, and room for one key; use --json"));
        }
        let values = deployment.environment.iter().filter_map(|(_, value)| value.as_deref());
        // Whoever reads the file might take the rest for a variable of its own.
        if values.chain([keys.first().as_str()]).any(|value| value.contains(char::is_control)) {
            return Err(Error::usage("--export=env cannot carry control characters; use --export or --json"));
        }
    }
    Ok(AcquireSettings {
        keys,
        ttl,
        mode: mode::mode(&typed.sharing, environment, &deployment)?,
        retention: retention::of_acquire(&typed.delay, environment, &deployment)?,
        contest,
        label: label(&typed.label, environment)?,
        output,
        voice: voice::voice(&typed.voice, environment)?,
        above: held::above(environment, &deployment),
        deployment,
    })
}

/// # Errors
/// As for [`run`].
pub fn renew(typed: &cli::Renew, environment: &Environment) -> Result<RenewSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    Ok(RenewSettings {
        keys: owned_keys(&typed.owned, environment)?,
        token: token(&typed.owned, environment)?,
        ttl: ttl(typed.ttl.as_ref(), environment)?.map(Ttl::duration),
        voice: voice::voice(&typed.voice, environment)?,
        deployment: deployment::resolve(&typed.backend, environment)?,
    })
}

/// # Errors
/// As for [`run`].
pub fn release(typed: &cli::Release, environment: &Environment) -> Result<ReleaseSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    Ok(ReleaseSettings {
        keys: owned_keys(&typed.owned, environment)?,
        token: token(&typed.owned, environment)?,
        voice: voice::voice(&typed.voice, environment)?,
        deployment: deployment::resolve(&typed.backend, environment)?,
    })
}

/// # Errors
/// As for [`run`].
pub fn status(typed: &cli::Status, environment: &Environment) -> Result<StatusSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let mut keys = Vec::new();
    for key in each_key(typed.key.iter().chain(&typed.keys), "--key") {
        let key = key?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    if keys.is_empty() {
        return Err(Error::usage("no key given: dlock status KEY…"));
    }
    let deployment = deployment::resolve(&typed.backend, environment)?;
    let verdict = if typed.exit_code {
        Verdict::WouldRefuse(mode::mode(&typed.sharing, environment, &deployment)?)
    } else {
        mode::refuse_idle_flags(&typed.sharing)?;
        Verdict::Answered
    };
    Ok(StatusSettings {
        keys,
        form: form(typed.json),
        frequency: frequency(typed.watch),
        verdict,
        voice: voice::voice(&typed.voice, environment)?,
        deployment,
    })
}

/// # Errors
/// As for [`run`].
pub fn list(typed: &cli::List, environment: &Environment) -> Result<ListSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let pattern = typed.pattern.as_deref().unwrap_or("*");
    let pattern = KeyPattern::new(pattern)
        .map_err(|error| Error::usage(format!("invalid pattern {}: {}", Quoted(pattern), error.msg)))?;
    Ok(ListSettings {
        pattern,
        form: form(typed.json),
        frequency: frequency(typed.watch),
        voice: voice::voice(&typed.voice, environment)?,
        deployment: deployment::resolve(&typed.backend, environment)?,
    })
}

fn form(json: bool) -> ReportForm {
    if json { ReportForm::Json } else { ReportForm::Table }
}

fn frequency(watch: bool) -> Frequency {
    if watch { Frequency::AtEachChange } else { Frequency::Once }
}

fn ttl(flag: Option<&String>, environment: &Environment) -> Result<Option<Ttl>, Error> {
    let Some(stated) = text(flag, "ttl", environment)? else { return Ok(None) };
    parse_ttl(&stated.value).map(Some).map_err(|reason| stated.invalid(reason))
}

fn label(typed: &cli::Label, environment: &Environment) -> Result<Option<String>, Error> {
    let stated = text(typed.label.as_ref(), "label", environment)?;
    Ok(stated.map(|stated| stated.value).filter(|label| !label.is_empty()))
}

/// `name`: where they were given.
fn each_key<'a, S: AsRef<str> + 'a>(
    given: impl IntoIterator<Item = S>,
    name: &'a str,
) -> impl Iterator<Item = Result<LockKey, Error>> {
    given.into_iter().map(move |text| {
        LockKey::new(text.as_ref()).map_err(|reason| Error::usage(format!("invalid {name}: {reason}")))
    })
}

fn wanted_keys(typed: &[String]) -> Result<Keys, Error> {
    let keys = each_key(typed, "--key").collect::<Result<Vec<_>, _>>()?;
    Keys::new(keys).map_err(|reason| match reason {
        InvalidKeys::None => Error::usage("no --key given: name the lock"),
        InvalidKeys::TooMany(_) => Error::usage(format!("too many keys: {reason}")),
    })
}

/// Those that were typed, else those that `run` and `acquire` hand on: one on each line.
fn owned_keys(typed: &cli::Owned, environment: &Environment) -> Result<Keys, Error> {
    if !typed.key.is_empty() {
        return wanted_keys(&typed.key);
    }
    let Some(stated) = environment.text("DLOCK_KEY")? else {
        return Err(Error::usage("no key: give --key, or set DLOCK_KEY"));
    };
    let keys = each_key(stated.value.split('\n'), "DLOCK_KEY").collect::<Result<Vec<_>, _>>()?;
    Keys::new(keys).map_err(|reason| Error::usage(format!("invalid DLOCK_KEY: {reason}")))
}

fn token(typed: &cli::Owned, environment: &Environment) -> Result<OwnerToken, Error> {
    let stated = match &typed.token {
        Some(token) => on_command_line(token.clone(), "token"),
        // The command of a `run` inherits the token of that very run: taking it by default would pull the lock
        // from under its own feet.
        None if environment.get(HELD).is_some() => {
            return Err(Error::usage(
                "no --token given: inside dlock run it must be, since $DLOCK_TOKEN is that run's",
            ));
        }
        None => environment.text("DLOCK_TOKEN")?.ok_or_else(|| {
            Error::usage("no token: give the one that dlock acquire printed as --token, or set DLOCK_TOKEN")
        })?,
    };
    // Not shown: it may be a good token with a slip in it.
    OwnerToken::parse(&stated.value).map_err(|reason| Error::usage(format!("invalid {}: {reason}", stated.name)))
}

/// What to run. With `-c` it is the shell; otherwise no shell is ever involved.
fn program(
    string: Option<OsString>,
    words: Vec<OsString>,
    environment: &Environment,
) -> Result<(OsString, Vec<OsString>), Error> {
    let mut words = words.into_iter();
    match (string, words.next()) {
        (Some(_), Some(_)) => Err(Error::usage("-c STRING is the whole command: nothing may follow it")),
        (Some(string), None) => {
            let shell = environment.get("SHELL").map_or_else(|| OsString::from("/bin/sh"), OsString::from);
            Ok((shell, vec![OsString::from("-c"), string]))
        }
        (None, Some(program)) => Ok((program, words.collect())),
        (None, None) => Err(Error::usage("no command given: dlock run --key KEY -- COMMAND")),
    }
}

#[cfg(test)]
mod tests;
