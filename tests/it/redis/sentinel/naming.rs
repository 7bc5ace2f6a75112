//! Who names the master, and what is said when nobody does.

use crate::support::{Certificates, Dlock, Finished, Place, Server, Watched, ask, eventually, free_port};

fn run_at(url: &str) -> Finished {
    Dlock::new(["run", "-n", "--redis", url, "-k", "job", "--", "true"]).finish()
}

#[test]
fn everything_works_through_any_of_the_sentinels() {
    let watched = Watched::start();
    for ports in [vec![watched.sentinel_port(0)], vec![watched.sentinel_port(2), watched.sentinel_port(1)]] {
        let place = watched.through(&ports);
        let token = place.acquire("job", "60s");
        assert_eq!(place.status("job")["state"], "held");
        place.dlock(["renew", "-k", "job", "--token", &token, "--ttl", "2m"]).finish().succeeds();
        assert!(place.dlock(["list"]).finish().succeeds().said().contains("job"));
        place.dlock(["release", "-k", "job", "--token", &token]).finish().succeeds();
        for layout in ["redisson", "python-redis-lock"] {
            place.dlock(["run", "-k", "job", "--layout", layout, "--", "true"]).finish().succeeds();
        }
    }
}

#[test]
fn one_of_three_sentinels_may_be_away_or_frozen_and_two_may_not() {
    let watched = Watched::start();
    let place = watched.place();
    let one = watched.through(&[watched.sentinel_port(0)]);
    let run = place.hold_for("job", "3s");
    watched.sentinel(2).freeze();
    assert!(place.is_free("other") && one.is_free("other"));
    watched.sentinel(1).crash();
    for place in [&place, &one] {
        let refused = place.dlock(["run", "-k", "other", "-n", "--", "true"]).finish().exits_with(69);
        refused.complains(&["1 of the 3 Sentinels of \"svc\"", "2 have to agree"]);
    }
    run.wait().exits_with(79);
}

/// One that stands alone and was made to forget the others must not vouch for a master.
#[test]
fn a_sentinel_that_forgot_the_others_decides_nothing_alone() {
    let watched = Watched::start();
    let place = watched.place();
    let run = place.hold_for("job", "3s");
    watched.sentinel(1).crash();
    watched.sentinel(2).crash();
    assert_eq!(watched.ask_sentinel::<i64>(0, &["SENTINEL", "RESET", "*"]), Some(1));
    let others: Vec<Vec<String>> =
        watched.ask_sentinel(0, &["SENTINEL", "SENTINELS", "svc"]).expect("it knows the service");
    assert!(others.is_empty(), "it has forgotten them: {others:?}");
    run.wait().exits_with(79);
    let alone = watched.through(&[watched.sentinel_port(0)]);
    alone.dlock(["run", "-k", "job", "-n", "--", "true"]).finish().exits_with(69).complains(&["1 of the 2 Sentinels"]);
}

#[test]
fn sentinels_that_disagree_name_nobody() {
    let (one, other) = (Server::redis(&[]), Server::redis(&[]));
    let watch = |port| Server::sentinel(&format!("sentinel monitor svc 127.0.0.1 {port} 1\n"));
    let (first, second) = (watch(one.port), watch(other.port));
    let url = format!("redis-sentinel://127.0.0.1:{},127.0.0.1:{}/svc", first.port, second.port);
    run_at(&url).exits_with(69).complains(&["do not agree", &one.port.to_string(), &other.port.to_string()]);
    // Each alone is the only Sentinel of its service, and enough.
    run_at(&format!("redis-sentinel://127.0.0.1:{}/svc", first.port)).succeeds();
}

#[test]
fn a_dead_master_that_is_still_named_is_no_server() {
    let mut master = Server::redis(&[]);
    let sentinel = Server::sentinel(&format!("sentinel monitor svc 127.0.0.1 {} 1\n", master.port));
    let url = format!("redis-sentinel://127.0.0.1:{}/svc", sentinel.port);
    run_at(&url).succeeds();
    master.crash();
    let port = master.port.to_string();
    let refused = run_at(&url).exits_with(69);
    assert!(refused.stderr().contains(&port) && refused.stderr().contains("Sentinels"), "{}", refused.account());
    assert_eq!(refused.stderr().lines().count(), 1, "{}", refused.account());
}

#[test]
fn what_was_written_wrong_is_said_with_what_to_write() {
    let server = Server::redis(&[]);
    let sentinel = Server::sentinel(&format!("sentinel monitor svc 127.0.0.1 {} 1\n", server.port));
    let at = |port: u16| format!("127.0.0.1:{port}");
    run_at(&format!("redis-sentinel://{}/other", at(sentinel.port)))
        .exits_with(78)
        .complains(&["watches no service \"other\"", "it knows svc"]);
    run_at(&format!("redis-sentinel://{}/svc", at(server.port)))
        .exits_with(78)
        .complains(&["is a Redis server and no Sentinel", "redis://"]);
    for url in [format!("redis://{}", at(sentinel.port)), format!("redis://{}/3", at(sentinel.port))] {
        run_at(&url).exits_with(78).complains(&["is a Sentinel", "redis-sentinel://HOST:PORT/svc"]);
    }
    run_at(&format!("redis-sentinel://{}/svc", at(free_port()))).exits_with(69).complains(&["no Sentinel answers"]);
    for wrong in ["redis-sentinel://h1", "redis-sentinel://h1/svc,redis://h2", "redis-sentinel://h1/svc/x"] {
        run_at(wrong).exits_with(64).mentions(&["--redis"]);
    }
}

#[test]
fn the_password_is_for_the_master_and_for_sentinels_that_ask() {
    let servers = ["--requirepass", "s3cret", "--masterauth", "s3cret"];
    let auth = "sentinel auth-pass svc s3cret\n";
    let asking = "requirepass s3cret\nsentinel sentinel-pass s3cret\n";
    for (lines, password) in [(auth.to_owned(), None), (format!("{auth}{asking}"), Some("s3cret"))] {
        let watched = Watched::start_with(&servers, &lines, password);
        let url = watched.url().replace("://", "://:s3cret@");
        let held = "[ \"$DLOCK_REDIS_PASSWORD\" = '' ]; echo \"$DLOCK_REDIS\"";
        let run =
            Dlock::new(["run", "-n", "-v", "--redis", &url, "-k", "job", "--", "sh", "-c", held]).finish().succeeds();
        assert_eq!(run.said(), watched.url(), "the command is led there without it");
        assert!(!run.stderr().contains("s3cret"), "{}", run.account());
        let wrong = run_at(&watched.url().replace("://", "://:wrong@")).exits_with(77);
        assert!(!wrong.stderr().contains("wrong@"), "{}", wrong.account());
        run_at(&watched.url()).exits_with(77).complains(&["asks for a password"]);
    }
}

#[test]
fn masters_and_sentinels_may_be_known_by_host_names() {
    let server = Server::redis(&[]);
    let lines = format!(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\nsentinel announce-ip localhost\n\
         sentinel monitor svc localhost {} 2\n",
        server.port
    );
    let sentinels = [(); 2].map(|()| Server::sentinel(&lines));
    let place = Place::at_url(&format!("redis-sentinel://LOCALHOST:{}/svc", sentinels[0].port), server.port);
    eventually("they know each other", || {
        let words = ["SENTINEL", "SENTINELS", "svc"];
        let others: Vec<Vec<String>> = ask(sentinels[0].port, None, &words).unwrap_or_default();
        others.len() == 1 && others[0].contains(&"localhost".to_owned())
    });
    let run = place.hold_for("job", "3s");
    let left = || {
        let mut redis = place.redis();
        ::redis::cmd("PTTL").arg(format!("{}:job", place.namespace)).query::<i64>(&mut redis).expect("it serves")
    };
    eventually("the lease is half over", || left() < 2_200);
    eventually("it is renewed", || left() > 2_500);
    run.let_go();
    run.wait().succeeds();
}

#[test]
fn sentinels_and_master_are_reached_by_tls() {
    let certificates = Certificates::new();
    let (server_port, sentinel_port) = (free_port(), free_port());
    let options = certificates.options(server_port, "server");
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["--tls-auth-clients", "no"]).collect();
    let server = Server::redis(&options);
    let lines: Vec<String> = certificates
        .options(sentinel_port, "server")
        .chunks(2)
        .map(|pair| format!("{} {}\n", pair[0].trim_start_matches('-'), pair[1]))
        .collect();
    let watch = format!("sentinel monitor svc 127.0.0.1 {server_port} 1\n");
    let sentinel = Server::sentinel(&format!("{}tls-auth-clients no\ntls-replication yes\n{watch}", lines.concat()));
    let ca = certificates.pem("ca");
    let ca = ca.to_str().expect("temporary directories have plain names");
    let run = |url: &str, options: &[&str]| {
        let words = [&["run", "-n", "--redis", url, "-k", "job"], options, &["--", "true"]].concat();
        Dlock::new(words).finish()
    };
    let url = format!("rediss-sentinel://127.0.0.1:{sentinel_port}/svc");
    run(&url, &["--tls-ca", ca]).succeeds();
    run(&url, &[]).exits_with(78).complains(&["certificate"]);
    let plain = format!("redis-sentinel://127.0.0.1:{sentinel_port}/svc");
    run(&plain, &[]).exits_with(78).complains(&["speaks TLS"]);
    assert_ne!((server.port, sentinel.port), (server_port, sentinel_port));
}

/// Whoever holds a lock when most Sentinels are gone cannot keep it, but can give it back.
#[test]
fn a_release_needs_nobodys_word() {
    let watched = Watched::start();
    let place = watched.place();
    let run = place.hold_for("job", "20s");
    watched.sentinel(1).crash();
    watched.sentinel(2).crash();
    eventually("a renewal did not count", || run.stderr().contains("2 have to agree"));
    run.let_go();
    run.wait().succeeds();
    let name = format!("{}:job", place.namespace);
    assert_eq!(ask::<i64>(place.port(), None, &["EXISTS", &name]), Some(0), "it is free at once");
}
