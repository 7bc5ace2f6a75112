//! Servers that answer whatever they like: dlock ends in time, with one sentence, and takes no more memory than they send.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::support::{A_WHILE, Dlock, Finished, Running, program, scripted_server};

/// What a call may use in all: a declared length that is believed is beyond it.
const MOST_MEMORY_KB: u32 = 1 << 20;

/// Calls with answers that are mutated, for each kind of server.
const MUTATED: u64 = 16;

/// `dlock run` of a command that must not run, within [`MOST_MEMORY_KB`].
fn run_at(place: &[&str]) -> Running {
    call(&["run"], &[place, &["-n", "-k", "job", "--", "sh", "-c", "echo it ran"]].concat())
}

fn call(subcommand: &[&str], rest: &[&str]) -> Running {
    let script = format!("ulimit -v {MOST_MEMORY_KB} && exec \"$0\" \"$@\"");
    let words = [&["-c", &script, program()], subcommand, rest].concat();
    Dlock::of_program(Path::new("/bin/sh"), words).start()
}

/// It has ended in time, of its own accord, and says why in one line that a terminal only shows.
#[track_caller]
fn ends_well(what: &str, call: &Running) -> Finished {
    let finished = call.wait();
    let account = finished.account();
    let code = finished.status.code().unwrap_or_else(|| panic!("{what}: it does not die: {account}"));
    assert!(![70, 101, 134, 139].contains(&code), "{what}: {account}");
    assert!(finished.took < A_WHILE, "{what}: {account}");
    if code != 0 {
        assert_eq!(finished.stderr().lines().count(), 1, "{what}: {account}");
        assert!(finished.stderr().starts_with("dlock: "), "{what}: {account}");
    }
    let is_shown = |letter: char| letter == '\n' || !letter.is_control();
    assert!(finished.stderr().chars().all(is_shown), "{what}: {account}");
    finished
}

/// Answers the first request with the first of these, and so on; then it hangs up.
fn server_that_says(answers: Vec<Vec<u8>>) -> u16 {
    let next = Arc::new(AtomicUsize::new(0));
    scripted_server(move |_| answers.get(next.fetch_add(1, Ordering::Relaxed)).cloned())
}

/// Answers every request with `beginning`, and with `rest` again and again for as long as anybody reads.
fn server_that_does_not_end(beginning: &'static [u8], rest: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let piece = rest.repeat(1 + (64 << 10) / rest.len());
                if matches!(client.read(&mut [0; 4096]), Ok(1..)) && client.write_all(beginning).is_ok() {
                    while client.write_all(&piece).is_ok() {}
                }
            });
        }
    });
    port
}

#[test]
fn a_redis_that_promises_more_than_there_is_memory_is_not_believed() {
    let answers: [(&str, &[u8]); 8] = [
        ("a string of half a gigabyte", b"$536870912\r\nxx"),
        ("a string of the longest length", b"$9223372036854775807\r\nxx"),
        ("an array of two thousand million", b"*2147483647\r\n:1\r\n"),
        ("an array of the longest length", b"*9223372036854775807\r\n:1\r\n"),
        ("a map of the longest length", b"%4611686018427387904\r\n+a\r\n"),
        ("a negative attribute", b"|-1\r\n+a\r\n+b\r\n"),
        ("an attribute of nothing", b"|0\r\n:1\r\n"),
        ("a message that nobody asked for", b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n"),
    ];
    let deep = b"*2147483647\r\n".repeat(90);
    let all = answers.iter().map(|(what, bytes)| (*what, bytes.to_vec())).chain([("deep arrays", deep)]);
    let calls: Vec<_> = all
        .map(|(what, bytes)| {
            let port = server_that_says(vec![bytes; 3]);
            (what, run_at(&["--redis", &format!("redis://127.0.0.1:{port}")]))
        })
        .collect();
    for (what, call) in calls {
        let finished = ends_well(what, &call);
        assert!(finished.stdout.is_empty(), "{what} is no grant: {}", finished.account());
    }
}

#[test]
fn a_redis_whose_answer_does_not_end_is_left() {
    for (what, beginning, rest) in [
        ("a line", &b"+"[..], &b"a"[..]),
        ("a string", b"$9223372036854775807\r\n", b"a"),
        ("an array", b"*2147483647\r\n", b":1\r\n"),
        ("answers", b"", b":1\r\n"),
        ("messages", b"", b">2\r\n+message\r\n+x\r\n"),
    ] {
        let port = server_that_does_not_end(beginning, rest);
        let finished = ends_well(what, &run_at(&["--redis", &format!("redis://127.0.0.1:{port}")]));
        assert!(finished.stdout.is_empty(), "{what} is no grant: {}", finished.account());
    }
}

/// Numbers that look like chance and are the same each time.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most.max(1) as u64).expect("it is below a length")
    }

    /// The bytes with one to four places changed.
    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 => bytes.truncate(at),
                2 => {
                    let number =
                        [&b"-1"[..], b"2147483647", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\r\n"][self.below(5)];
                    bytes.splice(at..at, number.iter().copied());
                }
                _ => {
                    let again = bytes[at..].to_vec();
                    bytes.splice(at..at, again);
                }
            }
        }
        bytes
    }
}

/// The answers of the inputs that the fuzzers begin with, without their first line.
fn known_answers(target: &str) -> Vec<(PathBuf, Vec<Vec<u8>>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(&folder).expect("a folder of the project").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let answers = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a file of the project");
        let first = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        let mut rest = &bytes[first..];
        let mut pieces = Vec::new();
        while let Some(at) = rest.windows(5).position(|window| window == b"\n===\n") {
            pieces.push(rest[..at].to_vec());
            rest = &rest[at + 5..];
        }
        pieces.push(rest.to_vec());
        (path, pieces)
    };
    paths.into_iter().map(answers).collect()
}

#[test]
fn a_redis_that_answers_at_random_is_survived() {
    let known = known_answers("redis-server");
    let mut calls = Vec::new();
    for seed in 1..=MUTATED {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (path, answers) = &known[chance.below(known.len())];
        let answers: Vec<Vec<u8>> = answers.iter().map(|answer| chance.mutate(answer.clone())).collect();
        let url = format!("redis://127.0.0.1:{}", server_that_says(answers));
        let what = format!("seed {seed}, of {}", path.display());
        let place = ["--redis", url.as_str()];
        calls.push(match seed % 3 {
            0 => (what, call(&["status"], &[&place[..], &["job"]].concat())),
            1 => (what, call(&["list"], &place)),
            _ => (what, run_at(&place)),
        });
    }
    for (what, call) in calls {
        ends_well(&what, &call);
    }
}

/// Opens a session for whoever asks, and answers each request behind it with the next of these.
fn zookeeper_that_says(answers: Vec<Vec<u8>>) -> u16 {
    let next = Arc::new(AtomicUsize::new(0));
    let frame = |body: &[u8]| {
        let length = i32::try_from(body.len()).expect("it is short").to_be_bytes();
        Some([&length, body].concat())
    };
    scripted_server(move |request| {
        if request == b"srvr" {
            return Some(b"Zookeeper version: 3.8.0\nMode: standalone\n".to_vec());
        }
        let number = request.get(4..8)?;
        if number == [0; 4] {
            // A session of 40 s.
            let (timeout, id) = (40_000_i32.to_be_bytes(), 7_i64.to_be_bytes());
            return frame(&[&[0; 4], &timeout[..], &id, &16_i32.to_be_bytes(), &[1; 16], &[0]].concat());
        }
        let answer = answers.get(next.fetch_add(1, Ordering::Relaxed))?;
        frame(&[number, answer].concat())
    })
}

#[test]
fn a_zookeeper_that_promises_more_than_there_is_memory_is_not_believed() {
    let header = [&5_i64.to_be_bytes()[..], &[0; 4]].concat();
    let calls: Vec<_> = [
        ("as many children as there can be", [&header[..], &i32::MAX.to_be_bytes()].concat()),
        ("a child of the longest name", [&header[..], &[0, 0, 0, 1], &i32::MAX.to_be_bytes()].concat()),
        ("a number of children below zero", [&header[..], &i32::MIN.to_be_bytes()].concat()),
    ]
    .into_iter()
    .map(|(what, answer)| {
        let port = zookeeper_that_says(vec![answer; 8]);
        (what, call(&["status"], &["--zk", &format!("127.0.0.1:{port}"), "job"]))
    })
    .collect();
    for (what, call) in calls {
        ends_well(what, &call);
    }
}

#[test]
fn a_zookeeper_that_answers_at_random_is_survived() {
    let known = known_answers("zookeeper-server");
    let mut calls = Vec::new();
    for seed in 1..=MUTATED {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (path, answers) = &known[chance.below(known.len())];
        let answers = answers.iter().skip(1).map(|answer| chance.mutate(answer.clone())).collect();
        let ensemble = format!("127.0.0.1:{}", zookeeper_that_says(answers));
        let what = format!("seed {seed}, of {}", path.display());
        let place = ["--zk", ensemble.as_str()];
        calls.push(match seed % 2 {
            0 => (what, call(&["status"], &[&place[..], &["job"]].concat())),
            _ => (what, run_at(&place)),
        });
    }
    for (what, call) in calls {
        // Its client crate panics where the answer to a read of data has been cut; a panic ends dlock, and the command.
        let finished = call.wait();
        let is_known = finished.status.code() == Some(70) && finished.stderr().contains("zookeeper-client");
        if !is_known {
            ends_well(&what, &call);
        }
    }
}

#[test]
fn a_file_without_end_is_no_secret_and_no_certificate() {
    for (option, url) in
        [("--redis-password-file", "redis://127.0.0.1:1"), ("--tls-ca", "rediss://127.0.0.1:1"), ("--zk-auth-file", "")]
    {
        let place = if url.is_empty() { ["--zk", "127.0.0.1:1"] } else { ["--redis", url] };
        let finished = ends_well(option, &call(&["status"], &[&place[..], &[option, "/dev/zero", "job"]].concat()));
        finished.exits_with(78).complains(&["/dev/zero", "more than four megabytes"]);
    }
}
