//! Who gets in beside whom, in which order, and at what cost.

use dlock::lock::{ErrorKind, LockBackend as _, LockState, Mode, Patience, Phase};
use tokio::task::LocalSet;

use super::super::server::Server;
use super::super::{failed, granted, key, names, refused, until_status, waiting};
use super::{HOLDERS, at_once, calls, foreigner_gets_in, give_up, of, queued, reader, slot, writer};

#[tokio::test]
async fn readers_hold_together_without_a_fence_and_keep_writers_slots_and_foreign_clients_out() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let one = granted(&backend, &reader()).await;
    let two = granted(&backend, &reader()).await;
    assert_eq!((one.fence, two.fence), (None, None));
    for other in [writer(), slot(3)] {
        let contention = refused(&backend, &other).await;
        assert_eq!((contention.others, contention.ahead), (1, Some(0)));
        assert_eq!(contention.holder.and_then(|holder| holder.host).as_deref(), Some("web-3"));
    }
    assert!(!foreigner_gets_in(&server));
    give_up(&backend, &one).await;
    assert!(!foreigner_gets_in(&server));
    refused(&backend, &writer()).await;
    give_up(&backend, &two).await;
    assert!(foreigner_gets_in(&server));
    granted(&backend, &writer()).await;
    refused(&backend, &reader()).await;
}

#[tokio::test]
async fn what_is_stored_of_sharers_is_what_the_protocol_says() {
    let server = Server::start(&[]);
    let backend = server.backend();
    let one = granted(&backend, &slot(3)).await;
    let two = granted(&backend, &slot(3)).await;
    assert_eq!(names(&server), ["dlock:job", HOLDERS]);
    let value: String = server.command(&["GET", "dlock:job"]);
    let words: Vec<&str> = value.split(' ').collect();
    assert_eq!(words[1..4], ["dlock/1", "slots:3", "running"], "{value}");
    assert_eq!(words[6], "0", "{value}");
    assert_eq!(server.command::<String>(&["HGET", HOLDERS, "generation"]), words[0]);
    let entry: String = server.command(&["HGET", HOLDERS, two.token.secret()]);
    let words: Vec<&str> = entry.split(' ').collect();
    assert_eq!((words[1], words[3], words[4]), ("running", "30000", r#"{"host":"web-3","pid":812}"#), "{entry}");
    let left = |name: &str| server.command::<i64>(&["PTTL", name]);
    assert!((20_000..=30_000).contains(&left("dlock:job")) && (20_000..=30_000).contains(&left(HOLDERS)));
    give_up(&backend, &one).await;
    give_up(&backend, &two).await;
    assert_eq!(names(&server), ["{dlock:job}:dlock:receipts"]);
}

#[tokio::test]
async fn a_reader_waits_behind_a_waiting_writer_and_gets_in_after_it() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let first = granted(&backend, &reader()).await;
            let writes = queued(&server, writer(), 1).await;
            refused(&backend, &reader()).await;
            let reads = queued(&server, reader(), 2).await;
            give_up(&backend, &first).await;
            let written = at_once(writes).await;
            assert!(!reads.is_finished());
            assert!(written.fence.is_some());
            assert!(!foreigner_gets_in(&server));
            give_up(&backend, &written).await;
            at_once(reads).await;
            assert!(!foreigner_gets_in(&server));
        })
        .await;
}

#[tokio::test]
async fn readers_behind_a_writer_that_leaves_the_queue_get_in_at_once() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            granted(&backend, &reader()).await;
            let (leaver, leaving) = (server.backend(), waiting(writer()));
            let mut contender = Box::pin(leaver.acquire(&leaving, &super::super::unheard));
            let queues = until_status(&backend, "job", "it queues", |status| status.waiters.len() == 1);
            tokio::select! {
                biased;
                outcome = &mut contender => panic!("{outcome:?}"),
                () = queues => {}
            }
            let readers = [queued(&server, reader(), 2).await, queued(&server, reader(), 3).await];
            drop(contender);
            leaver.release(&leaving.key, &leaving.token).await.expect("a release is answered");
            for reads in readers {
                at_once(reads).await;
            }
        })
        .await;
}

#[tokio::test]
async fn the_modes_are_served_in_the_order_in_which_they_came() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let first = granted(&backend, &writer()).await;
            let mut tasks = Vec::new();
            for (place, mode) in
                [Mode::Shared, Mode::Shared, Mode::Exclusive, Mode::Slots(2), Mode::Slots(2), Mode::Slots(2)]
                    .into_iter()
                    .chain([Mode::Shared])
                    .enumerate()
            {
                tasks.push(queued(&server, of(mode, super::TTL), place + 1).await);
            }
            let mut tasks = tasks.into_iter();
            let mut next = || tasks.next().expect("one for each mode");
            let status = backend.status(&key("job")).await.expect("status is answered");
            let modes: Vec<Mode> = status.waiters.iter().map(|waiter| waiter.mode).collect();
            assert_eq!((modes[0], modes[2], modes[5]), (Mode::Shared, Mode::Exclusive, Mode::Slots(2)));
            give_up(&backend, &first).await;
            let readers = [at_once(next()).await, at_once(next()).await];
            let status = backend.status(&key("job")).await.expect("status is answered");
            assert_eq!((status.holders.len(), status.waiters.len()), (2, 5), "{status:?}");
            give_up(&backend, &readers[0]).await;
            give_up(&backend, &readers[1]).await;
            let written = at_once(next()).await;
            give_up(&backend, &written).await;
            let slots = [at_once(next()).await, at_once(next()).await];
            let (third, last) = (next(), next());
            give_up(&backend, &slots[1]).await;
            let third = at_once(third).await;
            assert!(!last.is_finished());
            give_up(&backend, &slots[0]).await;
            give_up(&backend, &third).await;
            let last = at_once(last).await;
            give_up(&backend, &last).await;
            let left: Vec<String> = names(&server);
            assert_eq!(left, ["{dlock:job}:dlock:fence", "{dlock:job}:dlock:receipts"]);
        })
        .await;
}

#[tokio::test]
async fn another_number_of_slots_is_refused_while_anybody_holds_or_awaits_them() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let patient = || Patience::Queue { reconnect_for: super::TTL };
            let differs = async || {
                for patience in [Patience::Refuse, patient()] {
                    let other = dlock::lock::Claim { patience, ..slot(5) };
                    let error = failed(&server.backend(), &other).await;
                    assert_eq!(error.kind, ErrorKind::Misconfigured, "{error}");
                    assert!(error.message.contains("--slots 3"), "{error}");
                }
            };
            let holds = granted(&backend, &slot(3)).await;
            differs().await;
            // The recorded number stays while somebody waits, whoever holds.
            let writes = queued(&server, writer(), 1).await;
            give_up(&backend, &holds).await;
            let written = at_once(writes).await;
            refused(&backend, &slot(5)).await;
            let waits = queued(&server, slot(3), 1).await;
            differs().await;
            give_up(&backend, &written).await;
            let slot_of_3 = at_once(waits).await;
            differs().await;
            give_up(&backend, &slot_of_3).await;
            granted(&backend, &slot(5)).await;
        })
        .await;
}

#[tokio::test]
async fn a_dead_waiter_for_another_number_of_slots_is_in_nobodys_way() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let written = granted(&backend, &writer()).await;
            let dies = queued(&server, slot(3), 1).await;
            dies.abort();
            assert!(dies.await.is_err());
            while !server.command::<Vec<String>>(&["PUBSUB", "CHANNELS", "*"]).is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            refused(&backend, &slot(5)).await;
            give_up(&backend, &written).await;
            granted(&backend, &slot(5)).await;
        })
        .await;
}

#[tokio::test]
async fn readers_wake_once_each_and_a_writer_behind_many_readers_is_woken_by_the_last_alone() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let first = granted(&backend, &writer()).await;
            let mut readers = Vec::new();
            for place in 1..=10 {
                readers.push(queued(&server, reader(), place).await);
            }
            let writes = queued(&server, writer(), 11).await;
            let counts = || (calls(&server, "publish"), calls(&server, "eval"));
            let looks_at_all = calls(&server, "hgetall");
            let before = counts();
            give_up(&backend, &first).await;
            let mut leases = Vec::new();
            for reads in readers {
                leases.push(at_once(reads).await);
            }
            let all_in = counts();
            assert_eq!(all_in.0 - before.0, 10, "one message for each reader that may enter");
            assert_eq!(all_in.1 - before.1, 2 + 10, "one release, in two steps before readers, and a confirm of each");
            assert_eq!(calls(&server, "hgetall"), looks_at_all, "what a reader costs grows with the readers");
            let last = leases.pop().expect("ten");
            for lease in &leases {
                give_up(&backend, lease).await;
            }
            let one_left = counts();
            assert_eq!((one_left.0 - all_in.0, one_left.1 - all_in.1), (0, 9), "nobody may enter yet");
            give_up(&backend, &last).await;
            at_once(writes).await;
            let over = counts();
            assert_eq!((over.0 - one_left.0, over.1 - one_left.1), (1, 2), "release and confirm");
        })
        .await;
}

#[tokio::test]
async fn a_slot_that_is_given_up_wakes_one_and_costs_two_requests_whoever_waits() {
    for waiters in [2, 20] {
        let server = Server::start(&[]);
        LocalSet::new()
            .run_until(async {
                let backend = server.backend();
                let one = granted(&backend, &slot(2)).await;
                granted(&backend, &slot(2)).await;
                let mut tasks = Vec::new();
                for place in 1..=waiters {
                    tasks.push(queued(&server, slot(2), place).await);
                }
                let before = (calls(&server, "publish"), calls(&server, "eval"));
                give_up(&backend, &one).await;
                at_once(tasks.remove(0)).await;
                let after = (calls(&server, "publish"), calls(&server, "eval"));
                assert_eq!((after.0 - before.0, after.1 - before.1), (1, 2), "{waiters} waiters");
                assert!(tasks.iter().all(|task| !task.is_finished()));
            })
            .await;
    }
}

#[tokio::test]
async fn status_shows_every_sharer_and_what_was_offered_is_no_waiter_any_more() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let backend = server.backend();
            let one = granted(&backend, &slot(2)).await;
            let two = granted(&backend, &slot(2)).await;
            let (frozen, frozen_claim) = (server.backend(), waiting(slot(2)));
            let mut contender = Box::pin(frozen.acquire(&frozen_claim, &super::super::unheard));
            let queues = until_status(&backend, "job", "it queues", |status| status.waiters.len() == 1);
            tokio::select! {
                biased;
                outcome = &mut contender => panic!("{outcome:?}"),
                () = queues => {}
            }
            let status = backend.status(&key("job")).await.expect("status is answered");
            assert_eq!((status.state, status.fence), (LockState::Held(Mode::Slots(2)), None));
            let shown: Vec<&str> = status.holders.iter().map(|holder| holder.id.as_str()).collect();
            assert_eq!(shown, [one.token.id(), two.token.id()]);
            let entry = &status.holders[1];
            assert_eq!((entry.phase, entry.ttl), (Phase::Running, Some(super::TTL)));
            assert!(entry.since.is_some() && entry.remaining.is_some_and(|left| left <= super::TTL));
            give_up(&backend, &one).await;
            // Not polled, it does not confirm: what it was offered counts as held until then.
            let status = backend.status(&key("job")).await.expect("status is answered");
            let shown: Vec<&str> = status.holders.iter().map(|holder| holder.id.as_str()).collect();
            assert_eq!(shown, [two.token.id(), frozen_claim.token.id()], "{status:?}");
            assert!(status.waiters.is_empty(), "{status:?}");
            refused(&server.backend(), &slot(2)).await;
        })
        .await;
}
