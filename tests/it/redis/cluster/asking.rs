//! Who is asked, how often, and what is asked in vain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use super::{HOLD, dlock, hold, namespace, requests};
use crate::support::{Cluster, Place, Server, free_port, program, scripted_server};

#[test]
fn several_keys_of_one_slot_are_taken_at_a_stroke_and_others_one_by_one() {
    let cluster = Cluster::of_masters(3);
    let asked = |at: usize, keys: [&str; 2]| {
        for node in cluster.masters() {
            node.command::<()>(&["CONFIG", "RESETSTAT"]);
        }
        let words = ["run", "-k", keys[0], "-k", keys[1], "--", "true"];
        dlock(&cluster.url_of([at]), &words).finish().succeeds().says_nothing();
        requests(&cluster, "eval")
    };
    let owner = cluster.owner("dlock:{team}:a");
    assert_eq!(asked(owner, ["{team}:a", "{team}:b"])[owner], 3, "both, and each released");
    let apart = [cluster.key_at("dlock", 0), cluster.key_at("dlock", 1)];
    let asked = asked(0, apart.each_ref().map(String::as_str));
    assert!(asked[0] >= 2 && asked[1] == 2, "{asked:?}");
}

#[test]
fn an_uncontended_run_is_two_requests_and_one_hop() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 1);
    for (seed, expected) in [(0, [1, 2, 0]), (1, [0, 2, 0]), (2, [0, 2, 1])] {
        for node in cluster.masters() {
            node.command::<()>(&["CONFIG", "RESETSTAT"]);
        }
        dlock(&cluster.url_of([seed]), &["run", "-k", &key, "--", "true"]).finish().succeeds().says_nothing();
        assert_eq!(requests(&cluster, "eval"), expected, "asked at node {seed}");
        for other in ["cluster", "subscribe", "ssubscribe"] {
            assert_eq!(requests(&cluster, other), [0; 3], "{other}");
        }
    }
}

#[test]
fn a_node_that_is_gone_or_silent_costs_only_time() {
    let cluster = Cluster::of_masters(3);
    let key = cluster.key_at("dlock", 2);
    cluster.node(0).freeze();
    let live = cluster.node(1).port;
    // One that belongs to no Cluster yet, or any more, says that the Cluster is down.
    let lonely = Server::cluster_node(&[]);
    let full = scripted_server(|_| Some(b"-ERR max number of clients reached\r\n".to_vec()));
    for dead in [free_port(), cluster.node(0).port, lonely.port, full] {
        let url = format!("redis-cluster://127.0.0.1:{dead},127.0.0.1:{live}");
        let run = dlock(&url, &["run", "-k", &key, "-n", "--", "true"]).finish().succeeds();
        assert!(run.took < Duration::from_secs(5), "{:?}", run.took);
    }
    cluster.node(0).thaw();
}

#[test]
fn nodes_that_are_all_gone_are_69_and_the_sentence_says_so() {
    let url = format!("redis-cluster://127.0.0.1:{},127.0.0.1:{}", free_port(), free_port());
    let run = dlock(&url, &["run", "-k", "job", "--", "true"]).finish().exits_with(69);
    run.complains(&["refuses the connection", "no other node of the Cluster answers"]);
}

#[test]
fn a_cluster_url_to_a_plain_server_and_a_plain_url_to_a_node_say_how_to_write_it() {
    let server = Server::shared_redis();
    let url = format!("redis-cluster://127.0.0.1:{}", server.port);
    let namespace = namespace();
    let token = "0123456789abcdef0123456789abcdef";
    for words in [
        &["run", "-k", "job", "--namespace", &namespace, "--", "true"][..],
        &["acquire", "-k", "job", "--namespace", &namespace, "--ttl", "30s", "--shared"],
        &["acquire", "-k", "job", "--namespace", &namespace, "--ttl", "30s", "--layout", "redisson"],
        &["release", "-k", "job", "--namespace", &namespace, "--token", token],
        &["status", "-k", "job", "--namespace", &namespace],
        &["list", "--namespace", &namespace],
    ] {
        let refused = dlock(&url, words).finish().exits_with(78);
        refused.complains(&["is no node of a Redis Cluster", "write redis://"]);
    }
    assert!(server.command::<Vec<String>>(&["KEYS", &format!("*{namespace}*")]).is_empty(), "nothing was changed");

    let cluster = Cluster::shared();
    let key = cluster.key_at(&namespace, 1);
    let plain = format!("redis://127.0.0.1:{}", cluster.node(0).port);
    for url in [plain.clone(), format!("{plain}/1")] {
        let refused = dlock(&url, &["run", "-k", &key, "--namespace", &namespace, "--", "true"]).finish();
        refused.exits_with(78).complains(&["is a node of a Redis Cluster", "write redis-cluster://"]);
    }
    let refused = dlock(&format!("{}/1", cluster.url()), &["run", "-k", "job", "--", "true"]).finish();
    refused.exits_with(64).complains(&["only database 0"]);
}

#[test]
fn names_that_no_one_node_can_have_together_are_refused_with_78() {
    let place = Place::on_cluster();
    for words in [
        &["run", "-n", "-k", "a}b", "--", "true"][..],
        &["acquire", "-n", "-k", "a{}b", "--ttl", "9s"],
        &["status", "-k", "a}b"],
        &["run", "-n", "-k", "job", "--layout", "python-redis-lock", "--", "true"],
        &["run", "-n", "-k", "a{b", "--layout", "redisson", "--", "true"],
    ] {
        place.dlock_with(words.iter().copied()).finish().exits_with(78).complains(&["different slots", "hash tag"]);
    }
    for words in [
        &["run", "-n", "-k", "{team}:job", "--", "true"][..],
        &["run", "-n", "-k", "job", "--layout", "redisson", "--", "true"],
        &["run", "-n", "-k", "{team}:job", "--layout", "python-redis-lock", "--", "true"],
    ] {
        place.dlock_with(words.iter().copied()).finish().succeeds().says_nothing();
    }
}

#[test]
fn locks_of_all_masters_are_listed_in_order_and_read_without_a_request_for_each_in_turn() {
    let cluster = Cluster::of_masters(3);
    let place = Place::on(&cluster);
    let keys: Vec<String> = (0..60).map(|number| format!("key-{number:02}")).collect();
    for key in &keys {
        // A foreign lock is as good as any, and made faster.
        let name = format!("{}:{key}", place.namespace);
        cluster.node(cluster.owner(&name)).command::<()>(&["SET", &name, "theirs", "PX", "600000"]);
    }
    // What no lock can be called does not hinder.
    let odd = format!("{}:a}}b", place.namespace);
    cluster.node(cluster.owner(&odd)).command::<()>(&["SET", &odd, "theirs", "PX", "600000"]);
    let owners: BTreeSet<usize> = keys.iter().map(|key| cluster.owner(&format!("{}:{key}", place.namespace))).collect();
    assert_eq!(owners.len(), 3, "they are spread over all masters");
    let answer = place.dlock(["list", "--json"]).finish().succeeds();
    let listed: Vec<serde_json::Value> = serde_json::from_str(answer.said()).expect("an array");
    let listed: Vec<&str> = listed.iter().map(|key| key["key"].as_str().expect("a key is text")).collect();
    assert_eq!(listed, keys);
    let two = place.dlock(["status", &keys[3], &keys[4], "--json"]).finish().succeeds();
    assert_eq!(two.said().matches("\"foreign\"").count(), 2, "{}", two.said());
}

#[test]
fn a_dlock_inside_the_command_is_led_to_the_same_cluster() {
    let place = Place::on_cluster();
    let inner = format!("{} status -k job --json", program());
    let run = place.dlock(["run", "-k", "job", "--", "sh", "-c", &inner]).finish().succeeds();
    assert!(run.said().contains(r#""state":"held""#), "{}", run.said());
}

#[test]
fn a_redirection_without_a_host_means_the_host_that_was_asked() {
    let cluster = Cluster::shared();
    let namespace = namespace();
    let key = cluster.key_at(&namespace, 0);
    let (slot, port) = (cluster.slot(&format!("{namespace}:{key}")), cluster.node(0).port);
    let seed = node_that_says(move || format!("MOVED {slot} :{port}"));
    let url = format!("redis-cluster://localhost:{seed}");
    dlock(&url, &["run", "-n", "-k", &key, "--namespace", &namespace, "--", "true"]).finish().succeeds();
}

/// A node that says this to every request, once it has been read whole.
fn node_that_says(refusal: impl Fn() -> String + Clone + Send + 'static) -> u16 {
    scripted_server(move |heard| heard.ends_with(b"\r\n").then(|| format!("-{}\r\n", refusal()).into_bytes()))
}

#[test]
fn nodes_that_send_us_round_in_circles_or_nowhere_are_left() {
    let run = |seed: u16| {
        let began = Instant::now();
        let url = format!("redis-cluster://127.0.0.1:{seed}");
        let run = dlock(&url, &["run", "-k", "job", "-n", "--", "true"]).finish();
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        run
    };
    let first = Arc::new(AtomicU16::new(0));
    let back = first.clone();
    let second = node_that_says(move || format!("MOVED 1 127.0.0.1:{}", back.load(Ordering::Relaxed)));
    first.store(node_that_says(move || format!("MOVED 1 127.0.0.1:{second}")), Ordering::Relaxed);
    run(second).exits_with(69).mentions(&["round in circles"]);
    let nowhere = free_port();
    let lost = node_that_says(move || format!("MOVED 1 127.0.0.1:{nowhere}"));
    run(lost).exits_with(69).mentions(&[&nowhere.to_string(), "refuses", "names it as the one that has this key"]);
    let nameless = node_that_says(|| "MOVED 1 ?:7000".to_owned());
    run(nameless).exits_with(78).mentions(&["names no address", "cluster-announce-hostname"]);
}

#[test]
fn a_password_of_the_url_goes_to_every_node_and_into_no_message() {
    let cluster = Cluster::of_masters(3);
    for node in cluster.masters() {
        node.command::<()>(&["ACL", "SETUSER", "locker", "on", ">hunter2", "~*", "&*", "+@all"]);
        node.command::<()>(&["ACL", "SETUSER", "default", "off"]);
    }
    let port = cluster.node(0).port;
    for key in ["a", "b", "c", "d"] {
        let url = format!("redis-cluster://locker:hunter2@127.0.0.1:{port}");
        dlock(&url, &["run", "-n", "-k", key, "--", "true"]).finish().succeeds();
        let wrong = format!("redis-cluster://locker:hunter3@127.0.0.1:{port}");
        let refused = dlock(&wrong, &["run", "-n", "-k", key, "--", "true"]).finish().exits_with(77);
        assert!(!refused.stderr().contains("hunter"), "{}", refused.account());
        let variable = format!("redis-cluster://locker@127.0.0.1:{port}");
        let inner = ["run", "-n", "-k", key, "--", "sh", "-c", "echo $DLOCK_REDIS"];
        let run = dlock(&variable, &inner).env("DLOCK_REDIS_PASSWORD", "hunter2").finish().succeeds();
        assert_eq!(run.said(), variable);
    }
}

#[test]
fn a_grant_counts_when_a_replica_has_it_and_is_given_back_when_none_can() {
    let cluster = Cluster::with_replicas();
    let key = cluster.key_at("dlock", 0);
    let run = |replicas: &str| {
        dlock(&cluster.url(), &["run", "-k", &key, "--wait-replicas", replicas, "--", "true"]).finish()
    };
    run("1").succeeds();
    run("2").exits_with(69).complains(&["1 of the 2 replicas"]);
    assert!(!cluster.node(0).command::<bool>(&["EXISTS", &format!("dlock:{key}")]), "it was given back");
    // A replica knows its master as well as any node.
    dlock(&cluster.url_of([4]), &["run", "-n", "-k", &key, "--", "true"]).finish().succeeds();
    let holder = hold(&cluster, &key, "30s");
    dlock(&cluster.url(), &["run", "-n", "-k", &key, "--", "sh", "-c", HOLD]).finish().exits_with(75);
    holder.let_go();
    holder.wait().succeeds();
}
