//! The scripts of `docs/shell.md`, the wrong ones too, and each command of `docs/migrating.md`.

use std::fs;
use std::path::Path;

use nix::sys::signal::Signal;

use super::{Host, LASTS, NOTES};
use crate::support::{Dlock, Kind, Place, install_script};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The script of the page whose second line begins with `# name,`.
fn script(name: &str) -> String {
    let page = page("shell.md");
    let mut scripts = page.split("    #!/bin/sh\n").skip(1).map(|rest| {
        let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
        lines.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
    });
    let found = scripts.find(|script| script.starts_with(&format!("# {name},")));
    format!("#!/bin/sh\n{}\n", found.unwrap_or_else(|| panic!("{name} is in docs/shell.md")))
}

/// Shows whether the token is in its environment.
const TELLS_TOKEN: &str = "#!/bin/sh\necho \"token: ${DLOCK_TOKEN:-none}\"\n";

const STEPS: [(&str, &str); 2] = [("first-step", NOTES), ("second-step", NOTES)];

/// The script of the page as a program, which locks at the host's place.
fn calling<'h>(host: &'h Host<'_>, name: &str, args: &[&'h str]) -> Dlock {
    let path = host.directory.path().join("bin").join(name);
    install_script(&script(name), &path);
    let path = path.to_str().expect("a plain name").to_owned();
    let call = Dlock::of_program(path.as_ref(), args);
    host.place.environment().iter().fold(host.at_home(call), |call, (name, value)| call.env(name, value))
}

#[test]
fn a_script_that_starts_itself_again_runs_as_a_whole_under_the_lock() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("first-step", LASTS), ("second-step", NOTES)]);
    let run = calling(&host, "whole.sh", &["a b", "c"]).start();
    host.has_started();
    assert!(!place.is_free("nightly"));
    host.lets_go();
    run.wait().succeeds().says_nothing();
    assert_eq!((host.read("started").as_str(), host.read("calls").as_str()), ("a b c\n", "second-step \n"));
    assert!(place.is_free("nightly"));
}

#[test]
fn steps_hold_the_lock_and_give_it_up_however_they_end() {
    let place = Place::shared(Kind::Redis);
    for (first, status, calls) in [(NOTES, 0, "first-step \nsecond-step \n"), ("#!/bin/sh\nexit 5\n", 5, "")] {
        let host = Host::new(&place, &[("first-step", first), ("second-step", NOTES)]);
        calling(&host, "steps.sh", &[]).finish().exits_with(status).says_nothing();
        assert_eq!(host.read("calls"), calls);
        assert!(place.is_free("nightly"));
    }
}

#[test]
fn a_signal_between_two_steps_gives_the_lock_up() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("first-step", LASTS), ("second-step", NOTES)]);
    let run = calling(&host, "steps.sh", &[]).start();
    host.has_started();
    assert!(!place.is_free("nightly"));
    run.signal(Signal::SIGTERM);
    host.lets_go();
    run.wait().exits_with(143).says_nothing();
    assert_eq!(host.read("calls"), "", "the second step does not run");
    assert!(place.is_free("nightly"));
}

#[test]
fn a_step_does_not_run_when_the_lock_was_lost_before_it() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &[("first-step", LASTS), ("second-step", NOTES)]);
    let run = calling(&host, "steps.sh", &[]).start();
    host.has_started();
    place.take_away("nightly");
    host.lets_go();
    let ended = run.wait().exits_with(79);
    assert!(ended.stderr().contains("cannot renew"), "{}", ended.account());
    assert_eq!(host.read("calls"), "");
}

#[test]
fn a_lock_that_is_held_ends_the_script_before_its_first_step() {
    let place = Place::shared(Kind::Redis);
    place.acquire("nightly", "1h");
    for name in ["strict.sh", "token.sh", "without.sh"] {
        let host = Host::new(&place, &STEPS);
        calling(&host, name, &[]).finish().exits_with(75).complains(&["nightly", "held by"]);
        assert_eq!(host.read("calls"), "", "{name}");
    }
}

#[test]
fn scripts_that_get_the_lock_give_it_up() {
    let place = Place::shared(Kind::Redis);
    for (name, calls) in
        [("strict.sh", "first-step \nsecond-step \n"), ("token.sh", "first-step \n"), ("without.sh", "first-step \n")]
    {
        let host = Host::new(&place, &STEPS);
        calling(&host, name, &[]).finish().succeeds().says_nothing();
        assert_eq!(host.read("calls"), calls, "{name}");
        assert!(place.is_free("nightly"), "{name}");
    }
}

#[test]
fn the_token_is_seen_by_those_alone_who_are_given_it() {
    let place = Place::shared(Kind::Redis);
    for (name, sees) in [("token.sh", false), ("without.sh", false), ("strict.sh", true)] {
        let host = Host::new(&place, &[("first-step", TELLS_TOKEN), ("second-step", NOTES)]);
        let ended = calling(&host, name, &[]).finish().succeeds();
        assert_eq!(ended.said() != "token: none", sees, "{name}: {}", ended.account());
    }
}

/// That these are wrong is what the page says of them.
#[test]
fn the_wrong_scripts_are_wrong() {
    let place = Place::shared(Kind::Redis);
    let host = Host::new(&place, &STEPS);
    let ended = calling(&host, "lost-variables.sh", &[]).finish().exits_with(64);
    ended.complains(&["no key"]);
    assert!(!place.is_free("nightly"), "the lock is left taken");
    let host = Host::new(&place, &STEPS);
    calling(&host, "lost-status.sh", &[]).finish().succeeds();
    assert_eq!(host.read("calls"), "first-step \n", "it runs although another has the lock");
}

#[test]
fn every_variable_that_is_exported_is_among_those_to_be_rid_of() {
    let place = Place::shared(Kind::Redis);
    let page = page("shell.md");
    let unset =
        page.lines().find_map(|line| line.trim().strip_prefix("unset ")).expect("it says how to be rid of them");
    let exported = place.dlock(["acquire", "-k", "job", "--ttl", "1m", "--export"]).finish().succeeds();
    for name in exported.said().lines().filter_map(|line| line.strip_prefix("export ")?.split('=').next()) {
        assert!(unset.split(' ').any(|word| word == name), "{name}");
    }
}

/// What stands between backquotes in the column of a table that is `dlock`'s, or the other tool's.
fn commands(page: &str, column: usize, word: &str) -> Vec<String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches(" |").split(" | ").nth(column));
    let spans = cells.filter_map(|cell| cell.split('`').nth(1));
    spans.filter(|span| span.contains(word)).map(|span| span.replace("\\|", "|")).collect()
}

#[test]
fn every_command_of_the_page_for_those_who_come_from_elsewhere_does_what_it_says() {
    let page = page("migrating.md");
    let all = commands(&page, 1, "dlock ");
    assert!(all.len() > 35, "they are found: {}", all.len());
    assert_eq!(
        page.matches("`dlock run ").count(),
        all.iter().filter(|command| command.starts_with("dlock run ")).count() + 1
    );
    let (redis, zookeeper) = (Place::shared(Kind::Redis), Place::shared(Kind::ZooKeeper));
    let config = format!("redis = {:?}\n", redis.environment()[0].1);
    for command in all {
        let place = if command.contains("--zk") { &zookeeper } else { &redis };
        let host = Host::new(place, &[("job", NOTES)]);
        let root = host.directory.path();
        for (name, text) in
            [("job.lock", ""), ("zk.auth", "me:secret\n"), ("redis.password", "\n"), ("config.toml", config.as_str())]
        {
            fs::write(root.join(name), text).expect("there is room");
        }
        // The server of the tests has no password.
        let fitted = host.fitted(&command).replace("/srv/", &format!("{}/", root.display()));
        let fitted = fitted.replace(&format!("--redis-password-file {}/redis.password", root.display()), "");
        let ended = host.sh(&fitted).env("DLOCK_DIR", root).env("SHELL", "/bin/sh").finish();
        if command.contains("--tls-ca") {
            // Certificates would have to be there; everything else is understood.
            ended.exits_with(78).complains(&["cannot read --tls-", ".pem"]);
            continue;
        }
        let ended = ended.succeeds();
        assert!(command.contains("-v ") || ended.stderr().is_empty(), "{}", ended.account());
        let runs = command.contains("job") && !command.contains("status") && !command.contains("token=");
        assert_eq!(host.read("calls").is_empty(), !runs, "{command}");
        if command.contains("--hold-at-least") {
            place.dlock(["release", "--force", "--yes", "-k", "job"]).finish().succeeds();
        }
    }
}

#[test]
fn every_command_of_flocks_column_is_one() {
    let place = Place::shared(Kind::File);
    let all = commands(&page("migrating.md"), 0, "flock ");
    assert!(all.len() > 10, "they are found: {}", all.len());
    for command in all {
        let host = Host::new(&place, &[("job", NOTES)]);
        let fitted = command.replace("/srv/", &format!("{}/", host.directory.path().display()));
        host.sh(&fitted).finish().succeeds();
        assert!(host.read("calls").starts_with("job "), "{command}");
    }
}

#[test]
fn flock_and_dlock_share_the_file_as_the_page_says() {
    let place = Place::shared(Kind::File);
    let host = Host::new(&place, &[("job", LASTS)]);
    let root = format!("{}/", host.directory.path().display());
    fs::write(host.directory.path().join("job.lock"), "").expect("there is room");
    let page = page("migrating.md").replace("/srv/", &root);
    let (ours, theirs) = (commands(&page, 1, "--namespace ''"), commands(&page, 0, "flock -n /"));
    let run = host.sh(&ours[0]).start();
    host.has_started();
    host.sh(&theirs[0]).finish().exits_with(1);
    host.lets_go();
    run.wait().succeeds().says_nothing();
}
