//! Taking a lock from its holder, as typed.

use clap::Args;

use super::FORCING;

/// How an operator takes a lock from whoever holds it.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = FORCING)]
pub struct Forcing {
    /// Take the lock from its holder: its command is stopped, then the lock is free
    ///
    /// Shows the holder, asks, and breaks just that one: if another has the lock by then, nothing is done (75). Its dlock
    /// stops the command with its grace and releases; the lock stays taken until it did or its lease has run out, and
    /// dlock waits for that. A one-shot lease or another program's lock has nobody to ask, and is deleted at once.
    /// The key has to be named: $DLOCK_KEY is that of the run around this call.
    #[arg(long, conflicts_with = "token")]
    pub force: bool,

    /// Do not ask; needed where there is no terminal
    #[arg(long, requires = "force")]
    pub yes: bool,

    /// Free the lock at once, though its command may run on for as long as its lease would last
    #[arg(long, requires = "force")]
    pub now: bool,

    /// Which holder, where there are several: its id, as `status` shows it
    #[arg(long, value_name = "ID", requires = "force")]
    pub id: Option<String>,
}
