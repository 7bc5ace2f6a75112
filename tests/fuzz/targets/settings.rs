//! What users write: URLs, connect strings, values of options, configuration files, and the locks held above.

use std::ffi::OsString;
use std::fs;
use std::sync::OnceLock;

use dlock::cli::{Acquire, Command, Run};
use dlock::commands::parse;
use dlock::error::Error;
use dlock::lock::Mode;
use dlock::settings::{self, AcquireSettings, Environment, HELD, RunSettings};
use tempfile::TempDir;

use super::promises::{SECRET, has_password, is_one_line, is_sayable};

fn typed(words: &[&str]) -> Command {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    parse(&words).expect("these words are right").command
}

/// `dlock acquire` with nothing that says where.
pub(crate) fn typed_acquire() -> &'static Acquire {
    static TYPED: OnceLock<Acquire> = OnceLock::new();
    TYPED.get_or_init(|| match typed(&["dlock", "acquire", "-k", "job", "--ttl", "9s"]) {
        Command::Acquire(acquire) => acquire,
        other => panic!("{other:?}"),
    })
}

fn typed_run() -> Run {
    match typed(&["dlock", "run", "-k", "job", "--", "true"]) {
        Command::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

/// The text, where a variable or an argument can have it.
fn variable(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok().filter(|text| !text.contains('\0'))
}

fn acquire(variables: &[(&str, &str)]) -> Result<AcquireSettings, Error> {
    settings::acquire(typed_acquire(), &Environment::of(variables))
}

/// One URL or a list, for one server, several, Sentinels or a Cluster.
pub(crate) fn redis_url(input: &[u8]) {
    leads_there_again("DLOCK_REDIS", input);
}

/// A connect string.
pub(crate) fn zookeeper_url(input: &[u8]) {
    leads_there_again("DLOCK_ZK", input);
}

/// The place that the text names in `name`: shown without a secret, and found again by what the command gets to see.
fn leads_there_again(name: &str, input: &[u8]) {
    let Some(text) = variable(input) else { return };
    let has_password = has_password(text);
    let deployment = match acquire(&[(name, text)]) {
        Err(error) => return is_sayable(&error, has_password),
        Ok(settings) => settings.deployment,
    };
    is_one_line(&deployment.endpoint);
    // A connect string has no place for a password: what was accepted has none.
    let shown = format!("{deployment:?}");
    assert!(!has_password || name == "DLOCK_ZK" || !shown.contains(SECRET), "a password is shown: {shown}");
    let told = |deployment: &settings::Deployment| {
        let variable = deployment.environment.iter().find(|(told, _)| told == name);
        variable.and_then(|(_, value)| value.clone())
    };
    let Some(value) = told(&deployment) else { return };
    let again = acquire(&[(name, &value)]).unwrap_or_else(|error| panic!("{value:?}, of {text:?}: {error}")).deployment;
    assert_eq!(told(&again).as_deref(), Some(&*value), "{text:?} leads elsewhere in the end");
    if !deployment.endpoint.contains("***") {
        assert_eq!(format!("{:?}", again.target), format!("{:?}", deployment.target));
    }
}

/// An option's name in the first line, its value in the rest.
pub(crate) fn option(input: &[u8]) {
    let Some(text) = variable(input) else { return };
    let (option, value) = text.split_once('\n').unwrap_or((text, ""));
    let name = format!("DLOCK_{}", option.to_uppercase().replace('-', "_"));
    // The rest name files of this host.
    if ["_FILE", "_CA", "_CERT", "_KEY", "CONFIG"].iter().any(|end| name.ends_with(end)) {
        return;
    }
    let is_secret = match name.as_str() {
        "DLOCK_REDIS_PASSWORD" => value.contains(SECRET),
        "DLOCK_REDIS" | "DLOCK_ZK" => has_password(value),
        _ => false,
    };
    for place in [("DLOCK_REDIS", "redis://r1"), ("DLOCK_ZK", "z1"), ("DLOCK_DIR", "/nowhere")] {
        if place.0 == name {
            continue;
        }
        let variables = [place, (name.as_str(), value)];
        match settings::run(typed_run(), &Environment::of(&variables)) {
            Err(error) => is_sayable(&error, is_secret),
            Ok(RunSettings { deployment, .. }) => is_one_line(&format!("{deployment:?}")),
        }
    }
}

/// A configuration file.
pub(crate) fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // Files of this host are not what is tested, and some of them never end.
    if text.contains("-file") || text.contains("tls-") {
        return;
    }
    thread_local! {
        static PLACE: TempDir = tempfile::tempdir().expect("the temporary directory takes files");
    }
    let path = PLACE.with(|place| place.path().join("config.toml"));
    fs::write(&path, input).expect("our own directory");
    let named = path.to_str().expect("temporary directories have plain names");
    let assigned = text.split_once("redis-password").map_or("", |(_, rest)| rest.trim_start());
    let value = assigned.strip_prefix('=').unwrap_or_default().trim_start();
    let is_secret = value.trim_start_matches(['"', '\'']).starts_with(SECRET) && value.len() != SECRET.len();
    for profile in [None, Some("night")] {
        let mut variables = vec![("DLOCK_CONFIG", named)];
        variables.extend(profile.map(|profile| ("DLOCK_PROFILE", profile)));
        match acquire(&variables) {
            Err(error) => {
                is_sayable(&error, is_secret);
                let sentence = error.to_string();
                let is_unknown = sentence.starts_with("unknown key") && !sentence.contains("belongs to one call");
                assert!(!is_unknown || sentence.contains("did you mean"), "{sentence} helps nobody");
            }
            Ok(settings) => {
                settings.deployment.notices.iter().for_each(|notice| is_one_line(notice));
                let shown = format!("{settings:?}");
                assert!(!is_secret || !shown.contains(SECRET), "a password is shown: {shown}");
            }
        }
    }
}

/// The variable in which a run tells those inside it what it holds.
pub(crate) fn held_above(input: &[u8]) {
    let Some(text) = variable(input) else { return };
    let run = |held: &str| {
        let environment = Environment::of(&[("DLOCK_REDIS", "redis://r1"), (HELD, held)]);
        settings::run(typed_run(), &environment).expect("what is no line of ours is passed over")
    };
    let settings = run(text);
    for held in &settings.above {
        assert!(held.covers(held.mode) && (held.mode != Mode::Exclusive || held.covers(Mode::Shared)), "{held:?}");
        assert!(held.keeper > 1, "{held:?} would be asked for a signal to many");
        assert!(held.guard.is_absolute(), "{held:?}");
        if let Some(key) = held.whole_key() {
            assert_eq!(key.encoded(), held.key);
        }
        let line = held.line(&settings.deployment);
        assert_eq!(run(&line).above, std::slice::from_ref(held), "{line:?}");
    }
}
