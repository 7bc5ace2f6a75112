//! Programs that the tests make.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::call::{Dlock, Running};
use super::place::Place;

/// The dlock that is tested: `DLOCK_TEST_PROGRAM`, or else what cargo has made beside the tests.
pub(crate) fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM
        .get_or_init(|| std::env::var("DLOCK_TEST_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dlock").to_owned()))
}

/// Puts a copy of `source` at `target` that everybody may execute.
///
/// By another process: while one thread writes a program, another may fork, and its child holds the file open for
/// writing until it executes something itself; the system starts no program that is open for writing.
pub(crate) fn install_program(source: &Path, target: &Path) {
    let installed = Command::new("install").args(["-m", "755"]).arg(source).arg(target).status();
    assert!(installed.is_ok_and(|status| status.success()), "{} can be installed", target.display());
}

/// The same with a script that is given as text.
pub(crate) fn install_script(text: &str, target: &Path) {
    let source = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
    fs::write(source.path(), text).expect("the file is ours");
    install_program(source.path(), target);
}

/// `PATH` with dlock in front.
pub(crate) fn path_with_dlock() -> OsString {
    let directory = Path::new(program()).parent().expect("it is in a directory");
    let path = std::env::var_os("PATH").expect("PATH is set");
    std::env::join_paths([directory.to_owned()].into_iter().chain(std::env::split_paths(&path))).expect("plain names")
}

/// A run by nobody in particular whose command has become root, and may not be signalled. Only root can make one.
#[track_caller]
pub(crate) fn run_out_of_reach(place: &Place, options: &[&str]) -> (TempDir, Running) {
    const NOBODY: u32 = 65534;
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let (dlock, becomes_root) = (directory.path().join("dlock"), directory.path().join("becomes-root"));
    install_program(Path::new(program()), &dlock);
    install_program(Path::new("/usr/bin/perl"), &becomes_root);
    fs::set_permissions(&becomes_root, fs::Permissions::from_mode(0o4755)).expect("it is ours");

    let becomes_root = becomes_root.to_str().expect("a plain name");
    let script = "$< = $>; $( = $); $| = 1; print qq(ready\\n); sleep 1000;";
    let mut args = vec!["run".to_owned()];
    args.extend(place.options());
    args.extend(options.iter().chain(&["--", becomes_root, "-e", script]).map(ToString::to_string));
    let run = Dlock::of_program(&dlock, &args).by_user(NOBODY).cwd(Path::new("/")).start();
    run.says("ready");
    (directory, run)
}
