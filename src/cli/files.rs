//! The options that say which settings of files count, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Which settings of files count.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub struct Files {
    /// Read this file instead of ~/.config/dlock/config.toml
    ///
    /// In TOML, with the long names of options as keys. /etc/dlock/config.toml is read as well; the command line comes
    /// first, then the environment, then this file, then that one.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Also use what stands in [profile.NAME] of these files, before what stands above it
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
}
