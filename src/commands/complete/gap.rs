//! Which place on an unfinished command line is to be filled, and what the words before it say. Pure.

use clap::{Arg, ArgAction};

use crate::cli;

/// The place that the cursor is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    pub subcommand: String,
    /// Long name of the option whose value it is; `None`: a word by itself.
    pub option: Option<String>,
    /// What of the current word stands before the value: `--key=`, `-k`, or nothing.
    pub attached: String,
    /// As much of the value as is there.
    pub begun: String,
    /// Whether a value that begins with a hyphen would be taken for an option.
    pub hyphens_are_options: bool,
    /// The values given before, by the long names of their options.
    pub options: Vec<(String, String)>,
    pub words: Vec<String>,
}

/// The gap at the end of `words`, the last of which is unfinished and may be empty; `None` where an option, a
/// subcommand or a command of somebody else's stands.
pub(super) fn gap(words: &[String]) -> Option<Gap> {
    let (current, before) = words.split_last()?;
    let (subcommand, before) = before.split_first()?;
    let definition = cli::grammar();
    let definition = definition.find_subcommand(subcommand)?;
    let by_long = |name: &str| definition.get_arguments().find(|arg| arg.get_long() == Some(name));
    let by_short = |name: char| definition.get_arguments().find(|arg| arg.get_short() == Some(name));
    let ends_at_first_word = definition.get_positionals().any(Arg::is_trailing_var_arg_set);

    let mut options = Vec::new();
    let mut positionals = Vec::new();
    let mut awaiting: Option<&Arg> = None;
    let mut no_more_options = false;
    for word in before {
        if let Some(arg) = awaiting.take() {
            options.push((long(arg), word.clone()));
        } else if no_more_options || !word.starts_with('-') || word == "-" {
            if ends_at_first_word {
                return None;
            }
            positionals.push(word.clone());
        } else if word == "--" {
            no_more_options = true;
        } else if let Some(typed) = word.strip_prefix("--") {
            match typed.split_once('=') {
                Some((name, value)) => options.push((long(by_long(name)?), value.to_owned())),
                None => awaiting = Some(by_long(typed)?).filter(|arg| takes_next_word(arg)),
            }
        } else if let Some((arg, _, value)) = of_cluster(word, by_short) {
            if value.is_empty() {
                awaiting = Some(arg);
            } else {
                options.push((long(arg), value.to_owned()));
            }
        }
    }

    let mut found = Gap {
        subcommand: subcommand.clone(),
        option: None,
        attached: String::new(),
        begun: current.clone(),
        hyphens_are_options: !no_more_options,
        options,
        words: positionals,
    };
    if let Some(arg) = awaiting {
        found.option = Some(long(arg));
        return Some(found);
    }
    if no_more_options || !current.starts_with('-') {
        return Some(found).filter(|_| !ends_at_first_word);
    }
    let (arg, attached, begun) = match current.strip_prefix("--") {
        Some(typed) => {
            let (name, value) = typed.split_once('=')?;
            (by_long(name)?, &current[..current.len() - value.len()], value)
        }
        None => of_cluster(current, by_short).filter(|(_, _, value)| !value.is_empty())?,
    };
    found.option = Some(long(arg));
    (found.attached, found.begun) = (attached.to_owned(), begun.to_owned());
    found.hyphens_are_options = false;
    Some(found)
}

fn long(arg: &Arg) -> String {
    arg.get_long().unwrap_or_default().to_owned()
}

fn takes_value(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append)
}

fn takes_next_word(arg: &Arg) -> bool {
    takes_value(arg) && !arg.is_require_equals_set()
}

/// The option with a value in `-nqkjob`, what stands before the value, and the value, which may be empty.
fn of_cluster<'a, 'w>(
    word: &'w str,
    by_short: impl Fn(char) -> Option<&'a Arg>,
) -> Option<(&'a Arg, &'w str, &'w str)> {
    for (at, letter) in word.char_indices().skip(1) {
        let arg = by_short(letter)?;
        if takes_value(arg) {
            let rest = &word[at + letter.len_utf8()..];
            let value = rest.strip_prefix('=').unwrap_or(rest);
            return Some((arg, &word[..word.len() - value.len()], value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: &[&str]) -> Option<Gap> {
        gap(&line.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn option_and_begun(line: &[&str]) -> (Option<String>, String, String) {
        let found = at(line).unwrap_or_else(|| panic!("{line:?} has a gap"));
        (found.option, found.attached, found.begun)
    }

    #[test]
    fn the_value_of_an_option_is_found_however_it_is_attached() {
        for (line, attached, begun) in [
            (&["run", "-k", ""][..], "", ""),
            (&["run", "-n", "--key", "de"], "", "de"),
            (&["run", "-nk", "de"], "", "de"),
            (&["release", "--key=de"], "--key=", "de"),
            (&["release", "-kde"], "-k", "de"),
            (&["run", "-nk=de"], "-nk=", "de"),
            (&["run", "-k", "a", "-k", "-"], "", "-"),
        ] {
            let expected = (Some("key".to_owned()), attached.to_owned(), begun.to_owned());
            assert_eq!(option_and_begun(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_word_by_itself_is_a_key_for_those_that_take_one() {
        let found = at(&["status", "--redis", "redis://r1", "-v", "a", ""]).expect("a gap");
        assert_eq!((found.option, found.words), (None, vec!["a".to_owned()]));
        assert_eq!(found.options, [("redis".to_owned(), "redis://r1".to_owned())]);
        assert!(at(&["status", "--", "-a"]).is_some_and(|found| !found.hyphens_are_options));
    }

    #[test]
    fn options_subcommands_and_the_command_of_a_run_are_left_to_others() {
        for line in [
            &[""][..],
            &["stat"],
            &["nonsense", ""],
            &["status", "-"],
            &["status", "--j"],
            &["status", "-v"],
            &["run", "-k", "a", ""],
            &["run", "-k", "a", "--", ""],
            &["run", "-k", "a", "make", "-k", ""],
            &["status", "--nonsense", "x", ""],
            &["status", "--nonsense=x", ""],
        ] {
            assert_eq!(at(line), None, "{line:?}");
        }
        assert_eq!(at(&[]), None);
    }

    #[test]
    fn a_value_that_must_be_attached_does_not_take_the_next_word() {
        assert_eq!(option_and_begun(&["doctor", "--config", "--profile", "p"]).0, Some("profile".to_owned()));
        assert_eq!(option_and_begun(&["doctor", "--config=x", "--profile=p"]).0, Some("profile".to_owned()));
    }
}
