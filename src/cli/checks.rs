//! The subcommands that look at something and judge it, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{Backend, OUTPUT, Voice, texts};

/// Show the configuration as dlock understands it.
///
/// Every setting with its value and where it comes from: the command line, the environment, a line of a file, or the
/// default. Secrets are masked. What is wrong with a value is said last, with the status that any other command would
/// have.
#[derive(Debug, Args)]
#[command(after_help = texts::DOCTOR_EXAMPLES)]
pub struct Doctor {
    /// Show the configuration, with FILE in place of ~/.config/dlock/config.toml
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    #[arg(help_heading = "Configuration", value_hint = ValueHint::FilePath)]
    pub config: Option<Option<PathBuf>>,

    /// Also use what stands in [profile.NAME] of the files
    #[arg(long, value_name = "NAME", help_heading = "Configuration")]
    pub profile: Option<String>,

    #[command(flatten)]
    pub backend: Backend,

    /// Print one JSON object
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
