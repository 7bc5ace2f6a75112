//! make: recipes that share a key, and a make below dlock that shares the outer one's jobs.

use super::{EITHER_WAY, directory_with, script};
use crate::support::{Kind, Place};

#[test]
fn recipes_of_a_parallel_make_run_one_at_a_time() {
    let place = Place::shared(Kind::File);
    let makefile = "all: a b c d e f\na b c d e f:\n\t@dlock run -k job -- sh alone $@\n.PHONY: all a b c d e f\n";
    let alone = "mkdir busy || exit 9; echo $1; sleep 0.02; rmdir busy";
    let directory = directory_with(&[("Makefile", makefile), ("alone", alone)]);
    let run = script(&place, directory.path(), "sh", "make -j4").finish().succeeds();
    let mut lines: Vec<&str> = run.said().lines().collect();
    lines.sort_unstable();
    assert_eq!((lines, run.stderr()), (vec!["a", "b", "c", "d", "e", "f"], ""), "{}", run.account());
    assert!(place.is_free("job"));
}

#[test]
fn a_recipe_that_fails_fails_with_the_commands_status() {
    let place = Place::shared(Kind::File);
    let directory = directory_with(&[("Makefile", "all:\n\tdlock run -k job -- sh -c 'exit 7'\n")]);
    let run = script(&place, directory.path(), "sh", "make -j4").finish().exits_with(2);
    assert!(run.stderr().contains("Error 7"), "{}", run.account());
}

/// Each of the two targets waits for the other: with one job slot there would be no end. The slots come through
/// descriptors that make hands down.
#[test]
fn a_make_under_dlock_shares_the_jobs_of_the_outer_one() {
    let place = Place::shared(Kind::File);
    let inner = "all: a b\na: ; @sh meet a b\nb: ; @sh meet b a\n.PHONY: all a b\n";
    let meet = "rounds=0; >met-$1; until [ -e met-$2 ]; do sleep 0.02; rounds=$((rounds + 1)); [ $rounds -lt 500 ] || exit 9; done";
    for prefix in EITHER_WAY {
        let outer = format!("all:\n\t+@{prefix} $(MAKE) --no-print-directory -f inner\n");
        let directory = directory_with(&[("Makefile", &outer), ("inner", inner), ("meet", meet)]);
        let run = script(&place, directory.path(), "sh", "make -j2").finish().succeeds();
        run.says_nothing();
    }
}
