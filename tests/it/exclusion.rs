//! Mutual exclusion itself: contenders that write down when they began and ended, and a look at what they wrote.

use std::fs;
use std::path::Path;
use std::time::Instant;

use crate::support::{Place, Running, eventually, sentences_for_every_backend, soak_time};

sentences_for_every_backend![
    contenders_never_overlap_and_each_runs_exactly_once,
    of_four_at_once_one_runs_and_three_leave_when_they_are_not_to_wait,
    contenders_that_come_and_go_never_overlap,
];

/// Notes its number, fence and both times, in nanoseconds. One `echo` is one write to a file opened for appending.
const NOTE_TIMES: &str = r#"
began=$(date +%s%N)
sleep 0.01
echo "$1 $DLOCK_FENCE $began $(date +%s%N)" >>"$2"
"#;

#[derive(Debug)]
struct Stay {
    contender: String,
    fence: u64,
    began: u128,
    ended: u128,
}

/// What was written down, in the order of beginning; fails when two overlap or the fences do not rise with it.
#[track_caller]
fn stays_one_after_the_other(log: &Path) -> Vec<Stay> {
    let text = fs::read_to_string(log).expect("somebody ran");
    let mut stays: Vec<Stay> = text
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |at: usize| words[at].parse().unwrap_or_else(|e| panic!("{line:?}: {e}"));
            let fence = u64::try_from(number(1)).expect("a fence has 64 bits");
            Stay { contender: words[0].to_owned(), fence, began: number(2), ended: number(3) }
        })
        .collect();
    stays.sort_by_key(|stay| stay.began);
    for pair in stays.windows(2) {
        assert!(pair[0].ended <= pair[1].began, "two held it at once: {pair:?}");
        assert!(pair[0].fence < pair[1].fence, "the fence did not rise: {pair:?}");
    }
    stays
}

fn contend(place: &Place, log: &str, contender: &str) -> Running {
    place.dlock(["run", "-k", "job", "--", "sh", "-c", NOTE_TIMES, "sh", contender, log]).start()
}

fn contenders_never_overlap_and_each_runs_exactly_once(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let path = log.to_str().expect("temporary directories have plain names");
    let contenders: Vec<String> = (0..16).map(|number| format!("{number:02}")).collect();
    let runs: Vec<Running> = contenders.iter().map(|contender| contend(place, path, contender)).collect();
    for run in runs {
        run.wait().succeeds();
    }
    let mut ran: Vec<String> = stays_one_after_the_other(&log).into_iter().map(|stay| stay.contender).collect();
    ran.sort_unstable();
    assert_eq!(ran, contenders, "all ran, and none twice");
    assert_eq!(place.status("job")["state"], "free");
    assert_eq!(place.waiters("job"), 0);
}

/// A crontab line that several hosts share: `* * * * * dlock run -n … -- tar …`.
fn of_four_at_once_one_runs_and_three_leave_when_they_are_not_to_wait(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let source = directory.path().join("data");
    fs::create_dir(&source).expect("a fresh directory takes more");
    fs::write(source.join("file"), vec![7; 1 << 20]).expect("a fresh directory takes files");
    // It lasts until all four have had their answer, then makes the backup.
    let backup = "echo made >>made; cat; tar -cf backup.tar data && tar -tf backup.tar >/dev/null";
    let mut runs: Vec<Running> = (0..4)
        .map(|_| {
            let run = place.dlock(["run", "-k", "backup", "-n", "--", "sh", "-c", backup]);
            run.cwd(directory.path()).stdin_open().start()
        })
        .collect();
    let mut refused = 0;
    eventually("three of four leave", || {
        let (ended, running): (Vec<Running>, Vec<Running>) = runs.drain(..).partition(Running::has_ended);
        for run in ended {
            run.wait().exits_with(75).complains(&["cannot acquire \"backup\": ", "held by"]);
            refused += 1;
        }
        runs = running;
        runs.len() == 1
    });
    assert_eq!(refused, 3);
    let winner = runs.remove(0);
    winner.let_go();
    winner.wait().succeeds();
    assert_eq!(fs::read_to_string(directory.path().join("made")).expect("one ran"), "made\n");
    assert!(directory.path().join("backup.tar").exists());
    assert!(place.is_free("backup"));
}

/// Some wait, some try, some lose patience, some are killed; whoever ran, ran alone.
fn contenders_that_come_and_go_never_overlap(place: &Place) {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    let log = directory.path().join("log");
    let path = log.to_str().expect("temporary directories have plain names");
    let began = Instant::now();
    let mut ran = 0;
    while began.elapsed() < soak_time() || ran == 0 {
        let waiters: Vec<Running> = (0..3).map(|_| contend(place, path, "waits")).collect();
        let impatient: Vec<Running> = ["0", "0.3"]
            .map(|wait| {
                let run = ["run", "-k", "job", "-w", wait, "--", "sh", "-c", NOTE_TIMES, "sh", "tries", path];
                place.dlock(run).start()
            })
            .into();
        // Interrupted somewhere on its way: before it connects, in the queue, at the grant, or with the command.
        let interrupted = contend(place, path, "interrupted");
        interrupted.signal(nix::sys::signal::Signal::SIGTERM);
        for run in waiters {
            run.wait().succeeds();
            ran += 1;
        }
        for run in impatient {
            let run = run.wait();
            assert!(matches!(run.status.code(), Some(0 | 75)), "{}", run.account());
        }
        interrupted.wait();
    }
    let stays = stays_one_after_the_other(&log);
    assert!(stays.iter().filter(|stay| stay.contender == "waits").count() == ran, "each waiter ran once: {ran}");
    assert!(place.is_free("job"));
}
