//! A limit on processes.

use std::path::Path;

use nix::unistd::chown;

use super::{directory_with, is_root_for};
use crate::support::{Dlock, install_program, program};

/// "71: the system refused a process or descriptor; the lock was released"
#[test]
fn where_processes_run_out_there_is_one_sentence_and_the_lock_is_free() {
    if !is_root_for("a limit on the processes of another user") {
        return;
    }
    // The limit counts all processes of a user: one that nobody else uses.
    let uid = 2_100_000_000 + std::process::id() % 1_000_000;
    let directory = directory_with(&[]);
    let (binary, locks) = (directory.path().join("dlock"), directory.path().join("locks"));
    install_program(program().as_ref(), &binary);
    std::fs::create_dir(&locks).expect("it is ours");
    for path in [directory.path(), &locks] {
        chown(path, Some(uid.into()), Some(uid.into())).expect("root may give away");
    }
    let run = |limit: &str| {
        let line = format!(
            "ulimit -u {limit}; exec {} run --dir {} -k job -n -- echo it ran",
            binary.display(),
            locks.display()
        );
        Dlock::of_program("bash".as_ref(), ["-c", &line]).by_user(uid).cwd(Path::new("/")).finish()
    };
    let mut refused = 0;
    for limit in ["1", "2", "3", "4"] {
        let limited = run(limit);
        if limited.said() == "it ran" {
            assert_eq!(limited.succeeds().stderr(), "");
        } else {
            refused += 1;
            limited.exits_with(71).complains(&["cannot start"]);
        }
        assert_eq!(run("unlimited").succeeds().said(), "it ran");
    }
    assert!((1..4).contains(&refused), "some limits are too low and some are not: {refused} of 4");
}
