//! Leader election by `dlock run` under something that starts it again.

use nix::sys::signal::Signal;

use super::service::{settings, started_by, verify};
use super::{Host, LASTS, example};
use crate::support::{Kind, Place, Running, eventually};

/// Says whose it is, and that it found nobody else leading.
const SCHEDULER: &str = r#"#!/bin/sh
mkdir "$TOGETHER" || { echo "two leaders" >>"$TOGETHER.wrong"; exit 9; }
trap 'rmdir "$TOGETHER"; exit' TERM
echo "$CANDIDATE" >>"$TOGETHER.leaders"
while :; do sleep 0.05; done
"#;

fn dlock_of(run: &Running) -> Option<crate::support::Process> {
    run.job().into_iter().find(|process| process.comm == "dlock")
}

#[test]
fn when_the_leader_dies_the_next_one_leads_and_it_stands_again() {
    let place = Place::shared(Kind::ZooKeeper);
    let together = place.dir().join("leading");
    let leaders = || std::fs::read_to_string(together.with_extension("leaders")).unwrap_or_default();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/leader/lead.sh");
    let candidates = ["one", "two"].map(|name| {
        let host = Host::new(&place, &[("scheduler", SCHEDULER)]);
        let (variable, server) = &place.environment()[0];
        let call = host.call(["sh", script]).env(variable, server);
        let run = call.env("CANDIDATE", name).env("TOGETHER", &together).start();
        eventually("it is a candidate", || place.waiters("scheduler/leader") == 1 || leaders() == "one\n");
        (run, host)
    });
    let [(one, _one), (two, _two)] = candidates;
    eventually("the second waits", || place.waiters("scheduler/leader") == 1);
    // A leader that is asked to end: the next one follows at once.
    dlock_of(&one).expect("it leads").signal(Signal::SIGTERM);
    eventually("the second leads", || leaders() == "one\ntwo\n");
    eventually("the first stands for election again", || place.waiters("scheduler/leader") == 1);
    assert!(one.stderr().contains("no longer the leader"), "{}", one.stderr());
    // One whose process is killed leaves nothing running: the directory is removed for it, as its host would be gone.
    dlock_of(&two).expect("it leads").signal(Signal::SIGKILL);
    eventually("nothing of it runs", || !two.job().iter().any(|process| process.comm == "scheduler"));
    std::fs::remove_dir(&together).ok();
    eventually("the first leads again", || leaders() == "one\ntwo\none\n");
    assert!(!together.with_extension("wrong").exists());
    // The loop ends with its job.
    one.signal(Signal::SIGTERM);
    one.wait();
    assert!(!one.job().iter().any(|process| process.comm == "dlock"), "{:?}", one.job());
}

#[test]
fn systemd_takes_the_unit_and_it_leads() {
    let place = Place::shared(Kind::ZooKeeper);
    let host = Host::new(&place, &[("scheduler", LASTS)]);
    let unit = host.fitted(&example("leader/scheduler.service"));
    assert_eq!((settings(&unit, "Restart"), settings(&unit, "KillMode")), (vec!["always"], vec!["mixed"]));
    verify(&host, &[("scheduler.service", &unit)]);
    let run = started_by(&host, &unit).start();
    host.has_started();
    let readme = host.fitted(&example("leader/README.md"));
    let look = readme.lines().find_map(|line| line.strip_prefix("    ")).expect("it says how to look");
    let shown = host.sh(look).finish().succeeds();
    assert!(shown.said().contains("scheduler"), "{}", shown.account());
    host.lets_go();
    run.wait().succeeds();
}
