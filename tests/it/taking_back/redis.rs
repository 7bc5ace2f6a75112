//! What other programs have at a key of Redis, and locks in their layouts.

use nix::sys::signal::Signal;

use super::{force, phase, run};
use crate::support::*;

fn put(place: &Place, command: &[&str]) {
    let mut request = ::redis::cmd(command[0]);
    request.arg(format!("{}:job", place.namespace)).arg(&command[1..]);
    request.exec(&mut place.redis()).expect("the server serves");
}

#[test]
fn what_another_program_holds_is_deleted_at_once() {
    let place = Place::shared(Kind::Redis);
    for command in [&["SET", "somebody"][..], &["SET", "somebody", "PX", "600000"], &["RPUSH", "a", "b"]] {
        put(&place, command);
        assert_eq!(phase(&place), "foreign");
        let told = force(&place, ["-k", "job"]).finish().succeeds();
        told.mentions(&["held by another program"]).mentions(&["freed \"job\"", "cannot be asked to stop"]);
        assert!(place.is_free("job"));
    }
    put(&place, &["SET", "somebody"]);
    let waiter = place.queue_up("job");
    force(&place, ["-k", "job"]).finish().succeeds();
    waiter.says("ready");
}

#[test]
fn a_lease_that_has_only_its_delay_left_has_nobody_to_ask() {
    let place = Place::shared(Kind::Redis);
    let value = r#"0123456789abcdef0123456789abcdef dlock/1 exclusive running 1 30000 9 delay=600000 {"host":"gone"}"#;
    put(&place, &["SET", value, "PX", "500000"]);
    assert_eq!(phase(&place), "lock-delay");
    force(&place, ["-k", "job"]).finish().succeeds().mentions(&["freed \"job\"", "nothing ran under it"]);
    assert!(place.is_free("job"));
    // The same while the lease itself lasts.
    put(&place, &["SET", value, "PX", "601500"]);
    let forced = force(&place, ["-k", "job"]).start();
    eventually("only the delay is left", || phase(&place) == "lock-delay");
    assert!(!forced.has_ended() && !place.is_free("job"), "{}", forced.stderr());
}

#[test]
fn a_marker_that_has_lost_its_holders_is_deleted() {
    let place = Place::shared(Kind::Redis);
    let reader = run(&place, &["-s", "--ttl", "10s"], "echo ready; cat >/dev/null");
    let holders = format!("{{{}:job}}:dlock:holders", place.namespace);
    let () = ::redis::cmd("DEL").arg(&holders).query(&mut place.redis()).expect("the server serves");
    force(&place, ["-k", "job"]).finish().succeeds().mentions(&["freed \"job\""]);
    assert!(place.is_free("job"));
    reader.wait().exits_with(79);
}

/// In the layout of a library, whose own holders know of no mark.
fn in_layout(place: &Place, layout: &str, words: &[&str]) -> Dlock {
    let (subcommand, rest) = words.split_first().expect("a subcommand");
    place.dlock_with([*subcommand, "--layout", layout].into_iter().chain(rest.iter().copied()))
}

#[test]
fn a_run_in_another_librarys_layout_is_asked_and_the_librarys_own_holder_is_not() {
    for layout in ["redisson", "python-redis-lock"] {
        let place = Place::shared(Kind::Redis);
        let holder = in_layout(&place, layout, &["run", "-k", "job", "--ttl", "6s", "--", "sleep", "60"]).start();
        let status = || in_layout(&place, layout, &["status", "--json", "job"]).finish().succeeds().said().to_owned();
        eventually("it is held", || status().contains(r#""phase":"running""#));
        let force = ["release", "--force", "--yes", "-k", "job"];
        in_layout(&place, layout, &force).finish().succeeds().mentions(&["asked"]);
        holder.wait().exits_with(79).mentions(&["an operator asked for it back"]);
        assert!(status().contains(r#""state":"free""#));
        in_layout(&place, layout, &["acquire", "-k", "job", "--ttl", "9m"]).finish().succeeds();
        in_layout(&place, layout, &force).finish().succeeds().mentions(&["freed \"job\"", "one-shot"]);
        // As the library writes it.
        let name = format!("{}:job", place.namespace);
        let locked = format!("lock:{name}");
        let words = match layout {
            "redisson" => vec!["HSET", &name, "5bb3f4b5-0000-4000-8000-000000000000:31", "2"],
            _ => vec!["SET", &locked, "q83vEjRWeJCrze8SNFZ4kKvN"],
        };
        let mut request = ::redis::cmd(words[0]);
        request.arg(&words[1..]).exec(&mut place.redis()).expect("the server serves");
        in_layout(&place, layout, &force).finish().succeeds().mentions(&["freed \"job\"", "cannot be asked"]);
        assert!(status().contains(r#""state":"free""#));
    }
}

#[test]
fn what_is_of_another_layout_is_left_alone() {
    let place = Place::shared(Kind::Redis);
    put(&place, &["SET", "somebody"]);
    let force = ["release", "--force", "--yes", "-k", "job"];
    in_layout(&place, "redisson", &force)
        .finish()
        .exits_with(78)
        .mentions(&["no lock of the layout redisson", "string"]);
    assert_eq!(phase(&place), "foreign");
}

#[test]
fn what_may_not_be_killed_keeps_the_lock_that_was_asked_back() {
    if !nix::unistd::geteuid().is_root() {
        // Nobody else can make a program that becomes another user.
        return;
    }
    let place = Place::shared(Kind::Redis);
    let (_programs, holder) = run_out_of_reach(&place, &["-k", "job", "--ttl", "4s"]);
    let forced = force(&place, ["-k", "job"]).start();
    within(A_WHILE, "what does not end is named", || holder.stderr().contains("\"job\" stays held until then"));
    let began = std::time::Instant::now();
    // Renewed for as long as it lives, whoever asks for it.
    eventually("a lease passes", || began.elapsed() > std::time::Duration::from_secs(6));
    assert!(!holder.has_ended() && !forced.has_ended() && !place.is_free("job"), "{}", holder.stderr());
    for process in holder.tree() {
        process.signal(Signal::SIGKILL);
    }
    forced.wait().succeeds();
    holder.wait().exits_with(79);
    assert!(place.is_free("job"));
}
