//! Where lock files are, and what stands in their place.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use dlock::backend::file::{Config, FileBackend};
use dlock::lock::{
    BackendError, Claim, ErrorKind, Holder, LeaseKind, LockBackend, LockState, Mode, OwnerToken, Patience, Prolonged,
    Release, Ttl,
};

use super::place::*;

#[test]
fn a_corrupt_lock_file_is_reported_and_left_as_it_is() {
    let place = Place::new();
    place.make_namespace();
    for content in [b"something else entirely".to_vec(), vec![b'x'; 4096]] {
        fs::write(place.file("job"), &content).expect("a file of ours");
        run(async {
            for patience in [Patience::Refuse, Patience::Queue { reconnect_for: LONG }] {
                let claim = place.claim("job", patience);
                let failure = place.backend().acquire(&claim, &|_| {}).await.expect_err("nothing valid stands there");
                assert_eq!(failure.kind, ErrorKind::Corrupt);
                assert!(failure.message.contains("job"), "{failure}");
            }
            let failure = place.backend().status(&key("job")).await.expect_err("nothing valid stands there");
            assert_eq!(failure.kind, ErrorKind::Corrupt);
        });
        assert_eq!(fs::read(place.file("job")).expect("a file of ours"), content);
    }
}

#[test]
fn a_lock_file_cut_within_its_only_record_is_corrupt_and_one_cut_behind_it_is_not() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.granted(&backend, "job").await;
        let whole = fs::read(place.file("job")).expect("a file of ours");
        fs::write(place.file("job"), &whole[..60]).expect("a file of ours");
        assert_eq!(place.backend().status(&lease.key).await.expect_err("cut").kind, ErrorKind::Corrupt);
        fs::write(place.file("job"), &whole[..2048]).expect("a file of ours");
        assert_eq!(place.status("job").await.holders[0].id, lease.token.id());
    });
}

#[test]
fn an_empty_lock_file_is_a_new_one() {
    let place = Place::new();
    place.make_namespace();
    fs::write(place.file("job"), b"").expect("a file of ours");
    run(async {
        assert_eq!(place.status("job").await.state, LockState::Free);
        let backend = place.backend();
        place.granted(&backend, "job").await;
        assert_eq!(place.status("job").await.state, LockState::Held(Mode::Exclusive));
    });
}

#[test]
fn a_named_directory_that_is_missing_is_refused_and_not_made() {
    let place = Place::new();
    let missing = place.dir.path().join("missing");
    let config = Config { dir: Some(missing.clone()), namespace: namespace("dlock") };
    run(async {
        let failure = refusal(&config).await;
        assert_eq!(failure.kind, ErrorKind::Misconfigured);
        assert!(failure.message.contains("missing"), "{failure}");
    });
    assert!(!missing.exists());
}

#[test]
fn a_named_directory_that_is_somebody_elses_own_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make what belongs to another user, or become one.
        return;
    }
    let place = Place::new();
    chown(place.dir.path(), Some(STRANGER), None).expect("tests run as root");
    run(async {
        assert_eq!(refusal(&place.config()).await.kind, ErrorKind::Denied);
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o1777)).expect("tests run as root");
        place.granted(&place.backend(), "job").await;
    });
}

#[test]
fn a_named_directory_that_is_not_writable_is_refused() {
    if let Some(place) = Place::of_child() {
        become_stranger();
        let failure = run(refusal(&place.config()));
        assert_eq!(failure.kind, ErrorKind::Denied, "{failure}");
        return say("refused");
    }
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make what belongs to another user, or become one.
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let mut child = place.spawn_myself("file::directory::a_named_directory_that_is_not_writable_is_refused");
    assert!(child.wait().expect("our own child").success());
}

#[test]
fn the_default_directory_is_private_to_its_user_and_refused_when_it_is_another_users() {
    if let Some(place) = Place::of_child() {
        become_stranger();
        let config = Config { dir: None, namespace: place.config().namespace };
        let made = config.directory();
        run(async {
            let backend = FileBackend::open(&config).expect("opening asks nothing");
            expect_grant(backend.acquire(&place.claim("job", Patience::Refuse), &|_| {}).await);
        });
        let status = fs::metadata(&made).expect("the directory was made");
        assert_eq!((status.uid(), status.mode() & 0o7777), (STRANGER, 0o700));
        nix::unistd::seteuid(nix::unistd::Uid::from_raw(0)).expect("we came from there");
        chown(&made, Some(STRANGER + 1), None).expect("tests run as root");
        become_stranger();
        let failure = run(refusal(&config));
        nix::unistd::seteuid(nix::unistd::Uid::from_raw(0)).expect("we came from there");
        fs::remove_dir_all(&made).expect("the test made it");
        assert_eq!(failure.kind, ErrorKind::Denied, "{failure}");
        return say("refused");
    }
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make what belongs to another user, or become one.
        return;
    }
    let place = Place::new();
    let name = "file::directory::the_default_directory_is_private_to_its_user_and_refused_when_it_is_another_users";
    let mut child = place.spawn_myself(name);
    assert!(child.wait().expect("our own child").success());
}

#[test]
fn no_symbolic_link_is_followed_to_a_lock_or_a_namespace() {
    let place = Place::new();
    let target = place.dir.path().join("target");
    fs::write(&target, b"").expect("our own directory");
    place.make_namespace();
    symlink(&target, place.file("job")).expect("our own directory");
    symlink(place.dir.path().join("dlock"), place.dir.path().join("linked")).expect("our own directory");
    run(async {
        assert_eq!(refusal(&place.config()).await.kind, ErrorKind::Denied);
        let linked = Config { namespace: namespace("linked"), ..place.config() };
        assert_eq!(refusal(&linked).await.kind, ErrorKind::Denied);
    });
    assert_eq!(fs::read(&target).expect("our own file"), b"");
}

#[test]
fn a_lock_that_is_no_regular_file_is_refused_without_waiting_for_it() {
    let place = Place::new();
    place.make_namespace();
    nix::unistd::mkfifo(&place.file("job"), nix::sys::stat::Mode::S_IRWXU).expect("our own directory");
    run(async { assert_eq!(refusal(&place.config()).await.kind, ErrorKind::Misconfigured) });
}

#[test]
fn new_files_take_the_write_permissions_of_the_directory_whatever_the_umask() {
    for (of_dir, of_namespace, of_file) in
        [(0o700, 0o700, 0o1600), (0o755, 0o700, 0o1600), (0o770, 0o1770, 0o1660), (0o1777, 0o1777, 0o1666)]
    {
        let place = Place::new();
        fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(of_dir)).expect("our own directory");
        run(async { place.granted(&place.backend(), "job").await });
        let mode = |path: &Path| fs::metadata(path).expect("the file was made").mode() & 0o7777;
        assert_eq!(mode(&place.dir.path().join("dlock")), of_namespace);
        assert_eq!(mode(&place.file("job")), of_file);
        assert_eq!(fs::read_dir(place.dir.path().join("dlock")).expect("the namespace").count(), 1);
    }
}

#[test]
fn no_descriptor_reaches_a_command() {
    let place = Place::new();
    let backend = place.backend();
    run(async { place.granted(&backend, "job").await });
    let listing = Command::new("ls").args(["-l", "/proc/self/fd"]).output().expect("ls is everywhere");
    let listing = String::from_utf8_lossy(&listing.stdout).into_owned();
    assert!(listing.contains("/proc/"), "{listing}");
    assert!(!listing.contains(&*place.dir.path().to_string_lossy()), "{listing}");
}

#[test]
fn asking_makes_no_file_and_no_directory() {
    let place = Place::new();
    run(async {
        assert_eq!(place.status("job").await.state, LockState::Free);
        assert!(place.list("*").await.is_empty());
        let backend = place.backend();
        assert_eq!(backend.release(&key("job"), &OwnerToken::random()).await, Ok(Release::NotHeld));
        assert_eq!(backend.prolong(&key("job"), &OwnerToken::random(), None).await, Ok(Prolonged::NotHeld));
    });
    assert_eq!(fs::read_dir(place.dir.path()).expect("our own directory").count(), 0);
}

fn become_stranger() {
    nix::unistd::seteuid(nix::unistd::Uid::from_raw(STRANGER)).expect("tests run as root");
}

async fn refusal(config: &Config) -> BackendError {
    let backend = FileBackend::open(config).expect("opening asks nothing");
    let holder = Holder::default();
    let claim = Claim {
        key: key("job"),
        token: OwnerToken::random(),
        holder,
        ttl: Ttl::Default(LONG),
        kind: LeaseKind::Running,
        patience: Patience::Refuse,
        mode: dlock::lock::Mode::Exclusive,
        looks_first: false,
        retention: dlock::lock::Retention::default(),
    };
    backend.acquire(&claim, &|_| {}).await.expect_err("this must be refused")
}
