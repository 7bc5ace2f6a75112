//! Which backend, where, and how to tell the command's environment about it.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use super::layout::{Layout, OWN_LAYOUT};
use super::source::{Environment, Level, Stated, on_command_line, path, switch_at, text, text_at};
use super::{masters, secrets, target, tls, zookeeper};
use crate::backend::Target;
use crate::backend::redis::Transport;
use crate::backend::tls::Tls;
use crate::backend::zookeeper::Family;
use crate::cli;
use crate::error::Error;
use crate::error::phrase::{OsReason, Quoted};
use crate::lock::Namespace;
use crate::lock::pace::Upkeep;

const DEFAULT_NAMESPACE: &str = "dlock";
const DEFAULT_REDIS: &str = "redis://127.0.0.1:6379";
/// Far more than every authority of the world takes.
const MOST_BYTES: u64 = 4 << 20;

const REDIS_PASSWORD: &str = "DLOCK_REDIS_PASSWORD";

/// Variables that hold secrets: removed from a command's environment, and never part of `acquire --export`, where
/// "removed" would take them from the caller's own shell.
pub const SECRETS: &[&str] = &[REDIS_PASSWORD];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendName {
    File,
    Redis,
    ZooKeeper,
    /// Redis and ZooKeeper, held while both are.
    Both,
}

impl fmt::Display for BackendName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Redis => "redis",
            Self::ZooKeeper => "zk",
            Self::Both => "redis+zk",
        })
    }
}

impl BackendName {
    /// How a run's lease is kept there; `None`: by the kernel, for as long as dlock lives.
    #[must_use]
    pub fn upkeep(self) -> Option<Upkeep> {
        match self {
            Self::File => None,
            Self::Redis => Some(Upkeep::Expiry),
            // The sharper rule of the two.
            Self::ZooKeeper | Self::Both => Some(Upkeep::Session),
        }
    }
}

/// Where the lock lives.
#[derive(Debug, Clone)]
pub struct Deployment {
    pub target: Target,
    pub backend: BackendName,
    pub namespace: Namespace,
    /// Whose format the lock has, as users write it.
    pub layout: &'static str,
    pub scrutiny: Scrutiny,
    /// As shown in messages, secrets masked.
    pub endpoint: String,
    /// Said once on stderr: that nobody asked for the file backend, or what is unwise about the servers or the files.
    pub notices: Vec<String>,
    /// Variables of the command's environment that name the same deployment; `None`: remove it.
    pub environment: Vec<(String, Option<String>)>,
}

/// What is thought of servers whose locks cannot be trusted far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrutiny {
    /// They are as good as the user wants them to be; `doctor` tells more.
    Trusting,
    /// No lock is taken from them.
    Strict,
}

/// A target and its two descriptions: as in messages, and as the variables that lead there.
pub(super) struct Located {
    pub target: Target,
    pub endpoint: String,
    /// Value of the variable that names the place, secrets cut out.
    pub variable: Option<String>,
}

/// # Errors
/// When an option is invalid, contradicts another or names an unreadable file.
pub(super) fn resolve(typed: &cli::Backend, environment: &Environment) -> Result<Deployment, Error> {
    let (backend, asked_for) = choose(typed, environment)?;
    refuse_foreign_flags(typed, backend)?;
    let namespace = namespace(typed, environment)?;
    let mut variables = Variables::default();
    variables.0.extend(environment.files().variables.clone());
    variables.set("DLOCK_BACKEND", backend.to_string());
    variables.set("DLOCK_NAMESPACE", namespace.as_str().to_owned());
    let layout = Layout::chosen(typed, environment, backend)?;
    let layout_name = layout.map_or(OWN_LAYOUT, Layout::name);
    // Also the default, where it was said: a file may name another one below it.
    if layout.is_some() || text(typed.layout.as_ref(), "layout", environment)?.is_some() {
        variables.set("DLOCK_LAYOUT", layout_name.to_owned());
    }
    let scrutiny = scrutiny(typed, environment, backend)?;
    if scrutiny == Scrutiny::Strict {
        variables.set("DLOCK_STRICT", "1".to_owned());
    }
    let located = match backend {
        BackendName::File => {
            let dir = absolute(path(typed.dir.as_ref(), "dir", environment))?;
            let located = target::file(dir.as_ref(), &namespace);
            variables.set_or_remove("DLOCK_DIR", located.variable.clone());
            located
        }
        BackendName::Redis => redis_located(typed, environment, &namespace, layout, &mut variables)?,
        BackendName::ZooKeeper => zookeeper_located(typed, environment, &namespace, layout, &mut variables)?,
        BackendName::Both => {
            let redis = redis_located(typed, environment, &namespace, layout, &mut variables)?;
            let zookeeper = zookeeper_located(typed, environment, &namespace, layout, &mut variables)?;
            refuse_floor_of_masters(&redis.target, &zookeeper.target)?;
            Located {
                endpoint: format!("{} and {}", redis.endpoint, zookeeper.endpoint),
                variable: None,
                target: Target::Both(Box::new(redis.target), Box::new(zookeeper.target)),
            }
        }
    };
    let notice = (!asked_for).then(|| {
        format!(
            "the lock covers this host only, in {}; name a server with --redis or --zk, or say -b file if that is meant",
            located.endpoint
        )
    });
    let notice = notice.or_else(|| masters::warning(&located.target));
    let notices = notice.into_iter().chain(environment.files().warnings.clone()).collect();
    Ok(Deployment {
        target: located.target,
        backend,
        namespace,
        layout: layout_name,
        scrutiny,
        endpoint: located.endpoint,
        notices,
        environment: variables.0,
    })
}

fn scrutiny(typed: &cli::Backend, environment: &Environment, backend: BackendName) -> Result<Scrutiny, Error> {
    for level in Level::ALL {
        match switch_at(level, typed.strict, "strict", environment)? {
            // There is no server to look at.
            Some(true) if backend != BackendName::File => return Ok(Scrutiny::Strict),
            Some(_) => return Ok(Scrutiny::Trusting),
            None => {}
        }
    }
    Ok(Scrutiny::Trusting)
}

fn redis_located(
    typed: &cli::Backend,
    environment: &Environment,
    namespace: &Namespace,
    layout: Option<Layout>,
    variables: &mut Variables,
) -> Result<Located, Error> {
    let urls = redis_urls(typed, environment)?;
    secrets::cover(&typed.redis);
    let file = absolute(path(typed.redis_password_file.as_ref(), "redis-password-file", environment))?;
    let password = password(file.as_ref(), environment)?;
    let topologies = masters::topologies(&urls, password.as_ref())?;
    if topologies.iter().any(|topology| topology.password().is_some()) {
        secrets::guard();
    }
    let files = tls::Files::named(typed, environment)?;
    let tls = if topologies.iter().any(|topology| topology.transport() == Transport::Tls) {
        files.variables().into_iter().for_each(|(name, file)| variables.set_or_remove(name, file));
        files.read(environment)?
    } else {
        files.refuse_typed("needs a server that is reached by TLS, as rediss://")?;
        Tls::default()
    };
    let replicas = masters::wait_replicas(typed, environment, &topologies)?;
    let replicas_variable = (replicas > 0).then(|| replicas.to_string());
    let shared_with = if let Some(Layout::Redis(library)) = layout { Some(library) } else { None };
    let located = target::redis(topologies, tls, replicas, namespace, shared_with)?;
    variables.set_or_remove("DLOCK_REDIS", located.variable.clone());
    variables.set_or_remove("DLOCK_WAIT_REPLICAS", replicas_variable);
    let file = file.map(|file| file.value.to_string_lossy().into_owned());
    variables.set_or_remove("DLOCK_REDIS_PASSWORD_FILE", file);
    Ok(located)
}

fn zookeeper_located(
    typed: &cli::Backend,
    environment: &Environment,
    namespace: &Namespace,
    layout: Option<Layout>,
    variables: &mut Variables,
) -> Result<Located, Error> {
    let family = if let Some(Layout::ZooKeeper(family)) = layout { family } else { Family::Dlock };
    let (located, others) = zookeeper::located(typed, namespace, family, environment)?;
    others.into_iter().for_each(|(name, value)| variables.set_or_remove(name, value));
    variables.set_or_remove("DLOCK_ZK", located.variable.clone());
    Ok(located)
}

/// {backend, redis, zk} is one setting: the highest level that names one of them decides. With it: whether anybody
/// asked for this backend at all.
pub(super) fn choose(typed: &cli::Backend, environment: &Environment) -> Result<(BackendName, bool), Error> {
    match named(typed, environment)? {
        Named::One(backend) => Ok((backend, true)),
        Named::Two { ambiguous } => Err(ambiguous),
        Named::None => {
            let asked_for = path(typed.dir.as_ref(), "dir", environment).is_some();
            Ok((BackendName::File, asked_for))
        }
    }
}

/// What the level that decides names.
pub(super) enum Named {
    One(BackendName),
    /// A Redis and a ZooKeeper, and not what to make of them. `ambiguous`: what that is for whoever needs one.
    Two {
        ambiguous: Error,
    },
    None,
}

/// # Errors
/// When there is no such backend, or a variable is not UTF-8.
pub(super) fn named(typed: &cli::Backend, environment: &Environment) -> Result<Named, Error> {
    for level in Level::ALL {
        let name = text_at(level, typed.backend.as_ref(), "backend", environment)?;
        let redis = text_at(level, typed.redis.first(), "redis", environment)?;
        let zk = text_at(level, typed.zk.as_ref(), "zk", environment)?;
        return Ok(match (name, redis, zk) {
            (Some(name), _, _) => Named::One(by_name(&name)?),
            (None, Some(redis), Some(zk)) => Named::Two {
                ambiguous: level.error(format!(
                    "{} and {} name two backends: give one of them, or say which with {}",
                    redis.name,
                    zk.name,
                    environment.name_at(level, "backend")
                )),
            },
            (None, Some(_), None) => Named::One(BackendName::Redis),
            (None, None, Some(_)) => Named::One(BackendName::ZooKeeper),
            (None, None, None) => continue,
        });
    }
    Ok(Named::None)
}

fn by_name(name: &Stated<String>) -> Result<BackendName, Error> {
    match name.value.as_str() {
        "file" => Ok(BackendName::File),
        "redis" => Ok(BackendName::Redis),
        "zk" => Ok(BackendName::ZooKeeper),
        "redis+zk" => Ok(BackendName::Both),
        _ => Err(name.invalid("there is no such backend; use file, redis, zk or redis+zk")),
    }
}

/// What the backend cannot honour is an error where somebody typed it, and ignored where it merely stands in the
/// environment or a file.
fn refuse_foreign_flags(typed: &cli::Backend, backend: BackendName) -> Result<(), Error> {
    const REDIS: &[BackendName] = &[BackendName::Redis, BackendName::Both];
    const ZOOKEEPER: &[BackendName] = &[BackendName::ZooKeeper, BackendName::Both];
    const REMOTE: &[BackendName] = &[BackendName::Redis, BackendName::ZooKeeper, BackendName::Both];
    let flags = [
        ("--redis", REDIS, !typed.redis.is_empty()),
        ("--redis-password-file", REDIS, typed.redis_password_file.is_some()),
        ("--tls-ca", REMOTE, typed.tls_ca.is_some()),
        ("--tls-cert", REMOTE, typed.tls_cert.is_some()),
        ("--tls-key", REMOTE, typed.tls_key.is_some()),
        ("--wait-replicas", REDIS, typed.wait_replicas.is_some()),
        ("--zk", ZOOKEEPER, typed.zk.is_some()),
        ("--zk-auth-file", ZOOKEEPER, typed.zk_auth_file.is_some()),
        ("--zk-acl", ZOOKEEPER, typed.zk_acl.is_some()),
        ("--fence-floor", ZOOKEEPER, typed.fence_floor.is_some()),
        ("--strict", REMOTE, typed.strict),
        ("--dir", &[BackendName::File], typed.dir.is_some()),
    ];
    let Some((flag, of, _)) = flags.into_iter().find(|(_, of, is_given)| *is_given && !of.contains(&backend)) else {
        return Ok(());
    };
    // That both together take it goes without saying.
    let owners: Vec<String> = of.iter().filter(|of| **of != BackendName::Both).map(ToString::to_string).collect();
    let owner = match &owners[..] {
        [one] => format!("the {one} backend"),
        several => format!("the {} backends", several.join(" and ")),
    };
    Err(Error::usage(format!("{flag} belongs to {owner}, and the backend chosen is {backend}")))
}

/// Redis has to be told what a floor makes of a token, and several masters would have to agree on it once more.
fn refuse_floor_of_masters(redis: &Target, zookeeper: &Target) -> Result<(), Error> {
    match (redis, zookeeper) {
        (Target::Redis(_), _) => Ok(()),
        (_, Target::ZooKeeper(config)) if config.fence_floor > 0 => Err(Error::usage(
            "--fence-floor with redis+zk needs one Redis: give one --redis URL, or leave it out until no host uses \
             redis+zk any more",
        )),
        _ => Ok(()),
    }
}

fn namespace(typed: &cli::Backend, environment: &Environment) -> Result<Namespace, Error> {
    let stated = match &typed.namespace {
        Some(flag) => on_command_line(flag.clone(), "namespace"),
        // The one variable that means something when it is empty.
        None if environment.get_even_empty("DLOCK_NAMESPACE").is_some_and(|value| value.is_empty()) => {
            on_command_line(String::new(), "namespace")
        }
        None => text(None, "namespace", environment)?
            .unwrap_or_else(|| on_command_line(DEFAULT_NAMESPACE.to_owned(), "namespace")),
    };
    Namespace::new(stated.value.as_str()).map_err(|reason| stated.invalid(reason))
}

fn redis_urls(typed: &cli::Backend, environment: &Environment) -> Result<Stated<Vec<String>>, Error> {
    let stated = if typed.redis.is_empty() {
        text(None, "redis", environment)?.unwrap_or_else(|| on_command_line(DEFAULT_REDIS.to_owned(), "redis"))
    } else {
        on_command_line(typed.redis.join(","), "redis")
    };
    let urls = masters::urls(&stated.value);
    if urls.is_empty() {
        return Err(stated.invalid("there is no URL in it"));
    }
    Ok(stated.map(|_| urls))
}

/// The password from its file, or from where it stands by itself on a higher level.
fn password(file: Option<&Stated<PathBuf>>, environment: &Environment) -> Result<Option<Stated<String>>, Error> {
    let own = text(None, "redis-password", environment)?;
    let file = file.filter(|file| own.as_ref().is_none_or(|own| own.level >= file.level));
    match file {
        None => Ok(own),
        Some(file) => first_line(file).map(Some),
    }
}

/// The bytes of a file that the user named, which no disk or device named by mistake can make many.
pub(super) fn content(file: &Stated<PathBuf>) -> Result<Vec<u8>, Error> {
    let shown = file.value.to_string_lossy();
    let mut content = Vec::new();
    let read = File::open(&file.value).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut content));
    let wrong = |why: &dyn std::fmt::Display| {
        Error::Configuration(format!("cannot read {} {}: {why}", file.name, Quoted(&shown)))
    };
    read.map_err(|error| wrong(&OsReason(&error)))?;
    if content.len() as u64 > MOST_BYTES {
        return Err(wrong(&"it has more than four megabytes, which is no such file"));
    }
    Ok(content)
}

/// The first line of a file, which is a secret.
pub(super) fn first_line(file: &Stated<PathBuf>) -> Result<Stated<String>, Error> {
    let shown = file.value.to_string_lossy();
    secrets::guard();
    let content = String::from_utf8(content(file)?).map_err(|_| {
        Error::Configuration(format!("cannot read {} {}: it is not valid UTF-8", file.name, Quoted(&shown)))
    })?;
    match content.lines().next() {
        Some(line) if !line.is_empty() => Ok(file.clone().map(|_| line.to_owned())),
        _ => Err(Error::Configuration(format!("{} {}: its first line is empty", file.name, Quoted(&shown)))),
    }
}

/// The path from the root: a nested dlock may stand in another directory.
pub(super) fn absolute(path: Option<Stated<OsString>>) -> Result<Option<Stated<PathBuf>>, Error> {
    let Some(stated) = path else { return Ok(None) };
    let invalid = |reason| {
        let value = stated.value.to_string_lossy();
        stated.level.error(format!("invalid {} {}: {reason}", stated.name, Quoted(&value)))
    };
    // A variable that came out changed would lead the nested dlock somewhere else.
    if stated.value.to_str().is_none() {
        return Err(invalid("it is not valid UTF-8"));
    }
    let path = std::path::absolute(&stated.value).map_err(|_| invalid("that is no path"))?;
    Ok(Some(stated.map(|_| path)))
}

#[cfg(test)]
impl Deployment {
    /// One on Redis, for tests of what is said about a deployment.
    pub fn on_redis(url: &str) -> Self {
        let typed = cli::Backend { redis: vec![url.to_owned()], ..cli::Backend::default() };
        resolve(&typed, &Environment::default()).expect("a valid URL")
    }

    pub fn on_zookeeper(layout: &str) -> Self {
        let (zk, layout) = (Some("z1".to_owned()), Some(layout.to_owned()));
        let typed = cli::Backend { zk, layout, ..cli::Backend::default() };
        resolve(&typed, &Environment::default()).expect("a valid layout")
    }
}

/// All the variables that choose a deployment, removed unless set.
struct Variables(Vec<(String, Option<String>)>);

impl Default for Variables {
    fn default() -> Self {
        let places = ["DLOCK_BACKEND", "DLOCK_NAMESPACE", "DLOCK_REDIS", "DLOCK_REDIS_PASSWORD_FILE"];
        let zookeeper = ["DLOCK_ZK", "DLOCK_ZK_AUTH_FILE", "DLOCK_ZK_ACL", "DLOCK_FENCE_FLOOR", "DLOCK_STRICT"];
        let files =
            ["DLOCK_TLS_CA", "DLOCK_TLS_CERT", "DLOCK_TLS_KEY", "DLOCK_DIR", "DLOCK_WAIT_REPLICAS", "DLOCK_LAYOUT"];
        let names = places.iter().chain(&zookeeper).chain(&files).chain(SECRETS);
        Self(names.map(|name| ((*name).to_owned(), None)).collect())
    }
}

impl Variables {
    fn set(&mut self, name: &str, value: String) {
        self.set_or_remove(name, Some(value));
    }

    fn set_or_remove(&mut self, name: &str, value: Option<String>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value));
    }
}

#[cfg(test)]
mod tests;
