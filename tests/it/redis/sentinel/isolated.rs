//! A master that is cut off from most Sentinels, and another that they made.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::support::{Place, Proxy, Server, ask, eventually, within};

/// Where the far side's servers come from; the near side is at 127.0.0.1.
const FAR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEAR: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// On the near side the master, one Sentinel and whoever calls dlock; on the far side a replica and two Sentinels. The
/// master and the far Sentinels are reached through proxies, which know who comes.
struct TwoSides {
    master: Server,
    replica: Server,
    near: Server,
    far: [Server; 2],
    before_master: Proxy,
    before_far: [Proxy; 2],
}

impl TwoSides {
    fn start() -> Self {
        let master = Server::redis(&["--repl-diskless-sync-delay", "0"]);
        let before_master = Proxy::before(master.port);
        let port = before_master.port.to_string();
        let far_source = FAR.to_string();
        // Whoever comes from 127.0.0.2 is a stranger to a server in protected mode.
        let replica = Server::redis(&[
            "--replicaof",
            "127.0.0.1",
            &port,
            "--bind-source-addr",
            &far_source,
            "--protected-mode",
            "no",
        ]);
        let watch = format!(
            "sentinel monitor svc 127.0.0.1 {port} 2\nsentinel down-after-milliseconds svc 500\n\
             sentinel failover-timeout svc 2000\n"
        );
        let near = Server::sentinel(&watch);
        let far = [(); 2].map(|()| Server::sentinel(&format!("{watch}bind-source-addr {far_source}\n")));
        let before_far = [0, 1].map(|index| Proxy::before(far[index].port));
        for (sentinel, proxy) in far.iter().zip(&before_far) {
            for setting in [["announce-ip", "127.0.0.1"], ["announce-port", &proxy.port.to_string()]] {
                let words = ["SENTINEL", "CONFIG", "SET", setting[0], setting[1]];
                assert_eq!(ask::<String>(sentinel.port, None, &words).as_deref(), Some("OK"));
            }
        }
        let sides = Self { master, replica, near, far, before_master, before_far };
        within(Duration::from_secs(60), "all know each other at their proxies", || sides.is_settled());
        sides
    }

    fn is_settled(&self) -> bool {
        let proxies: Vec<u16> = self.before_far.iter().map(|proxy| proxy.port).collect();
        let replica: Vec<Vec<String>> =
            ask(self.far[0].port, None, &["SENTINEL", "REPLICAS", "svc"]).unwrap_or_default();
        let info: String = ask(self.replica.port, None, &["INFO", "replication"]).unwrap_or_default();
        replica.len() == 1
            && info.contains("master_link_status:up")
            && [self.near.port, self.far[0].port, self.far[1].port].into_iter().all(|asked| {
                let others: Vec<Vec<String>> = ask(asked, None, &["SENTINEL", "SENTINELS", "svc"]).unwrap_or_default();
                let port = |one: &Vec<String>| one.get(5).and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
                others.len() == 2
                    && others.iter().all(|one| port(one) == self.near.port || proxies.contains(&port(one)))
            })
    }

    /// From now on the far side sees neither the master nor anything of the near side.
    fn part(&self) {
        for proxy in &self.before_far {
            proxy.cut_off(NEAR);
        }
        self.before_master.cut_off(FAR);
    }

    fn seen_from(&self, sentinels: &[u16]) -> Place {
        let hosts: Vec<String> = sentinels.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Place::at_url(&format!("redis-sentinel://{}/svc", hosts.join(",")), self.master.port)
    }

    /// Those of the far side, by a way that is never cut.
    fn far_place(&self) -> Place {
        self.seen_from(&[self.far[0].port, self.far[1].port])
    }

    fn granted_nothing(&self, name: &str) -> bool {
        ask::<i64>(self.master.port, None, &["EXISTS", name]) == Some(0)
    }

    fn becomes_master(&self) {
        within(Duration::from_secs(60), "the far Sentinels make the replica their master", || {
            self.far.iter().all(|sentinel| {
                let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "svc"];
                ask::<(String, u16)>(sentinel.port, None, &words).is_some_and(|(_, port)| port == self.replica.port)
            })
        });
    }
}

/// "An isolated old master must not extend a lease."
#[test]
fn whoever_is_cut_off_with_the_old_master_is_dead_before_another_gets_the_lock() {
    let sides = TwoSides::start();
    let near = sides.seen_from(&[sides.near.port]);
    let beats = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
    let beats = beats.path().to_str().expect("temporary directories have plain names");
    let script = "echo ready; while :; do echo beat >>\"$0\"; sleep 0.01; done";
    // So long that a renewal outlasts the questions to the Sentinels, and what they did not say is what counts.
    let run = near.dlock(["run", "-k", "job", "--ttl", "24s", "--", "sh", "-c", script, beats]).start();
    run.says("ready");
    sides.part();
    sides.becomes_master();
    let mut far = sides.far_place();
    far.namespace.clone_from(&near.namespace);
    let script = "wc -l <\"$0\"; sleep 0.3; wc -l <\"$0\"";
    let next = far.dlock(["run", "-k", "job", "-w", "50s", "--", "sh", "-c", script, beats]).start();
    // The old master is as well as ever, and would grant: nobody asks it any more.
    near.dlock(["run", "-k", "other", "-n", "--", "true"]).finish().exits_with(69).complains(&["1 of the 3 Sentinels"]);
    assert!(sides.granted_nothing(&format!("{}:other", near.namespace)));
    let next = next.wait().succeeds();
    let beats: Vec<&str> = next.said().lines().collect();
    assert!(beats.len() == 2 && beats[0] != "0", "{}", next.account());
    assert_eq!(beats[0], beats[1], "the command beats no more when the next one begins");
    run.wait().exits_with(79);
}

#[test]
fn whoever_still_reaches_the_sentinels_follows_them_to_the_next_master() {
    let sides = TwoSides::start();
    let near = sides.seen_from(&[sides.near.port]);
    let run = near.hold_for("job", "20s");
    sides.before_master.cut_off(FAR);
    sides.becomes_master();
    let left = || ask::<i64>(sides.replica.port, None, &["PTTL", &format!("{}:job", near.namespace)]);
    let before = left();
    eventually("it is renewed at the next master", || left() > before);
    run.let_go();
    run.wait().succeeds();
    assert_eq!(left(), Some(-2), "it is released there");
}

/// `down-after-milliseconds` is 30 s here, as by default.
#[test]
fn a_master_that_no_sentinel_hears_is_not_believed_long_before_they_call_it_down() {
    let master = Server::redis(&[]);
    let proxy = Proxy::before(master.port);
    let watch = format!("sentinel monitor svc 127.0.0.1 {} 1\nbind-source-addr {FAR}\n", proxy.port);
    let sentinel = Server::sentinel(&watch);
    let place = Place::at_url(&format!("redis-sentinel://127.0.0.1:{}/svc", sentinel.port), master.port);
    let run = place.hold_for("job", "6s");
    proxy.cut_off(FAR);
    let ended = run.wait().exits_with(79).mentions(&["have not heard from its master"]);
    let described: Vec<String> = ask(sentinel.port, None, &["SENTINEL", "MASTER", "svc"]).expect("it answers");
    assert!(!described.iter().any(|flags| flags.contains("_down")), "{described:?}");
    assert!(ended.took < Duration::from_secs(25), "{}", ended.account());
    let refused = place.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(69);
    refused.complains(&["have not heard from its master"]);
}
