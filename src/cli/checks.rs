//! The subcommands that look at something and judge it, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Backend, LOCK, OUTPUT, Voice, texts};

/// Say how far the locks of this deployment can be trusted.
///
/// Looks at the servers or the directory that the options, the environment and files name, and tells of each thing that
/// was looked at what it is, why it matters and what to do. Writes nothing but a key of its own, which it deletes again.
/// Exits with 1 when a check failed; warnings do not count.
#[derive(Debug, Args)]
#[command(after_help = texts::DOCTOR_EXAMPLES)]
pub struct Doctor {
    /// Show the configuration instead, with FILE in place of ~/.config/dlock/config.toml
    ///
    /// Every setting with its value and where it comes from: the command line, the environment, a line of a file, or the
    /// default. Secrets are masked. What is wrong with a value is said last, with the status that any other command would
    /// have.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[arg(help_heading = "Configuration", value_hint = ValueHint::FilePath)]
    pub config: Option<Option<PathBuf>>,

    /// Also use what stands in [profile.NAME] of the files
    #[arg(long, value_name = "NAME", help_heading = "Configuration")]
    pub profile: Option<String>,

    /// The lease that the locks will have: slow answers and session timeouts are judged by it [default: 30s]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = LOCK)]
    pub ttl: Option<String>,

    /// With -b redis+zk: list who holds or awaits a lock on Redis alone, before everybody changes to BACKEND (zk)
    ///
    /// Exits with 1 while there is anybody: those would not keep out who asks ZooKeeper alone.
    #[arg(long, value_name = "BACKEND", conflicts_with = "config")]
    pub before: Option<String>,

    #[command(flatten)]
    pub backend: Backend,

    /// Print JSON: an array of findings, or with --config one object
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    #[command(flatten)]
    pub voice: Voice,
}

/// Refuse a write whose fencing token is out of date.
///
/// For resources that a shell writes. Succeeds when DLOCK_FENCE is not below the number in FILE, and records it there;
/// else 79, and nothing is changed. Reading, comparing and writing are one step, on disk before it succeeds.
#[derive(Debug, Args)]
#[command(after_help = texts::FENCE_CHECK_EXAMPLES)]
pub struct FenceCheck {
    /// The file that remembers the highest token so far; made when there is none
    ///
    /// It belongs to the resource: on the same disk, for as long as that exists.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    #[command(flatten)]
    pub voice: Voice,
}
