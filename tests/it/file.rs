//! The file backend by itself: what the contract suite cannot ask of every backend.

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dlock::backend::file::{Config, FileBackend};
use dlock::lock::{
    Acquired, BackendError, Claim, Contention, ErrorKind, Holder, KeyPattern, Lease, LeaseKind, LockBackend, LockKey,
    LockState, LockStatus, Mode, Namespace, OwnerToken, Patience, Phase, Progress, Prolonged, Release, Ttl,
};
use tempfile::TempDir;

/// Long enough for any machine, short enough for a test that fails.
const LONG: Duration = Duration::from_secs(20);

/// Tells a test that runs as another process which part it plays, and where.
const CHILD_DIR: &str = "DLOCK_TEST_CHILD_DIR";

/// Nobody's uid on any machine that tests run on.
const STRANGER: u32 = 61_234;

#[test]
fn a_free_key_is_granted_with_a_fence_and_shown_as_held_until_it_is_released() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.granted(&backend, "job").await;
        assert!(lease.fence.is_some());
        assert_eq!((lease.valid_until, lease.renew_every), (None, None));
        let status = place.status("job").await;
        assert_eq!(status.state, LockState::Held(Mode::Exclusive));
        assert_eq!(status.fence, lease.fence);
        assert_eq!(status.holders[0].id, lease.token.id());
        assert_eq!(status.holders[0].phase, Phase::Running);
        assert_eq!(status.holders[0].holder.command.as_deref(), Some("tests"));
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
        assert_eq!(place.status("job").await.state, LockState::Free);
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    });
}

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
fn waiters_are_shown_in_order_and_served_in_order() {
    let place = Place::new();
    let holder = place.backend();
    run(async {
        let lease = place.granted(&holder, "job").await;
        let served = std::cell::RefCell::new(Vec::new());
        let waiter = |name: &'static str| {
            let (place, served) = (&place, &served);
            async move {
                let backend = place.backend();
                let claim = place.claim_of("job", name, Patience::Queue { reconnect_for: LONG });
                let granted = expect_grant(backend.acquire(&claim, &|_| {}).await);
                served.borrow_mut().push(name);
                backend.release(&granted.key, &granted.token).await.expect("a release");
            }
        };
        let script = async {
            let waiting =
                eventually(|| async { Some(place.status("job").await).filter(|it| it.waiters.len() == 3) }).await;
            let names: Vec<_> = waiting.waiters.iter().filter_map(|one| one.holder.command.clone()).collect();
            assert_eq!(names, ["first", "second", "third"]);
            assert_eq!(waiting.waiters.iter().map(|one| one.position).collect::<Vec<_>>(), [1, 2, 3]);
            eventually_blocked(&place.file("job"), 3).await;
            holder.release(&lease.key, &lease.token).await.expect("a release");
        };
        tokio::join!(
            waiter("first"),
            place.after_waiters(1, waiter("second")),
            place.after_waiters(2, waiter("third")),
            script
        );
        assert_eq!(*served.borrow(), ["first", "second", "third"]);
        assert!(place.status("job").await.waiters.is_empty());
    });
}

#[test]
fn a_waiter_learns_whom_it_waits_for_and_how_many_are_ahead() {
    let place = Place::new();
    let holder = place.backend();
    run(async {
        place.granted(&holder, "job").await;
        let (one, other) = (place.backend(), place.backend());
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let later = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let seen = std::cell::RefCell::new(Vec::new());
        let note = |progress| seen.borrow_mut().push(progress);
        let waiting = async { one.acquire(&claim, &|_| {}).await.expect("no failure") };
        let behind = async {
            eventually(|| async { (place.status("job").await.waiters.len() == 1).then_some(()) }).await;
            other.acquire(&later, &note).await.expect("no failure")
        };
        let enough = eventually(|| async { (!seen.borrow().is_empty()).then_some(()) });
        tokio::select! {
            _ = waiting => panic!("granted beside a holder"),
            _ = behind => panic!("granted beside a holder"),
            () = enough => {}
        }
        let Progress::Waiting(contention) = &seen.borrow()[0] else { panic!("a file is never disconnected") };
        assert_eq!(contention.ahead, Some(1));
        assert_eq!(contention.holder.as_ref().and_then(|one| one.command.as_deref()), Some("tests"));
    });
}

#[test]
fn a_wait_that_is_dropped_leaves_no_process_no_entry_and_no_lock() {
    let place = Place::new();
    let (holder, waiter, next) = (place.backend(), place.backend(), place.backend());
    run(async {
        let lease = place.granted(&holder, "job").await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let path = place.file("job");
        tokio::select! {
            _ = waiter.acquire(&claim, &|_| {}) => panic!("granted beside a holder"),
            () = eventually_blocked(&path, 1) => {}
        }
        assert_eq!(blocked_on(&place.file("job")), 0);
        assert!(place.status("job").await.waiters.is_empty());
        assert_eq!(waiter.release(&claim.key, &claim.token).await, Ok(Release::NotHeld));
        holder.release(&lease.key, &lease.token).await.expect("a release");
        place.granted(&next, "job").await;
    });
}

#[test]
fn a_killed_holder_frees_the_lock_at_once() {
    if let Some(place) = Place::of_child() {
        hold_until_killed(&place, LeaseKind::Running);
    }
    let place = Place::new();
    let waiter = place.backend();
    let mut child = place.spawn_myself("file::a_killed_holder_frees_the_lock_at_once");
    run(async {
        assert_eq!(place.status("job").await.state, LockState::Held(Mode::Exclusive));
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let killing = async {
            eventually_blocked(&place.file("job"), 1).await;
            child.kill().expect("our own child");
            Instant::now()
        };
        let (granted, killed) = tokio::join!(waiter.acquire(&claim, &|_| {}), killing);
        expect_grant(granted);
        assert!(killed.elapsed() < Duration::from_secs(2));
    });
    child.wait().expect("our own child");
}

#[test]
fn a_killed_holder_leaves_a_key_that_is_free_and_shown_as_free() {
    if let Some(place) = Place::of_child() {
        hold_until_killed(&place, LeaseKind::Running);
    }
    let place = Place::new();
    let mut child = place.spawn_myself("file::a_killed_holder_leaves_a_key_that_is_free_and_shown_as_free");
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    run(async {
        assert_eq!(place.status("job").await.state, LockState::Free);
        assert!(place.list("*").await.is_empty());
        place.granted(&place.backend(), "job").await;
    });
}

#[test]
fn a_killed_waiter_leaves_nobody_behind_who_is_granted_the_lock() {
    if let Some(place) = Place::of_child() {
        wait_until_killed(&place);
    }
    let place = Place::new();
    let (holder, next) = (place.backend(), place.backend());
    run(async {
        let lease = place.granted(&holder, "job").await;
        let mut child = place.spawn_myself("file::a_killed_waiter_leaves_nobody_behind_who_is_granted_the_lock");
        eventually_blocked(&place.file("job"), 1).await;
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        eventually(|| async { (blocked_on(&place.file("job")) == 0).then_some(()) }).await;
        assert!(place.status("job").await.waiters.is_empty());
        holder.release(&lease.key, &lease.token).await.expect("a release");
        place.granted(&next, "job").await;
    });
}

#[test]
fn a_one_shot_lease_outlives_its_process_and_wakes_a_waiter_when_it_ends() {
    if let Some(place) = Place::of_child() {
        run(async { place.one_shot(&place.backend(), Duration::from_secs(1)).await });
        return say("granted");
    }
    let place = Place::new();
    let waiter = place.backend();
    let mut child = place.spawn_myself("file::a_one_shot_lease_outlives_its_process_and_wakes_a_waiter_when_it_ends");
    let since = Instant::now();
    assert!(child.wait().expect("our own child").success());
    run(async {
        let status = place.status("job").await;
        assert_eq!(status.holders[0].phase, Phase::OneShot);
        assert_eq!(status.holders[0].ttl, Some(Duration::from_secs(1)));
        place.refused(&waiter, "job").await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let granted = expect_grant(waiter.acquire(&claim, &|_| {}).await);
        // The child was granted it before `since`, at most as long before as its start took.
        assert!(since.elapsed() < Duration::from_millis(1500), "woken {:?} after the grant", since.elapsed());
        assert_eq!(place.status("job").await.holders[0].id, granted.token.id());
    });
}

#[test]
fn a_one_shot_lease_is_not_given_away_before_it_ends() {
    let place = Place::new();
    let (first, second) = (place.backend(), place.backend());
    run(async {
        let ttl = Duration::from_millis(300);
        let since = Instant::now();
        place.one_shot(&first, ttl).await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        expect_grant(second.acquire(&claim, &|_| {}).await);
        assert!(since.elapsed() >= ttl);
    });
}

#[test]
fn a_released_one_shot_lease_wakes_the_waiter_and_only_its_token_releases_it() {
    let place = Place::new();
    let (first, second, third) = (place.backend(), place.backend(), place.backend());
    run(async {
        let lease = place.one_shot(&first, LONG).await;
        assert!(lease.valid_until.is_some() && lease.expires_at.is_some() && lease.fence.is_some());
        assert_eq!(third.release(&lease.key, &OwnerToken::random()).await, Ok(Release::NotHeld));
        assert_eq!(third.prolong(&lease.key, &OwnerToken::random(), None).await, Ok(Prolonged::NotHeld));
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let releasing = async {
            eventually(|| async { (place.status("job").await.waiters.len() == 1).then_some(()) }).await;
            assert_eq!(third.release(&lease.key, &lease.token).await, Ok(Release::Released));
            Instant::now()
        };
        let (granted, released) = tokio::join!(second.acquire(&claim, &|_| {}), releasing);
        assert!(released.elapsed() < Duration::from_secs(2));
        assert!(expect_grant(granted).fence > lease.fence);
        assert_eq!(third.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    });
}

#[test]
fn a_one_shot_lease_is_renewed_to_what_was_asked_or_to_what_it_began_with() {
    let place = Place::new();
    let (first, second) = (place.backend(), place.backend());
    run(async {
        let lease = place.one_shot(&first, Duration::from_secs(60)).await;
        let asked = Duration::from_secs(3600);
        let Ok(Prolonged::Set { ttl, .. }) = second.prolong(&lease.key, &lease.token, Some(asked)).await else {
            panic!("the lease is ours");
        };
        assert_eq!(ttl, asked);
        let remaining = place.status("job").await.holders[0].remaining.expect("a lease has an end");
        assert!(remaining > Duration::from_secs(3500) && remaining <= asked);
        let Ok(Prolonged::Set { ttl, .. }) = second.prolong(&lease.key, &lease.token, None).await else {
            panic!("the lease is ours");
        };
        assert_eq!(ttl, Duration::from_secs(60));
        let remaining = place.status("job").await.holders[0].remaining.expect("a lease has an end");
        assert!(remaining <= Duration::from_secs(60));
    });
}

#[test]
fn a_lease_that_has_ended_can_be_neither_renewed_nor_released() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.one_shot(&backend, Duration::from_millis(1)).await;
        eventually(|| async { (place.status("job").await.state == LockState::Free).then_some(()) }).await;
        assert_eq!(backend.prolong(&lease.key, &lease.token, None).await, Ok(Prolonged::NotHeld));
        assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::NotHeld));
    });
}

#[test]
fn what_a_run_holds_is_not_released_from_outside_and_not_shortened() {
    let place = Place::new();
    let (holder, outside) = (place.backend(), place.backend());
    run(async {
        let lease = place.granted(&holder, "job").await;
        let refusal = outside.release(&lease.key, &lease.token).await.expect_err("the kernel keeps it");
        assert_eq!(refusal.kind, ErrorKind::Usage);
        assert!(refusal.message.contains("pid 4711"), "{refusal}");
        assert_eq!(outside.prolong(&lease.key, &lease.token, None).await, Ok(Prolonged::HeldByRun));
        assert_eq!(place.status("job").await.state, LockState::Held(Mode::Exclusive));
    });
}

#[test]
fn fences_rise_with_every_grant() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let mut last = None;
        for _ in 0..5 {
            let lease = place.granted(&backend, "job").await;
            assert!(lease.fence > last);
            last = lease.fence;
            backend.release(&lease.key, &lease.token).await.expect("a release");
            let lease = place.one_shot(&backend, LONG).await;
            assert!(lease.fence > last);
            last = lease.fence;
            backend.release(&lease.key, &lease.token).await.expect("a release");
        }
    });
}

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
                assert_eq!(failure.kind, ErrorKind::Misconfigured);
                assert!(failure.message.contains("job"), "{failure}");
            }
            let failure = place.backend().status(&key("job")).await.expect_err("nothing valid stands there");
            assert_eq!(failure.kind, ErrorKind::Misconfigured);
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
        assert_eq!(place.backend().status(&lease.key).await.expect_err("cut").kind, ErrorKind::Misconfigured);
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
    let place = Place::new();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let mut child = place.spawn_myself("file::a_named_directory_that_is_not_writable_is_refused");
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
    let place = Place::new();
    let name = "file::the_default_directory_is_private_to_its_user_and_refused_when_it_is_another_users";
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
fn the_descriptor_keeps_the_lock_for_whoever_has_a_copy() {
    let place = Place::new();
    let backend = place.backend();
    run(async {
        let lease = place.granted(&backend, "job").await;
        let copy = backend.descriptor().expect("something is held").try_clone_to_owned().expect("a descriptor");
        drop(backend);
        place.refused(&place.backend(), "job").await;
        drop(copy);
        assert!(place.granted(&place.backend(), "job").await.fence > lease.fence);
    });
}

#[test]
fn a_file_that_was_replaced_while_it_was_open_is_not_believed() {
    let place = Place::new();
    let (holder, waiter) = (place.backend(), place.backend());
    run(async {
        let lease = place.granted(&holder, "job").await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let replacing = async {
            eventually_blocked(&place.file("job"), 1).await;
            fs::remove_file(place.file("job")).expect("our own file");
            holder.release(&lease.key, &lease.token).await.expect("a release");
        };
        let (granted, ()) = tokio::join!(waiter.acquire(&claim, &|_| {}), replacing);
        let granted = expect_grant(granted);
        assert_eq!(place.status("job").await.holders[0].id, granted.token.id());
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

#[test]
fn many_contenders_of_several_processes_never_hold_at_once() {
    if let Some(place) = Place::of_child() {
        return contend_with_others(&place);
    }
    let place = Place::new();
    fs::write(place.dir.path().join("log"), b"").expect("our own directory");
    let name = "file::many_contenders_of_several_processes_never_hold_at_once";
    let children: Vec<Child> = (0..6).map(|_| place.spawn_myself(name)).collect();
    for mut child in children {
        assert!(child.wait().expect("our own child").success());
    }
    let log = fs::read_to_string(place.dir.path().join("log")).expect("the log");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 6 * 20 * 2);
    let mut fences = Vec::new();
    for pair in lines.chunks(2) {
        let (begun, ended) = (pair[0].strip_prefix("begin "), pair[1].strip_prefix("end "));
        assert!(begun.is_some() && begun == ended, "two held at once: {pair:?}");
        fences.push(begun.and_then(|fence| fence.parse::<u64>().ok()).expect("a fence"));
    }
    assert!(fences.is_sorted_by(|one, next| one < next), "fences rise in the order of the grants");
}

fn contend_with_others(place: &Place) {
    say("started");
    let backend = place.backend();
    let mut log = fs::OpenOptions::new().append(true).open(place.dir.path().join("log")).expect("the log");
    run(async {
        for _ in 0..20 {
            let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
            let lease = expect_grant(backend.acquire(&claim, &|_| {}).await);
            let fence = lease.fence.expect("exclusive grants are numbered");
            log.write_all(format!("begin {fence}\n").as_bytes()).expect("the log");
            log.write_all(format!("end {fence}\n").as_bytes()).expect("the log");
            backend.release(&lease.key, &lease.token).await.expect("a release");
        }
    });
}

/// A directory of a test's own.
struct Place {
    dir: Directory,
}

enum Directory {
    Own(TempDir),
    OfParent(PathBuf),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::OfParent(dir) => dir,
        }
    }
}

impl Place {
    fn new() -> Self {
        Self { dir: Directory::Own(tempfile::tempdir().expect("a writable /tmp")) }
    }

    /// The directory of the process that started this one to play its part of the test.
    fn of_child() -> Option<Self> {
        let dir = std::env::var_os(CHILD_DIR)?;
        Some(Self { dir: Directory::OfParent(dir.into()) })
    }

    fn config(&self) -> Config {
        Config { dir: Some(self.dir.path().to_owned()), namespace: namespace("dlock") }
    }

    fn backend(&self) -> FileBackend {
        FileBackend::open(&self.config()).expect("opening asks nothing")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("dlock").join(key(name).encoded())
    }

    fn make_namespace(&self) {
        fs::create_dir(self.dir.path().join("dlock")).expect("our own directory");
    }

    fn claim(&self, name: &str, patience: Patience) -> Claim {
        self.claim_of(name, "tests", patience)
    }

    fn claim_of(&self, name: &str, command: &str, patience: Patience) -> Claim {
        self.claim_for(name, LeaseKind::Running, patience, LONG, command)
    }

    fn claim_for(&self, name: &str, kind: LeaseKind, patience: Patience, ttl: Duration, command: &str) -> Claim {
        let holder = Holder { pid: Some(4711), command: Some(command.to_owned()), ..Holder::default() };
        Claim { key: key(name), token: OwnerToken::random(), holder, ttl: Ttl::Exactly(ttl), kind, patience }
    }

    async fn granted(&self, backend: &FileBackend, name: &str) -> Lease {
        expect_grant(backend.acquire(&self.claim(name, Patience::Refuse), &|_| {}).await)
    }

    async fn one_shot(&self, backend: &FileBackend, ttl: Duration) -> Lease {
        let claim = self.claim_for("job", LeaseKind::OneShot, Patience::Refuse, ttl, "tests");
        expect_grant(backend.acquire(&claim, &|_| {}).await)
    }

    async fn refused(&self, backend: &FileBackend, name: &str) -> Contention {
        match backend.acquire(&self.claim(name, Patience::Refuse), &|_| {}).await.expect("no failure") {
            Acquired::Held(contention) => contention,
            Acquired::Granted(_) => panic!("granted beside a holder"),
        }
    }

    async fn status(&self, name: &str) -> LockStatus {
        self.backend().status(&key(name)).await.expect("an answer")
    }

    async fn list(&self, pattern: &str) -> Vec<LockStatus> {
        self.backend().list(&KeyPattern::new(pattern).expect("a glob")).await.expect("an answer")
    }

    async fn after_waiters(&self, count: usize, then: impl Future<Output = ()>) {
        eventually_blocked(&self.file("job"), count).await;
        then.await;
    }

    /// Starts this very test in another process, which knows by its environment which part it plays, and waits until
    /// it says that it has done it.
    fn spawn_myself(&self, test: &str) -> Child {
        let mut child = Command::new(std::env::current_exe().expect("a running program"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own program");
        while !first_line(&mut child).starts_with("child: ") {}
        child
    }
}

/// What the other process says to the one that started it.
fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nchild: {what}").and_then(|()| stdout.flush()).expect("the parent reads");
}

fn first_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let mut stdout = BufReader::with_capacity(1, child.stdout.as_mut().expect("piped"));
    stdout.read_until(b'\n', &mut line).expect("the child's output");
    assert!(!line.is_empty(), "the child ended without a word");
    String::from_utf8_lossy(&line).into_owned()
}

fn hold_until_killed(place: &Place, kind: LeaseKind) -> ! {
    let backend = place.backend();
    run(async {
        let claim = place.claim_for("job", kind, Patience::Refuse, LONG, "tests");
        expect_grant(backend.acquire(&claim, &|_| {}).await);
    });
    say("granted");
    loop {
        std::thread::park();
    }
}

fn wait_until_killed(place: &Place) -> ! {
    say("waiting");
    let backend = place.backend();
    let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
    run(backend.acquire(&claim, &|_| {})).expect("no failure");
    panic!("granted beside a holder");
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
    };
    backend.acquire(&claim, &|_| {}).await.expect_err("this must be refused")
}

fn expect_grant(acquired: Result<Acquired, BackendError>) -> Lease {
    match acquired.expect("no failure") {
        Acquired::Granted(lease) => lease,
        Acquired::Held(contention) => panic!("held by {contention:?}"),
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONG * 2, work).await.expect("the test hangs") })
}

async fn eventually<T, F: Future<Output = Option<T>>>(condition: impl Fn() -> F) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(since.elapsed() < LONG, "what the test waits for never comes");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn eventually_blocked(path: &Path, count: usize) {
    eventually(|| async { (blocked_on(path) >= count).then_some(()) }).await;
}

/// How many processes the kernel has in its queues for locks of this file.
fn blocked_on(path: &Path) -> usize {
    let Ok(status) = fs::metadata(path) else { return 0 };
    let inode = format!(":{} ", status.ino());
    let locks = fs::read_to_string("/proc/locks").expect("/proc is mounted");
    locks.lines().filter(|line| line.contains(" -> ") && line.contains(&inode)).count()
}

fn key(name: &str) -> LockKey {
    LockKey::new(name).expect("a valid key")
}

fn namespace(name: &str) -> Namespace {
    Namespace::new(name).expect("a valid namespace")
}
