//! The subcommands that show who holds what, as typed.

use clap::Args;

use super::{Backend, Files, LOCK, OUTPUT, Sharing, Voice, texts};

/// Show who holds a lock, since when, and who waits for it.
#[derive(Debug, Args)]
#[command(after_help = texts::STATUS_EXAMPLES)]
pub struct Status {
    /// Names of the locks
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,

    /// Name of the lock; the same as a positional KEY
    #[arg(short, long, value_name = "KEY", help_heading = LOCK)]
    pub key: Vec<String>,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    /// Print a JSON array, one object per key
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Show it again at each change, until interrupted
    ///
    /// dlock asks once a second. On a terminal the table is drawn anew in its place; elsewhere it is printed again when
    /// something has changed, with --json as one array a line. Times that run are no change.
    #[arg(long, conflicts_with = "exit_code", help_heading = OUTPUT)]
    pub watch: bool,

    #[command(flatten)]
    pub sharing: Sharing,

    /// Exit with 75 when -n would not get one of the keys, in the mode given
    #[arg(long, help_heading = OUTPUT)]
    pub exit_code: bool,

    #[command(flatten)]
    pub voice: Voice,
}

/// Show every lock that is held or awaited.
#[derive(Debug, Args)]
#[command(after_help = texts::LIST_EXAMPLES)]
pub struct List {
    /// Only keys that match this glob; `*` matches `/` too
    #[arg(value_name = "PATTERN")]
    pub pattern: Option<String>,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    /// Print a JSON array, one object per key
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Show it again at each change, until interrupted
    ///
    /// dlock asks once a second. On a terminal the table is drawn anew in its place; elsewhere it is printed again when
    /// something has changed, with --json as one array a line. Times that run are no change.
    #[arg(long, help_heading = OUTPUT)]
    pub watch: bool,

    #[command(flatten)]
    pub voice: Voice,
}

/// Show every lock that is held or awaited, live, on the whole terminal.
///
/// Arrows or j and k move, s changes the order, / filters, Enter shows all holders and waiters of a key, ? tells the other
/// keys, q quits. It needs a terminal; elsewhere use `dlock list --watch`.
#[derive(Debug, Args)]
#[command(after_help = texts::TOP_EXAMPLES)]
pub struct Top {
    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    #[command(flatten)]
    pub voice: Voice,
}
