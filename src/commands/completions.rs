//! `dlock completions`: what the files in `completions/` hold.

use clap_complete::{generate, shells};

use crate::cli::{self, Shell};
use crate::error::Error;
use crate::exit_code::Ending;
use crate::report;

/// # Errors
/// When standard output does not take the script.
pub(super) fn completions(typed: &cli::Completions) -> Result<Ending, Error> {
    report::print(&script(typed.shell)).map_err(|source| Error::Output { source })?;
    Ok(Ending::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut definition = cli::definition();
    let mut script = Vec::new();
    match shell {
        Shell::Bash => generate(shells::Bash, &mut definition, "dlock", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut definition, "dlock", &mut script),
        Shell::Fish => generate(shells::Fish, &mut definition, "dlock", &mut script),
    }
    String::from_utf8(script).expect("names and help texts are UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_completions_are_those_of_this_command_line() {
        for (shell, name) in [(Shell::Bash, "dlock.bash"), (Shell::Zsh, "_dlock"), (Shell::Fish, "dlock.fish")] {
            let path = format!("{}/completions/{name}", env!("CARGO_MANIFEST_DIR"));
            let committed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(
                committed == script(shell),
                "completions/{name} is stale: run `dlock completions {}` and commit what it prints",
                name.trim_start_matches('_').rsplit('.').next().unwrap_or_default()
            );
        }
    }
}
