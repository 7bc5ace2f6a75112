//! Proxies through which nobody can be told: whoever waits behind one still gets in.

use std::time::{Duration, Instant};

use super::server::Server;
use crate::support::{Dlock, Muteness, eventually, mute_proxy};

#[test]
fn a_waiter_behind_a_proxy_without_pub_sub_gets_in_soon_after_a_release() {
    let server = Server::start(&[]);
    for (muteness, listeners) in [(Muteness::Refuses, 0), (Muteness::Swallows, 0), (Muteness::Loses, 1)] {
        let direct = format!("redis://127.0.0.1:{}", server.port);
        let hold = ["run", "--redis", &direct, "-k", "job", "--", "sh", "-c", "echo ready; cat >/dev/null"];
        let holder = Dlock::new(hold).stdin_open().start();
        holder.says("ready");
        let through = format!("redis://127.0.0.1:{}", mute_proxy(server.port, muteness));
        // It looks every 2 s to keep its place.
        let wait = ["run", "--redis", &through, "--ttl", "6s", "-k", "job", "--", "echo", "ran"];
        let waiter = Dlock::new(wait).start();
        eventually("it waits", || server.command::<u32>(&["ZCARD", "{dlock:job}:dlock:queue"]) == 1);
        let channels = server.command::<Vec<String>>(&["PUBSUB", "CHANNELS", "*"]);
        assert_eq!(channels.len(), listeners, "{muteness:?}");
        let released = Instant::now();
        holder.let_go();
        holder.wait().succeeds();
        assert_eq!(waiter.wait().succeeds().said(), "ran", "{muteness:?}");
        assert!(released.elapsed() < Duration::from_secs(5), "{muteness:?}: {:?}", released.elapsed());
    }
}
