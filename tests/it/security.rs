//! Who means harm: another user of the host, another tenant of the server, a server, whoever reads what was left lying
//! about, and a holder with a story to tell. `docs/security.md` names a test for each.

mod answers;
mod files;
mod rights;
mod secrets;
mod stories;
mod tenants;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::unistd::{Gid, Uid};
use tempfile::TempDir;

use crate::rows;
use crate::support::{install_program, program};

/// Nobody in particular, and without any right.
const STRANGER: u32 = 65534;

/// Whether there can be a second user: only root becomes one.
fn is_root() -> bool {
    (Uid::effective(), Gid::effective()) == (Uid::from_raw(0), Gid::from_raw(0))
}

/// A directory that everybody may enter, with a dlock that everybody may start.
fn program_for_all() -> TempDir {
    let directory = TempDir::with_prefix("dlock-program-").expect("the temporary directory takes files");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    install_program(program().as_ref(), &directory.path().join("dlock"));
    directory
}

/// The tests that the page names, row by row.
fn rows_of_the_page() -> Vec<(String, Vec<String>)> {
    let page = include_str!("../../docs/security.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let last = cells.last().copied().unwrap_or_default();
        (cells[0].trim().to_owned(), last.split('`').skip(1).step_by(2).map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn every_threat_of_the_page_has_a_test_that_is_there() {
    let rows = rows_of_the_page();
    assert!(rows.len() > 25, "{rows:?}");
    for (threat, tests) in rows {
        assert!(!tests.is_empty(), "{threat:?} has no test");
        tests.iter().for_each(|test| assert!(rows::is_there(test), "{threat:?}: there is no test {test}"));
    }
}
