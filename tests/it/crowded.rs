//! A namespace with ten thousand keys: everything that looks at it still answers.

use std::fs;

use zookeeper_client::{Acls, CreateMode};

use crate::support::{Kind, Place, Terminal, program, sentences_for_every_backend};

const KEYS: usize = 10_000;

sentences_for_every_backend![list_shows_them_all_and_a_pattern_some, top_shows_them_and_finds_one];

/// Holders of ten thousand keys, `key00000` and so on.
fn fill(place: &Place) {
    match place.kind {
        Kind::File => {
            // One of ours, many times over.
            place.acquire("key00000", "1h");
            let directory = place.dir().join(&place.namespace);
            for number in 1..KEYS {
                let copy = directory.join(format!("key{number:05}"));
                fs::copy(directory.join("key00000"), copy).expect("there is room");
            }
        }
        Kind::Redis => {
            let mut pipe = ::redis::pipe();
            for number in 0..KEYS {
                let name = format!("{}:key{number:05}", place.namespace);
                pipe.cmd("SET").arg(name).arg("somebody's").arg("PX").arg(3_600_000).ignore();
            }
            pipe.query::<()>(&mut place.redis()).expect("the server serves");
        }
        Kind::ZooKeeper => place.zookeeper(async |client| {
            let (container, open) = (CreateMode::Container, Acls::anyone_all());
            client
                .create(&format!("/{}", place.namespace), b"", &container.with_acls(open))
                .await
                .expect("a namespace");
            let paths: Vec<String> = (0..KEYS).map(|number| format!("/{}/key{number:05}", place.namespace)).collect();
            for some in paths.chunks(500) {
                let mut all = client.new_multi_writer();
                for path in some {
                    all.add_create(path, b"", &container.with_acls(open)).expect("a valid path");
                    let place = format!("{path}/_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-0000000000");
                    all.add_create(&place, b"somebody's", &CreateMode::Persistent.with_acls(open))
                        .expect("a valid path");
                }
                all.commit().await.expect("the server serves");
            }
        }),
    }
}

/// Of servers that the other tests use.
fn clear(place: &Place) {
    if place.kind == Kind::ZooKeeper {
        place.zookeeper(async |client| {
            for number in 0..KEYS {
                let path = format!("/{}/key{number:05}", place.namespace);
                let place = format!("{path}/_c_6e2f6d9c-3b0a-4f5e-9d0a-0c8e1b2a3f4d-lock-0000000000");
                client.delete(&place, None).await.expect("it was made above");
            }
        });
    }
}

fn list_shows_them_all_and_a_pattern_some(place: &Place) {
    fill(place);
    let all = place.dlock(["list"]).finish().succeeds().says_nothing_on_stderr();
    assert_eq!(all.said().lines().count(), KEYS + 1, "all and the heading");
    let json = place.dlock(["list", "--json"]).finish().succeeds();
    let json: serde_json::Value = serde_json::from_str(json.said()).expect("JSON");
    let keys: Vec<&str> = json.as_array().expect("an array").iter().filter_map(|one| one["key"].as_str()).collect();
    assert!(keys.len() == KEYS && keys.is_sorted() && keys[KEYS - 1] == "key09999");
    let some = place.dlock(["list", "key0777*"]).finish().succeeds();
    assert_eq!(some.said().lines().count(), 11);
    place.dlock(["status", "--exit-code", "key04711"]).finish().exits_with(75);
    clear(place);
}

fn top_shows_them_and_finds_one(place: &Place) {
    fill(place);
    let options = place.options();
    let program = [program(), "top"];
    let args: Vec<&str> = program.into_iter().chain(options.iter().map(String::as_str)).collect();
    let terminal = Terminal::start(&args, |call| call.env("TERM", "xterm"));
    terminal.shows("10000 keys");
    terminal.shows("> key00000");
    terminal.types("/key07771\r");
    terminal.shows("1 of 10000 keys");
    terminal.shows("> key07771");
    terminal.types("q");
    terminal.session.wait().succeeds();
    clear(place);
}
