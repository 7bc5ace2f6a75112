//! What a run sends while its command runs: one committed check for all of its keys in each tenth of the session timeout.

use std::time::{Duration, Instant};

use super::counts::notifications;
use super::ensemble::{ZooKeeper, contenders};
use super::wiretap::Wiretap;
use crate::support::{Dlock, Running, eventually};

/// A beat is a tenth of it.
const TTL: Duration = Duration::from_secs(5);

/// So many beats are counted.
const BEATS: u32 = 16;

/// A run of `count` keys by way of a tap of its own.
struct Holder {
    tap: Wiretap,
    run: Running,
    keys: Vec<String>,
}

impl Holder {
    fn start(server: &ZooKeeper, count: usize, ttl: Duration, options: &[&str]) -> Self {
        let tap = Wiretap::before(&server.address());
        let keys: Vec<String> = (0..count).map(|number| format!("of-{count}-{number}")).collect();
        let (address, ttl) = (tap.address(), format!("{}s", ttl.as_secs()));
        let mut call = vec!["run", "-v", "--zk", &address, "--ttl", &ttl];
        call.extend(options);
        call.extend(keys.iter().flat_map(|key| ["-k", key]));
        call.extend(["--", "sh", "-c", "echo ready; cat >/dev/null"]);
        let run = Dlock::new(call).stdin_open().start();
        run.says("ready");
        Self { tap, run, keys }
    }

    /// Since the first beat the entry of each key is watched, which takes a request once.
    fn has_begun(&self) {
        eventually("each key has been renewed", || {
            let said = self.run.stderr();
            self.keys.iter().all(|key| said.contains(&format!("renewed \"{key}\"")))
        });
    }

    fn has_been_renewed(&self, times: usize) {
        eventually("its heart beats", || self.run.stderr().matches("renewed").count() >= times * self.keys.len());
    }

    /// What it has sent, but for the pings of the client crate.
    fn sent(&self) -> Vec<String> {
        self.tap.take().into_iter().filter(|request| request != "ping").collect()
    }
}

fn from_outside(deed: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("there are descriptors").block_on(deed);
}

/// Exactly the checks of `keys` nodes, and no more of them than there were beats in `time`.
#[track_caller]
fn assert_one_in_each_beat(sent: &[String], keys: usize, time: Duration) {
    let check = format!("check {keys}");
    assert!(sent.iter().all(|request| *request == check), "nothing but a check of {keys}: {sent:?}");
    // The clock is read before and after.
    let most = time.as_secs_f64() / (TTL / 10).as_secs_f64() + 1.0;
    assert!(sent.len() as f64 <= most, "at most {most} in {time:?}: {}", sent.len());
    assert!(sent.len() as f64 >= most * 0.7, "on a busy machine fewer, {most} in {time:?}: {}", sent.len());
}

/// A ping proves nothing to the leader, and a change of the node would wake those who watch it.
#[test]
fn a_run_commits_one_check_of_all_its_keys_every_tenth_of_its_timeout_and_wakes_nobody() {
    let server = ZooKeeper::start_talkative();
    let holders = [1, 8, 64].map(|count| Holder::start(&server, count, TTL, &[]));
    let waiter = Dlock::new(["run", "--zk", &server.address(), "-k", "of-8-3", "--", "true"]).start();
    holders.iter().for_each(Holder::has_begun);
    from_outside(async {
        let client = server.client().await;
        super::eventually("somebody waits", async || contenders(&client, "/dlock/of-8-3").await.len() == 2).await;
    });

    let before = notifications(&server);
    let (began, _) = (Instant::now(), holders.each_ref().map(|holder| holder.tap.take()));
    eventually("some beats pass", || began.elapsed() > TTL / 10 * BEATS);
    let sent = holders.each_ref().map(Holder::sent);
    let time = began.elapsed();
    for (holder, sent) in holders.iter().zip(sent) {
        assert_one_in_each_beat(&sent, holder.keys.len(), time);
    }
    assert_eq!(notifications(&server), before, "nobody was told anything");
    holders.iter().for_each(|holder| holder.run.let_go());
    holders.iter().for_each(|holder| drop(holder.run.wait().succeeds()));
    waiter.wait().succeeds();
}

#[test]
fn after_renewals_that_failed_and_a_connection_that_broke_one_check_in_each_beat_is_enough_again() {
    let server = ZooKeeper::start_talkative();
    let holder = Holder::start(&server, 8, TTL, &[]);
    holder.has_begun();
    server.freeze();
    eventually("renewals fail", || {
        let said = holder.run.stderr();
        holder.keys.iter().all(|key| said.contains(&format!("cannot renew \"{key}\"")))
    });
    server.thaw();
    let renewed = holder.run.stderr().matches("renewed").count() / holder.keys.len();
    holder.has_been_renewed(renewed + 3);
    holder.tap.cut();
    let renewed = holder.run.stderr().matches("renewed").count() / holder.keys.len();
    holder.has_been_renewed(renewed + 3);

    let began = (Instant::now(), holder.tap.take()).0;
    eventually("some beats pass", || began.elapsed() > TTL / 10 * BEATS);
    let (sent, time) = (holder.sent(), began.elapsed());
    assert_one_in_each_beat(&sent, holder.keys.len(), time);
    holder.run.let_go();
    holder.run.wait().succeeds();
}

/// Before the first beat nobody watches the entry, so it is the check of all that finds it gone.
#[test]
fn a_key_whose_entry_is_deleted_beside_seven_that_stand_is_lost_by_name_and_the_others_are_renewed() {
    let server = ZooKeeper::start_talkative();
    // A first beat after 2 s.
    let holder = Holder::start(&server, 8, Duration::from_secs(20), &["--on-lost", "warn"]);
    let delete = |key: &str| {
        let directory = format!("/dlock/{key}");
        from_outside(async {
            let client = server.client().await;
            let names = contenders(&client, &directory).await;
            client.delete(&format!("{directory}/{}", names[0]), None).await.expect("it is there");
        });
    };
    delete("of-8-3");
    eventually("it is told", || holder.run.stderr().contains("lost \"of-8-3\""));
    let others = || holder.keys.iter().filter(|key| *key != "of-8-3");
    eventually("the others are renewed", || {
        let said = holder.run.stderr();
        others().all(|key| said.contains(&format!("renewed \"{key}\"")))
    });
    let sent = holder.sent();
    let checks: Vec<&String> = sent.iter().filter(|request| request.starts_with("check")).collect();
    assert_eq!(checks, ["check 8", "check 7"], "once more without it: {sent:?}");

    // From now on each entry is watched, and no beat is needed to find it gone.
    delete("of-8-5");
    let deleted = Instant::now();
    eventually("it is told", || holder.run.stderr().contains("lost \"of-8-5\""));
    let told_after = deleted.elapsed();
    assert!(told_after < Duration::from_secs(1), "at once: {told_after:?}");
    eventually("the others go on", || holder.tap.take().contains(&"check 6".to_owned()));
    let said = holder.run.stderr();
    assert_eq!(said.matches("lost ").count(), 2, "{said}");
    holder.run.let_go();
    holder.run.wait().exits_with(79);
}
