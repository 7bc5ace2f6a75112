//! What a holder leaves behind in ZooKeeper: that its place is never empty, also for clients that know nothing of leases.

use std::time::{Duration, Instant};

use dlock::lock::{Acquired, Claim, LockBackend, Parting, Phase, Progress, Release, Retention};
use serde_json::Value;
use zookeeper_client::{Acls, Client, CreateMode};

use super::ensemble::{ZooKeeper, contenders};
use super::{backend, backend_at, claim, granted, in_time, key};
use crate::support::{Afterwards, Kind, Loser, Place, eventually};

const LONG: Duration = Duration::from_secs(3600);

fn holding(name: &str, hold_at_least: Duration) -> Claim {
    Claim { retention: Retention { hold_at_least, lock_delay: Duration::ZERO }, ..claim(name) }
}

/// The one child of the key's directory, and what stands in it.
async fn only_node(outside: &Client, name: &str) -> (String, Value, zookeeper_client::Stat) {
    let directory = format!("/dlock/{name}");
    let names = contenders(outside, &directory).await;
    assert_eq!(names.len(), 1, "{names:?}");
    let path = format!("{directory}/{}", names[0]);
    let (data, stat) = outside.get_data(&path).await.expect("it stands there");
    (path, serde_json::from_slice(&data).expect("JSON"), stat)
}

#[tokio::test]
async fn what_is_left_is_what_the_protocol_says() {
    let server = ZooKeeper::shared();
    let (ours, outside) = (backend(server), server.client().await);
    let held = holding("left", LONG);
    let lease = granted(&ours, &held).await;
    let (path, before, _) = only_node(&outside, "left").await;
    assert_eq!(ours.part(&held.key, &held.token, Parting::Done).await, Ok(Release::Released));
    in_time(ours.close()).await;
    let (same, after, stat) = only_node(&outside, "left").await;
    assert_eq!((same, stat.ephemeral_owner), (path, 0), "the same name, of no session");
    assert_eq!((&after["lease"], &after["owner"]), (&"held-at-least".into(), &before["owner"]));
    assert_eq!(after["fence"].as_u64(), lease.fence.map(|fence| fence.0));
    let remainder = after["ttl_ms"].as_u64().expect("a number");
    assert!((3_590_000..=3_600_000).contains(&remainder), "{after}");
    let next = backend(server);
    let status = next.status(&key("left")).await.expect("it serves");
    assert_eq!((status.holders[0].phase, status.holders[0].fence), (Phase::HeldAtLeast, lease.fence));
    assert_eq!(next.release(&held.key, &held.token).await, Ok(Release::NotHeld), "it owns nothing");
    only_node(&outside, "left").await;
    next.close().await;
}

#[tokio::test]
async fn a_parting_whose_reply_was_lost_is_found_to_be_done() {
    let server = ZooKeeper::shared();
    let outside = server.client().await;
    let loser = Loser::before(server.port(), b"held-at-least", Afterwards::HangsUp);
    let ours = backend_at(&format!("127.0.0.1:{}", loser.port), "dlock");
    let held = holding("unheard", LONG);
    granted(&ours, &held).await;
    // As a caller does: again, until the outcome is known.
    let mut parted = in_time(ours.part(&held.key, &held.token, Parting::Done)).await;
    assert!(loser.has_struck());
    while parted.is_err() {
        parted = in_time(ours.part(&held.key, &held.token, Parting::Done)).await;
    }
    assert_eq!(parted, Ok(Release::Released));
    in_time(ours.close()).await;
    let (_, after, stat) = only_node(&outside, "unheard").await;
    assert_eq!((&after["lease"], stat.ephemeral_owner), (&"held-at-least".into(), 0));
}

/// As Curator's `InterProcessMutex` does: a node of its own, a watch on the one before it, and a new look when that fires.
async fn curator_gets_in(client: Client, directory: &str, entered: &dyn Fn()) -> (Instant, Client) {
    let prefix = format!("{directory}/_c_{}-lock-", uuid::Uuid::new_v4());
    let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
    let (_, sequence) = client.create(&prefix, b"127.0.0.1", &options).await.expect("the directory stands");
    let own = format!("{prefix}{sequence}");
    let number = |name: &str| name.rsplit("lock-").next().unwrap_or_default().to_owned();
    entered();
    loop {
        let mut names = contenders(&client, directory).await;
        names.sort_by_key(|name| number(name));
        let position = names.iter().position(|name| own.ends_with(name)).expect("our own node is there");
        if position == 0 {
            return (Instant::now(), client);
        }
        let before = format!("{directory}/{}", names[position - 1]);
        // `getData` with a watcher, as Curator watches since 5.
        if let Ok((_, _, watch)) = client.get_and_watch_data(&before).await {
            watch.changed().await;
        }
    }
}

#[tokio::test]
async fn a_curator_client_behind_it_sees_no_gap_and_gets_in_at_the_end() {
    const MINIMUM: Duration = Duration::from_secs(3);
    let server = ZooKeeper::shared();
    let (ours, curator, spy) = (backend(server), server.client().await, server.client().await);
    let began = Instant::now();
    let held = holding("curator", MINIMUM);
    granted(&ours, &held).await;
    let (entered, queued) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let note = || entered.notify_one();
    let waiting = curator_gets_in(curator, "/dlock/curator", &note);
    let parting = async {
        entered.notified().await;
        // It has seen a holder that runs: what becomes of that it has to be told.
        queued.notified().await;
        assert_eq!(ours.part(&held.key, &held.token, Parting::Done).await, Ok(Release::Released));
        ours.close().await;
    };
    // A dlock behind the two: what ends by time it sees to.
    let last = backend(server);
    let next = super::waiting("curator");
    let behind = async {
        while contenders(&spy, "/dlock/curator").await.len() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let waits = |_: Progress| queued.notify_one();
        assert!(matches!(last.acquire(&next, &waits).await, Ok(Acquired::Granted(_))));
    };
    let let_in = async {
        let (at, curator) = waiting.await;
        assert!(at.duration_since(began) >= MINIMUM, "it got in after {:?}", at.duration_since(began));
        let mine = contenders(&curator, "/dlock/curator").await;
        assert_eq!(mine.len(), 2, "itself and the dlock behind it: {mine:?}");
        drop(curator);
    };
    in_time(async { tokio::join!(let_in, parting, behind) }).await;
    assert_eq!(last.release(&next.key, &next.token).await, Ok(Release::Released));
    last.close().await;
}

/// Whoever lists all the time never finds the place empty.
#[tokio::test]
async fn no_list_ever_shows_the_place_empty() {
    let server = ZooKeeper::shared();
    let (ours, spy) = (backend(server), server.client().await);
    for round in 0..20 {
        let name = format!("gap{round}");
        let held = holding(&name, LONG);
        granted(&ours, &held).await;
        let directory = format!("/dlock/{name}");
        let done = std::cell::Cell::new(false);
        let looking = async {
            let mut looks = 0;
            while !done.get() || looks < 3 {
                assert_eq!(contenders(&spy, &directory).await.len(), 1);
                looks += 1;
            }
        };
        let parting = async {
            assert_eq!(ours.part(&held.key, &held.token, Parting::Done).await, Ok(Release::Released));
            done.set(true);
        };
        in_time(async { tokio::join!(looking, parting) }).await;
    }
    ours.close().await;
}

#[tokio::test]
async fn where_there_are_ttl_nodes_one_is_left() {
    let server = ZooKeeper::start(&["-Dzookeeper.extendedTypesEnabled=true"]);
    let (ours, outside) = (backend(&server), server.client().await);
    let held = holding("timed", LONG);
    granted(&ours, &held).await;
    assert_eq!(ours.part(&held.key, &held.token, Parting::Done).await, Ok(Release::Released));
    let (_, after, _) = only_node(&outside, "timed").await;
    let node_ttl = after["node_ttl_ms"].as_u64().expect("it goes by itself");
    let expected = after["ttl_ms"].as_u64().expect("a number") * 2 + 120_000;
    assert!(node_ttl.abs_diff(expected) <= 2, "but for whole milliseconds: {after}");
    ours.close().await;
}

/// Closing the session would let the next one in at once; it is left to the servers to end.
#[tokio::test]
async fn a_session_whose_delay_could_not_be_left_is_not_closed() {
    let server = ZooKeeper::start_talkative();
    let outside = server.client().await;
    let proxy = crate::support::Proxy::before(server.port());
    let ours = backend_at(&format!("127.0.0.1:{}", proxy.port), "dlock");
    let delay = Duration::from_secs(20);
    let held = Claim { retention: Retention { hold_at_least: Duration::ZERO, lock_delay: delay }, ..claim("unsaid") };
    granted(&ours, &held).await;
    // Nothing is carried out of what is asked now.
    proxy.fall_silent();
    let parted =
        tokio::time::timeout(Duration::from_millis(300), ours.part(&held.key, &held.token, Parting::Lost)).await;
    assert!(parted.is_err(), "nobody answers: {parted:?}");
    in_time(ours.close()).await;
    let (_, data, stat) = only_node(&outside, "unsaid").await;
    assert_ne!(stat.ephemeral_owner, 0);
    assert_eq!(data["lock_delay_ms"], 20_000, "{data}");
}

#[test]
fn a_delay_that_the_servers_have_no_room_for_is_refused() {
    let place = Place::shared(Kind::ZooKeeper);
    let run = place.dlock(["run", "-k", "job", "--ttl", "100s", "--lock-delay", "60s", "--", "true"]).finish();
    run.exits_with(78).complains(&["1s to 2m", "--ttl 1m 40s", "--lock-delay 1m", "3m 10s"]);
    let run = place.dlock(["run", "-k", "job", "--lock-delay", "79s", "--", "true"]).finish();
    run.exits_with(78).complains(&["1s to 2m", "--lock-delay 1m 19s", "4s"]);
    // Without --ttl the lease is what is left.
    let script = "echo ready; cat >/dev/null";
    let run = place.dlock(["run", "-k", "job", "--lock-delay", "70s", "--", "sh", "-c", script]).stdin_open().start();
    run.says("ready");
    assert_eq!(place.status("job")["holders"][0]["ttl_ms"], 15_000);
    run.let_go();
    run.wait().succeeds();
    eventually("it is free", || place.is_free("job"));
}

#[test]
fn the_layouts_of_other_libraries_hold_like_dlocks_own() {
    for layout in ["kazoo", "curator-rw"] {
        let place = Place::shared(Kind::ZooKeeper);
        let began = Instant::now();
        let run = |options: &[&str]| {
            let args = ["run", "--layout", layout, "-k", "job"].into_iter().chain(options.iter().copied());
            place.dlock_with(args.chain(["--", "true"])).finish()
        };
        run(&["--hold-at-least", "3s"]).succeeds();
        run(&["-n"]).exits_with(75);
        run(&["-w", "20"]).succeeds();
        assert!(began.elapsed() >= Duration::from_secs(3), "{layout}: {:?}", began.elapsed());
    }
}
