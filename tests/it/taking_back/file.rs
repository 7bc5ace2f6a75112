//! Locks that the kernel keeps: what it does for nobody, records that nobody can read, and other users.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use super::{STUBBORN_LOOP, force, phase, run};
use crate::support::*;

fn place() -> Place {
    Place::shared(Kind::File)
}

fn lock_file(place: &Place) -> PathBuf {
    place.dir().join(&place.namespace).join("job")
}

#[test]
fn at_once_the_kernel_gives_a_lock_to_nobody() {
    let place = place();
    for mode in ["-x", "-s"] {
        let holder = run(&place, &[mode], STUBBORN_LOOP);
        let refused = force(&place, ["--now", "-k", "job"]).finish().exits_with(64);
        refused.mentions(&["the kernel keeps it", "leave --now out"]);
        assert_eq!(phase(&place), "running");
        force(&place, ["-k", "job"]).finish().succeeds();
        holder.wait().exits_with(79);
    }
    let _token = place.acquire("job", "10m");
    force(&place, ["--now", "-k", "job"]).finish().succeeds();
    assert!(place.is_free("job"));
}

#[test]
fn a_keeper_that_is_stopped_keeps_its_lock_and_gives_it_back_when_it_goes_on() {
    let place = place();
    let holder = run(&place, &[], STUBBORN_LOOP);
    let keeper = holder.keeper();
    keeper.signal(Signal::SIGSTOP);
    let forced = force(&place, ["-k", "job"]).start();
    eventually("the mark is set", || phase(&place) == "revoked");
    assert!(!place.is_free("job") && !forced.has_ended() && !holder.tree().is_empty());
    keeper.signal(Signal::SIGCONT);
    forced.wait().succeeds();
    holder.wait().exits_with(79);
    assert!(place.is_free("job"));
}

#[test]
fn a_holder_that_the_kernel_gives_no_notice_looks_for_the_mark() {
    let place = place();
    let scratch = tempfile::tempdir().expect("the temporary directory takes files");
    let written = scratch.path().join("calls");
    let script = "echo 0 >/proc/sys/user/max_inotify_instances && exec strace -f -e trace=inotify_init1 -o \"$@\"";
    let words =
        ["--user", "--map-current-user", "--keep-caps", "sh", "-c", script, "sh"].map(str::to_owned).into_iter();
    let words = words.chain([written.to_str().expect("a plain name"), program(), "run"].map(str::to_owned));
    let words = words.chain(place.options()).chain(["-k", "job", "--", "sleep", "60"].map(str::to_owned));
    let holder = Dlock::of_program("unshare".as_ref(), words).start();
    let calls = || fs::read_to_string(&written).unwrap_or_default();
    eventually("it was given none", || calls().contains("= -1 EMFILE"));
    force(&place, ["-k", "job"]).finish().succeeds();
    holder.wait().exits_with(79);
    assert!(place.is_free("job"));
}

#[test]
fn a_mark_that_came_before_the_holder_watched_is_seen() {
    let place = place();
    for _ in 0..10 {
        let holder = place.dlock(["run", "-k", "job", "--", "sleep", "60"]).start();
        eventually("it is held", || phase(&place) == "running");
        force(&place, ["-k", "job"]).finish().succeeds();
        holder.wait().exits_with(79);
    }
}

#[test]
fn records_that_nobody_can_read_are_rewritten_after_a_yes() {
    let place = place();
    let fence = |place: &Place| {
        let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", "echo $DLOCK_FENCE"]).finish().succeeds();
        run.said().parse::<u64>().expect("a number")
    };
    let before = fence(&place);
    for content in [vec![b'x'; 4096], vec![b'x'; 9000], b"short".to_vec()] {
        fs::write(lock_file(&place), content).expect("it is ours");
        let refused = place.dlock(["run", "-k", "job", "--", "true"]).finish().exits_with(78);
        refused.complains(&["no valid record", "dlock release --force rewrites it"]);
        place.dlock(["release", "--force", "-k", "job"]).finish().exits_with(64).complains(&["--yes"]);
        force(&place, ["-k", "job"]).finish().succeeds().mentions(&["rewrote the records of \"job\""]);
        assert!(fence(&place) > before);
    }
    force(&place, ["-k", "job"]).finish().succeeds().complains(&["nobody holds"]);
}

#[test]
fn whoever_runs_keeps_the_lock_whose_records_are_rewritten() {
    let place = place();
    let holder = place.hold("job");
    fs::write(lock_file(&place), vec![b'x'; 4096]).expect("it is ours");
    force(&place, ["-k", "job"]).finish().succeeds().mentions(&["rewrote"]);
    assert_eq!(phase(&place), "running");
    assert!(!place.is_free("job"));
    holder.let_go();
    holder.wait().succeeds();
    assert!(place.is_free("job"));
}

#[test]
fn a_file_that_is_only_locked_has_nobody_to_ask() {
    let mut place = place();
    place.namespace = String::new();
    let file = place.dir().join("plain");
    fs::write(&file, "").expect("it is ours");
    let key = file.to_str().expect("a plain name").to_owned();
    let holder = place.hold(&key);
    let refused = force(&place, ["-k", &key]).finish().exits_with(64);
    refused.mentions(&["cannot take", "fuser", "lslocks"]);
    holder.let_go();
    holder.wait().succeeds();
    force(&place, ["-k", &key]).finish().succeeds().complains(&["nobody holds"]);
}

/// A user that owns nothing.
const NOBODY: u32 = 65_534;

#[test]
fn another_user_may_not_take_it_back() {
    if !nix::unistd::geteuid().is_root() {
        // It takes root to be two users.
        return;
    }
    let place = place();
    fs::set_permissions(place.dir(), Permissions::from_mode(0o777)).expect("it is ours");
    let holder = place.hold("job");
    let bin = tempfile::tempdir().expect("the temporary directory takes files");
    fs::set_permissions(bin.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let dlock = bin.path().join("dlock");
    install_program(Path::new(program()), &dlock);
    let options = place.options();
    let args = ["release", "--force", "--yes", "-k", "job"].into_iter().chain(options.iter().map(String::as_str));
    let refused = Dlock::of_program(&dlock, args).by_user(NOBODY).cwd(Path::new("/")).finish().exits_with(77);
    refused.mentions(&["cannot take \"job\" back", "root", "only the same user or root"]);
    assert_eq!(phase(&place), "running");
    holder.let_go();
    holder.wait().succeeds();
}
