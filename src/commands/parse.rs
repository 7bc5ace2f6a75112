//! From words to [`Cli`]; help, version and every mistake of typing end here.

use std::ffi::OsString;
use std::io::IsTerminal;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::complete;
use crate::cli::{self, Cli, Command, Run};
use crate::error::Error;
use crate::error::phrase::Quoted;
use crate::exit_code::Ending;
use crate::report::{self, Stderr};
use crate::settings::{self, Environment};
use crate::sys::stdio::STDOUT;

/// # Errors
/// How the process ends when there is nothing to dispatch; everything has been said then.
pub fn parse(words: &[OsString]) -> Result<Cli, Ending> {
    if let Some(ending) = complete::asked(words) {
        return Err(ending);
    }
    if let Some(run) = run_alone(words) {
        return Ok(Cli { command: Command::Run(run) });
    }
    Cli::try_parse_from(words).map_err(|mistake| match mistake.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match report::show(&help(words, mistake)) {
            Ok(()) => Ending::SUCCESS,
            Err(source) => super::failed(&Error::Output { source }, stderr(words)),
        },
        _ => {
            let ending = super::failed(&Error::usage(sentence(&mistake, words)), stderr(words));
            if asks_to_export(words) {
                super::acquire::tell_eval(ending);
            }
            ending
        }
    })
}

/// The words as a `run`, if they are one without a mistake.
fn run_alone(words: &[OsString]) -> Option<Run> {
    let (name, typed) = words.get(1..)?.split_first()?;
    if name == "run" { cli::words::run(typed) } else { None }
}

/// Standard error in the form that was asked for, as far as that can be told of words that nobody understands.
fn stderr(words: &[OsString]) -> Stderr {
    let mut formats = words.windows(2).filter(|pair| pair[0] == "--log-format").map(|pair| &pair[1]);
    let is_json = words.iter().any(|word| word == "--log-format=json") || formats.any(|format| format == "json");
    let typed = cli::Voice { log_format: is_json.then(|| "json".to_owned()), ..cli::Voice::default() };
    Stderr::new(settings::voice_of_failures(&typed, &cli::Files::default(), &Environment::inherited()))
}

/// Whether a shell's `eval` waits for what we print, though nobody knows what else was meant.
fn asks_to_export(words: &[OsString]) -> bool {
    let is_export = |word: &OsString| word == "--export" || word == "--export=shell";
    words.get(1).is_some_and(|word| word == "acquire") && words.iter().any(is_export)
}

/// The help asked for, from the definition with the variables in it: they take time that no other command should pay.
fn help(words: &[OsString], plain: clap::Error) -> String {
    let text = cli::definition().try_get_matches_from(words).err().unwrap_or(plain).render();
    let is_colourful = STDOUT.is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
    if is_colourful { text.ansi().to_string() } else { text.to_string() }
}

/// Clap's paragraphs as one line: what is wrong, its tips, and where to read on.
fn sentence(mistake: &clap::Error, words: &[OsString]) -> String {
    let subcommand = words.get(1).and_then(|word| word.to_str()).filter(|word| is_subcommand(word));
    let help = match subcommand {
        Some(name) => format!("dlock {name} --help"),
        None => "dlock --help".to_owned(),
    };
    let what = match mistake.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "no subcommand given".to_owned()
        }
        ErrorKind::UnknownArgument if subcommand == Some("bench") => {
            not_of_bench(mistake).unwrap_or_else(|| summary(&mistake.render().to_string()))
        }
        _ => summary(&mistake.render().to_string()),
    };
    format!("{what}; see {help}")
}

/// Whoever changes a `run` into a `bench` learns why something of it does not belong there.
fn not_of_bench(mistake: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(word)) = mistake.get(ContextKind::InvalidArg) else { return None };
    cli::Bench::lacks(word).map(|why| format!("dlock bench takes no {}: {why}", Quoted(word)))
}

fn is_subcommand(word: &str) -> bool {
    use clap::CommandFactory;
    Cli::command().find_subcommand(word).is_some()
}

/// The paragraphs before the usage, without the tip that every unknown option brings: to pass it after `--`.
fn summary(rendered: &str) -> String {
    let body = rendered.split("\nUsage:").next().unwrap_or(rendered);
    let body = body.split("\nFor more information").next().unwrap_or(body);
    let words: Vec<&str> = body.split_whitespace().collect();
    let line = words.join(" ");
    let parts = line.trim_start_matches("error: ").split(" tip: ");
    parts.filter(|part| !part.starts_with("to pass ")).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(words: &[&str]) -> String {
        let words: Vec<OsString> = ["dlock"].iter().chain(words).map(OsString::from).collect();
        let mistake = Cli::try_parse_from(&words).expect_err("a mistake");
        sentence(&mistake, &words)
    }

    #[test]
    fn the_definition_holds_together() {
        cli::definition().debug_assert();
    }

    #[test]
    fn a_shell_that_evaluates_is_told_of_mistakes_too() {
        let asks = |words: &[&str]| asks_to_export(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asks(&["dlock", "acquire", "--export", "--nonsense"]));
        assert!(asks(&["dlock", "acquire", "--export=shell", "-k"]));
        assert!(!asks(&["dlock", "acquire", "--export=env", "-k"]));
        assert!(!asks(&["dlock", "run", "-k", "a", "--", "x", "--export"]));
    }

    #[test]
    fn every_mistake_of_typing_is_one_line() {
        assert_eq!(
            said(&["run", "--nonblok", "-k", "a", "true"]),
            "unexpected argument '--nonblok' found; a similar argument exists: '--nonblock'; see dlock run --help"
        );
        assert_eq!(said(&[]), "no subcommand given; see dlock --help");
        assert_eq!(
            said(&["rum"]),
            "unrecognized subcommand 'rum'; a similar subcommand exists: 'run'; see dlock --help"
        );
        assert_eq!(
            said(&["acquire", "-k", "a", "--json", "--export"]),
            "the argument '--json' cannot be used with '--export[=<FORM>]'; see dlock acquire --help"
        );
        assert_eq!(
            said(&["completions", "powershell"]),
            "invalid value 'powershell' for '<SHELL>' [possible values: bash, zsh, fish]; see dlock completions --help"
        );
        for words in [&["run", "-k"][..], &["run", "--ttl"], &["list", "a", "b"], &["completions"], &["run", "-Z"]] {
            assert!(!said(words).contains('\n'), "{words:?}");
        }
    }

    /// Words that people type here, right and wrong, and some that nobody would.
    fn words() -> impl Strategy<Value = Vec<String>> {
        let known = proptest::sample::select(vec![
            "run",
            "acquire",
            "release",
            "status",
            "list",
            "-k",
            "--key",
            "--ttl",
            "-w",
            "-n",
            "-E",
            "-qv",
            "--",
            "-1",
            "job",
            "--export",
            "--export=env",
            "--json",
            "--zk",
            "--redis",
            "-c",
            "--help",
            "--versio",
            "=",
            "-k=",
            "",
        ]);
        proptest::collection::vec(prop_oneof![4 => known.prop_map(str::to_owned), 1 => "\\PC{0,8}"], 0..8)
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_understood_or_refused_in_one_line(typed in words()) {
            let words: Vec<OsString> = std::iter::once("dlock".to_owned()).chain(typed).map(OsString::from).collect();
            if let Err(mistake) = Cli::try_parse_from(&words)
                && !matches!(mistake.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion)
            {
                let sentence = sentence(&mistake, &words);
                prop_assert!(!sentence.contains('\n') && sentence.contains("; see dlock"), "{sentence}");
                prop_assert!(!sentence.ends_with('.') && !sentence.contains("error:"), "{sentence}");
            }
        }
    }
}
