//! Other users of the same server: one who may not touch the locks, and one who may.

use ::redis::Commands as _;

use crate::support::{Kind, Place, Running, eventually};

/// A connection of a tenant with these rights.
fn tenant(place: &Place, rights: &[&str]) -> ::redis::Connection {
    let rule = [&["SETUSER", "tenant", "reset", "on", ">pw"], rights].concat();
    let () = ::redis::cmd("ACL").arg(&rule).query(&mut place.redis()).expect("it serves");
    let url = format!("redis://tenant:pw@127.0.0.1:{}", place.port());
    ::redis::Client::open(url).and_then(|client| client.get_connection()).expect("it is let in")
}

fn is_denied(connection: &mut ::redis::Connection, words: &[&str]) -> bool {
    let answer = ::redis::cmd(words[0]).arg(&words[1..]).query::<::redis::Value>(connection);
    // Of a script, Redis says it in other words.
    let refusals = ["NOPERM", "permissions", "can't access"];
    answer.is_err_and(|error| refusals.iter().any(|refusal| error.to_string().contains(refusal)))
}

#[test]
fn a_tenant_who_has_other_keys_and_channels_can_neither_read_nor_take_nor_wake() {
    let place = Place::private(Kind::Redis);
    let holder = place.hold("job");
    let waiter = place.queue_up("job");
    let mut tenant = tenant(&place, &["~tenant:*", "resetchannels", "&tenant:*", "+@all", "-@dangerous", "-@admin"]);
    let (lock, side) = (format!("{}:job", place.namespace), format!("{{{}:job}}:dlock:queue", place.namespace));
    let script = "return redis.call('DEL', KEYS[1])";
    for words in [
        &["GET", &lock][..],
        &["DEL", &lock],
        &["SET", &lock, "mine"],
        &["PEXPIRE", &lock, "1"],
        &["ZRANGE", &side, "0", "-1"],
        &["DEL", &side],
        &["EVAL", script, "1", &lock],
        &["EVAL", "return redis.call('DEL', ARGV[1])", "0", &lock],
        &["PUBLISH", &format!("{{{}:job}}:dlock:wake:x", place.namespace), "look"],
        &["FLUSHALL"],
    ] {
        assert!(is_denied(&mut tenant, words), "{words:?}");
    }
    let () = tenant.set("tenant:key", "theirs").expect("what is theirs is theirs");
    for run in [&holder, &waiter] {
        run.let_go();
        run.wait().succeeds();
    }
}

/// What it costs to let a tenant write there: a lock that is lost is noticed, a waiter that is woken has to ask.
#[test]
fn a_tenant_who_may_write_the_locks_can_take_one_away_and_cannot_make_two_run_by_messages() {
    let place = Place::private(Kind::Redis);
    let holder = place.hold_for("job", "3s");
    let waiter = place.queue_up("job");
    let mut tenant = tenant(&place, &["~*", "&*", "+@all"]);
    let channels: Vec<String> = ::redis::cmd("PUBSUB").arg(&["CHANNELS", "*"]).query(&mut tenant).expect("it serves");
    let ours: Vec<&String> = channels.iter().filter(|channel| channel.contains(&place.namespace)).collect();
    assert_eq!(ours.len(), 1, "the waiter listens: {channels:?}");
    for message in ["look", "granted", "", "\u{1b}[2J"] {
        for _ in 0..50 {
            let heard: u32 = ::redis::cmd("PUBLISH").arg(&[ours[0], message]).query(&mut tenant).expect("it may");
            assert_eq!(heard, 1);
        }
    }
    // It has looked, and found the lock taken: its place is what it was.
    eventually("it still waits", || place.waiters("job") == 1);
    assert!(!waiter.stdout().contains("ready"), "a message carries no right");

    let () = tenant.del(format!("{}:job", place.namespace)).expect("it may");
    holder.wait().exits_with(79).mentions(&["lost \"job\": it is not held by this command any more"]);
    waiter.says("ready");
    waiter.let_go();
    waiter.wait().succeeds();
}

/// The owner token stands in the value: whoever may read and write there can act for the holder, and the holder finds out.
#[test]
fn a_tenant_who_reads_the_token_can_release_the_lock_and_the_holder_is_told() {
    let place = Place::private(Kind::Redis);
    let holder: Running = place.hold_for("job", "3s");
    let mut tenant = tenant(&place, &["~*", "+@read"]);
    let value: String = tenant.get(format!("{}:job", place.namespace)).expect("it may");
    let token = value.split(' ').next().expect("it comes first").to_owned();
    let url = format!("redis://tenant:pw@127.0.0.1:{}", place.port());
    let release = |url: &str| {
        let words = ["release", "--redis", url, "--namespace", &place.namespace, "-k", "job", "--token", &token];
        crate::support::Dlock::new(words).finish()
    };
    release(&url).exits_with(77);
    assert!(!place.is_free("job"), "who may only read can only read");
    release(&format!("redis://127.0.0.1:{}", place.port())).succeeds();
    holder.wait().exits_with(79);
}
