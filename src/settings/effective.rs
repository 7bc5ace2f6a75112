//! Every setting as it counts, and where it comes from: what `doctor --config` shows.

use super::duration::DEFAULT_TTL;
use super::files::LookedFor;
use super::options::{Kind, SETTINGS, Setting};
use super::source::{Environment, Level, text_at};
use super::{
    BackendName, Deployment, ReportForm, Voice, contest, deployment, form, masters, mode, retention, stopping, ttl,
    voice,
};
use crate::cli;
use crate::error::Error;
use crate::error::phrase::Quoted;
use crate::lock::Ttl;

/// What `doctor` is asked for.
#[derive(Debug)]
pub enum DoctorSettings {
    Configuration(Box<Configuration>, ReportForm),
    Examination {
        deployment: Deployment,
        ttl: Ttl,
        form: ReportForm,
        voice: Voice,
    },
    /// Who has to go before everybody asks ZooKeeper alone.
    BeforeZooKeeper {
        deployment: Deployment,
        form: ReportForm,
        voice: Voice,
    },
}

/// # Errors
/// As for [`super::run`]. What is wrong with single values is part of the answer.
pub fn doctor(typed: &cli::Doctor, environment: &Environment) -> Result<DoctorSettings, Error> {
    let (form, profile) = (form(typed.json), typed.profile.clone());
    if let Some(config) = typed.config.clone() {
        let environment = environment.with_files(&cli::Files { config, profile })?;
        return Ok(DoctorSettings::Configuration(Box::new(Configuration::of(typed, &environment)?), form));
    }
    let environment = environment.with_files(&cli::Files { config: None, profile })?;
    let deployment = deployment::resolve(&typed.backend, &environment)?;
    let voice = voice::voice(&typed.voice, &environment)?;
    let ttl = ttl(typed.ttl.as_ref(), &environment)?.unwrap_or(Ttl::Default(DEFAULT_TTL));
    match typed.before.as_deref() {
        None => Ok(DoctorSettings::Examination { deployment, ttl, form, voice }),
        Some("zk") if deployment.backend == BackendName::Both => {
            Ok(DoctorSettings::BeforeZooKeeper { deployment, form, voice })
        }
        Some("zk") => Err(Error::usage("--before zk compares two servers: give -b redis+zk, --redis and --zk")),
        Some(other) => Err(Error::usage(format!("invalid --before {}: only zk follows redis+zk", Quoted(other)))),
    }
}

/// All settings, in the order of the help.
#[derive(Debug)]
pub struct Configuration {
    /// Where files were looked for, and whether there was one.
    pub files: Vec<(String, bool)>,
    /// The variable or option that named the profile is not told: one name is enough.
    pub profile: Option<String>,
    pub settings: Vec<Effective>,
    /// What any other command would fail with.
    pub wrong: Option<Error>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    pub key: &'static str,
    /// As it was given, secrets masked.
    pub value: String,
    /// `flag`, `environment`, `user-profile`, `user`, `system-profile`, `system` or `default`.
    pub source: &'static str,
    /// `--ttl`, `DLOCK_TTL`, `ttl in /etc/dlock/config.toml line 3` or `default`.
    pub from: String,
    /// Why it does not count; `None`: it does.
    pub unused: Option<String>,
}

/// Options that are one setting each: the highest level that names a member decides.
const GROUPS: [&[&str]; 3] = [&["nonblock", "wait"], &["exclusive", "shared", "slots"], &["quiet", "verbose"]];

/// Options of one backend that name its place.
const PLACES: [(&str, &str); 3] = [("redis", "redis"), ("zk", "zk"), ("dir", "file")];

impl Configuration {
    /// # Errors
    /// When a variable is not UTF-8.
    pub(super) fn of(typed: &cli::Doctor, environment: &Environment) -> Result<Self, Error> {
        let mut settings = Vec::new();
        for setting in SETTINGS {
            settings.push(effective(setting, typed, environment)?);
        }
        let chosen = deployment::choose(&typed.backend, environment).ok().map(|(backend, _)| backend.to_string());
        if let Some(backend) = chosen {
            name_backend(&mut settings, &backend);
        }
        for group in GROUPS {
            let deciding = settings.iter().filter(|entry| group.contains(&entry.key)).map(Effective::rank).min();
            for entry in settings.iter_mut().filter(|entry| group.contains(&entry.key)) {
                if Some(entry.rank()) > deciding && entry.source != DEFAULT {
                    entry.unused = Some(format!("what comes before it names one of {}", group.join(", ")));
                }
            }
        }
        let files = environment.files();
        let looked_for = |file: &LookedFor| (file.path.to_string_lossy().into_owned(), file.found);
        let profile = files.variables.iter().find(|(name, _)| name == "DLOCK_PROFILE");
        Ok(Self {
            files: files.looked_for.iter().map(looked_for).collect(),
            profile: profile.and_then(|(_, value)| value.clone()),
            settings,
            wrong: wrong(typed, environment).err(),
        })
    }
}

const DEFAULT: &str = "default";

impl Effective {
    /// The lower, the earlier it counts.
    fn rank(&self) -> usize {
        Level::ALL.iter().position(|level| source(*level) == self.source).unwrap_or(Level::ALL.len())
    }
}

fn source(level: Level) -> &'static str {
    match level {
        Level::CommandLine => "flag",
        Level::Environment => "environment",
        Level::UserProfile => "user-profile",
        Level::User => "user",
        Level::SystemProfile => "system-profile",
        Level::System => "system",
    }
}

fn effective(setting: &Setting, typed: &cli::Doctor, environment: &Environment) -> Result<Effective, Error> {
    let flag = typed_value(setting.key, typed);
    for level in Level::ALL {
        let text = text_at(level, flag.as_ref(), setting.key, environment)?.map(|stated| stated.value);
        let switch = || environment.files().switch(level, setting.key).map(|switch| switch.to_string());
        // The one variable that means something when it is empty.
        let empty = || {
            (level == Level::Environment && setting.key == "namespace")
                .then(|| environment.get_even_empty("DLOCK_NAMESPACE"))
        };
        let value = text.or_else(switch).or_else(|| empty().flatten().map(|_| String::new()));
        if let Some(value) = value {
            let (source, from) = (source(level), environment.name_at(level, setting.key));
            return Ok(Effective { key: setting.key, value: shown(setting, value), source, from, unused: None });
        }
    }
    let (value, from) = (setting.default.to_owned(), DEFAULT.to_owned());
    Ok(Effective { key: setting.key, value, source: DEFAULT, from, unused: None })
}

/// What stands on `doctor`'s own command line.
fn typed_value(key: &str, typed: &cli::Doctor) -> Option<String> {
    let backend = &typed.backend;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.to_string_lossy().into_owned());
    match key {
        "ttl" => typed.ttl.clone(),
        "backend" => backend.backend.clone(),
        "redis" => Some(backend.redis.join(",")).filter(|_| !backend.redis.is_empty()),
        "redis-password-file" => path(&backend.redis_password_file),
        "tls-ca" => path(&backend.tls_ca),
        "tls-cert" => path(&backend.tls_cert),
        "tls-key" => path(&backend.tls_key),
        "wait-replicas" => backend.wait_replicas.clone(),
        "layout" => backend.layout.clone(),
        "zk" => backend.zk.clone(),
        "zk-auth-file" => path(&backend.zk_auth_file),
        "zk-acl" => backend.zk_acl.clone(),
        "fence-floor" => backend.fence_floor.clone(),
        "strict" => backend.strict.then(|| "true".to_owned()),
        "dir" => path(&backend.dir),
        "namespace" => backend.namespace.clone(),
        "quiet" => typed.voice.quiet.then(|| "true".to_owned()),
        "verbose" => typed.voice.verbose.then(|| "true".to_owned()),
        "log-format" => typed.voice.log_format.clone(),
        "color" => typed.voice.color.clone(),
        _ => None,
    }
}

fn shown(setting: &Setting, value: String) -> String {
    match setting.kind {
        Kind::Secret => "***".to_owned(),
        Kind::List => masters::urls(&value).iter().map(|url| masked(url)).collect::<Vec<_>>().join(","),
        _ => value,
    }
}

/// The URL without its password, whatever else may be wrong with it.
fn masked(url: &str) -> String {
    let url = match url.rsplit_once('@') {
        Some((before, address)) => {
            let (scheme, credentials) = before.split_once("://").unwrap_or(("redis", before));
            let user = credentials.split_once(':').map(|(user, _)| user);
            let is_scheme = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            match (is_scheme, user) {
                (true, Some(user)) => format!("{scheme}://{user}:***@{address}"),
                (true, None) => format!("{scheme}://{credentials}@{address}"),
                (false, _) => format!("***@{address}"),
            }
        }
        None => url.to_owned(),
    };
    match url.split_once("pass=") {
        Some((before, after)) => {
            let rest = after.find('&').map_or("", |at| &after[at..]);
            format!("{before}pass=***{rest}")
        }
        None => url,
    }
}

/// {backend, redis, zk} is one setting too, whose members still say where their own backend is.
fn name_backend(settings: &mut [Effective], backend: &str) {
    let naming = settings.iter().filter(|entry| ["backend", "redis", "zk"].contains(&entry.key));
    let deciding = naming.filter(|entry| entry.source != DEFAULT).min_by_key(|entry| entry.rank()).cloned();
    for entry in settings.iter_mut() {
        if entry.key == "backend" {
            if let Some(deciding) = &deciding {
                (entry.value, entry.source, entry.from) = (backend.to_owned(), deciding.source, deciding.from.clone());
            }
        } else if PLACES.iter().any(|(key, of)| *key == entry.key && !backend.split('+').any(|name| name == *of)) {
            entry.unused = Some(format!("the backend is {backend}"));
        }
    }
}

/// The first thing that is wrong with any value.
fn wrong(typed: &cli::Doctor, environment: &Environment) -> Result<(), Error> {
    let deployment = deployment::resolve(&typed.backend, environment)?;
    retention::retention(&cli::Retention::default(), environment, &deployment)?;
    contest::contest(&cli::Contest::default(), environment)?;
    voice::voice(&typed.voice, environment)?;
    let stopping = stopping::stopping(&cli::Stopping::default(), environment)?;
    mode::mode(&cli::Sharing::default(), environment, &deployment)?;
    let ttl = ttl(typed.ttl.as_ref(), environment)?.unwrap_or(Ttl::Default(DEFAULT_TTL));
    let level = stopping::grace_level(&cli::Stopping::default(), environment)?;
    stopping::check(&stopping, ttl, deployment.backend.upkeep(), level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_wherever_it_stands_in_a_url() {
        for (url, shown) in [
            ("redis://r1:6379/0", "redis://r1:6379/0"),
            ("redis://u:pw@r1", "redis://u:***@r1"),
            ("redis://:p@w:/@r1", "redis://:***@r1"),
            ("u:pw@r1", "redis://u:***@r1"),
            ("p/w://x@r1", "***@r1"),
            ("unix:///s?user=u&pass=pw&db=2", "unix:///s?user=u&pass=***&db=2"),
            ("redis-sentinel://u:pw@h1,h2/main", "redis-sentinel://u:***@h1,h2/main"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
