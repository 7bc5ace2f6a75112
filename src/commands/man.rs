//! `dlock man`: what the files in `man/` hold.

use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::cli;
use crate::error::Error;
use crate::error::phrase::{OsReason, Quoted};
use crate::exit_code::Ending;
use crate::report;

/// # Errors
/// When there is no such page, or it cannot be written.
pub(super) fn man(typed: &cli::Man) -> Result<Ending, Error> {
    let pages = pages();
    if let Some(directory) = &typed.out {
        for (name, text) in &pages {
            let path = directory.join(name);
            std::fs::write(&path, text).map_err(|error| {
                Error::Configuration(format!("cannot write {}: {}", Quoted(&path.to_string_lossy()), OsReason(&error)))
            })?;
        }
        return Ok(Ending::SUCCESS);
    }
    let wanted = typed.page.as_ref().map_or_else(|| "dlock.1".to_owned(), |page| format!("dlock-{page}.1"));
    let Some((_, text)) = pages.iter().find(|(name, _)| *name == wanted) else {
        let known: Vec<&str> =
            pages.iter().filter_map(|(name, _)| name.strip_prefix("dlock-")?.strip_suffix(".1")).collect();
        let page = typed.page.as_deref().unwrap_or_default();
        return Err(Error::usage(format!(
            "no manual page for {}; there is one for {}",
            Quoted(page),
            known.join(", ")
        )));
    };
    report::show(text).map_err(|source| Error::Output { source })?;
    Ok(Ending::SUCCESS)
}

/// Every page and its file name, dlock's own first.
fn pages() -> Vec<(String, String)> {
    let mut definition = cli::definition().disable_help_subcommand(true);
    definition.build();
    let subcommands: Vec<_> = definition.get_subcommands().cloned().collect();
    std::iter::once(definition).chain(subcommands).map(page).collect()
}

/// One page. What follows the options on the screen, a paragraph for each heading, becomes sections of their own here.
fn page(mut command: clap::Command) -> (String, String) {
    let after = command.get_after_long_help().or(command.get_after_help()).map(ToString::to_string).unwrap_or_default();
    command = command.after_help(None::<&str>).after_long_help(None::<&str>);
    let man = Man::new(command).source(concat!("dlock ", env!("CARGO_PKG_VERSION"))).manual("dlock");
    let mut roff = Vec::new();
    man.render(&mut roff).expect("memory takes whatever is written to it");
    let mut sections = Roff::new();
    for paragraph in after.split("\n\n") {
        let (heading, lines) =
            paragraph.split_once(":\n").map_or((None, paragraph), |(heading, lines)| (Some(heading), lines));
        match heading {
            Some(heading) => sections.control("SH", [heading.to_uppercase().as_str()]),
            // Belongs to the section above, or to none.
            None => sections.control("PP", []),
        };
        sections.control("nf", []).text([roman(lines)]).control("fi", []);
    }
    sections.to_writer(&mut roff).expect("memory takes whatever is written to it");
    (man.get_filename(), String::from_utf8(roff).expect("names and help texts are UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_pages_are_those_of_this_command_line() {
        let directory = format!("{}/man", env!("CARGO_MANIFEST_DIR"));
        let pages = pages();
        for (name, text) in &pages {
            let path = format!("{directory}/{name}");
            let committed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert!(committed == *text, "man/{name} is stale: run `dlock man --out man` and commit what it writes");
        }
        let committed = std::fs::read_dir(&directory).expect("man/ exists").count();
        assert_eq!(committed, pages.len(), "man/ holds a page of a subcommand that is gone");
    }

    #[test]
    fn every_status_of_dlocks_own_is_in_the_manual() {
        use crate::exit_code::*;
        let (_, dlock) = pages().swap_remove(0);
        for status in
            [USAGE, UNAVAILABLE, DEFECT, SYSTEM, NOT_ACQUIRED, DENIED, CONFIGURATION, LOST, NOT_EXECUTABLE, NOT_FOUND]
        {
            assert!(dlock.contains(&format!("{status:>3}  ")), "{status} is not explained");
        }
    }
}
