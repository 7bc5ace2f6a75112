//! What it costs: requests on the wire and notifications of the server, counted.

use std::cell::Cell;
use std::time::Duration;

use dlock::backend::zookeeper::ZooKeeperBackend;
use dlock::lock::{Acquired, Claim, Lease, LockBackend, Mode, Progress, Ttl};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::ensemble::ZooKeeper;
use super::wiretap::Wiretap;
use super::{backend, claim, eventually, granted, in_time, waiting};
use crate::support::Server;

/// A waiter's number and what it got, in the end.
type Turn<'a> = std::pin::Pin<Box<dyn Future<Output = (usize, Lease)> + 'a>>;

/// Waiters that stand in the queue in the order in which they were made.
struct Crowd<'a> {
    turns: FuturesUnordered<Turn<'a>>,
    seen: &'a Cell<usize>,
}

impl<'a> Crowd<'a> {
    fn new(seen: &'a Cell<usize>) -> Self {
        Self { turns: FuturesUnordered::new(), seen }
    }

    async fn join(&mut self, number: usize, ours: &'a ZooKeeperBackend, claim: &'a Claim) {
        let (seen, before) = (self.seen, self.seen.get());
        self.turns.push(Box::pin(async move {
            let first = Cell::new(true);
            let note = |progress: Progress| {
                if matches!(progress, Progress::Waiting(_)) && first.replace(false) {
                    seen.set(seen.get() + 1);
                }
            };
            let Ok(Acquired::Granted(lease)) = ours.acquire(claim, &note).await else { panic!("it may wait") };
            (number, lease)
        }));
        self.unless_served(eventually("it waits", async || seen.get() > before)).await;
    }

    async fn next(&mut self) -> (usize, Lease) {
        in_time(self.turns.next()).await.expect("somebody waits")
    }

    /// Lets everybody go on meanwhile.
    async fn unless_served(&mut self, meanwhile: impl Future<Output = ()>) {
        tokio::select! {
            Some((number, _)) = self.turns.next() => panic!("{number} got in"),
            () = meanwhile => {}
        }
    }
}

/// How many notifications the server has sent, of whatever.
pub(super) fn notifications(server: &ZooKeeper) -> u64 {
    let says = server.ask("mntr").expect("it is allowed");
    let sum = |name: &str| -> u64 {
        let line = says.lines().find_map(|line| line.strip_prefix(&format!("zk_sum_node_{name}_watch_count\t")));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("it counts {name}: {says}"))
    };
    ["deleted", "changed", "children", "created"].map(sum).iter().sum()
}

const WAITERS: usize = 200;

fn lasting(claim: Claim) -> Claim {
    Claim { ttl: Ttl::Exactly(Duration::from_secs(60)), ..claim }
}

#[tokio::test]
async fn a_release_tells_one_of_two_hundred_waiters_and_nobody_hears_of_the_grant() {
    let server = ZooKeeper::start_talkative();
    let holder = backend(&server);
    let held = lasting(claim("crowd"));
    granted(&holder, &held).await;
    let waiters: Vec<_> = (0..WAITERS).map(|_| (backend(&server), lasting(waiting("crowd")))).collect();
    let seen = Cell::new(0);
    let mut crowd = Crowd::new(&seen);
    for (number, (ours, claim)) in waiters.iter().enumerate() {
        crowd.join(number, ours, claim).await;
    }
    let before = notifications(&server);
    assert_eq!(before, 0, "two hundred came, and nobody was told");
    holder.release(&held.key, &held.token).await.expect("the server serves");
    for expected in 0..10 {
        let (number, _) = crowd.next().await;
        assert_eq!(number, expected);
        // Whatever the grant would set off has its time.
        crowd.unless_served(tokio::time::sleep(Duration::from_millis(20))).await;
        assert_eq!(notifications(&server) - before, expected as u64 + 1);
        let (ours, claim) = &waiters[number];
        ours.release(&claim.key, &claim.token).await.expect("the server serves");
    }
}

#[tokio::test]
async fn of_several_slots_the_oldest_wakes_one_waiter_and_any_other_as_many_as_there_are_slots_at_most() {
    const SLOTS: u32 = 3;
    let server = ZooKeeper::start_talkative();
    let in_slots = |claim: Claim| Claim { mode: Mode::Slots(SLOTS), ..lasting(claim) };
    let holders: Vec<_> = (0..SLOTS).map(|_| (backend(&server), in_slots(claim("slots")))).collect();
    for (ours, claim) in &holders {
        granted(ours, claim).await;
    }
    let waiters: Vec<_> = (0..20).map(|_| (backend(&server), in_slots(waiting("slots")))).collect();
    let seen = Cell::new(0);
    let mut crowd = Crowd::new(&seen);
    for (number, (ours, claim)) in waiters.iter().enumerate() {
        crowd.join(number, ours, claim).await;
    }
    let mut told = notifications(&server);
    for (gone, (leaver, wakes)) in
        [(&holders[0], 1), (&holders[2], 2), (&holders[1], 1), (&waiters[2], 3)].into_iter().enumerate()
    {
        leaver.0.release(&leaver.1.key, &leaver.1.token).await.expect("the server serves");
        let (number, lease) = crowd.next().await;
        assert_eq!((number, lease.fence), (gone, None), "in the order in which they came");
        crowd.unless_served(tokio::time::sleep(Duration::from_millis(20))).await;
        let now = notifications(&server);
        assert_eq!(now - told, wakes, "departure {gone}");
        told = now;
    }
}

/// Sessions of the server that the contract is tested on may be so long that a busy machine breaks none.
pub(super) fn tapped() -> Wiretap {
    Wiretap::before(&format!("127.0.0.1:{}", Server::shared_zookeeper().port))
}

/// The same, and every answer comes so much later.
pub(super) fn tapped_from_afar(way: Duration) -> Wiretap {
    Wiretap::far_from(&format!("127.0.0.1:{}", Server::shared_zookeeper().port), way)
}

pub(super) fn tapped_as_if_old() -> Wiretap {
    Wiretap::of_old(&format!("127.0.0.1:{}", Server::shared_zookeeper().port))
}

#[tokio::test]
async fn a_waiter_sends_only_pings() {
    const TTL: Duration = Duration::from_secs(12);
    let tap = tapped();
    let of_mode = |mode, claim: Claim| Claim { mode, ttl: Ttl::Exactly(TTL), ..claim };
    let contenders: Vec<_> = [Mode::Exclusive, Mode::Exclusive, Mode::Shared, Mode::Slots(2)]
        .map(|mode| (super::backend_at(&tap.address(), "counts"), of_mode(mode, waiting("quiet"))))
        .into();
    granted(&contenders[0].0, &contenders[0].1).await;
    let seen = Cell::new(0);
    let mut crowd = Crowd::new(&seen);
    for (number, (ours, claim)) in contenders.iter().enumerate().skip(1) {
        crowd.join(number, ours, claim).await;
    }
    tap.take();
    // The crate pings several times in each session timeout.
    crowd.unless_served(tokio::time::sleep(TTL / 3)).await;
    let sent = tap.take();
    assert!(sent.len() >= 8 && sent.iter().all(|request| request == "ping"), "{sent:?}");
}

#[tokio::test]
async fn a_waiter_for_a_slot_that_is_woken_in_vain_asks_four_things_however_many_slots_there_are() {
    let server = ZooKeeper::start_talkative();
    let tap = Wiretap::before(&server.address());
    for slots in [3, 12] {
        let name = format!("vain-{slots}");
        let in_slots = |claim: Claim| Claim { mode: Mode::Slots(slots), ..lasting(claim) };
        let holders: Vec<_> = (0..slots).map(|_| (backend(&server), in_slots(claim(&name)))).collect();
        for (ours, claim) in &holders {
            granted(ours, claim).await;
        }
        let first = (backend(&server), in_slots(waiting(&name)));
        let second = (super::backend_at(&tap.address(), "dlock"), in_slots(waiting(&name)));
        let seen = Cell::new(0);
        let mut crowd = Crowd::new(&seen);
        crowd.join(1, &first.0, &first.1).await;
        crowd.join(2, &second.0, &second.1).await;
        tap.take();
        let (ours, claim) = holders.last().expect("several hold");
        ours.release(&claim.key, &claim.token).await.expect("the server serves");
        assert_eq!(crowd.next().await.0, 1);
        let noted = std::cell::RefCell::new(Vec::new());
        let all = async || {
            noted.borrow_mut().extend(tap.take().into_iter().filter(|note| note != "ping"));
            noted.borrow().len() >= 5
        };
        crowd.unless_served(eventually("it looks again", all)).await;
        // The queue; a watch on the one that it has not watched so far; whether that has a lease; and whom to name.
        assert_eq!(noted.take(), ["told", "list", "list", "get", "get"]);
    }
}
