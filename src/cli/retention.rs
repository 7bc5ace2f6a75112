//! The options that keep others out for longer than the holder itself needs, as typed.

use clap::Args;

use super::LOCK;

/// For how long others are kept out beyond what the holder makes use of.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = LOCK)]
pub struct Retention {
    /// Leave the lock taken until so long after it was granted, also when the command ends earlier
    ///
    /// Whatever the command returns; dlock ends with it all the same. For jobs that every host starts at the same time, and
    /// that are over before the clocks of all hosts have come to it. Not when the command could not be started or the lease was
    /// lost; after a crash only the TTL protects. A run inside a run holds nothing of its own for the keys held outside.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub hold_at_least: Option<String>,

    #[command(flatten)]
    pub delay: LockDelay,
}

/// For how long nobody gets a lock that was not given up in good order.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = LOCK)]
pub struct LockDelay {
    /// After a crash or a lost lease nobody gets the lock for this long beyond the TTL
    ///
    /// For a resource on which something of the command may still be under way. A release in good order frees the lock at
    /// once. On ZooKeeper the session timeout of a run is TTL + 1.5 times this, which has to lie in the server's range (else 78).
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub lock_delay: Option<String>,
}
