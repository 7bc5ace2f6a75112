//! The queue.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use dlock::lock::{Claim, Lease, LockBackend as _, Patience, Progress, Release};
use tokio::task::{JoinHandle, LocalSet};

use super::server::Server;
use super::{claim, granted, key, names, one_shot, refused, unheard, until_status, waiting};
use crate::support::A_WHILE;

const TTL: Duration = Duration::from_secs(30);

/// Much less than the 10 s after which a waiter would look by itself.
const AT_ONCE: Duration = Duration::from_secs(2);

/// A waiter on a connection of its own, that has joined the queue as number `place`.
async fn queued(server: &Server, claim: Claim, place: usize) -> JoinHandle<Lease> {
    let waiter = server.backend();
    let name = claim.key.as_str().to_owned();
    let task = tokio::task::spawn_local(async move { granted(&waiter, &claim).await });
    until_status(&server.backend(), &name, "it queues", |status| status.waiters.len() == place).await;
    task
}

async fn in_time<T>(limit: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(limit, what).await.unwrap_or_else(|_| panic!("not within {limit:?}"))
}

#[tokio::test]
async fn waiters_are_served_in_the_order_in_which_they_came_and_at_once() {
    let server = Server::start(&[]);
    let local = LocalSet::new();
    local
        .run_until(async {
            let holder = server.backend();
            let first = granted(&holder, &claim("job", TTL)).await;
            let order = Rc::new(RefCell::new(Vec::new()));
            let mut waiters = Vec::new();
            for number in 0..20 {
                let (order, backend, claim) = (order.clone(), server.backend(), waiting(claim("job", TTL)));
                waiters.push(tokio::task::spawn_local(async move {
                    let lease = granted(&backend, &claim).await;
                    order.borrow_mut().push((number, lease.fence));
                    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
                }));
                until_status(&holder, "job", "it queues", |status| status.waiters.len() == number + 1).await;
            }
            let began = Instant::now();
            holder.release(&first.key, &first.token).await.expect("a release is answered");
            for waiter in waiters {
                in_time(A_WHILE, waiter).await.expect("no waiter panics");
            }
            let order = order.borrow();
            assert!(order.iter().map(|(number, _)| *number).eq(0..20), "{order:?}");
            assert!(order.windows(2).all(|two| two[0].1 < two[1].1) && order[0].1 > first.fence, "{order:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "somebody slept through its turn");
            assert_eq!(names(&server), ["{dlock:job}:dlock:fence", "{dlock:job}:dlock:receipts"]);
        })
        .await;
}

#[tokio::test]
async fn a_hand_over_costs_few_requests_and_a_waiting_contender_none() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", TTL)).await;
            let waiter = queued(&server, waiting(claim("job", TTL)), 1).await;
            let requests = || {
                let info: String = server.command(&["INFO", "commandstats"]);
                let calls = |name: &str| {
                    let line = info.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
                    line.and_then(|line| line.split(['=', ',']).nth(1)).map_or(0, |calls| calls.parse().unwrap_or(0))
                };
                calls("eval") + calls("subscribe") + calls("hello")
            };
            let before: u64 = requests();
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(requests(), before, "a waiter polls");
            holder.release(&lease.key, &lease.token).await.expect("a release is answered");
            in_time(AT_ONCE, waiter).await.expect("no waiter panics");
            assert_eq!(requests() - before, 2, "release and confirm");
        })
        .await;
}

#[tokio::test]
async fn progress_names_the_holder_and_the_place_whenever_they_change() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let held = granted(&holder, &claim("job", TTL)).await;
            let ahead = queued(&server, waiting(claim("job", TTL)), 1).await;
            let told = Rc::new(RefCell::new(Vec::new()));
            let (heard, backend, claim) = (told.clone(), server.backend(), waiting(claim("job", TTL)));
            let waiter = tokio::task::spawn_local(async move {
                let listen = |progress| match progress {
                    Progress::Waiting(contention) => heard.borrow_mut().push(contention),
                    Progress::Disconnected(error) => panic!("{error}"),
                };
                backend.acquire(&claim, &listen).await.map(drop)
            });
            until_status(&holder, "job", "it queues", |status| status.waiters.len() == 2).await;
            holder.release(&held.key, &held.token).await.expect("a release is answered");
            let next = in_time(AT_ONCE, ahead).await.expect("no waiter panics");
            holder.release(&next.key, &next.token).await.expect("a release is answered");
            in_time(AT_ONCE, waiter).await.expect("no waiter panics").expect("it is granted");
            let told = told.borrow();
            assert!(told.iter().all(|contention| contention.ahead == Some(1)), "{told:?}");
            let host = told[0].holder.as_ref().and_then(|holder| holder.host.as_deref());
            assert_eq!(host, Some("web-3"), "{told:?}");
        })
        .await;
}

#[tokio::test]
async fn a_waiter_whose_connection_is_gone_is_passed_over_at_once_and_keeps_its_ticket() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", TTL)).await;
            let dead = queued(&server, waiting(claim("job", TTL)), 1).await;
            // Whoever was offered the lock is told as its holder, and not among those who wait.
            let living = queued(&server, waiting(claim("job", TTL)), 1).await;
            dead.abort();
            assert!(dead.await.is_err());
            let subscribers = || server.command::<Vec<String>>(&["PUBSUB", "CHANNELS", "*"]).len();
            while subscribers() > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            holder.release(&lease.key, &lease.token).await.expect("a release is answered");
            in_time(AT_ONCE, living).await.expect("no waiter panics");
            assert_eq!(server.command::<u32>(&["ZCARD", "{dlock:job}:dlock:queue"]), 1);
        })
        .await;
}

#[tokio::test]
async fn a_waiter_that_does_not_confirm_holds_the_others_up_for_two_confirm_leases_at_most() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", TTL)).await;
            // Its connection lives, driven by the runtime; the contender itself is not polled any more.
            let (frozen, frozen_claim) = (server.backend(), waiting(claim("job", TTL)));
            let mut contender = Box::pin(frozen.acquire(&frozen_claim, &unheard));
            let queues = until_status(&holder, "job", "it queues", |status| status.waiters.len() == 1);
            tokio::select! {
                biased;
                outcome = &mut contender => panic!("{outcome:?}"),
                () = queues => {}
            }
            holder.release(&lease.key, &lease.token).await.expect("a release is answered");
            let began = Instant::now();
            // It would look every 10 s, if it did not know that it comes next.
            // Whoever was offered the lock is told as its holder, and not among those who wait.
            let living = queued(&server, waiting(claim("job", TTL)), 1).await;
            in_time(Duration::from_secs(9), living).await.expect("no waiter panics");
            assert!(began.elapsed() > Duration::from_secs(5), "an offer stands for 3 s, and twice");

            // It comes back as a newcomer.
            let other = waiting(claim("job", TTL));
            let first = other.token.id();
            let other = queued(&server, other, 1).await;
            let queues = until_status(&holder, "job", "it queues again", |status| status.waiters.len() == 2);
            tokio::select! {
                biased;
                outcome = &mut contender => panic!("{outcome:?}"),
                () = queues => {}
            }
            let status = holder.status(&key("job")).await.expect("status is answered");
            assert_eq!(status.waiters[0].id, first);
            other.abort();
        })
        .await;
}

#[tokio::test]
async fn a_newcomer_that_does_not_wait_takes_a_free_lock_from_a_queue_of_dead_waiters_only() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", TTL)).await;
            let waiter = queued(&server, waiting(claim("job", TTL)), 1).await;
            server.command::<()>(&["SET", "dlock:job", "theirs"]);
            server.command::<()>(&["DEL", "dlock:job"]);
            refused(&server.backend(), &claim("job", TTL)).await;
            drop(lease);
            waiter.abort();
            assert!(waiter.await.is_err());
            server.command::<()>(&["DEL", "dlock:job"]);
            while !server.command::<Vec<String>>(&["PUBSUB", "CHANNELS", "*"]).is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            granted(&server.backend(), &claim("job", TTL)).await;
        })
        .await;
}

#[tokio::test]
async fn the_death_of_a_holder_is_noticed_when_its_lease_ends() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", Duration::from_millis(1200))).await;
            let began = Instant::now();
            let waiter = queued(&server, waiting(claim("job", TTL)), 1).await;
            let next = in_time(Duration::from_secs(4), waiter).await.expect("no waiter panics");
            assert!(next.requested_at > lease.valid_until.expect("a lease of a server ends"));
            assert!(began.elapsed() > Duration::from_millis(1000));
        })
        .await;
}

#[tokio::test]
async fn the_end_of_a_foreign_holder_is_noticed_by_the_first_waiter() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            server.command::<()>(&["SET", "dlock:job", "theirs"]);
            let waiter = queued(&server, waiting(claim("job", TTL)), 1).await;
            server.command::<()>(&["DEL", "dlock:job"]);
            in_time(AT_ONCE, waiter).await.expect("no waiter panics");
        })
        .await;
}

#[tokio::test]
async fn a_contender_that_was_dropped_leaves_the_queue_with_its_release_and_the_next_becomes_first() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", Duration::from_secs(3))).await;
            let (leaver, leaving) = (server.backend(), waiting(claim("job", TTL)));
            let queues = until_status(&holder, "job", "it queues", |status| status.waiters.len() == 1);
            tokio::select! {
                outcome = leaver.acquire(&leaving, &unheard) => panic!("{outcome:?}"),
                () = queues => {}
            }
            let second = queued(&server, waiting(claim("job", TTL)), 2).await;
            assert_eq!(leaver.release(&leaving.key, &leaving.token).await, Ok(Release::NotHeld));
            let status = holder.status(&key("job")).await.expect("status is answered");
            assert_eq!(status.waiters.len(), 1);
            // The holder dies; only the first waiter looks when its lease ends, the others within 10 s.
            drop(lease);
            in_time(Duration::from_secs(5), second).await.expect("no waiter panics");
        })
        .await;
}

#[tokio::test]
async fn an_offer_to_a_contender_that_left_goes_to_the_next() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &claim("job", TTL)).await;
            let (leaver, leaving) = (server.backend(), waiting(claim("job", TTL)));
            let queues = until_status(&holder, "job", "it queues", |status| status.waiters.len() == 1);
            let mut contender = Box::pin(leaver.acquire(&leaving, &unheard));
            tokio::select! {
                biased;
                outcome = &mut contender => panic!("{outcome:?}"),
                () = queues => {}
            }
            let second = queued(&server, waiting(claim("job", TTL)), 2).await;
            holder.release(&lease.key, &lease.token).await.expect("a release is answered");
            drop(contender);
            assert_eq!(leaver.release(&leaving.key, &leaving.token).await, Ok(Release::Released));
            in_time(AT_ONCE, second).await.expect("no waiter panics");
        })
        .await;
}

#[tokio::test]
async fn a_lease_that_vanished_is_not_taken_before_its_time_by_those_who_saw_it() {
    for disaster in [&["FLUSHALL"][..], &["DEL", "dlock:job"]] {
        let server = Server::start(&[]);
        LocalSet::new()
            .run_until(async {
                let holder = server.backend();
                let lease = granted(&holder, &claim("job", Duration::from_secs(4))).await;
                let mut waits = waiting(claim("job", Duration::from_secs(1)));
                waits.holder.label = Some("saw it".into());
                let waiter = queued(&server, waits, 1).await;
                server.command::<()>(disaster);
                let next = in_time(Duration::from_secs(8), waiter).await.expect("no waiter panics");
                assert!(next.requested_at > lease.valid_until.expect("a lease of a server ends"), "{disaster:?}");
                assert!(next.fence > lease.fence);
            })
            .await;
    }
}

#[tokio::test]
async fn waiters_keep_their_order_over_a_flush() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            granted(&server.backend(), &claim("job", Duration::from_secs(8))).await;
            let order = Rc::new(RefCell::new(Vec::new()));
            let mut waiters = Vec::new();
            for number in 0..8 {
                let (order, backend) = (order.clone(), server.backend());
                // They look again, and find the queue gone, the last one first, within a third of this.
                let claim = waiting(claim("job", Duration::from_secs(9 - number)));
                waiters.push(tokio::task::spawn_local(async move {
                    let lease = granted(&backend, &claim).await;
                    order.borrow_mut().push(number);
                    assert_eq!(backend.release(&lease.key, &lease.token).await, Ok(Release::Released));
                }));
                let place = usize::try_from(number).expect("a small number") + 1;
                until_status(&server.backend(), "job", "it queues", |status| status.waiters.len() == place).await;
            }
            server.command::<()>(&["FLUSHALL"]);
            for waiter in waiters {
                in_time(A_WHILE, waiter).await.expect("no waiter panics");
            }
            // Whoever looks first finds nobody, and keeps the lock for itself until the lease is over.
            let mut order = order.take();
            order.remove(0);
            assert!(order.is_sorted(), "{order:?}");
        })
        .await;
}

#[tokio::test]
async fn a_one_shot_that_was_set_down_is_taken_at_its_new_end() {
    let server = Server::start(&[]);
    LocalSet::new()
        .run_until(async {
            let holder = server.backend();
            let lease = granted(&holder, &one_shot(claim("job", Duration::from_secs(300)))).await;
            let waiter = queued(&server, waiting(claim("job", TTL)), 1).await;
            let soon = Some(Duration::from_millis(200));
            holder.prolong(&lease.key, &lease.token, soon).await.expect("it is answered");
            in_time(AT_ONCE, waiter).await.expect("no waiter panics");
        })
        .await;
}

#[tokio::test]
async fn where_the_acl_forbids_messages_waiters_look_by_themselves() {
    let server = Server::start(&[]);
    // Without channels nobody can subscribe; without the commands, nobody can be told or counted.
    for (user, rights) in [("quiet", &["resetchannels"][..]), ("deaf", &["allchannels", "-publish", "-pubsub"])] {
        let words = [&["ACL", "SETUSER", user, "on", ">pw", "allkeys", "+@all"], rights].concat();
        server.command::<()>(&words);
        LocalSet::new()
            .run_until(async {
                let backend = || server.backend_at(&format!("redis://{user}:pw@127.0.0.1:{}", server.port));
                let (holder, waiter) = (backend(), backend());
                let lease = granted(&holder, &claim(user, TTL)).await;
                let waits = waiting(claim(user, TTL));
                let waiter = tokio::task::spawn_local(async move { granted(&waiter, &waits).await });
                until_status(&holder, user, "it queues", |status| status.waiters.len() == 1).await;
                holder.release(&lease.key, &lease.token).await.expect("a release is answered");
                in_time(AT_ONCE, waiter).await.expect("no waiter panics");
            })
            .await;
    }
}

#[tokio::test]
async fn a_server_that_comes_back_in_time_is_waited_on_again() {
    let mut server = Server::durable();
    let local = LocalSet::new();
    let holder = server.backend();
    let lease = local.run_until(granted(&holder, &claim("job", TTL))).await;
    let told = Rc::new(RefCell::new(0));
    let (heard, backend, waits) = (told.clone(), server.backend(), waiting(claim("job", TTL)));
    let waiter = local.spawn_local(async move {
        let listen = |progress| {
            if matches!(progress, Progress::Disconnected(_)) {
                *heard.borrow_mut() += 1;
            }
        };
        backend.acquire(&waits, &listen).await
    });
    local
        .run_until(async {
            until_status(&holder, "job", "it queues", |status| status.waiters.len() == 1).await;
            server.crash();
            while *told.borrow() == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            server.start_again();
            assert_eq!(holder.release(&lease.key, &lease.token).await, Ok(Release::Released));
            let outcome = in_time(A_WHILE, waiter).await.expect("no waiter panics");
            outcome.expect("it is granted in the end");
        })
        .await;
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_after_the_time_given() {
    for stop in [|server: &mut Server| server.crash(), |server: &mut Server| server.freeze()] {
        let mut server = Server::start(&[]);
        LocalSet::new()
            .run_until(async {
                let holder = server.backend();
                granted(&holder, &claim("job", TTL)).await;
                let patience = Patience::Queue { reconnect_for: Duration::from_secs(1) };
                // A short lease, so that the next look comes soon.
                let waits = Claim { patience, ..claim("job", Duration::from_secs(1)) };
                let backend = server.backend();
                let waiter = tokio::task::spawn_local(async move { backend.acquire(&waits, &unheard).await });
                until_status(&holder, "job", "it queues", |status| status.waiters.len() == 1).await;
                stop(&mut server);
                let outcome = in_time(Duration::from_secs(8), waiter).await.expect("no waiter panics");
                let error = outcome.expect_err("there is nobody to grant it");
                assert!(error.may_pass(), "{error}");
                assert!(error.message.contains(&server.port.to_string()), "{error}");
            })
            .await;
    }
}
