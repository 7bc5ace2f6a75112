//! Programs in C: Rust needs a compiler of that language to link, so there is one.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `code` to `name` in `directory`, with further `arguments`.
pub(crate) fn compiled(code: &str, directory: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let (source, program) = (directory.join(name).with_extension("c"), directory.join(name));
    std::fs::write(&source, code).expect("the directory takes files");
    let made = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .args(arguments)
        .output()
        .expect("cc is installed: tests/run.sh installs what the tests need");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    program
}
