//! The subcommand that measures a deployment, as typed.

use clap::Args;

use super::{Backend, Files, LOCK, Label, LockDelay, OUTPUT, Sharing, Voice, texts};

const MEASUREMENT: &str = "Measurement";

/// Measure how fast the locks of this deployment are, and say which lease is sensible.
///
/// How long it takes to take a lock, to give it up, to renew it, to hand it over to another process, and how many turns there
/// are when many want it. Works on a key of its own, which nobody else can know of, and which is gone afterwards. With --redis
/// and --zk both are measured, one after the other, and shown side by side; with -b redis+zk the pair as well.
#[derive(Debug, Args)]
#[command(after_help = texts::BENCH_EXAMPLES)]
pub struct Bench {
    /// How long measuring takes, in all [default: 30s]
    ///
    /// From 1s to 1h, shared by the backends and the parts of the measurement.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = MEASUREMENT)]
    pub duration: Option<String>,

    /// How many processes contend for the lock at once [default: 8]
    ///
    /// From 1 to 100.
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = MEASUREMENT)]
    pub contenders: Option<String>,

    /// Lease, as run has it: what is said of it is judged by the renewals that were measured [default: 30s]
    ///
    /// From 1s to 366d.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, help_heading = LOCK)]
    pub ttl: Option<String>,

    #[command(flatten)]
    pub delay: LockDelay,

    #[command(flatten)]
    pub sharing: Sharing,

    #[command(flatten)]
    pub backend: Backend,

    #[command(flatten)]
    pub files: Files,

    #[command(flatten)]
    pub label: Label,

    /// Print one JSON object
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    #[command(flatten)]
    pub voice: Voice,
}

/// Options of `run` that would say nothing of a measurement, and why.
const MEANINGLESS: [(&[&str], &str); 4] = [
    (&["-k", "--key"], "it measures with a key of its own, so that it is in nobody's way"),
    (&["-n", "--nonblock", "-w", "--wait", "--max-waiters", "--jitter", "-E", "--conflict-exit-code"], NOBODY_ELSE),
    (&["--hold-at-least"], "every release would be as slow as that"),
    (
        &[
            "-c",
            "--command",
            "--fence-file",
            "--max-runtime",
            "--kill-after",
            "--stop-signal",
            "--on-lost",
            "--descendants",
        ],
        NO_COMMAND,
    ),
];
const NOBODY_ELSE: &str = "nobody else wants its lock, and its contenders wait for each other";
const NO_COMMAND: &str = "it runs no command";

impl Bench {
    /// Why it does not take this word, which `run` does; `None`: `run` does not, either.
    #[must_use]
    pub fn lacks(word: &str) -> Option<&'static str> {
        if !word.starts_with('-') {
            return Some(NO_COMMAND);
        }
        MEANINGLESS.iter().find(|(names, _)| names.contains(&word)).map(|(_, why)| *why)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Args as _, Command};

    use super::*;
    use crate::cli::Run;

    fn options(of: fn(Command) -> Command) -> BTreeSet<String> {
        of(Command::new("x")).get_arguments().filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
    }

    #[test]
    fn it_has_every_option_of_run_or_says_why_it_has_not() {
        let (run, bench) = (options(Run::augment_args), options(Bench::augment_args));
        for option in &run {
            assert_ne!(bench.contains(option), Bench::lacks(option).is_some(), "{option}");
        }
        assert!(
            MEANINGLESS.iter().flat_map(|(names, _)| *names).all(|name| !name.starts_with("--") || run.contains(*name))
        );
        assert_eq!(Bench::lacks("--nonsense"), None);
        assert_eq!(Bench::lacks("true"), Some(NO_COMMAND));
    }
}
