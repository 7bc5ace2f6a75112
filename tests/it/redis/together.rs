//! Several locks at a stroke: all that are wanted, or none.

use std::time::Duration;

use dlock::backend::redis::RedisBackend;
use dlock::lock::{
    Claim, Lease, LockBackend as _, LockState, Mode, OwnerToken, Parting, Release, Renewal, Retention, Together,
};
use tokio::task::LocalSet;

use super::server::Server;
use super::trips::requests;
use super::{claim, granted, key, names, one_shot, refused, unheard, until_status, waiting};
use crate::support::{Kind, Place};

const TTL: Duration = Duration::from_secs(30);

const MODES: [Mode; 3] = [Mode::Exclusive, Mode::Shared, Mode::Slots(2)];

fn of(mode: Mode, name: &str) -> Claim {
    Claim { mode, ..claim(name, TTL) }
}

/// Claims of one owner.
fn claims(mode: Mode, names: &[&str]) -> Vec<Claim> {
    let token = OwnerToken::random();
    names.iter().map(|name| Claim { token: token.clone(), ..of(mode, name) }).collect()
}

async fn taken(backend: &RedisBackend, claims: &[Claim]) -> Option<Vec<Lease>> {
    let claims: Vec<&Claim> = claims.iter().collect();
    match backend.acquire_together(&claims, &|_, _| {}).await.expect("the server serves") {
        Together::Granted(leases) => Some(leases),
        Together::Apart => None,
        Together::Unclear => panic!("there is nothing wrong with any of them"),
    }
}

#[tokio::test]
async fn each_is_what_it_would_be_by_itself() {
    let server = Server::start(&[]);
    let (backend, other) = (server.backend(), server.backend());
    for mode in MODES {
        let wanted = claims(mode, &["a", "b", "c"]);
        let leases = taken(&backend, &wanted).await.expect("nobody has any of them");
        for (claim, lease) in wanted.iter().zip(&leases) {
            assert_eq!((&lease.key, &lease.token, lease.ttl), (&claim.key, &claim.token, TTL));
            assert_eq!(lease.fence.is_some(), mode == Mode::Exclusive);
            let status = other.status(&claim.key).await.expect("status is answered");
            assert_eq!((status.state, status.fence), (LockState::Held(mode), lease.fence), "{status:?}");
            assert!(matches!(backend.renew(lease).await, Ok(Renewal::Renewed { .. })));
            refused(&other, &of(Mode::Exclusive, claim.key.as_str())).await;
        }
        for lease in &leases {
            assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
        }
    }
    let again = taken(&backend, &claims(Mode::Exclusive, &["a", "b"])).await.expect("they are free");
    let before = server.command::<u64>(&["GET", "{dlock:c}:dlock:fence"]);
    assert!(again[0].fence.is_some_and(|fence| fence.0 > before), "numbers go on rising");
}

/// Whatever stands at one key: all are granted where `acquire` would grant each, and otherwise nothing is written.
#[tokio::test]
async fn all_are_granted_where_each_would_be_and_otherwise_nothing_is_touched() {
    let retained = Retention { lock_delay: Duration::from_secs(60), ..Retention::default() };
    for mode in MODES {
        for state in ["free", "held", "read", "slots", "other slots", "awaited", "delayed", "foreign", "list", "ended"]
        {
            let server = Server::start(&[]);
            let (holder, ours) = (server.backend(), server.backend());
            let local = LocalSet::new();
            local
                .run_until(async {
                    match state {
                        "held" => drop(granted(&holder, &of(Mode::Exclusive, "b")).await),
                        "read" => drop(granted(&holder, &of(Mode::Shared, "b")).await),
                        "slots" => drop(granted(&holder, &of(Mode::Slots(2), "b")).await),
                        "other slots" => drop(granted(&holder, &of(Mode::Slots(3), "b")).await),
                        "awaited" => {
                            drop(granted(&holder, &of(Mode::Shared, "b")).await);
                            let writer = server.backend();
                            tokio::task::spawn_local(async move {
                                let waits = waiting(of(Mode::Exclusive, "b"));
                                writer.acquire(&waits, &unheard).await.ok();
                            });
                            until_status(&ours, "b", "it waits", |status| !status.waiters.is_empty()).await;
                        }
                        "delayed" => {
                            let claim = Claim { retention: retained, ..of(Mode::Exclusive, "b") };
                            let lease = granted(&holder, &claim).await;
                            holder.part(&lease.key, &lease.token, Parting::Lost).await.expect("it parts");
                        }
                        "foreign" => server.command(&["SET", "dlock:b", "somebody", "PX", "60000"]),
                        "list" => server.command::<()>(&["RPUSH", "dlock:b", "x"]),
                        "ended" => {
                            let lease = granted(&holder, &of(Mode::Exclusive, "b")).await;
                            holder.release(&lease.key, &lease.token).await.expect("it is released");
                        }
                        _ => {}
                    }
                    let would_be = matches!(
                        (state, mode),
                        ("free" | "ended", _) | ("read", Mode::Shared) | ("slots", Mode::Slots(2))
                    );
                    let before = names(&server);
                    let leases = taken(&ours, &claims(mode, &["a", "b", "c"])).await;
                    assert_eq!(leases.is_some(), would_be, "{state}, {mode}");
                    if !would_be {
                        assert_eq!(names(&server), before, "{state}, {mode}");
                    }
                })
                .await;
        }
    }
}

#[test]
fn several_keys_that_nobody_has_are_one_request_and_others_one_more() {
    let place = Place::private(Kind::Redis);
    let asked = |words: &[&str], status: i32| {
        requests(&place, || drop(place.dlock_with(words.iter().copied()).finish().exits_with(status)))
    };
    for options in [&[][..], &["-s"], &["--slots", "2"], &["-n"], &["-w", "5s"], &["--hold-at-least", "1ms"]] {
        let words = [&["run"], options, &["-k", "a", "-k", "b", "-k", "c", "--", "true"]].concat();
        assert_eq!(asked(&words, 0), ["EVAL"; 4], "{options:?}: all at a stroke, each released");
    }
    let token = place.acquire("b", "60s");
    let refused = asked(&["run", "-n", "-k", "a", "-k", "b", "-k", "c", "--", "true"], 75);
    assert_eq!(refused, ["EVAL"; 4], "at a stroke, the first, the second, back with the first");
    place.dlock(["release", "-k", "b", "--token", &token]).finish().succeeds();
    let acquire = |keys: [&str; 2], ttl: &str| asked(&["acquire", "-k", keys[0], "-k", keys[1], "--ttl", ttl], 0);
    assert_eq!(acquire(["a", "b"], "10s"), ["EVAL"], "both at a stroke, to the same end");
    assert_eq!(acquire(["c", "d"], "60s"), ["EVAL"; 4], "ten seconds at a stroke, each raised, the first once more");
}

/// A script of Redis that fails half-way leaves what it has done until then.
#[test]
fn what_a_script_that_failed_half_way_took_is_given_back() {
    let place = Place::private(Kind::Redis);
    let () = ::redis::cmd("RPUSH")
        .arg(format!("{{{}:b}}:dlock:fence", place.namespace))
        .arg("no number")
        .query(&mut place.redis())
        .expect("the server serves");
    let failed = place.dlock(["run", "-k", "a", "-k", "b", "-k", "c", "--", "true"]).finish();
    let failed = failed.exits_with(78).complains(&["cannot acquire \"b\"", "keeps data of another type"]);
    for key in ["a", "b", "c"] {
        assert_eq!(place.status(key)["state"], "free", "{key}: {}", failed.account());
    }
}

/// As a signal ends it: the request is on its way, and arrives after the releases.
#[tokio::test]
async fn what_arrives_after_its_release_takes_nothing() {
    let server = Server::start(&[]);
    let backend = server.backend();
    backend.status(&key("a")).await.expect("status is answered");
    let wanted: Vec<Claim> = claims(Mode::Exclusive, &["a", "b"]).into_iter().map(one_shot).collect();
    let both: Vec<&Claim> = wanted.iter().collect();
    server.freeze();
    let limit = Duration::from_millis(200);
    let gave_up = tokio::time::timeout(limit, backend.acquire_together(&both, &|_, _| {})).await;
    assert!(gave_up.is_err(), "a frozen server answers nothing");
    let releases = async {
        for claim in &wanted {
            backend.release(&claim.key, &claim.token).await.expect("a release is answered");
        }
    };
    tokio::join!(releases, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.thaw();
    });
    for claim in &wanted {
        until_status(&server.backend(), claim.key.as_str(), "it is free", |status| status.state == LockState::Free)
            .await;
    }
    // And it stays so: the very request, sent once more, takes nothing.
    assert!(taken(&backend, &wanted).await.is_none());
    assert_eq!(server.backend().status(&key("b")).await.map(|status| status.state), Ok(LockState::Free));
}
