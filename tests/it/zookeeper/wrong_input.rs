//! Wrong input for ZooKeeper, by the real binary: one sentence, the right status, nothing left behind.

use zookeeper_client::{Acls, CreateMode};

use super::ensemble::{Ensemble, ZooKeeper, contenders};
use crate::support::{Dlock, Finished};

/// `dlock` with these words, the servers behind the first of them.
fn at(hosts: &str, words: &[&str]) -> Finished {
    let (verb, rest) = words.split_first().expect("a subcommand comes first");
    Dlock::new([&[*verb, "--zk", hosts], rest].concat()).finish()
}

fn run(hosts: &str, options: &[&str]) -> Finished {
    at(hosts, &[&["run", "-n"], options, &["--", "echo", "ran"]].concat())
}

#[track_caller]
fn refused(finished: Finished, status: i32, words: &str) {
    let finished = finished.exits_with(status).mentions(&[words]);
    assert_eq!(finished.stderr().lines().count(), 1, "{}", finished.account());
    assert!(finished.stdout.is_empty(), "{}", finished.account());
}

#[test]
fn each_connect_string_that_is_none_has_its_own_sentence() {
    for (hosts, words) in [
        ("zk://", "a ZooKeeper address is needed: host:2181,host2:2181[/chroot]"),
        ("/app", "a ZooKeeper address is needed"),
        ("z1:", r#""" is no port in "z1:"; a port is a number from 1 to 65535"#),
        ("z1:0", r#""0" is no port in "z1:0""#),
        ("z1:2181:2182", "cannot be a host name; write host:2181, an IPv6 address in brackets"),
        ("zks://z1", r#""z1" has no port: ZooKeeper has no usual one for TLS"#),
        ("z1,,z2", r#"there is a server without a name in "z1,,z2""#),
        (":2181", "there is a server without a name"),
        ("zk://z1,/app", "there is a server without a name"),
        ("2001:db8::1", r#""2001:db8::1" cannot be a host name; write host:2181, an IPv6 address in brackets"#),
        ("::1", "without a name"),
        ("[::1:2181", "cannot be a host name"),
        ("[z1]:2181", "cannot be a host name"),
        ("zk://z1/a//b", r#"the chroot "/a//b" is no path: it has an empty component"#),
        ("zk://z1//", "is no path: it has an empty component"),
        ("zk://z1/a/../b", "is no path: `.` and `..` are no node names"),
        ("z1/a,z2/a", "the chroot comes once, after the last server"),
        ("redis://z1", r#""redis://" is not a ZooKeeper scheme; write zk://host:2181"#),
        ("zk://locker:hush@z1", "take no user or password"),
        ("z 1:2181", r#""z 1" cannot be a host name"#),
    ] {
        let finished = run(hosts, &["-k", "job"]);
        assert!(!finished.account().replace(hosts, "").contains("hush"), "{}", finished.account());
        refused(finished, 64, words);
    }
}

#[test]
fn a_chroot_that_does_not_exist_is_78_and_named() {
    let hosts = format!("{}/misspelt/app", ZooKeeper::shared().address());
    let words = "the chroot /misspelt/app does not exist on zookeeper";
    refused(run(&hosts, &["-k", "job"]), 78, words);
    refused(at(&hosts, &["run", "-k", "job", "--", "true"]), 78, words);
    refused(at(&hosts, &["acquire", "-n", "--ttl", "1m", "-k", "job"]), 78, words);
    refused(run(&hosts, &["--namespace", "", "-k", "job"]), 78, words);
}

#[tokio::test]
async fn keys_that_look_like_paths_or_like_zookeepers_own_are_keys_like_others_in_a_namespace() {
    let hosts = ZooKeeper::shared().address();
    let long = "ä/".repeat(170);
    let namespace = ["--namespace", "odd"];
    for key in ["zookeeper", ".", "..", "/", "a/../b", "zookeeper/quota", "%clock", &long] {
        let words = [&["acquire", "-n", "--ttl", "1m", "-k", key], &namespace[..]].concat();
        let token = at(&hosts, &words).succeeds().said().to_owned();
        let shown = at(&hosts, &[&["status", "--json", "-k", key], &namespace[..]].concat()).succeeds();
        let status: serde_json::Value = serde_json::from_str(shown.said()).expect("an array");
        assert_eq!((&status[0]["key"], &status[0]["state"]), (&key.into(), &"held".into()));
        let listed = at(&hosts, &[&["list", "--json"], &namespace[..]].concat()).succeeds();
        let listed: serde_json::Value = serde_json::from_str(listed.said()).expect("an array");
        assert_eq!(listed[0]["key"], key, "its name tells it, or its data");
        // A new one each time: its session would not outlast the calls, which keep this thread from sending pings.
        let outside = ZooKeeper::shared().client().await;
        assert!(outside.list_children("/odd").await.expect("it is there").iter().all(|name| name.len() <= 200));
        at(&hosts, &[&["release", "-k", key, "--token", &token], &namespace[..]].concat()).succeeds();
    }
}

#[test]
fn without_a_namespace_what_is_no_path_is_64() {
    let hosts = ZooKeeper::shared().address();
    for (key, words) in [
        ("zookeeper", "/zookeeper is ZooKeeper's own"),
        ("/zookeeper/quota", "/zookeeper is ZooKeeper's own"),
        (".", "`.` and `..` are no node names"),
        ("a/..", "`.` and `..` are no node names"),
        ("a//b", "it has an empty component"),
        ("/", "it has an empty component"),
        ("a\u{7f}b", "it has a character that ZooKeeper does not take"),
    ] {
        refused(run(&hosts, &["--namespace", "", "-k", key]), 64, words);
    }
    refused(run(&hosts, &["--namespace", "zookeeper", "-k", "job"]), 64, "is ZooKeeper's own; choose another");
}

#[tokio::test]
async fn what_is_said_of_a_holder_never_outgrows_a_node() {
    let hosts = ZooKeeper::shared().address();
    // As long as the kernel lets an argument be.
    let label = "ä".repeat(60_000);
    let words = ["acquire", "-n", "--ttl", "1m", "-k", "big", "--namespace", "sized", "--label", &label];
    at(&hosts, &words).succeeds();
    let outside = ZooKeeper::shared().client().await;
    let name = contenders(&outside, "/sized/big").await.pop().expect("it stands there");
    let (data, _) = outside.get_data(&format!("/sized/big/{name}")).await.expect("it is readable");
    assert!(data.len() < 4096, "a node takes 1 MiB, and so does a list of readers: {}", data.len());
}

#[tokio::test]
async fn a_key_or_namespace_that_is_an_ephemeral_node_is_78() {
    let hosts = ZooKeeper::shared().address();
    let outside = ZooKeeper::shared().client().await;
    let open = Acls::anyone_all();
    let ephemeral = CreateMode::Ephemeral.with_acls(open);
    outside.create("/flying", b"", &ephemeral).await.expect("a node");
    outside.create("/standing", b"", &CreateMode::Persistent.with_acls(open)).await.expect("a node");
    outside.create("/standing/job", b"", &ephemeral).await.expect("a node");
    let words = "is somebody's ephemeral node, which cannot hold locks; choose another key or --namespace";
    // On another thread: the session that the nodes hang on has to live meanwhile.
    let calls = tokio::task::spawn_blocking(move || {
        for namespace in ["flying", "standing"] {
            refused(run(&hosts, &["--namespace", namespace, "-k", "job"]), 78, words);
            let waits = ["run", "--namespace", namespace, "-k", "job", "--", "true"];
            refused(at(&hosts, &waits), 78, words);
            let takes = ["acquire", "-n", "--ttl", "1m", "--namespace", namespace, "-k", "job"];
            refused(at(&hosts, &takes), 78, words);
        }
    });
    calls.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
}

#[test]
fn a_ttl_outside_the_servers_range_is_78_with_the_range_and_without_one_the_granted_one_is_told() {
    let hosts = ZooKeeper::shared().address();
    for (ttl, granted) in [("60s", "from 400ms to 4s, not 1m"), ("366d", "from 400ms to 4s, not 1year")] {
        refused(run(&hosts, &["-k", "range", "--ttl", ttl]), 78, granted);
    }
    let told = run(&hosts, &["-v", "-k", "range"]).succeeds();
    assert!(told.stderr().contains(", lease 4s"), "{}", told.account());
}

/// Whether a server is new enough for what came with 3.7: enforced quotas, and enforced authentication.
fn enforces(server: &ZooKeeper) -> bool {
    let says = server.ask("srvr").expect("it serves");
    !says.contains("version: 3.5.") && !says.contains("version: 3.6.")
}

#[tokio::test]
async fn a_namespace_whose_quota_is_used_up_is_78() {
    let server = ZooKeeper::start(&["-Dzookeeper.enforceQuota=true"]);
    let outside = server.client().await;
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    outside.create("/quoted", b"", &open).await.expect("a node");
    outside.create("/zookeeper/quota/quoted", b"", &open).await.expect("a node");
    // The namespace alone, and not one node more.
    let (limits, stats) = (b"count=1,bytes=-1=;byteHardLimit=-1;countHardLimit=1", b"count=1,bytes=0");
    for (name, data) in [("limits", &limits[..]), ("stats", stats)] {
        let path = format!("/zookeeper/quota/quoted/zookeeper_{name}");
        outside.create(&path, data, &open).await.expect("a node");
    }
    let finished = run(&server.address(), &["--namespace", "quoted", "-k", "job"]);
    if enforces(&server) {
        refused(finished, 78, "has a quota that is used up and refused to take the lock: raise it with setquota");
    } else {
        finished.succeeds();
    }
}

#[test]
fn a_server_that_asks_for_authentication_is_77_without_one() {
    let enforced = ["-Dzookeeper.enforce.auth.enabled=true", "-Dzookeeper.enforce.auth.schemes=digest"];
    let server = ZooKeeper::start(&enforced);
    let file = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
    std::fs::write(file.path(), "locker:secret\n").expect("our own file can be written");
    let path = file.path().to_str().expect("temporary files have plain names");
    run(&server.address(), &["--zk-auth-file", path, "-k", "job"]).succeeds();
    let without = run(&server.address(), &["-k", "job"]);
    if enforces(&server) {
        refused(
            without,
            77,
            "refused the authentication; it may ask for another scheme than digest, or for one at all",
        );
    } else {
        without.succeeds();
    }
}

#[test]
fn a_zookeeper_that_does_not_serve_is_69_and_says_so() {
    let server = Ensemble::start_alone();
    refused(run(&server.address(), &["-k", "job"]), 69, "has no leader at the moment");
}
