//! Who comes after whom, and what a wait leaves behind.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd as _;
use std::process::Child;
use std::time::{Duration, Instant};

use dlock::lock::{FIRST_CONTACT, LeaseKind, LockBackend, LockState, Mode, Patience, Progress, Release};

use dlock::sys::ofd_lock::{self, Access, Attempt, ByteRange, Extent};

use super::place::*;

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
fn a_grant_that_comes_as_the_wait_is_dropped_is_undone() {
    let place = Place::new();
    let (holder, waiter, next) = (place.backend(), place.backend(), place.backend());
    run(async {
        let lease = place.granted(&holder, "job").await;
        let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
        let mut waiting = Box::pin(waiter.acquire(&claim, &|_| {}));
        let path = place.file("job");
        tokio::select! {
            _ = &mut waiting => panic!("granted beside a holder"),
            () = eventually_blocked(&path, 1) => {}
        }
        holder.release(&lease.key, &lease.token).await.expect("a release");
        // The kernel has given it to the waiter, who is not asked any more.
        eventually(|| async { (blocked_on(&path) == 0).then_some(()) }).await;
        drop(waiting);
        place.granted(&next, "job").await;
    });
}

#[test]
fn whoever_waits_behind_a_one_shot_lease_is_served_after_it_and_before_later_ones() {
    let place = Place::new();
    let (first, second, third, outside) = (place.backend(), place.backend(), place.backend(), place.backend());
    run(async {
        let lease = place.one_shot(&first, LONG).await;
        let queued = Patience::Queue { reconnect_for: LONG };
        let one_shot = place.claim_for("job", LeaseKind::OneShot, queued, LONG, "one-shot");
        let running = place.claim_of("job", "running", queued);
        let behind = async {
            eventually(|| async { (place.status("job").await.waiters.len() == 1).then_some(()) }).await;
            expect_grant(third.acquire(&running, &|_| {}).await)
        };
        let script = async {
            eventually_blocked(&place.file("job"), 1).await;
            outside.release(&lease.key, &lease.token).await.expect("a release");
            let served = eventually(|| async {
                Some(place.status("job").await).filter(|it| it.waiters.len() == 1 && !it.holders.is_empty())
            })
            .await;
            assert_eq!(served.holders[0].holder.command.as_deref(), Some("one-shot"));
            assert_eq!(served.waiters[0].holder.command.as_deref(), Some("running"));
            place.refused(&outside, "job").await;
            outside.release(&one_shot.key, &one_shot.token).await.expect("a release");
        };
        let (granted, last, ()) = tokio::join!(second.acquire(&one_shot, &|_| {}), behind, script);
        assert!(expect_grant(granted).fence < last.fence);
    });
}

#[test]
fn a_killed_holder_frees_the_lock_at_once() {
    if let Some(place) = Place::of_child() {
        hold_until_killed(&place, LeaseKind::Running);
    }
    let place = Place::new();
    let waiter = place.backend();
    let mut child = place.spawn_myself("file::waiting::a_killed_holder_frees_the_lock_at_once");
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
    let mut child = place.spawn_myself("file::waiting::a_killed_holder_leaves_a_key_that_is_free_and_shown_as_free");
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
        let mut child =
            place.spawn_myself("file::waiting::a_killed_waiter_leaves_nobody_behind_who_is_granted_the_lock");
        eventually_blocked(&place.file("job"), 1).await;
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        // The process that waits for it goes with it, and its entry when that has gone.
        eventually(|| async { place.status("job").await.waiters.is_empty().then_some(()) }).await;
        assert_eq!(blocked_on(&place.file("job")), 0);
        holder.release(&lease.key, &lease.token).await.expect("a release");
        place.granted(&next, "job").await;
    });
}

#[test]
fn a_wait_goes_on_when_somebody_kills_the_process_that_waits() {
    if let Some(place) = Place::of_child() {
        run(wait_while_the_helper_is_killed(&place));
        return say("granted");
    }
    let place = Place::new();
    let mut child = place.spawn_myself("file::waiting::a_wait_goes_on_when_somebody_kills_the_process_that_waits");
    assert!(child.wait().expect("our own child").success());
}

async fn wait_while_the_helper_is_killed(place: &Place) {
    let (holder, waiter) = (place.backend(), place.backend());
    let lease = place.granted(&holder, "job").await;
    let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
    let killing = async {
        let first = eventually(|| async { only_child() }).await;
        eventually_blocked(&place.file("job"), 1).await;
        nix::sys::signal::kill(first, nix::sys::signal::Signal::SIGKILL).expect("our own child");
        eventually(|| async { only_child().filter(|next| *next != first) }).await;
        eventually_blocked(&place.file("job"), 1).await;
        holder.release(&lease.key, &lease.token).await.expect("a release");
    };
    let (granted, ()) = tokio::join!(waiter.acquire(&claim, &|_| {}), killing);
    expect_grant(granted);
    assert_eq!(only_child(), None);
}

/// The child of this process, when there is one.
fn only_child() -> Option<nix::unistd::Pid> {
    let threads = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let children = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("children")).ok());
    let pids: Vec<i32> =
        children.flat_map(|line| line.split(' ').filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect();
    assert!(pids.len() <= 1, "one helper at a time: {pids:?}");
    pids.first().copied().map(nix::unistd::Pid::from_raw)
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
fn many_contenders_of_several_processes_never_hold_at_once() {
    if let Some(place) = Place::of_child() {
        return contend_with_others(&place);
    }
    let place = Place::new();
    fs::write(place.dir.path().join("log"), b"").expect("our own directory");
    let name = "file::waiting::many_contenders_of_several_processes_never_hold_at_once";
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

/// The byte that whoever changes the records locks; see `docs/protocol.md`.
const GUARD: i64 = (1 << 40) + (1 << 16) + 2;

#[test]
fn whoever_waits_for_the_records_gives_up_when_nobody_writes_and_not_while_a_crowd_does() {
    for goes_on in [true, false] {
        let place = Place::new();
        run(async {
            let earlier = place.backend();
            let lease = place.granted(&earlier, "job").await;
            earlier.release(&lease.key, &lease.token).await.expect("a release");
            let crowd = fs::File::options().read(true).write(true).open(place.file("job")).expect("it is there");
            let guard = Extent::Bytes(ByteRange::byte(GUARD));
            assert_eq!(ofd_lock::try_lock(crowd.as_fd(), guard, Access::Write), Ok(Attempt::Locked));

            let backend = place.backend();
            let claim = place.claim("job", Patience::Queue { reconnect_for: LONG });
            let began = Instant::now();
            let writes = async {
                while goes_on && began.elapsed() < FIRST_CONTACT + Duration::from_secs(2) {
                    crowd.set_modified(std::time::SystemTime::now()).expect("it is ours");
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                if goes_on {
                    ofd_lock::unlock(crowd.as_fd(), guard).expect("it was locked");
                }
            };
            let (outcome, ()) = tokio::join!(backend.acquire(&claim, &|_| {}), writes);
            if goes_on {
                expect_grant(outcome);
            } else {
                let error = outcome.expect_err("nobody writes").to_string();
                assert!(error.contains("is a dlock stopped there?"), "{error}");
            }
        });
    }
}
