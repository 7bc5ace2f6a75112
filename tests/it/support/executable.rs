//! Programs that the tests make.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

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
    std::fs::write(source.path(), text).expect("the file is ours");
    install_program(source.path(), target);
}

/// `PATH` with dlock in front.
pub(crate) fn path_with_dlock() -> OsString {
    let directory = Path::new(env!("CARGO_BIN_EXE_dlock")).parent().expect("it is in a directory");
    let path = std::env::var_os("PATH").expect("PATH is set");
    std::env::join_paths([directory.to_owned()].into_iter().chain(std::env::split_paths(&path))).expect("plain names")
}
