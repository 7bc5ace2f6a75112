//! One crontab on three hosts, its lines run as cron runs them; and the backup that cron calls.

use std::process::Command;

use super::{Host, LASTS, NOTES, example};
use crate::support::{Dlock, Kind, Place, free_port};

/// A line of a crontab: its five fields of time, and what is run.
fn jobs(crontab: &str) -> Vec<(String, String)> {
    let lines = crontab.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let jobs = lines.filter(|line| line.starts_with(|letter: char| letter.is_ascii_digit() || letter == '*'));
    jobs.map(|line| {
        let mut rest = line;
        for _ in 0..5 {
            let (_, after) = rest.trim_start().split_once(' ').expect("five fields and a command");
            rest = after;
        }
        let command = rest.trim_start();
        let time = line[..line.len() - rest.len()].trim().to_owned();
        // It would be standard input.
        assert!(!command.contains('%'), "{command}");
        (time, command.to_owned())
    })
    .collect()
}

/// As cron does: the shell of the table, its variables and four of cron's own, no terminal, a session of its own. A host
/// has a name of its own where this user may give it one.
fn by_cron(host: &Host<'_>, name: &str, crontab: &str, command: &str) -> Dlock {
    let variables = crontab.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    let variables: Vec<_> =
        variables.filter(|(name, _)| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_')).collect();
    let named = format!("hostname {name} && exec setsid \"$@\"");
    let mut words = if nix::unistd::geteuid().is_root() {
        vec!["unshare", "--uts", "sh", "-c", &named, "host"]
    } else {
        vec!["setsid"]
    };
    words.extend(["/bin/sh", "-c", command]);
    let call = host.call(words).env("LOGNAME", "root");
    variables.iter().fold(call, |call, (name, value)| match *name {
        // The directory of the tests' programs stands in it.
        "PATH" => call.env("PATH", format!("{}:{value}", host.search_path())),
        name => call.env(name, value),
    })
}

#[test]
fn one_of_three_hosts_makes_the_reports_and_nobody_says_a_word() {
    let place = Place::shared(Kind::Redis);
    let hosts = ["web-1", "web-2", "web-3"].map(|name| (name, Host::new(&place, &[("make-reports", LASTS)])));
    let crontab = hosts[0].1.fitted(&example("cron/crontab"));
    let (time, command) = &jobs(&crontab)[0];
    assert_eq!(time, "*/5 * * * *");
    let (name, first) = &hosts[0];
    let run = by_cron(first, name, &crontab, command).start();
    first.has_started();
    if nix::unistd::geteuid().is_root() {
        assert_eq!(place.status("reports")["holders"][0]["host"], *name);
    }
    for (name, host) in &hosts[1..] {
        by_cron(host, name, &crontab, command).finish().succeeds().says_nothing();
        assert_eq!(host.read("started"), "");
    }
    first.lets_go();
    run.wait().succeeds().says_nothing();
    // One whose clock is late.
    let (name, last) = &hosts[2];
    by_cron(last, name, &crontab, command).finish().succeeds().says_nothing();
    assert_eq!(last.read("started"), "");
    assert_eq!(place.status("reports")["holders"][0]["phase"], "held-at-least");
    place.dlock(["release", "--force", "--yes", "-k", "reports"]).finish().succeeds();
    // The next time it is another's turn.
    let (name, second) = &hosts[1];
    let run = by_cron(second, name, &crontab, command).start();
    second.has_started();
    second.lets_go();
    run.wait().succeeds().says_nothing();
}

#[test]
fn every_host_tidies_up_in_its_turn() {
    let place = Place::shared(Kind::Redis);
    let alone = "#!/bin/sh\nmkdir \"$TOGETHER\" || exit 9\necho \"$1\" >>started\nrmdir \"$TOGETHER\"\n";
    let hosts = ["web-1", "web-2", "web-3"].map(|name| (name, Host::new(&place, &[("tidy-up", alone)])));
    let crontab = hosts[0].1.fitted(&example("cron/crontab"));
    let (time, command) = &jobs(&crontab)[1];
    assert_eq!(time, "0 3 * * *");
    assert!(command.contains("--jitter 30s"));
    let command = command.replace("--jitter 30s", "--jitter 300ms");
    let together = place.dir().join("busy");
    let runs: Vec<_> = hosts
        .iter()
        .map(|(name, host)| by_cron(host, name, &crontab, &command).env("TOGETHER", &together).start())
        .collect();
    for (run, (_, host)) in runs.iter().zip(&hosts) {
        run.wait().succeeds().says_nothing();
        assert_eq!(host.read("started"), "--all\n");
    }
}

#[test]
fn cron_mails_one_line_when_something_is_wrong() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("make-reports", "#!/bin/sh\necho report failed; exit 3\n")]);
    let crontab = host.fitted(&example("cron/crontab"));
    let (_, command) = &jobs(&crontab)[0];
    let failed = by_cron(&host, "web-1", &crontab, command).finish().exits_with(3).says_nothing_on_stderr();
    assert_eq!(failed.said(), "report failed", "the job speaks for itself");
    let nowhere = example("cron/crontab").replace("locks.example.com", &format!("127.0.0.1:{}", free_port()));
    let (_, command) = &jobs(&nowhere)[0];
    by_cron(&host, "web-1", &nowhere, command).finish().exits_with(69).complains(&["reports", "127.0.0.1"]);
    let held = place.hold("tidy-up");
    let (_, command) = &jobs(&crontab)[1];
    let command = command.replace("--jitter 30s", "").replace("-w 2h", "-w 200ms");
    by_cron(&host, "web-1", &crontab, &command).finish().exits_with(75).complains(&["tidy-up", "held by", "gave up"]);
    held.let_go();
}

#[test]
fn what_looks_after_a_stuck_lock_at_three_in_the_morning_shows_the_holder() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[]);
    let held = place.hold("reports");
    let readme = host.fitted(&example("cron/README.md"));
    let commands: Vec<&str> = readme.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    let [server, look, take] = &commands[..] else { panic!("{commands:?}") };
    let shown = host.sh(&format!("{server}\n{look}")).finish().succeeds();
    assert!(shown.said().contains("reports") && shown.said().contains("held"), "{}", shown.account());
    // Nobody is there to be asked.
    let take = take.replace("--force", "--force --yes");
    host.sh(&format!("{server}\n{take}")).finish().succeeds();
    assert!(place.is_free("reports"));
    held.wait().exits_with(79);
}

fn backup(host: &Host<'_>, status: i32) -> Dlock {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/backup/backup.sh");
    let (name, server) = &host.place.environment()[0];
    host.call(["sh", script, "/srv/repo", "/etc", "/home"]).env(name, server).env("STATUS", status.to_string())
}

#[test]
fn a_backup_tells_complete_from_partial_and_from_failed() {
    let place = Place::shared(Kind::Redis);
    let restic = format!("{NOTES}exit \"$STATUS\"\n");
    let host = Host::new(&place, &[("restic", &restic)]);
    backup(&host, 0).finish().succeeds().says_nothing();
    assert_eq!(host.read("calls"), "restic --repo /srv/repo --quiet backup /etc /home\n");
    for (status, words) in [(3, "incomplete"), (1, "failed with status 1"), (11, "failed with status 11")] {
        let ended = backup(&host, status).finish().exits_with(status);
        assert!(ended.stderr().contains(words) && ended.stderr().lines().count() == 1, "{}", ended.account());
    }
    assert!(place.is_free("backup//srv/repo"));
}

#[test]
fn a_backup_that_did_not_happen_says_why() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("restic", "#!/bin/sh\nexit 0\n")]);
    backup(&host, 0)
        .env("DLOCK_REDIS", format!("redis://127.0.0.1:{}", free_port()))
        .finish()
        .exits_with(69)
        .complains(&["backup//srv/repo"]);
    let long = Host::new(&place, &[("restic", LASTS)]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/backup/backup.sh");
    let text = std::fs::read_to_string(script).expect("it is there").replace("--max-runtime 6h", "--max-runtime 300ms");
    let (name, server) = &place.environment()[0];
    let stopped =
        long.call(["sh", "-c", &text, "backup.sh", "/srv/repo", "/etc"]).env(name, server).finish().exits_with(124);
    assert!(stopped.stderr().contains("it took too long"), "{}", stopped.account());
    let executable = Command::new("test").args(["-x", script]).status();
    assert!(executable.is_ok_and(|status| status.success()));
}
