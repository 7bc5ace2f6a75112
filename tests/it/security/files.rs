//! Another user of the host, who may write where the locks are, or put something in their way.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tempfile::TempDir;

use super::{STRANGER, is_root, program_for_all};
use crate::support::{Dlock, Kind, Place};

/// A directory that all users of the host share, as `/tmp` is shared.
fn shared() -> Place {
    let place = Place::shared(Kind::File);
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o1777)).expect("it is ours");
    place
}

fn lock_file(place: &Place) -> PathBuf {
    place.dir().join(&place.namespace).join("job")
}

/// What a shell of the stranger says, after all that it tried.
fn strangers(script: &str, file: &Path) -> String {
    let words = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", script, "sh"];
    let tried = Command::new("setpriv").args(words).arg(file).current_dir("/").output();
    let tried = tried.expect("setpriv is installed");
    String::from_utf8_lossy(&[tried.stdout, tried.stderr].concat()).into_owned()
}

#[test]
fn whoever_may_write_in_a_shared_directory_takes_no_lock_away_and_lets_nobody_in() {
    if !is_root() {
        return;
    }
    let place = shared();
    let holder = place.hold("job");
    let file = lock_file(&place);
    let before = fs::metadata(&file).expect("it is held").ino();
    // The sticky bit keeps the name; the content of a file for all is theirs, too.
    let said = strangers(r#"rm -f "$1"; mv "$1" "$1-"; ln -sf /etc/passwd "$1"; ln "$1" "$1+"; ls -i "$1""#, &file);
    assert!(said.contains("Operation not permitted"), "{said}");
    assert_eq!(fs::symlink_metadata(&file).expect("it is there").ino(), before, "{said}");
    for harm in [r#": >"$1""#, r#"head -c 8192 /dev/urandom >"$1""#, r#"head -c 8192 /dev/zero >"$1""#] {
        strangers(harm, &file);
        let attempt = place.dlock(["run", "-n", "-k", "job", "--", "echo", "ran"]).finish();
        assert!(matches!(attempt.status.code(), Some(75 | 78)), "{harm}: {}", attempt.account());
        assert_eq!(attempt.said(), "", "{harm}: the kernel knows who holds it");
    }
    assert!(!holder.has_ended(), "{}", holder.stderr());
    holder.let_go();
    holder.wait();
}

#[test]
fn what_a_stranger_has_put_in_the_place_of_a_lock_is_neither_followed_nor_waited_for_nor_written_to() {
    if !is_root() {
        return;
    }
    let place = shared();
    place.dlock(["run", "-k", "other", "--", "true"]).finish().succeeds();
    let precious = place.dir().join("precious");
    fs::write(&precious, "").expect("it is ours");
    let precious_text = precious.to_str().expect("a plain name");
    let file = lock_file(&place);
    for plant in [
        format!(r#"ln -s {precious_text} "$1""#),
        format!(r#"ln -s {precious_text}-new "$1""#),
        r#"mkfifo "$1""#.to_owned(),
        r#"mkdir "$1""#.to_owned(),
    ] {
        strangers(&plant, &file);
        assert!(file.symlink_metadata().is_ok(), "{plant} has been planted");
        let attempt = place.dlock(["run", "-n", "-k", "job", "--", "echo", "ran"]).finish();
        assert!(matches!(attempt.status.code(), Some(77 | 78)), "{plant}: {}", attempt.account());
        attempt.complains(&["cannot acquire \"job\": "]);
        strangers(r#"rm -rf "$1""#, &file);
    }
    assert_eq!(fs::metadata(&precious).expect("it is ours").len(), 0);
    assert!(!place.dir().join("precious-new").exists());
}

/// An old kernel, or one that is set up so, lets a stranger link what is root's: into a lock's place, where dlock would
/// write to it.
#[test]
fn a_hard_link_is_no_way_to_have_dlock_write_to_somebody_elses_file() {
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "other", "--", "true"]).finish().succeeds();
    let file = lock_file(&place);
    for content in ["", "precious"] {
        let precious = place.dir().join("precious");
        fs::write(&precious, content).expect("it is ours");
        fs::hard_link(&precious, &file).expect("both are ours");
        let attempt = place.dlock(["run", "-n", "-k", "job", "--", "echo", "ran"]).finish();
        attempt.exits_with(78).complains(&["cannot acquire \"job\": "]);
        assert_eq!(fs::read_to_string(&precious).expect("it is ours"), content);
        fs::remove_file(&file).expect("it is ours");
    }
}

#[test]
fn a_directory_that_is_swapped_for_a_link_again_and_again_leads_nowhere_else() {
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "other", "--", "true"]).finish().succeeds();
    let elsewhere = TempDir::new().expect("the temporary directory takes files");
    let (real, link) = (place.dir().join(&place.namespace), place.dir().join("link"));
    symlink(elsewhere.path(), &link).expect("it is ours");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &real, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE).expect("both are there");
            }
        });
        // Until both have been met, by chance; nothing may panic while the other thread goes on.
        let attempts = (0..2000).map(|number| {
            let key = format!("key{number}");
            place.dlock(["run", "-n", "-k", &key, "--", "true"]).finish()
        });
        let (mut entered, mut refused, mut others) = (0, 0, Vec::new());
        for (number, attempt) in attempts.enumerate() {
            match attempt.status.code() {
                Some(0) => entered += 1,
                // A link, or what is no directory just now.
                Some(77 | 78) => refused += 1,
                _ => others.push(attempt.account()),
            }
            if number > 20 && entered > 0 && refused > 0 {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        assert!(entered > 0 && refused > 0 && others.is_empty(), "{entered} entered, {refused} refused, {others:?}");
    });
    assert_eq!(fs::read_dir(elsewhere.path()).expect("it is ours").count(), 0);
}

/// The default directory: nobody else can look into it, or has a say in what is in it.
#[test]
fn what_one_user_locks_by_default_no_other_user_sees_or_opens() {
    if !is_root() {
        return;
    }
    let program = program_for_all();
    let uid = 2_000_000_000 + std::process::id() % 1_000_000;
    let dlock = program.path().join("dlock");
    let run = Dlock::of_program(&dlock, ["run", "-b", "file", "-k", "job", "--", "sh", "-c", "echo ready; cat"]);
    let run = run.by_user(uid).cwd(Path::new("/")).stdin_open().start();
    run.says("ready");
    let directories = ["/run/lock", "/tmp"].map(|base| PathBuf::from(format!("{base}/dlock-{uid}")));
    let directory = directories.iter().find(|directory| directory.exists()).expect("it is made");
    let metadata = fs::metadata(directory).expect("it is there");
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (uid, 0o700));
    let said = strangers(r#"ls "$1"; cat "$1/dlock/job"; : >"$1/new""#, directory);
    assert_eq!(said.matches("Permission denied").count(), 3, "{said}");
    // Another user's lock of the same name is another lock.
    let other = Dlock::of_program(&dlock, ["run", "-n", "-b", "file", "-k", "job", "--", "true"]);
    other.by_user(uid + 1).cwd(Path::new("/")).finish().succeeds();
    run.let_go();
    run.wait().succeeds();
    for uid in [uid, uid + 1] {
        ["/run/lock", "/tmp"].iter().for_each(|base| drop(fs::remove_dir_all(format!("{base}/dlock-{uid}"))));
    }
    assert_ne!(uid, STRANGER);
}
