//! Answers without an end, and values of half a gigabyte: dlock takes a bounded part of them, in a bounded time.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use crate::support::{Dlock, Finished, Kind, Place, program};

/// What a process may have, and what it needs to take what it takes of an answer and to read it.
const FEW: &str = "--as=268435456";
const MORE: &str = "--as=805306368";

/// Where it would need more memory than `bytes` allows, the kernel refuses, and the call dies of it.
fn within(bytes: &str, words: &[&str]) -> Finished {
    let words = [bytes, program()].iter().chain(words).copied().collect::<Vec<_>>();
    let finished = Dlock::of_program(Path::new("prlimit"), words).finish();
    assert!(finished.took < Duration::from_secs(45), "{}", finished.account());
    finished
}

/// Half a gigabyte, the most that Redis keeps in one text, at `key`.
fn fill(place: &Place, key: &str) {
    let script = "redis.call('SET', KEYS[1], string.rep('a', 512 * 1024 * 1024)) return 1";
    let () = ::redis::cmd("EVAL").arg(&[script, "1", key]).query(&mut place.redis()).expect("it has the memory");
}

#[test]
fn half_a_gigabyte_at_the_key_is_held_by_somebody_else_and_costs_dlock_no_memory() {
    let place = Place::private(Kind::Redis);
    let () = ::redis::cmd("CONFIG").arg(&["SET", "appendonly", "no"]).query(&mut place.redis()).expect("it serves");
    let key = format!("{}:job", place.namespace);
    fill(&place, &key);
    let options = place.options();
    let call = |words: &[&str], rest: &[&str]| {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        within(FEW, &[&words[..1], &options, &words[1..], rest].concat())
    };
    // A busy server may need longer than is waited for to look at so much.
    for (words, rest, status, says) in [
        (&["status", "-k", "job"][..], &[][..], 0, "foreign"),
        (&["list"], &[], 0, "foreign"),
        (&["run", "-n", "-k", "job"], &["--", "true"], 75, "held by"),
        (&["run", "-w", "1", "-k", "job"], &["--", "true"], 75, "held by"),
        (&["acquire", "-n", "-k", "job", "--ttl", "9s"], &[], 75, "held by"),
    ] {
        let finished = call(words, rest);
        let all = format!("{}{}", finished.said(), finished.stderr());
        assert!(all.len() < 16 * 1024, "{} bytes", all.len());
        let is_slow = finished.status.code() == Some(69) && all.contains("does not answer");
        assert!(is_slow || all.contains(says), "{}", finished.account());
        assert!(is_slow || finished.status.code() == Some(status), "{}", finished.account());
    }
    let length: u64 = ::redis::cmd("STRLEN").arg(&key).query(&mut place.redis()).expect("it serves");
    assert_eq!(length, 512 << 20, "and it is left as it is");
}

#[test]
fn a_queue_of_texts_that_no_waiter_would_leave_is_cut() {
    let place = Place::private(Kind::Redis);
    let script = "local side = '{' .. ARGV[1] .. ':job}:dlock:' local long = string.rep('1', 8 * 1024 * 1024)
        redis.call('ZADD', side .. 'queue', 1, 'w', 2, long)
        redis.call('HSET', side .. 'leases', 'w', long) redis.call('HSET', side .. 'waiters', 'w', long)
        redis.call('HSET', side .. 'holders', 'generation', long, long, '9999999999999 ' .. long)
        return 1";
    let () = ::redis::cmd("EVAL").arg(&[script, "0", &place.namespace]).query(&mut place.redis()).expect("it serves");
    let options = place.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    for (words, rest) in
        [(&["status", "-k", "job"][..], &[][..]), (&["list"], &[]), (&["run", "-n", "-k", "job"], &["--", "true"])]
    {
        let finished = within(FEW, &[&words[..1], &options, &words[1..], rest].concat());
        assert!(matches!(finished.status.code(), Some(0 | 75)), "{}", finished.account());
        assert!(finished.stdout.len() < 256 * 1024, "{} bytes", finished.stdout.len());
    }
}

/// The name of a key is the one thing that a script cannot cut.
#[test]
fn a_name_of_160_megabytes_ends_a_list_and_not_the_memory() {
    let place = Place::private(Kind::Redis);
    let () = ::redis::cmd("CONFIG").arg(&["SET", "appendonly", "no"]).query(&mut place.redis()).expect("it serves");
    let script = "redis.call('SET', ARGV[1] .. ':' .. string.rep('1', 160 * 1024 * 1024), 1) return 1";
    let () = ::redis::cmd("EVAL").arg(&[script, "0", &place.namespace]).query(&mut place.redis()).expect("it serves");
    let options = place.options();
    let list: Vec<&str> = std::iter::once("list").chain(options.iter().map(String::as_str)).collect();
    let finished = within(MORE, &list).exits_with(69);
    assert_eq!(finished.stderr().lines().count(), 1, "{}", finished.account());
    // Everything that does not look at all names goes on.
    place.dlock(["run", "-n", "-k", "job", "--", "true"]).finish().succeeds();
}

/// A server that answers everything with `beginning`, and then with more and more.
fn endless(beginning: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let read = connection.read(&mut [0; 4096]);
                let mut more = read.and_then(|_| connection.write_all(beginning));
                while more.is_ok() {
                    more = connection.write_all(&[b'1'; 1 << 16]);
                }
            });
        }
    });
    port
}

#[test]
fn a_redis_whose_answer_never_ends_is_69_in_bounded_time_and_memory() {
    for beginning in [&b"$536870911\r\n"[..], b"*1\r\n$536870911\r\n", b"+", b"*100000000\r\n", b"-ERR "] {
        let url = format!("redis://127.0.0.1:{}", endless(beginning));
        for words in [&["status", "-k", "job"][..], &["run", "-k", "job", "-w", "1", "--", "true"]] {
            let at = ["--redis", &url];
            let finished = within(MORE, &[&words[..1], &at, &words[1..]].concat());
            let name = String::from_utf8_lossy(beginning);
            assert_eq!(finished.status.code(), Some(69), "{name:?}: {}", finished.account());
            assert!(finished.stderr().len() < 4096, "{name:?}: {}", finished.account());
        }
    }
}

#[test]
fn a_zookeeper_whose_answer_never_ends_is_69_in_bounded_time_and_memory() {
    for beginning in [&b"\x7f\xff\xff\xff"[..], b"\0\0\0\x29", b"\xff\xff\xff\xff"] {
        let hosts = format!("127.0.0.1:{}", endless(beginning));
        let finished = within(MORE, &["status", "--zk", &hosts, "-k", "job"]);
        assert!(matches!(finished.status.code(), Some(69)), "{beginning:?}: {}", finished.account());
        assert!(finished.stderr().len() < 4096, "{beginning:?}: {}", finished.account());
    }
}
