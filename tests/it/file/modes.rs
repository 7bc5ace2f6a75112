//! Readers and slots of this host: what the kernel's locks and the records do for them.

use std::fs;
use std::time::{Duration, Instant};

use dlock::backend::file::{Config, FileBackend};
use dlock::lock::{
    Acquired, Claim, ErrorKind, Lease, LeaseKind, LockBackend, LockState, Mode, Patience, Prolonged, Release,
};

use super::place::*;

const QUEUE: Patience = Patience::Queue { reconnect_for: LONG };

fn claim(place: &Place, mode: Mode, patience: Patience) -> Claim {
    Claim { mode, ..place.claim("job", patience) }
}

fn lease_of(place: &Place, mode: Mode, ttl: Duration) -> Claim {
    Claim { mode, ..place.claim_for("job", LeaseKind::OneShot, Patience::Refuse, ttl, "tests") }
}

async fn granted(backend: &FileBackend, claim: &Claim) -> Lease {
    expect_grant(backend.acquire(claim, &|_| {}).await)
}

async fn is_refused(place: &Place, mode: Mode) -> bool {
    let backend = place.backend();
    let claim = claim(place, mode, Patience::Refuse);
    match backend.acquire(&claim, &|_| {}).await.expect("no failure") {
        Acquired::Held(_) => true,
        Acquired::Granted(lease) => {
            backend.release(&lease.key, &lease.token).await.expect("a release");
            false
        }
        Acquired::Lost => panic!("there is only one lock to lose"),
    }
}

async fn release(backend: &FileBackend, lease: &Lease) {
    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
}

/// Another process that holds it in this mode until it is killed.
fn hold_until_killed(place: &Place, mode: Mode) -> ! {
    let backend = place.backend();
    run(granted(&backend, &claim(place, mode, Patience::Refuse)));
    say("granted");
    loop {
        std::thread::park();
    }
}

#[test]
fn a_reader_that_is_killed_takes_nothing_from_the_others() {
    if let Some(place) = Place::of_child() {
        hold_until_killed(&place, Mode::Shared);
    }
    let place = Place::new();
    let (reader, writer) = (place.backend(), place.backend());
    let mut child = place.spawn_myself("file::modes::a_reader_that_is_killed_takes_nothing_from_the_others");
    run(async {
        let lease = granted(&reader, &claim(&place, Mode::Shared, Patience::Refuse)).await;
        assert_eq!(lease.fence, None);
        assert_eq!(place.status("job").await.holders.len(), 2);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
        let status = place.status("job").await;
        assert_eq!((status.state, status.holders.len()), (LockState::Held(Mode::Shared), 1));
        assert_eq!(status.holders[0].id, lease.token.id());
        assert!(is_refused(&place, Mode::Exclusive).await && is_refused(&place, Mode::Slots(2)).await);
        assert!(!is_refused(&place, Mode::Shared).await);
        let waiting = claim(&place, Mode::Exclusive, QUEUE);
        let releasing = async {
            eventually_blocked(&place.file("job"), 1).await;
            release(&reader, &lease).await;
        };
        let (written, ()) = tokio::join!(granted(&writer, &waiting), releasing);
        assert!(written.fence.is_some());
    });
}

#[test]
fn the_slot_of_a_killed_holder_goes_to_the_first_waiter_at_once() {
    if let Some(place) = Place::of_child() {
        hold_until_killed(&place, Mode::Slots(2));
    }
    let place = Place::new();
    let (holder, waiter) = (place.backend(), place.backend());
    let mut child = place.spawn_myself("file::modes::the_slot_of_a_killed_holder_goes_to_the_first_waiter_at_once");
    run(async {
        let lease = granted(&holder, &claim(&place, Mode::Slots(2), Patience::Refuse)).await;
        let waiting = claim(&place, Mode::Slots(2), QUEUE);
        let killing = async {
            // One process for each slot.
            eventually_blocked(&place.file("job"), 2).await;
            child.kill().expect("our own child");
            Instant::now()
        };
        let (got, killed) = tokio::join!(granted(&waiter, &waiting), killing);
        assert!(killed.elapsed() < Duration::from_secs(2));
        assert!(is_refused(&place, Mode::Slots(2)).await);
        let ids: Vec<String> = place.status("job").await.holders.into_iter().map(|one| one.id).collect();
        assert_eq!(ids, [lease.token.id(), got.token.id()]);
        assert_eq!(blocked_on(&place.file("job")), 0);
        release(&holder, &lease).await;
        assert!(!is_refused(&place, Mode::Slots(2)).await && is_refused(&place, Mode::Exclusive).await);
    });
    child.wait().expect("our own child");
}

#[test]
fn among_more_slots_than_are_watched_a_killed_holder_is_noticed_too() {
    const TOTAL: u32 = 40;
    if let Some(place) = Place::of_child() {
        hold_until_killed(&place, Mode::Slots(TOTAL));
    }
    let place = Place::new();
    let waiter = place.backend();
    run(async {
        let mut holders = Vec::new();
        for _ in 1..TOTAL {
            let backend = place.backend();
            granted(&backend, &claim(&place, Mode::Slots(TOTAL), Patience::Refuse)).await;
            holders.push(backend);
        }
        // It has the last slot, which no process waits for.
        let mut child =
            place.spawn_myself("file::modes::among_more_slots_than_are_watched_a_killed_holder_is_noticed_too");
        let waiting = claim(&place, Mode::Slots(TOTAL), QUEUE);
        let killing = async {
            eventually_blocked(&place.file("job"), 32).await;
            child.kill().expect("our own child");
        };
        tokio::join!(granted(&waiter, &waiting), killing);
        assert_eq!(place.status("job").await.holders.len(), 40);
        child.wait().expect("our own child");
    });
}

#[test]
fn modes_are_served_in_the_order_of_their_coming() {
    let place = Place::new();
    let holder = place.backend();
    run(async {
        let lease = place.granted(&holder, "job").await;
        let served = std::cell::RefCell::new(Vec::new());
        let modes = [Mode::Shared, Mode::Exclusive, Mode::Slots(2), Mode::Shared];
        let waiter = |mode: Mode, number: usize| {
            let (place, served) = (&place, &served);
            async move {
                eventually(|| async { (place.status("job").await.waiters.len() == number).then_some(()) }).await;
                let backend = place.backend();
                let lease = granted(&backend, &claim(place, mode, QUEUE)).await;
                served.borrow_mut().push(mode);
                release(&backend, &lease).await;
            }
        };
        let script = async {
            let path = place.file("job");
            let status =
                eventually(|| async { Some(place.status("job").await).filter(|it| it.waiters.len() == 4) }).await;
            assert_eq!(status.waiters.iter().map(|one| one.mode).collect::<Vec<_>>(), modes);
            eventually_blocked(&path, 4).await;
            release(&holder, &lease).await;
        };
        let waiters = (waiter(modes[0], 0), waiter(modes[1], 1), waiter(modes[2], 2), waiter(modes[3], 3));
        tokio::join!(waiters.0, waiters.1, waiters.2, waiters.3, script);
        assert_eq!(*served.borrow(), modes);
        assert_eq!(place.status("job").await.state, LockState::Free);
    });
}

#[test]
fn another_number_of_slots_is_refused_while_somebody_holds_or_waits_with_the_first() {
    let place = Place::new();
    let (holder, waiter) = (place.backend(), place.backend());
    run(async {
        let differs = async |patience| {
            let backend = place.backend();
            let answer = backend.acquire(&claim(&place, Mode::Slots(3), patience), &|_| {}).await;
            let failure = answer.expect_err("others count otherwise");
            assert!(failure.kind == ErrorKind::Misconfigured && failure.message.contains("--slots 2"), "{failure}");
        };
        let alone = place.granted(&holder, "job").await;
        let waiting = claim(&place, Mode::Slots(2), QUEUE);
        let script = async {
            eventually_blocked(&place.file("job"), 1).await;
            differs(QUEUE).await;
            differs(Patience::Refuse).await;
            release(&holder, &alone).await;
        };
        let (slot, ()) = tokio::join!(granted(&waiter, &waiting), script);
        differs(QUEUE).await;
        differs(Patience::Refuse).await;
        release(&waiter, &slot).await;
        assert!(!is_refused(&place, Mode::Slots(3)).await);
        let leased = granted(&holder, &lease_of(&place, Mode::Slots(2), LONG)).await;
        differs(QUEUE).await;
        release(&waiter, &leased).await;
        let too_many = waiter.acquire(&claim(&place, Mode::Slots(65_537), QUEUE), &|_| {}).await;
        assert_eq!(too_many.expect_err("it has no such number").kind, ErrorKind::Usage);
    });
}

#[test]
fn leases_and_processes_together_never_have_more_slots_than_there_are() {
    let place = Place::new();
    let (first, second, waiter) = (place.backend(), place.backend(), place.backend());
    run(async {
        let lease = granted(&first, &lease_of(&place, Mode::Slots(2), LONG)).await;
        let slot = granted(&second, &claim(&place, Mode::Slots(2), Patience::Refuse)).await;
        assert_eq!(place.status("job").await.holders.len(), 2);
        assert!(is_refused(&place, Mode::Slots(2)).await);
        let waiting = claim(&place, Mode::Slots(2), QUEUE);
        let releasing = async {
            eventually_blocked(&place.file("job"), 1).await;
            release(&second, &lease).await;
        };
        let (got, ()) = tokio::join!(granted(&waiter, &waiting), releasing);
        assert!(is_refused(&place, Mode::Slots(2)).await);
        release(&second, &slot).await;
        release(&waiter, &got).await;
        assert_eq!(place.status("job").await.state, LockState::Free);
    });
}

#[test]
fn a_writer_waits_for_the_last_of_the_readers_leases_to_end() {
    let place = Place::new();
    let (reader, writer) = (place.backend(), place.backend());
    run(async {
        let began = Instant::now();
        let short = granted(&reader, &lease_of(&place, Mode::Shared, Duration::from_millis(200))).await;
        let long = granted(&reader, &lease_of(&place, Mode::Shared, Duration::from_millis(600))).await;
        assert!(short.expires_at.is_some() && long.valid_until.is_some() && long.fence.is_none());
        assert!(is_refused(&place, Mode::Exclusive).await);
        granted(&writer, &claim(&place, Mode::Exclusive, QUEUE)).await;
        assert!(began.elapsed() >= Duration::from_millis(600));
        assert_eq!(writer.prolong(&long.key, &long.token, None).await, Ok(Prolonged::NotHeld));
        assert_eq!(reader.release(&long.key, &long.token).await, Ok(Release::NotHeld));
    });
}

#[test]
fn a_readers_lease_is_set_up_and_down_and_a_writer_is_told() {
    let place = Place::new();
    let (reader, writer, outside) = (place.backend(), place.backend(), place.backend());
    run(async {
        let kept = granted(&reader, &lease_of(&place, Mode::Shared, LONG)).await;
        let other = granted(&reader, &lease_of(&place, Mode::Shared, LONG)).await;
        let set = outside.prolong(&kept.key, &kept.token, Some(LONG * 60)).await;
        assert!(matches!(set, Ok(Prolonged::Set { ttl, .. }) if ttl == LONG * 60), "{set:?}");
        let waiting = claim(&place, Mode::Exclusive, QUEUE);
        let script = async {
            eventually(|| async { (place.status("job").await.waiters.len() == 1).then_some(()) }).await;
            // Its entry has not taken the place of a lease that nobody locks.
            assert_eq!(place.status("job").await.holders.len(), 2);
            assert!(is_refused(&place, Mode::Shared).await, "it would starve the writer");
            release(&outside, &other).await;
            let set = outside.prolong(&kept.key, &kept.token, Some(Duration::from_millis(100))).await;
            assert!(matches!(set, Ok(Prolonged::Set { .. })), "{set:?}");
            Instant::now()
        };
        let (_, shortened) = tokio::join!(granted(&writer, &waiting), script);
        assert!(shortened.elapsed() < Duration::from_secs(3));
    });
}

#[test]
fn readers_that_do_not_wait_are_never_refused_because_another_one_passes() {
    if let Some(place) = Place::of_child() {
        return come_and_go(&place);
    }
    let place = Place::new();
    let name = "file::modes::readers_that_do_not_wait_are_never_refused_because_another_one_passes";
    let children: Vec<_> = (0..4).map(|_| place.spawn_myself(name)).collect();
    for mut child in children {
        assert!(child.wait().expect("our own child").success());
    }
}

fn come_and_go(place: &Place) {
    say("started");
    let backend = place.backend();
    run(async {
        for _ in 0..100 {
            let lease = granted(&backend, &claim(place, Mode::Shared, Patience::Refuse)).await;
            release(&backend, &lease).await;
        }
    });
}

#[test]
fn a_wait_for_a_slot_that_is_dropped_leaves_no_process_no_entry_and_no_lock() {
    let place = Place::new();
    let (holder, waiter) = (place.backend(), place.backend());
    run(async {
        let lease = granted(&holder, &claim(&place, Mode::Slots(1), Patience::Refuse)).await;
        let waiting = claim(&place, Mode::Slots(1), QUEUE);
        let path = place.file("job");
        tokio::select! {
            _ = waiter.acquire(&waiting, &|_| {}) => panic!("granted beside a holder"),
            () = eventually_blocked(&path, 1) => {}
        }
        assert_eq!(blocked_on(&path), 0);
        let status = place.status("job").await;
        assert!(status.waiters.is_empty() && status.holders.len() == 1);
        release(&holder, &lease).await;
        place.granted(&waiter, "job").await;
    });
}

#[test]
fn what_was_written_before_there_were_modes_is_still_obeyed() {
    let place = Place::new();
    let (holder, outside) = (place.backend(), place.backend());
    run(async {
        let lease = place.one_shot(&holder, LONG).await;
        let text = fs::read(place.file("job")).expect("our own file");
        assert!(
            !String::from_utf8_lossy(&text).contains("mode"),
            "an exclusive record has the form that it always had"
        );
        assert!(is_refused(&place, Mode::Shared).await && is_refused(&place, Mode::Slots(2)).await);
        release(&outside, &lease).await;
        let reader = granted(&outside, &claim(&place, Mode::Shared, Patience::Refuse)).await;
        release(&outside, &reader).await;
        assert!(place.granted(&holder, "job").await.fence > lease.fence, "the fence outlives the readers");
    });
}

#[test]
fn with_an_empty_namespace_readers_share_the_file_with_flock_and_slots_are_refused() {
    let place = Place::new();
    let path = place.dir.path().join("shared.lock");
    fs::write(&path, b"theirs").expect("our own directory");
    let name = path.to_str().expect("a path of ASCII");
    let backend = FileBackend::open(&Config { dir: None, namespace: namespace("") }).expect("opening asks nothing");
    let claim = |mode| Claim { mode, ..place.claim(name, Patience::Refuse) };
    let flock = |how: &str| {
        std::process::Command::new("flock").args(["-n", how, name, "true"]).status().expect("flock(1)").success()
    };
    run(async {
        let lease = granted(&backend, &claim(Mode::Shared)).await;
        assert!(flock("-s") && !flock("-x"));
        release(&backend, &lease).await;
        assert!(flock("-x"));
        let failure = backend.acquire(&claim(Mode::Slots(2)), &|_| {}).await.expect_err("nothing counts them");
        assert_eq!(failure.kind, ErrorKind::Usage);
    });
}
