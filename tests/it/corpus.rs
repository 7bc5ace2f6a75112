//! Every input that the fuzzers began with or found, once more: what was broken once does not break again.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The inputs of one target, or the folders of all.
fn entries(folder: &str) -> Vec<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(folder);
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.map(|entry| entry.expect("a folder of the project").path()).collect()
}

#[test]
fn every_target_has_inputs_and_all_inputs_have_a_target() {
    let name = |path: &PathBuf| path.file_name().expect("it has a name").to_string_lossy().into_owned();
    let folders: BTreeSet<String> = entries("").iter().map(name).collect();
    let targets: BTreeSet<String> = targets::ALL.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(folders, targets);
}

#[test]
fn no_input_that_was_ever_kept_breaks_a_promise() {
    let mut broken = Vec::new();
    for target in targets::ALL {
        let inputs = entries(target.name);
        assert!(!inputs.is_empty(), "{} has inputs", target.name);
        for path in inputs {
            let input = fs::read(&path).expect("a file of the project");
            if std::panic::catch_unwind(|| (target.run)(&input)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Name and version of every package in a lock file of cargo's.
fn locked(path: &str) -> BTreeSet<(String, String)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let value = |line: &str| line.split('"').nth(1).expect("it is in quotes").to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0].starts_with("name = "));
    pairs.map(|pair| (value(pair[0]), value(pair[1]))).collect()
}

#[test]
fn the_fuzzers_run_on_the_versions_that_ship() {
    let shipped = locked("Cargo.lock");
    let names: BTreeSet<&String> = shipped.iter().map(|(name, _)| name).collect();
    let fuzzed = locked("tests/fuzz/Cargo.lock");
    let other: Vec<_> = fuzzed.difference(&shipped).filter(|(name, _)| names.contains(name)).collect();
    assert!(fuzzed.len() > 100 && other.is_empty(), "cp Cargo.lock tests/fuzz/ and build there: {other:?}");
}
