//! What `bench` measures, for how long, and how hard.

use std::time::Duration;

use super::deployment::{self, Named};
use super::source::on_command_line;
use super::{
    BackendName, Deployment, Environment, ReportForm, Voice, duration, form, label, mode, retention, ttl, voice,
};
use crate::cli;
use crate::error::Error;
use crate::lock::{Mode, Retention, Ttl};
use duration::DEFAULT_TTL;

/// Long enough for a thousand of each on a fast network and dozens on a slow one, short enough to wait for.
const DEFAULT_DURATION: Duration = Duration::from_secs(30);
const DURATIONS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

const DEFAULT_CONTENDERS: usize = 8;
/// Each is a process, and all of them are on this host.
const MOST_CONTENDERS: usize = 100;

#[derive(Debug)]
pub struct BenchSettings {
    /// At least one. They are measured one after the other.
    pub deployments: Vec<Deployment>,
    /// In all.
    pub duration: Duration,
    pub contenders: usize,
    pub ttl: Ttl,
    pub mode: Mode,
    pub retention: Retention,
    pub label: Option<String>,
    pub form: ReportForm,
    pub voice: Voice,
}

/// # Errors
/// As for [`run`](super::run); and when there is no key that could be measured with.
pub fn bench(typed: &cli::Bench, environment: &Environment) -> Result<BenchSettings, Error> {
    let environment = &environment.with_files(&typed.files)?;
    let deployments = deployments(&typed.backend, environment)?;
    let (mut how, mut kept) = (Mode::Exclusive, Retention::default());
    for deployment in &deployments {
        how = mode::mode(&typed.sharing, environment, deployment)?;
        kept = retention::of_acquire(&typed.delay, environment, deployment)?;
    }
    Ok(BenchSettings {
        duration: how_long(typed.duration.as_ref())?,
        contenders: how_many(typed.contenders.as_ref())?,
        ttl: ttl(typed.ttl.as_ref(), environment)?.unwrap_or(Ttl::Default(DEFAULT_TTL)),
        mode: how,
        retention: kept,
        label: label(&typed.label, environment)?,
        form: form(typed.json),
        voice: voice::voice(&typed.voice, environment)?,
        deployments,
    })
}

/// Redis and ZooKeeper are compared where both are named; their pair is looked at beside its parts.
fn deployments(typed: &cli::Backend, environment: &Environment) -> Result<Vec<Deployment>, Error> {
    let compared = match deployment::named(typed, environment)? {
        Named::Two { .. } => vec![BackendName::Redis, BackendName::ZooKeeper],
        Named::One(BackendName::Both) => vec![BackendName::Redis, BackendName::ZooKeeper, BackendName::Both],
        Named::One(_) | Named::None => {
            let one = deployment::resolve(typed, environment)?;
            if one.backend == BackendName::File && one.namespace.is_empty() {
                return Err(Error::usage(
                    "with an empty namespace every key is the path of a file that is there already, so dlock bench has none of \
                     its own; name a namespace",
                ));
            }
            return Ok(vec![one]);
        }
    };
    compared.into_iter().map(|backend| deployment::resolve(&of(backend, typed), environment)).collect()
}

/// The options of one of them.
fn of(backend: BackendName, typed: &cli::Backend) -> cli::Backend {
    let typed = cli::Backend { backend: Some(backend.to_string()), ..typed.clone() };
    match backend {
        BackendName::Redis => cli::Backend { zk: None, zk_auth_file: None, zk_acl: None, fence_floor: None, ..typed },
        BackendName::ZooKeeper => {
            cli::Backend { redis: Vec::new(), redis_password_file: None, wait_replicas: None, ..typed }
        }
        BackendName::File | BackendName::Both => typed,
    }
}

fn how_long(flag: Option<&String>) -> Result<Duration, Error> {
    let Some(text) = flag else { return Ok(DEFAULT_DURATION) };
    let stated = on_command_line(text.clone(), "duration");
    let length = duration::parse(text).map_err(|reason| stated.invalid(reason))?;
    if DURATIONS.contains(&length) {
        Ok(length)
    } else {
        Err(stated.invalid("a measurement takes at least 1s and at most 1h"))
    }
}

fn how_many(flag: Option<&String>) -> Result<usize, Error> {
    let Some(text) = flag else { return Ok(DEFAULT_CONTENDERS) };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| is_number && (1..=MOST_CONTENDERS).contains(number));
    number.ok_or_else(|| {
        let reason = format!("contenders are a whole number from 1 to {MOST_CONTENDERS}");
        on_command_line(text.clone(), "contenders").invalid(reason)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(words: &[&str], variables: &[(&str, &str)]) -> Result<Vec<BackendName>, String> {
        use clap::{Args as _, FromArgMatches as _};
        let definition = cli::Bench::augment_args(clap::Command::new("bench")).no_binary_name(true);
        let typed = definition.try_get_matches_from(words).expect("words that are understood");
        let typed = cli::Bench::from_arg_matches(&typed).expect("words that are understood");
        let settings = bench(&typed, &Environment::of(variables)).map_err(|error| error.to_string())?;
        Ok(settings.deployments.iter().map(|deployment| deployment.backend).collect())
    }

    #[test]
    fn two_servers_on_one_level_are_compared_and_their_pair_only_where_it_was_asked_for() {
        use BackendName::{Both, File, Redis, ZooKeeper};
        let both = ["--redis", "redis://r1", "--zk", "z1"];
        assert_eq!(measured(&[], &[]), Ok(vec![File]));
        assert_eq!(measured(&both, &[]), Ok(vec![Redis, ZooKeeper]));
        assert_eq!(measured(&[&both[..], &["-b", "redis+zk"]].concat(), &[]), Ok(vec![Redis, ZooKeeper, Both]));
        assert_eq!(measured(&[], &[("DLOCK_REDIS", "redis://r1"), ("DLOCK_ZK", "z1")]), Ok(vec![Redis, ZooKeeper]));
        assert_eq!(measured(&["--zk", "z1"], &[("DLOCK_REDIS", "redis://r1")]), Ok(vec![ZooKeeper]));
        assert_eq!(measured(&["-b", "redis"], &[("DLOCK_REDIS", "redis://r1"), ("DLOCK_ZK", "z1")]), Ok(vec![Redis]));
    }

    #[test]
    fn options_of_one_of_two_are_the_others_no_burden() {
        let both = ["--redis", "redis://r1", "--zk", "z1"];
        for more in [["--wait-replicas", "1"], ["--zk-acl", "open"], ["--fence-floor", "7"]] {
            assert!(measured(&[&both[..], &more].concat(), &[]).is_ok(), "{more:?}");
        }
        let sentence = measured(&[&both[..], &["--dir", "/tmp"]].concat(), &[]).expect_err("there are no files");
        assert!(sentence.starts_with("--dir belongs to the file backend"), "{sentence}");
    }

    #[test]
    fn a_mode_that_one_of_them_lacks_is_refused_for_both() {
        let words = ["--redis", "redis://r1,redis://r2,redis://r3", "--zk", "z1", "--shared"];
        let sentence = measured(&words, &[]).expect_err("masters are held exclusively");
        assert!(sentence.starts_with("--shared needs one server"), "{sentence}");
    }

    #[test]
    fn durations_and_contenders_have_limits() {
        for (words, reason) in [
            (["--duration", "999ms"], "a measurement takes at least 1s and at most 1h"),
            (["--duration", "2h"], "a measurement takes at least 1s and at most 1h"),
            (["--duration", "soon"], "that is no duration"),
            (["--contenders", "0"], "contenders are a whole number from 1 to 100"),
            (["--contenders", "101"], "contenders are a whole number from 1 to 100"),
            (["--contenders", "+3"], "contenders are a whole number from 1 to 100"),
        ] {
            let sentence = measured(&words, &[]).expect_err("beyond a limit");
            assert!(sentence.starts_with(&format!("invalid {} ", words[0])) && sentence.contains(reason), "{sentence}");
        }
    }
}
