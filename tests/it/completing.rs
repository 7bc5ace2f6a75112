//! The tab key: what the completions offer in real shells, that nothing of it is executed, and that they never hold up the
//! prompt.

mod shells;

use std::fs;
use std::time::Duration;

use nix::sys::stat::Mode;

use crate::support::silent_server;
use crate::support::{Dlock, Finished, Kind, Place, Server, eventually, free_port, sentences_for_every_backend};

/// What the shells' scripts ask for.
const ASK: &str = "__complete";

/// 300 ms are promised; a busy machine may be late, but the limits of a first contact are 5 s and more.
const FAR_BEFORE_A_FIRST_CONTACT_ENDS: Duration = Duration::from_secs(3);

sentences_for_every_backend![keys_that_are_held_or_awaited_are_offered, what_stands_on_the_line_says_where_to_ask,];

fn ask(place: &Place, words: &[&str]) -> Dlock {
    let call = Dlock::new([ASK, "zsh"].iter().chain(words));
    place.environment().into_iter().fold(call, |call, (name, value)| call.env(name, value))
}

/// Waits until these are offered: a machine that has no time answers too late, which is no answer.
#[track_caller]
fn offers(place: &Place, words: &[&str], expected: &[&str]) {
    eventually(&format!("{words:?} is completed by {expected:?}"), || {
        offered(&ask(place, words).finish().succeeds().says_nothing_on_stderr()) == expected
    });
}

#[track_caller]
fn offered(answer: &Finished) -> Vec<&str> {
    answer.said().lines().collect()
}

fn keys_that_are_held_or_awaited_are_offered(place: &Place) {
    let held = place.hold("deploy/web");
    place.acquire("deploy/api", "1h");
    place.acquire("backup", "1h");
    let token = place.acquire("free again", "1h");
    place.dlock(["release", "-k", "free again", "--token", &token]).finish().succeeds();
    let waiter = place.queue_up("deploy/web");
    for words in
        [&["status", ""][..], &["run", "-n", "-k", ""], &["release", "-k", ""], &["renew", "--key", ""], &["list", ""]]
    {
        offers(place, words, &["backup", "deploy/api", "deploy/web"]);
    }
    // What is there is not offered again.
    offers(place, &["acquire", "-k", "deploy/api", "--key=deploy"], &["--key=deploy/web"]);
    held.let_go();
    held.wait().succeeds();
    waiter.says("ready");
    offers(place, &["status", "deploy/w"], &["deploy/web"]);
}

fn what_stands_on_the_line_says_where_to_ask(place: &Place) {
    let elsewhere = place.elsewhere();
    elsewhere.acquire("elsewhere", "1h");
    let options = elsewhere.options();
    let words: Vec<&str> = ["status", "-v"].into_iter().chain(options.iter().map(String::as_str)).chain([""]).collect();
    offers(place, &words, &["elsewhere"]);
}

#[test]
fn a_server_that_is_down_or_hangs_is_no_answer_and_soon() {
    for port in [free_port(), silent_server()] {
        for option in [format!("--redis=redis://127.0.0.1:{port}"), format!("--zk=127.0.0.1:{port}")] {
            let answer = Dlock::new([ASK, "fish", "status", &option, ""]).finish().succeeds().says_nothing();
            assert!(answer.took < FAR_BEFORE_A_FIRST_CONTACT_ENDS, "{}", answer.account());
        }
    }
    let frozen = Server::redis(&[]);
    frozen.freeze();
    let url = format!("redis://127.0.0.1:{}", frozen.port);
    let answer = Dlock::new([ASK, "fish", "status", "--redis", &url, ""]).finish().succeeds().says_nothing();
    assert!(answer.took < FAR_BEFORE_A_FIRST_CONTACT_ENDS, "{}", answer.account());
    frozen.thaw();
}

/// As a name service or a directory on a dead file server would.
#[test]
fn a_file_that_never_ends_does_not_hold_up_the_prompt() {
    let place = Place::shared(Kind::File);
    let pipe = place.dir().join("config");
    nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("the directory is ours");
    let writer = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("it was just made");
    let answer = ask(&place, &["status", "--config", pipe.to_str().expect("a plain name"), ""]).finish().succeeds();
    assert!(answer.says_nothing().took < FAR_BEFORE_A_FIRST_CONTACT_ENDS);
    drop(writer);
}

#[test]
fn what_is_wrong_is_not_complained_about() {
    let place = Place::shared(Kind::File);
    let file = place.dir().join("config.toml");
    fs::write(&file, "no such = thing").expect("the directory is ours");
    let file = file.to_str().expect("a plain name");
    for words in [
        &["status", "--redis", "nonsense://", ""][..],
        &["status", "--backend", "nonsense", ""],
        &["status", "--config", file, ""],
        &["status", "--profile", "unknown", ""],
        &["status", "--dir", "/nonexistent", ""],
        &["status", "--config", file, "--profile", ""],
        &["status", "--namespace", "../..", ""],
    ] {
        ask(&place, words).finish().succeeds().says_nothing();
    }
    ask(&place, &["status", ""]).env("DLOCK_QUIET", "maybe").finish().succeeds().says_nothing();
    // Nobody reads the answer.
    place.acquire("job", "1h");
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    ask(&place, &["status", ""]).stdout_to(full).finish().succeeds().says_nothing();
}

#[test]
fn what_the_shell_knows_better_is_left_to_it() {
    let place = Place::shared(Kind::File);
    for words in [
        &[""][..],
        &["sta"],
        &["status", "--js"],
        &["run", "-k", "a", ""],
        &["run", "-k", "a", "--", "make", "-k", ""],
        &["fence-check", "--file", ""],
        &["status", "--namespace", "", ""],
        &["nonsense", ""],
    ] {
        ask(&place, words).finish().exits_with(1).says_nothing();
    }
    for words in
        [&[ASK][..], &[ASK, "powershell", "status", ""], &[ASK, "bash"], &[ASK, "bash", "", "dlock status >", "x"]]
    {
        Dlock::new(words).finish().exits_with(1).says_nothing();
    }
}

#[test]
fn profiles_are_those_of_the_files() {
    let place = Place::shared(Kind::File);
    let file = place.dir().join("config.toml");
    fs::write(&file, "ttl = '9s'\n[profile.staging]\n[profile.production]\nttl = '1m'\n").expect("it is ours");
    let file = file.to_str().expect("a plain name");
    for words in
        [&["run", "--config", file, "--profile", ""][..], &["doctor", &format!("--config={file}"), "--profile", ""]]
    {
        // The one that is chosen may be the mistake that is being mended.
        let answer = ask(&place, words).env("DLOCK_PROFILE", "unknown").finish().succeeds().says_nothing_on_stderr();
        assert_eq!(offered(&answer), ["production", "staging"]);
    }
}

/// Each word that is offered is one that dlock takes.
#[test]
fn words_are_those_that_the_option_takes() {
    let server = Server::shared_redis();
    let redis = format!("redis://127.0.0.1:{}", server.port);
    let zookeeper = format!("127.0.0.1:{}", Server::shared_zookeeper().port);
    for (option, count) in [
        ("--backend", 4),
        ("--layout", 5),
        ("--zk-acl", 2),
        ("--stop-signal", 7),
        ("--on-lost", 2),
        ("--descendants", 3),
        ("--log-format", 2),
        ("--color", 3),
    ] {
        let answer = Dlock::new([ASK, "zsh", "run", option, ""]).finish().succeeds();
        let words = offered(&answer);
        assert_eq!(words.len(), count, "{option}: {words:?}");
        for word in words {
            // From the environment, so that what belongs to another backend is no mistake.
            let variable = format!("DLOCK_{}", option.trim_start_matches('-').to_uppercase().replace('-', "_"));
            let call = Dlock::new(["list"]).env("DLOCK_REDIS", &redis).env("DLOCK_BACKEND", "redis");
            let call = call.env("DLOCK_ZK", &zookeeper).env(&variable, word);
            let said = if ["--stop-signal", "--on-lost", "--descendants"].contains(&option) {
                Dlock::new(["run", "-q", "-b", "file", "-k", "words", option, word, "--", "true"]).finish()
            } else {
                call.finish()
            };
            assert!(!said.stderr().contains("invalid"), "{}", said.account());
        }
    }
    let pages = Dlock::new([ASK, "zsh", "man", ""]).finish().succeeds();
    assert!(offered(&pages).contains(&"fence-check"), "{}", pages.account());
}

/// Ten thousand keys are read in time, or not at all.
#[test]
fn a_crowded_namespace_does_not_hold_up_the_prompt() {
    let place = Place::shared(Kind::Redis);
    let mut pipe = ::redis::pipe();
    for number in 0..10_000 {
        pipe.cmd("SET")
            .arg(format!("{}:key{number:05}", place.namespace))
            .arg("somebody's")
            .arg("PX")
            .arg(600_000)
            .ignore();
    }
    pipe.query::<()>(&mut place.redis()).expect("the server serves");
    let answer = ask(&place, &["status", "key0777"]).finish().succeeds().says_nothing_on_stderr();
    assert!(answer.took < FAR_BEFORE_A_FIRST_CONTACT_ENDS, "{}", answer.account());
    let lines = offered(&answer);
    assert!(lines.is_empty() || lines.len() == 10, "all of them or none: {lines:?}");
    eventually("they are read when the machine has time", || {
        offered(&ask(&place, &["status", "key0777"]).finish().succeeds()).len() == 10
    });
}
