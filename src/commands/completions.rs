//! `dlock completions`: what the files in `completions/` hold.

use clap_complete::{generate, shells};

use super::complete::is_asked_for;
use crate::cli::{self, Shell};
use crate::error::Error;
use crate::exit_code::Ending;
use crate::report;

/// Where the generated scripts of bash and zsh begin their work.
const BEGINS: &str = "\n_dlock() {\n";

/// What they do there first.
const ASKS_FIRST: &str = "    _dlock_values && return 0\n";

/// Where the generated script of zsh is put to use.
const ZSH_ENDS: &str = "\nif [ \"$funcstack[1]\" = \"_dlock\" ]; then\n";

/// # Errors
/// When standard output does not take the script.
pub(super) fn completions(typed: &cli::Completions) -> Result<Ending, Error> {
    report::show(&script(typed.shell)).map_err(|source| Error::Output { source })?;
    Ok(Ending::SUCCESS)
}

/// What clap makes of the command line, and the values that only a running dlock knows.
fn script(shell: Shell) -> String {
    let definition = cli::definition();
    match shell {
        Shell::Bash => {
            let script = format!("\n{}", generated(shells::Bash, definition));
            let asking = script.replacen(BEGINS, &format!("{BEGINS}{ASKS_FIRST}"), 1);
            let values = include_str!("completions/values.bash");
            format!("{}{asking}", values.trim_start())
        }
        Shell::Zsh => {
            let script = generated(shells::Zsh, definition);
            let asking = script.replacen(BEGINS, &format!("{BEGINS}{ASKS_FIRST}"), 1);
            asking.replacen(
                ZSH_ENDS,
                &format!("{}{}", include_str!("completions/values.zsh"), ZSH_ENDS.trim_start()),
                1,
            )
        }
        Shell::Fish => {
            let values = values_for_fish(&definition);
            let script = generated(shells::Fish, definition);
            format!("{script}{}{values}", include_str!("completions/values.fish"))
        }
    }
}

fn generated(shell: impl clap_complete::Generator, mut definition: clap::Command) -> String {
    let mut script = Vec::new();
    generate(shell, &mut definition, "dlock", &mut script);
    String::from_utf8(script).expect("names and help texts are UTF-8")
}

/// fish asks for each option by itself.
fn values_for_fish(definition: &clap::Command) -> String {
    let mut text = String::new();
    for subcommand in definition.get_subcommands() {
        let name = subcommand.get_name();
        for arg in subcommand.get_arguments().filter(|arg| is_asked_for(name, arg.get_long())) {
            let short = arg.get_short().map(|letter| format!("-s {letter} ")).unwrap_or_default();
            let option = arg.get_long().map(|long| format!("{short}-l {long} -r ")).unwrap_or_default();
            let line = include_str!("completions/value.fish");
            text += &line.replacen("SUBCOMMAND", name, 1).replacen("OPTION ", &option, 1);
        }
    }
    text
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

    #[test]
    fn every_shell_asks_for_values() {
        for script in [script(Shell::Bash), script(Shell::Zsh)] {
            assert_eq!(script.matches(ASKS_FIRST).count(), 1);
            assert!(script.contains("_dlock_values() {"));
        }
        let fish = script(Shell::Fish);
        for line in ["run\" -s k -l key -r -f -a", "status\" -f -a", "release\" -s k -l key", "doctor\" -l profile"] {
            assert!(fish.contains(line), "{line}");
        }
    }
}
