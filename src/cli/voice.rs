//! The options that say how much is said, and how, as typed.

use clap::Args;

use super::OUTPUT;

/// How much is said on stderr.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = OUTPUT)]
pub struct Voice {
    /// No notices, warnings and waiting lines, and no word when the lock is held
    #[arg(short, long)]
    pub quiet: bool,

    /// Say what dlock does
    #[arg(short, long)]
    pub verbose: bool,

    /// How messages are written: text, or json for one object a line [default: text]
    ///
    /// With json a lock that is acquired or released, and a signal, is told even without -v.
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// Colours: auto (on a terminal), always or never [default: auto]
    ///
    /// NO_COLOR in the environment means never, unless this option is given.
    #[arg(long, value_name = "WHEN")]
    pub color: Option<String>,
}
