//! What jobs under a lock wrote down, and what is wrong with it.

use std::collections::BTreeMap;

/// A command for perl, with a log and a name: writes a line when it begins, a sign of life every few milliseconds, and a line at its end.
pub(crate) const NOTES: &str = r#"
use Time::HiRes qw(clock_gettime sleep);
my ($log, $job) = @ARGV;
open(my $history, ">>", $log) or die $!;
my $now;
sub note { $now = clock_gettime(7); syswrite($history, sprintf("\n%s %s %s %s %.0f .", $_[0], $job, $ENV{DLOCK_KEY}, $ENV{DLOCK_FENCE}, $now * 1e9)) }
note("begin");
my $until = $now + rand(0.08);
while ($now < $until) { sleep 0.003; note("tick") }
note("end");
"#;

/// One command under the lock, by CLOCK_BOOTTIME of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stay {
    pub(crate) job: String,
    pub(crate) key: String,
    pub(crate) fence: u64,
    pub(crate) began: u64,
    /// When it last did anything: its end, or the last sign of life of one that was killed.
    pub(crate) last: u64,
}

/// Two that did something at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Overlap {
    pub(crate) earlier: Stay,
    pub(crate) later: Stay,
}

/// Reads lines of `begin|tick|end JOB KEY FENCE NANOSECONDS .`, each of which brings the line break before it. Without the
/// stop it was not written whole: the kernel ends a job that is killed also between two pages of a file.
pub(crate) fn stays(text: &str) -> Vec<Stay> {
    let mut stays: BTreeMap<&str, Stay> = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_suffix(" .")) {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, job, key, fence, at] = words[..] else { panic!("{line:?} is no line of a history") };
        let number = |text: &str| text.parse().unwrap_or_else(|e| panic!("{line:?}: {e}"));
        let (fence, at) = (number(fence), number(at));
        let new = || Stay { job: job.to_owned(), key: key.to_owned(), fence, began: at, last: at };
        let stay = stays.entry(job).or_insert_with(new);
        stay.last = stay.last.max(at);
    }
    let mut stays: Vec<Stay> = stays.into_values().collect();
    stays.sort_by_key(|stay| stay.began);
    stays
}

/// Every pair in which the one that began earlier did something after the other had begun.
pub(crate) fn overlaps(stays: &[Stay]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for of_key in by_key(stays).values() {
        for (at, later) in of_key.iter().enumerate() {
            let beside = of_key[..at].iter().filter(|earlier| earlier.last > later.began);
            found.extend(beside.map(|&earlier| Overlap { earlier: earlier.clone(), later: (*later).clone() }));
        }
    }
    found
}

/// Every pair of successive holders of a key whose fences do not rise.
pub(crate) fn falling_fences(stays: &[Stay]) -> Vec<Overlap> {
    let mut found = Vec::new();
    for of_key in by_key(stays).values() {
        let falls = of_key.windows(2).filter(|pair| pair[0].fence >= pair[1].fence);
        found.extend(falls.map(|pair| Overlap { earlier: pair[0].clone(), later: pair[1].clone() }));
    }
    found
}

fn by_key(stays: &[Stay]) -> BTreeMap<&str, Vec<&Stay>> {
    let mut keys: BTreeMap<&str, Vec<&Stay>> = BTreeMap::new();
    for stay in stays {
        keys.entry(&stay.key).or_default().push(stay);
    }
    keys
}

#[test]
fn a_history_with_one_after_the_other_is_good_and_the_keys_are_apart() {
    let stays = stays(
        "begin a k 1 10 .\ntick a k 1 12 .\nbegin c other 1 11 .\nend a k 1 15 .\nbegin b k 2 15 .\nend c other 1 99 .\n",
    );
    assert_eq!(stays.len(), 3);
    assert_eq!((overlaps(&stays), falling_fences(&stays)), (Vec::new(), Vec::new()));
}

/// A holder without an end was killed: its last sign of life counts.
#[test]
fn a_sign_of_life_after_the_next_one_has_begun_is_an_overlap() {
    let stays = stays(
        "begin a k 1 10 .\nbegin b k 2 20 .\nend b k 2 21 .\ntick a k 1 22 .\nbegin c k 3 30 .\nend c k 3 31 .\n",
    );
    let found = overlaps(&stays);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].earlier.job.as_str(), found[0].later.job.as_str()), ("a", "b"));
}

#[test]
fn a_long_stay_overlaps_all_that_begin_within_it() {
    let stays =
        stays("begin a k 1 10 .\nbegin b k 2 20 .\nend b k 2 21 .\nbegin c k 3 30 .\nend c k 3 31 .\nend a k 1 40 .\n");
    assert_eq!(overlaps(&stays).len(), 2);
}

#[test]
fn a_fence_that_stays_or_falls_is_found() {
    let stays =
        stays("begin a k 5 10 .\nend a k 5 11 .\nbegin b k 5 20 .\nend b k 5 21 .\nbegin c k 4 30 .\nend c k 4 31 .\n");
    assert_eq!(falling_fences(&stays).len(), 2);
}

#[test]
fn what_was_not_written_whole_is_no_line() {
    let stays = stays("\nbegin a k 5 10 .\ntick a k 5 11\nbegin b k 6 20 .\nend b k 6 2");
    assert_eq!(stays.iter().map(|stay| (stay.began, stay.last)).collect::<Vec<_>>(), [(10, 10), (20, 20)]);
}
