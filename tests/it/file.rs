//! The file backend by itself: what the contract suite cannot ask of every backend.

mod directory;
mod leases;
mod modes;
mod place;
mod retention;
mod waiting;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use dlock::backend::file::{Config, FileBackend};
use dlock::lock::{ErrorKind, LeaseKind, LockBackend, LockState, LockStatus, Mode, Patience, Phase};

use place::*;

#[test]
fn a_second_contender_is_refused_with_the_name_of_the_holder_and_leaves_nothing() {
    let place = Place::new();
    let (first, second) = (place.backend(), place.backend());
    run(async {
        let lease = place.granted(&first, "job").await;
        let contention = place.refused(&second, "job").await;
        assert_eq!(contention.holder.and_then(|holder| holder.command).as_deref(), Some("tests"));
        assert!(contention.since.is_some() && contention.held_for.is_some());
        assert!(place.status("job").await.waiters.is_empty());
        first.release(&lease.key, &lease.token).await.expect("a release");
        place.granted(&second, "job").await;
    });
}

#[test]
fn one_backend_does_not_grant_itself_the_same_key_twice() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.granted(&backend, "job").await;
        place.refused(&backend, "job").await;
        place.granted(&backend, "another").await;
        backend.release(&lease.key, &lease.token).await.expect("a release");
        place.granted(&backend, "job").await;
    });
}

#[test]
fn leases_and_refusals_keep_no_descriptor_open() {
    let place = Place::new();
    let backend = place.backend();
    let opened = || {
        let ours = |link: std::io::Result<fs::DirEntry>| {
            fs::read_link(link.ok()?.path()).ok().filter(|target| target.starts_with(place.dir.path()))
        };
        fs::read_dir("/proc/self/fd").expect("/proc is mounted").filter_map(ours).count()
    };
    run(async {
        for number in 0..50 {
            let claim = place.claim_for(&format!("{number}"), LeaseKind::OneShot, Patience::Refuse, LONG, "tests");
            expect_grant(backend.acquire(&claim, &|_| {}).await);
            place.refused(&backend, &format!("{number}")).await;
        }
        // The namespace's directory.
        assert_eq!(opened(), 1);
        assert_eq!(place.list("*").await.len(), 50);
        for _ in 0..5 {
            let lease = place.granted(&backend, "job").await;
            backend.release(&lease.key, &lease.token).await.expect("a release");
        }
        assert_eq!(opened(), 2);
    });
}

#[test]
fn the_descriptor_keeps_the_lock_for_whoever_has_a_copy() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.granted(&backend, "job").await;
        let copy =
            backend.descriptors().first().expect("something is held").try_clone_to_owned().expect("a descriptor");
        drop(backend);
        place.refused(&place.backend(), "job").await;
        drop(copy);
        // What another test's thread forks has a copy of everything, too, until it executes its program.
        let next = place.backend();
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let granted = tokio::time::timeout(LONG, next.acquire(&claim, &|_| {})).await.expect("nobody holds it");
        assert!(expect_grant(granted).fence > lease.fence);
    });
}

#[test]
fn every_held_or_awaited_key_is_listed_by_its_whole_name_in_order() {
    let place = Place::new();
    let backend = place.backend();
    let long = format!("z/{}", "long ".repeat(80));
    run(async {
        for name in ["b/ü", "a", ".hidden", long.as_str(), "released"] {
            place.granted(&backend, name).await;
        }
        let released = place.status("released").await;
        assert_eq!(released.state, LockState::Held(Mode::Exclusive));
        let one_shot = place.claim_for("c", LeaseKind::OneShot, Patience::Refuse, LONG, "tests");
        expect_grant(backend.acquire(&one_shot, &|_| {}).await);
        backend.release(&one_shot.key, &one_shot.token).await.expect("a release");
        let keys = |listed: Vec<LockStatus>| listed.into_iter().map(|one| one.key.to_string()).collect::<Vec<_>>();
        assert_eq!(keys(place.list("*").await), [".hidden", "a", "b/ü", "released", long.as_str()]);
        assert_eq!(keys(place.list("?/*").await), ["b/ü", long.as_str()]);
    });
}

#[test]
fn with_an_empty_namespace_a_file_is_shared_with_flock_and_never_written() {
    let place = Place::new();
    let path = place.dir.path().join("shared.lock");
    fs::write(&path, b"theirs").expect("our own directory");
    let name = path.to_str().expect("a path of ASCII");
    let config = Config { dir: None, namespace: namespace("") };
    let backend = FileBackend::open(&config).expect("opening asks nothing");
    let mut flock = Command::new("flock")
        .args([name, "sh", "-c", "echo held; read line"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("flock(1) is part of util-linux");
    first_line(&mut flock);
    run(async {
        let status = backend.status(&key(name)).await.expect("an answer");
        assert_eq!((status.state, status.holders[0].phase), (LockState::Held(Mode::Exclusive), Phase::Foreign));
        place.refused(&backend, name).await;
        let claim = place.claim(name, Patience::Queue { reconnect_for: LONG });
        let ending = async {
            eventually_blocked(&path, 1).await;
            flock.stdin.take().expect("piped").write_all(b"\n").expect("flock still reads");
        };
        let (granted, ()) = tokio::join!(backend.acquire(&claim, &|_| {}), ending);
        let lease = expect_grant(granted);
        assert_eq!(lease.fence, None);
        let try_flock = || Command::new("flock").args(["-n", name, "true"]).status().expect("flock(1)").success();
        assert!(!try_flock());
        backend.release(&lease.key, &lease.token).await.expect("a release");
        assert!(try_flock());
        assert_eq!(backend.status(&key(name)).await.expect("an answer").state, LockState::Free);
    });
    flock.wait().expect("our own child");
    assert_eq!(fs::read(&path).expect("our own file"), b"theirs");
}

#[test]
fn with_an_empty_namespace_a_missing_file_and_a_one_shot_lease_are_refused() {
    let place = Place::new();
    let path = place.dir.path().join("missing.lock");
    let name = path.to_str().expect("a path of ASCII");
    let backend = FileBackend::open(&Config { dir: None, namespace: namespace("") }).expect("opening asks nothing");
    run(async {
        let failure = backend.acquire(&place.claim(name, Patience::Refuse), &|_| {}).await.expect_err("no file");
        assert_eq!(failure.kind, ErrorKind::Misconfigured);
        assert!(!path.exists());
        fs::write(&path, b"").expect("our own directory");
        let one_shot = place.claim_for(name, LeaseKind::OneShot, Patience::Refuse, LONG, "tests");
        let failure = backend.acquire(&one_shot, &|_| {}).await.expect_err("nothing may be written");
        assert_eq!(failure.kind, ErrorKind::Usage);
    });
}
