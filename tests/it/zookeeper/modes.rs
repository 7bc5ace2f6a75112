//! Several holders in one queue, and the names of other families: what stands in the tree, who waits for whom, and whose time
//! counts where several may make room.

use std::cell::Cell;
use std::time::{Duration, Instant};

use dlock::backend::zookeeper::{Family, ZooKeeperBackend};
use dlock::lock::{Acquired, Claim, ErrorKind, LeaseKind, LockBackend, Mode, Patience, Phase, Progress, Release};
use futures_util::FutureExt as _;

use super::ensemble::{ZooKeeper, contenders, create};
use super::{
    TTL, backend, backend_at, backend_of, claim, eventually, granted, in_time, key, one_shot, silently, waiting,
};
use crate::support::Dlock;

const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(600);
const CURATORS_GUID: &str = "6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d";

fn of_mode(mode: Mode, claim: Claim) -> Claim {
    Claim { mode, ..claim }
}

/// A one-shot that waits.
fn patient_one_shot(name: &str, mode: Mode) -> Claim {
    Claim { patience: waiting(name).patience, mode, ..one_shot(name, LONG) }
}

type Turn<'a> = std::pin::Pin<Box<dyn Future<Output = Acquired> + 'a>>;

/// Contends until it stands in the queue.
async fn queue_up<'a>(ours: &'a ZooKeeperBackend, claim: &'a Claim, waits: &'a Cell<bool>) -> Turn<'a> {
    let mut turn: Turn = Box::pin(async move {
        let note = |progress: Progress| waits.set(waits.get() || matches!(progress, Progress::Waiting(_)));
        ours.acquire(claim, &note).await.expect("the server serves")
    });
    tokio::select! {
        _ = &mut turn => panic!("it is held"),
        () = eventually("it waits", async || waits.get()) => {}
    }
    turn
}

/// Lets every turn go on until the condition holds; none may come to its end.
async fn meanwhile(turns: &mut [Turn<'_>], condition: impl Future<Output = ()>) {
    tokio::select! {
        _ = futures_util::future::select_all(turns) => panic!("somebody got in"),
        () = condition => {}
    }
}

#[tokio::test]
async fn the_mode_and_the_family_are_in_the_name_and_a_one_shot_keeps_it() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    for (family, mode, before, mark) in [
        (Family::Dlock, Mode::Exclusive, "_c_", "-lock-"),
        (Family::Dlock, Mode::Shared, "_c_", "-shared-lock-"),
        (Family::Dlock, Mode::Slots(3), "_c_", "-slots3-lock-"),
        (Family::CuratorReadWrite, Mode::Exclusive, "_c_", "-__WRIT__"),
        (Family::CuratorReadWrite, Mode::Shared, "_c_", "-__READ__"),
        (Family::Kazoo, Mode::Exclusive, "", "__lock__"),
        (Family::Kazoo, Mode::Shared, "", "__rlock__"),
    ] {
        let ours = backend_of(family, &server.address(), "dlock");
        let name = format!("named-{}-{mode}", family.layout());
        let directory = format!("/dlock/{}", key(&name).encoded());
        for claim in [claim(&name), one_shot(&name, LONG)] {
            let claim = of_mode(mode, claim);
            let lease = granted(&ours, &claim).await;
            assert_eq!(lease.fence.is_some(), mode == Mode::Exclusive, "{mode}");
            let names = contenders(&outside, &directory).await;
            let [stored] = &names[..] else { panic!("one contender, not {names:?}") };
            assert!(stored.starts_with(before) && stored.contains(&format!("{mark}000000000")), "{stored}");
            let guid = &stored[before.len()..stored.find(mark).expect("it was found")];
            assert_eq!(guid.len(), if family == Family::Kazoo { 32 } else { 36 }, "{stored}");
            let (_, stat) = outside.get_data(&format!("{directory}/{stored}")).await.expect("it is readable");
            assert_eq!(stat.ephemeral_owner == 0, claim.kind == LeaseKind::OneShot, "{stored}");
            let status = ours.status(&claim.key).await.expect("the server serves");
            assert_eq!(status.state, dlock::lock::LockState::Held(mode));
            assert_eq!(ours.release(&claim.key, &claim.token).await, Ok(Release::Released), "{stored}");
            assert_eq!(contenders(&outside, &directory).await, Vec::<String>::new());
        }
        ours.close().await;
    }
}

#[tokio::test]
async fn every_mode_waits_behind_a_curator_mutex_and_before_one() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    let name = format!("_c_{CURATORS_GUID}-lock-");
    for mode in [Mode::Exclusive, Mode::Shared, Mode::Slots(2)] {
        let (ours, other) = (backend(server), backend(server));
        let (next, waits) = (of_mode(mode, waiting("curator")), Cell::new(false));
        let curator = create(&outside, "/dlock/curator", &name, "10.0.0.7").await;
        let refused = of_mode(mode, claim("curator"));
        assert!(matches!(other.acquire(&refused, &silently).await, Ok(Acquired::Held(_))), "{mode}");
        let turn = queue_up(&ours, &next, &waits).await;
        outside.delete(&curator, None).await.expect("it is ours");
        assert!(matches!(in_time(turn).await, Acquired::Granted(_)), "{mode}");
        // A mutex of Curator's that waits is ahead of everybody who comes later, whatever fits beside the holder.
        let curator = create(&outside, "/dlock/curator", &name, "10.0.0.7").await;
        let refused = of_mode(mode, claim("curator"));
        assert!(matches!(other.acquire(&refused, &silently).await, Ok(Acquired::Held(_))), "{mode}");
        outside.delete(&curator, None).await.expect("it is ours");
        ours.close().await;
        other.close().await;
    }
}

#[tokio::test]
async fn any_of_several_slots_makes_room_by_time_alone() {
    let server = ZooKeeper::shared();
    let slots = |claim: Claim| of_mode(Mode::Slots(2), claim);
    for (first, second) in [(LONG, SHORT), (SHORT, LONG)] {
        let (taking, ours) = (backend(server), backend(server));
        let leases = [first, second].map(|ttl| slots(one_shot("rooms", ttl)));
        let began = Instant::now();
        for lease in &leases {
            granted(&taking, lease).await;
        }
        let (next, waits) = (slots(waiting("rooms")), Cell::new(false));
        let turn = queue_up(&ours, &next, &waits).await;
        assert!(matches!(in_time(turn).await, Acquired::Granted(_)));
        assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
        let status = ours.status(&next.key).await.expect("the server serves");
        assert_eq!(status.holders.len(), 2, "the other lease stands");
        ours.close().await;
        for lease in leases {
            taking.release(&lease.key, &lease.token).await.expect("the server serves");
        }
        taking.close().await;
    }
}

#[tokio::test]
async fn a_waiter_for_a_slot_sees_a_lease_end_that_the_one_before_it_has_no_use_for_any_more() {
    let server = ZooKeeper::shared();
    let slots = |claim: Claim| of_mode(Mode::Slots(2), claim);
    let backends: Vec<_> = (0..4).map(|_| backend(server)).collect();
    let later = slots(one_shot("relay", SHORT * 2));
    let sooner = slots(one_shot("relay", SHORT));
    granted(&backends[0], &later).await;
    granted(&backends[1], &sooner).await;
    let claims = [slots(waiting("relay")), slots(waiting("relay"))];
    let waits = [Cell::new(false), Cell::new(false)];
    let first = queue_up(&backends[2], &claims[0], &waits[0]).await;
    let mut second = queue_up(&backends[3], &claims[1], &waits[1]).await;
    // The sooner lease lets the first in, which holds from then on and looks at nobody's lease.
    let Acquired::Granted(_) = in_time(async {
        tokio::select! { got = first => got, _ = &mut second => panic!("it is later") }
    })
    .await
    else {
        panic!("it may wait")
    };
    assert!(matches!(in_time(second).await, Acquired::Granted(_)));
    for ours in backends {
        ours.close().await;
    }
}

#[tokio::test]
async fn a_lease_that_ends_behind_a_reader_lets_a_foreign_waiter_go_on() {
    let server = ZooKeeper::shared();
    let (ours, last, outside) = (backend(server), backend(server), server.client().await);
    granted(&ours, &of_mode(Mode::Shared, one_shot("between", SHORT))).await;
    let reader = of_mode(Mode::Shared, claim("between"));
    granted(&ours, &reader).await;
    // It waits for both, and knows nothing of leases; the reader waits for nobody.
    let foreign = create(&outside, "/dlock/between", &format!("_c_{CURATORS_GUID}-lock-"), "10.0.0.7").await;
    let (next, waits) = (waiting("between"), Cell::new(false));
    let turn = queue_up(&last, &next, &waits).await;
    let mut turns = [turn];
    meanwhile(
        &mut turns,
        eventually("the lease is cleared away", async || contenders(&outside, "/dlock/between").await.len() == 3),
    )
    .await;
    assert_eq!(ours.release(&reader.key, &reader.token).await, Ok(Release::Released), "it has held all the time");
    outside.delete(&foreign, None).await.expect("it is ours");
    let [turn] = turns;
    assert!(matches!(in_time(turn).await, Acquired::Granted(_)));
    ours.close().await;
    last.close().await;
}

#[tokio::test]
async fn a_one_shot_that_waits_keeps_mode_and_place_when_it_is_granted() {
    let server = ZooKeeper::shared();
    let backends: Vec<_> = (0..3).map(|_| backend(server)).collect();
    let outside = server.client().await;
    let held = claim("places");
    granted(&backends[0], &held).await;
    let claims = [patient_one_shot("places", Mode::Shared), patient_one_shot("places", Mode::Shared)];
    let waits = [Cell::new(false), Cell::new(false)];
    let first = queue_up(&backends[1], &claims[0], &waits[0]).await;
    let second = queue_up(&backends[2], &claims[1], &waits[1]).await;
    let mut before = contenders(&outside, "/dlock/places").await;
    backends[0].release(&held.key, &held.token).await.expect("the server serves");
    let (one, other) = in_time(async { tokio::join!(first, second) }).await;
    assert!(matches!((one, other), (Acquired::Granted(_), Acquired::Granted(_))), "both read");
    for ours in backends {
        ours.close().await;
    }
    let mut after = contenders(&outside, "/dlock/places").await;
    before.retain(|name| name.contains("-shared-"));
    before.sort();
    after.sort();
    assert_eq!(after, before, "the names outlive the sessions");
    let elsewhere = backend(server);
    let status = elsewhere.status(&held.key).await.expect("the server serves");
    assert!(status.holders.iter().all(|holder| holder.phase == Phase::OneShot && holder.fence.is_none()), "{status:?}");
    for claim in claims {
        assert_eq!(elsewhere.release(&claim.key, &claim.token).await, Ok(Release::Released));
    }
    elsewhere.close().await;
}

#[tokio::test]
async fn who_counts_other_slots_than_the_first_is_refused_and_speaks_for_nobody_behind_it() {
    let server = ZooKeeper::shared();
    let (ours, other, outside) = (backend(server), backend(server), server.client().await);
    let slots = |total, claim: Claim| of_mode(Mode::Slots(total), claim);
    let held = slots(2, claim("number"));
    granted(&ours, &held).await;
    for wrong in [slots(3, claim("number")), slots(3, waiting("number"))] {
        let refused = in_time(other.acquire(&wrong, &silently)).await.expect_err("the numbers differ");
        assert_eq!(refused.kind, ErrorKind::Misconfigured);
        assert!(refused.message.contains("--slots 2"), "{refused}");
        assert_eq!(contenders(&outside, "/dlock/number").await.len(), 1, "our node is gone at once");
    }
    // As it stands for a moment in the queue, before it is refused.
    let passing = create(&outside, "/dlock/number", &format!("_c_{CURATORS_GUID}-slots3-lock-"), "{}").await;
    let (next, waits) = (slots(2, waiting("number")), Cell::new(false));
    let turn = queue_up(&other, &next, &waits).await;
    outside.delete(&passing, None).await.expect("it is ours");
    assert!(matches!(in_time(turn).await, Acquired::Granted(_)));
    ours.close().await;
    other.close().await;
}

#[tokio::test]
async fn each_family_refuses_the_directory_of_another_and_says_which_it_is() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    for theirs in Family::ALL {
        let prefix = match theirs {
            Family::Dlock => format!("_c_{CURATORS_GUID}-lock-"),
            Family::CuratorReadWrite => format!("_c_{CURATORS_GUID}-__READ__"),
            Family::Kazoo => "0123456789abcdef0123456789abcdef__rlock__".to_owned(),
        };
        let directory = format!("/dlock/{}", theirs.layout());
        let foreign = create(&outside, &directory, &prefix, "theirs").await;
        for family in Family::ALL.into_iter().filter(|family| *family != theirs) {
            for patience in [Patience::Refuse, Patience::Queue { reconnect_for: TTL }] {
                let ours = backend_of(family, &server.address(), "dlock");
                let claim = Claim { patience, ..of_mode(Mode::Shared, claim(theirs.layout())) };
                let refused = in_time(ours.acquire(&claim, &silently)).await.expect_err("neither would see the other");
                assert_eq!(refused.kind, ErrorKind::Misconfigured, "{refused}");
                let advice = format!("give --layout {} to share it", theirs.layout());
                assert!(refused.message.contains(&advice), "{refused}");
                assert_eq!(contenders(&outside, &directory).await.len(), 1, "our node is gone at once");
                ours.close().await;
            }
        }
        let ours = backend_of(theirs, &server.address(), "dlock");
        let shared = of_mode(Mode::Shared, claim(theirs.layout()));
        let acquired = ours.acquire(&shared, &silently).await.expect("its own family is no stranger");
        assert_eq!(matches!(acquired, Acquired::Granted(_)), theirs != Family::Dlock, "{theirs:?}");
        outside.delete(&foreign, None).await.expect("it is ours");
        ours.close().await;
    }
}

#[tokio::test]
async fn a_stranger_that_comes_later_is_found_at_the_next_look() {
    let server = ZooKeeper::shared();
    let (holder, ours, outside) = (backend(server), backend(server), server.client().await);
    let held = claim("joined");
    granted(&holder, &held).await;
    let (next, waits) = (waiting("joined"), Cell::new(false));
    let note = |_: Progress| waits.set(true);
    let mut turn = Box::pin(ours.acquire(&next, &note));
    tokio::select! {
        _ = &mut turn => panic!("it is held"),
        () = eventually("it waits", async || waits.get()) => {}
    }
    let stranger = create(&outside, "/dlock/joined", "0123456789abcdef0123456789abcdef__lock__", "").await;
    assert!(turn.as_mut().now_or_never().is_none(), "a stranger wakes nobody");
    holder.release(&held.key, &held.token).await.expect("the server serves");
    let refused = in_time(turn).await.expect_err("it would not be alone");
    assert_eq!(refused.kind, ErrorKind::Misconfigured, "{refused}");
    assert_eq!(contenders(&outside, "/dlock/joined").await.len(), 1);
    outside.delete(&stranger, None).await.expect("it is ours");
    holder.close().await;
    ours.close().await;
}

#[tokio::test]
async fn a_family_without_slots_says_so() {
    let server = ZooKeeper::shared();
    for family in [Family::CuratorReadWrite, Family::Kazoo] {
        let ours = backend_of(family, &server.address(), "dlock");
        let refused = ours.acquire(&of_mode(Mode::Slots(2), claim("slotless")), &silently).await;
        assert_eq!(refused.expect_err("there is no such name").kind, ErrorKind::Usage);
        ours.close().await;
    }
}

#[tokio::test]
async fn kazoos_directories_do_not_go_with_their_last_contender() {
    let server = ZooKeeper::start(&["-Dznode.container.checkIntervalMs=50"]);
    let outside = server.client().await;
    for (family, stays) in [(Family::Dlock, false), (Family::Kazoo, true)] {
        let ours = backend_of(family, &server.address(), "");
        let held = claim(&format!("tidy/{}", family.layout()));
        granted(&ours, &held).await;
        ours.release(&held.key, &held.token).await.expect("the server serves");
        ours.close().await;
        let path = format!("/tidy/{}", family.layout());
        if stays {
            // The server has looked for containers since, and taken one that was made later.
            granted(&backend_at(&server.address(), ""), &claim("witness/of/time")).await;
            let there = async || outside.check_stat("/witness/of/time").await.expect("the server serves").is_some();
            eventually("a container goes", async || !there().await).await;
        } else {
            let there = async || outside.check_stat(&path).await.expect("the server serves").is_some();
            eventually("a container goes", async || !there().await).await;
        }
        assert_eq!(outside.check_stat(&path).await.expect("the server serves").is_some(), stays, "{path}");
    }
}

#[test]
fn what_a_layout_or_a_path_cannot_be_is_a_matter_of_usage_and_asks_no_server() {
    // Nobody listens there: whoever asked would end with 69.
    let refused = |options: &[&str]| {
        let call =
            ["run", "--zk", "127.0.0.1:1", "-w1"].into_iter().chain(options.iter().copied()).chain(["--", "true"]);
        Dlock::new(call).finish().exits_with(64)
    };
    for layout in ["curator-rw", "kazoo"] {
        refused(&["-k", "job", "--layout", layout, "--slots", "2"]).complains(&["--slots", layout]);
    }
    refused(&["-k", "job", "--layout", "redisson"]).complains(&["belongs to the redis backend", "curator-rw or kazoo"]);
    for path in ["/", "a//b", "/a/", "a/../b", "./a", "zookeeper", "/zookeeper/quota", "%clock"] {
        refused(&["-k", path, "--namespace", ""]).complains(&["cannot acquire ", "path of a ZooKeeper node"]);
    }
}

#[test]
fn a_nested_call_and_the_next_step_of_a_script_use_the_same_layout() {
    let server = ZooKeeper::shared();
    let call = |args: &[&str]| {
        let place = ["--zk".to_owned(), server.address(), "--layout".into(), "kazoo".into()];
        let (verb, rest) = args.split_first().expect("a subcommand");
        Dlock::new([(*verb).to_owned()].into_iter().chain(place).chain(rest.iter().map(ToString::to_string)))
    };
    let script = "test \"$DLOCK_LAYOUT\" = kazoo && test -n \"$DLOCK_FENCE\"";
    call(&["run", "-k", "handed-on", "--ttl", "4s", "--", "sh", "-c", script]).finish().succeeds();
    let exports = call(&["acquire", "-k", "handed-on", "--ttl", "9s", "--export"]).finish().succeeds();
    assert!(exports.said().contains("DLOCK_LAYOUT=kazoo"), "{}", exports.account());
    let status = call(&["status", "--json", "handed-on"]).finish().succeeds();
    assert!(status.said().contains(r#""layout":"kazoo""#), "{}", status.account());
}
