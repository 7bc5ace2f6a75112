//! The command line as typed: names, help and examples. What it means is decided in `settings`.

mod backend;
mod bench;
mod checks;
mod files;
mod forcing;
mod looking;
mod retention;
mod texts;
mod voice;
pub mod words;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};

pub use backend::Backend;
pub use bench::Bench;
pub use checks::{Doctor, FenceCheck};
pub use files::Files;
pub use forcing::Forcing;
pub use looking::{List, Status, Top};
pub use retention::{LockDelay, Retention};
pub use voice::Voice;

const COMMAND: &str = "Command";
const LOCK: &str = "Lock";
const WAITING: &str = "Waiting";
const STOPPING: &str = "Stopping the command";
const FORCING: &str = "Taking it from its holder";
const OUTPUT: &str = "Output";

/// Options that no `DLOCK_` variable stands for: they belong to one call. `--key` and `--token` have variables of
/// their own kind, which only `renew` and `release` read.
const WITHOUT_VARIABLE: &[&str] = &[
    "key",
    "command",
    "token",
    "json",
    "watch",
    "export",
    "exit-code",
    "fence-file",
    "file",
    "before",
    "force",
    "id",
    "now",
    "yes",
    "out",
    "duration",
    "contenders",
    "help",
    "version",
];

/// Run a command while holding a lock that every host agrees on.
///
/// The command starts when the lock is granted, is stopped before the lock could pass to anybody else, and its exit
/// status is dlock's. Without any of the backend options the lock covers this host only.
#[derive(Debug, Parser)]
#[command(name = "dlock", version, max_term_width = 100)]
#[command(after_help = texts::EXAMPLES, after_long_help = texts::AFTERWORD)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one of it, and it is moved once")]
pub enum Command {
    Run(Run),
    Acquire(Acquire),
    Renew(Renew),
    Release(Release),
    Status(Status),
    List(List),
    Top(Top),
    Doctor(Doctor),
    Bench(Bench),
    FenceCheck(FenceCheck),
    Completions(Completions),
    Man(Man),
}

impl Command {
    /// How the call is to talk, and which files say more about that.
    #[must_use]
    pub fn talk(&self) -> (Voice, Files) {
        let (voice, files) = match self {
            Self::Run(typed) => (&typed.voice, Some(&typed.files)),
            Self::Acquire(typed) => (&typed.voice, Some(&typed.files)),
            Self::Renew(typed) => (&typed.voice, Some(&typed.files)),
            Self::Release(typed) => (&typed.voice, Some(&typed.files)),
            Self::Status(typed) => (&typed.voice, Some(&typed.files)),
            Self::List(typed) => (&typed.voice, Some(&typed.files)),
            Self::Top(typed) => (&typed.voice, Some(&typed.files)),
            Self::Doctor(typed) => (&typed.voice, None),
            Self::Bench(typed) => (&typed.voice, Some(&typed.files)),
            Self::FenceCheck(typed) => (&typed.voice, None),
            Self::Completions(_) | Self::Man(_) => return <_>::default(),
        };
        (voice.clone(), files.cloned().unwrap_or_default())
    }
}

/// Run a command while holding a lock.
///
/// Acquires the lock, runs the command, renews the lease while it runs, releases the lock when it has ended, and exits
/// with the command's status. Options end at the first word that is not one: the command's own are never taken.
#[derive(Debug, Default, Args)]
#[command(override_usage = texts::RUN_USAGE, after_help = texts::RUN_EXAMPLES, after_long_help = texts::RUN_AFTERWORD)]
pub struct Run {
    /// The command and its arguments, run as they are: no shell is involved
    #[arg(value_name = "COMMAND", trailing_var_arg = true, help_heading = COMMAND)]
    #[arg(value_hint = ValueHint::CommandWithArguments)]
    pub program: Vec<OsString>,

    /// Run STRING with $SHELL -c instead (/bin/sh where SHELL is not set)
    #[arg(short, long, value_name = "STRING", allow_hyphen_values = true, help_heading = COMMAND)]
    #[arg(value_hint = ValueHint::CommandString)]
    pub command: Option<OsString>,

    /// Name of the lock; given several times: all of them or none
    ///
    /// At most 64. They are taken in the order of their bytes, whatever the order given, so that two commands never wait
    /// for each other. One lost is all lost.
    #[arg(short, long, value_name = "KEY", help_heading = LOCK)]
    pub key: Vec<String>,

    /// Lease: how long a crash can block others [default: 30s]
    ///
    /// From 1s to 366d. dlock renews the lease while the command runs. On ZooKeeper it is the session timeout; the
    /// file backend needs none and ignores it.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = LOCK)]
    pub ttl: Option<String>,

    /// Write the fencing token into this file before the command starts
    #[arg(long, value_name = "PATH", help_heading = LOCK, value_hint = ValueHint::FilePath)]
    pub fence_file: Option<PathBuf>,

    #[command(flatten)]
    pub retention: Retention,

    #[command(flatten)]
    pub sharing: Sharing,

    #[command(flatten)]
    pub contest: Contest,

    #[command(flatten)]
    pub stopping: Stopping,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    #[command(flatten)]
    pub label: Label,

    #[command(flatten)]
    pub voice: Voice,
}

/// Take a lock, print its owner token, and leave it taken.
///
/// The lock stays until it is released with the token, or until its TTL has passed.
#[derive(Debug, Args)]
#[command(after_help = texts::ACQUIRE_EXAMPLES)]
pub struct Acquire {
    /// Name of the lock; given several times: all of them or none
    ///
    /// At most 64. They are taken in the order of their bytes, whatever the order given, so that two commands never wait
    /// for each other. One lost is all lost.
    #[arg(short, long, value_name = "KEY", help_heading = LOCK)]
    pub key: Vec<String>,

    /// How long the lock stays without a renewal; has no default
    ///
    /// From 1s to 366d.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = LOCK)]
    pub ttl: Option<String>,

    #[command(flatten)]
    pub delay: LockDelay,

    #[command(flatten)]
    pub sharing: Sharing,

    #[command(flatten)]
    pub contest: Contest,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    #[command(flatten)]
    pub label: Label,

    /// Print one JSON object instead of the token
    #[arg(long, conflicts_with = "export", help_heading = OUTPUT)]
    pub json: bool,

    /// Print variables, for `eval` or as a CI environment file
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "shell")]
    #[arg(help_heading = OUTPUT)]
    pub export: Option<ExportForm>,

    #[command(flatten)]
    pub voice: Voice,
}

/// Set the lease of a lock that `acquire` took to a TTL from now.
///
/// Only the owner can: the token must still hold the lock (else 79).
#[derive(Debug, Args)]
#[command(after_help = texts::RENEW_EXAMPLES)]
pub struct Renew {
    #[command(flatten)]
    pub owned: Owned,

    /// The lease from now [default: what the lock was acquired with]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = LOCK)]
    pub ttl: Option<String>,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    #[command(flatten)]
    pub voice: Voice,
}

/// Give up a lock that `acquire` took, or take one from its holder.
///
/// Only the owner can give it up: the token must still hold the lock (else 79). With --force it is taken from whoever
/// holds it.
#[derive(Debug, Args)]
#[command(after_help = texts::RELEASE_EXAMPLES)]
pub struct Release {
    #[command(flatten)]
    pub owned: Owned,

    #[command(flatten)]
    pub forcing: Forcing,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    #[command(flatten)]
    pub voice: Voice,
}

/// Print the completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = texts::COMPLETIONS_EXAMPLES)]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Print a manual page in roff.
#[derive(Debug, Args)]
pub struct Man {
    /// The page of this subcommand; without it the page of dlock itself
    #[arg(value_name = "SUBCOMMAND")]
    pub page: Option<String>,

    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with = "page")]
    pub out: Option<PathBuf>,
}

/// What to do when somebody else holds the lock.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = WAITING)]
pub struct Contest {
    /// Do not wait: fail at once when the lock is held
    #[arg(short, long)]
    pub nonblock: bool,

    /// Give up after this long; 0 is -n [default: wait for ever]
    #[arg(short, long, value_name = "DURATION", allow_hyphen_values = true)]
    pub wait: Option<String>,

    /// Give up at once when N others already wait; 0 is -n
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub max_waiters: Option<String>,

    /// Sleep a random time up to this before contending
    ///
    /// Spreads jobs that every host starts in the same second. --wait begins afterwards.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub jitter: Option<String>,

    /// Exit status when the lock was not obtained [default: 75]
    #[arg(short = 'E', long, value_name = "N", allow_hyphen_values = true)]
    pub conflict_exit_code: Option<String>,
}

/// When and how the command is stopped.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = STOPPING)]
pub struct Stopping {
    /// Stop the command and all that it started after this long; status 124
    ///
    /// Time for which the job or the machine was stopped counts. The lease is renewed until all of it has ended.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub max_runtime: Option<String>,

    /// Time between --stop-signal and KILL, wherever dlock stops the command [default: TTL/5, at most 5s]
    ///
    /// It has to fit into the lease: 5s need --ttl 15s, on ZooKeeper 20.3s. The file backend has no lease, and takes any.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub kill_after: Option<String>,

    /// Signal that asks the command to end, wherever dlock stops it [default: TERM]
    #[arg(long, value_name = "SIGNAL", allow_hyphen_values = true)]
    pub stop_signal: Option<String>,

    /// When the lease is lost: kill, or warn and leave the command alone [default: kill]
    ///
    /// Status 79 either way. With warn nothing is acquired again: the command goes on without the lock.
    #[arg(long, value_name = "ACTION")]
    pub on_lost: Option<String>,

    /// Processes that the command leaves behind when it ends: ignore, wait or kill [default: ignore]
    ///
    /// ignore releases the lock and says how many there are; wait holds it until they have ended; kill stops them first.
    /// After a signal, --max-runtime or a lost lease they are stopped in any case.
    #[arg(long, value_name = "ACTION")]
    pub descendants: Option<String>,
}

/// Who else may hold the lock at the same time.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = LOCK)]
pub struct Sharing {
    /// Nobody else may hold it meanwhile; this is the default
    #[arg(short = 'x', long)]
    pub exclusive: bool,

    /// Others may hold it meanwhile who say the same: readers
    ///
    /// One queue for all modes, first come, first served: a reader that comes after a waiting writer waits. There is
    /// no fencing token.
    #[arg(short, long)]
    pub shared: bool,

    /// At most N may hold it at the same time
    ///
    /// Everybody has to give the same N while anybody holds or awaits the lock (else 78). There is no fencing token.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub slots: Option<String>,
}

/// Which lock to touch, and the proof that it is ours.
#[derive(Debug, Args)]
#[command(next_help_heading = LOCK)]
pub struct Owned {
    /// Name of the lock; may be given several times [default: $DLOCK_KEY, one on each line]
    #[arg(short, long, value_name = "KEY")]
    pub key: Vec<String>,

    /// The owner token that `acquire` printed [default: $DLOCK_TOKEN]
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: Option<String>,
}

/// How the holder is shown to others.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = LOCK)]
pub struct Label {
    /// What `status` shows for this holder, beside host, pid and user
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// `export NAME=value` lines for `eval`, the default; on failure `(exit N)`
    Shell,
    /// Bare `NAME=value` lines, for a CI environment file
    Env,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Which words there are: the structs of this file.
#[must_use]
pub fn grammar() -> clap::Command {
    Cli::command()
}

/// The definition behind parser, completions and manual: the words, and each option's variable in its help.
#[must_use]
pub fn definition() -> clap::Command {
    grammar().mut_subcommands(|subcommand| subcommand.mut_args(with_variable_in_help))
}

/// Whether a `DLOCK_` variable, and a key in a file, stand for `--long`.
#[must_use]
pub fn has_variable(long: &str) -> bool {
    !WITHOUT_VARIABLE.contains(&long)
}

/// The variable that stands for `--long`.
#[must_use]
pub fn variable_of(long: &str) -> String {
    format!("DLOCK_{}", long.to_uppercase().replace('-', "_"))
}

/// Whether `name` is [`variable_of`] `long`, without making it: each run asks that of every option.
#[must_use]
pub fn is_variable_of(name: &str, long: &str) -> bool {
    let expected = long.bytes().map(|byte| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
    name.strip_prefix("DLOCK_").is_some_and(|name| name.bytes().eq(expected))
}

/// Only in the long help and the manual: the short help stays short.
fn with_variable_in_help(arg: Arg) -> Arg {
    let long = arg.get_long().filter(|long| has_variable(long));
    match (long, arg.get_long_help().or(arg.get_help())) {
        (Some(long), Some(help)) => {
            let help = format!("{help}\n\n[env: {}]", variable_of(long));
            arg.long_help(help)
        }
        _ => arg,
    }
}
