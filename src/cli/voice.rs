//! The options that say how much is said, and how, as typed.

use clap::Args;

use super::OUTPUT;

/// How much is said on stderr.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = OUTPUT)]
pub struct Voice {
    /// No notices, warnings and waiting lines, and no word when the lock is held
    #[arg(short, long)]
    pub quiet: bool,

    /// Say what dlock does
    #[arg(short, long)]
    pub verbose: bool,
}
