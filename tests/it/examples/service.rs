//! A service of systemd's with its timer.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Host, LASTS, example};
use crate::support::{Dlock, Kind, Place};

/// The values of a setting of a unit, in order.
pub(super) fn settings<'t>(unit: &'t str, name: &str) -> Vec<&'t str> {
    let prefix = format!("{name}=");
    unit.lines().filter_map(|line| line.strip_prefix(prefix.as_str())).collect()
}

/// What the unit would start, as systemd would: no shell, its environment alone.
pub(super) fn started_by(host: &Host<'_>, unit: &str) -> Dlock {
    let line = settings(unit, "ExecStart")[0];
    let words = shlex::split(line).expect("its quotes are closed");
    let call = host.call(words.iter().map(String::as_str));
    settings(unit, "Environment").iter().fold(call, |call, variable| {
        let (name, value) = variable.split_once('=').expect("NAME=value");
        call.env(name, value)
    })
}

/// Lets systemd itself read the units, where it is installed; says so where it is not.
#[expect(clippy::print_stderr)]
pub(super) fn verify(host: &Host<'_>, units: &[(&str, &str)]) {
    let paths: Vec<_> = units.iter().map(|(name, _)| host.directory.path().join(name)).collect();
    for ((_, text), path) in units.iter().zip(&paths) {
        fs::write(path, text).expect("there is room");
    }
    let verified = Command::new("systemd-analyze").arg("verify").arg("--man=no").args(&paths).output();
    let Ok(verified) = verified else {
        eprintln!("NOT TESTED, because it needs systemd-analyze: that systemd takes the units as they are");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    // It may complain of the machine's own units, or that there is no systemd to ask.
    let of_ours: Vec<&str> = said.lines().filter(|line| names.iter().any(|name| line.contains(name))).collect();
    assert!(of_ours.is_empty(), "{said}");
}

#[test]
fn the_service_runs_on_one_host_and_stops_when_it_is_told() {
    let place = Place::shared(Kind::Redis);
    let hosts = [(); 2].map(|()| Host::new(&place, &[("make-report", LASTS)]));
    let unit = example("systemd/report.service");
    assert_eq!(settings(&unit, "KillMode"), ["mixed"]);
    let run = started_by(&hosts[0], &hosts[0].fitted(&unit)).start();
    hosts[0].has_started();
    assert_eq!(hosts[0].read("started"), "--nightly\n");
    started_by(&hosts[1], &hosts[1].fitted(&unit)).finish().succeeds().says_nothing();
    // `systemctl stop`, with `KillMode=mixed`.
    run.signal(Signal::SIGTERM);
    run.wait().dies_of(Signal::SIGTERM);
    assert!(place.is_free("report"));
}

#[test]
fn systemd_takes_the_units() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("make-report", LASTS)]);
    let (service, timer) = (host.fitted(&example("systemd/report.service")), example("systemd/report.timer"));
    assert_eq!(settings(&timer, "OnCalendar").len(), 1);
    verify(&host, &[("report.service", &service), ("report.timer", &timer)]);
}
