//! The options of ZooKeeper: where, by TLS or plainly, as whom, and what others may do with what is created.

use super::deployment::{Located, absolute, first_line};
use super::source::{Environment, on_command_line, path, text};
use super::{target, tls};
use crate::backend::tls::Tls;
use crate::backend::zookeeper::{Access, AclPolicy, ConnectString, Credentials, Family, Transport};
use crate::cli;
use crate::error::Error;
use crate::error::phrase::Quoted;
use crate::lock::Namespace;

const DEFAULT_ZK: &str = "127.0.0.1:2181";

/// Variables of the command's environment; `None`: remove it.
type Variables = Vec<(&'static str, Option<String>)>;

/// The ensemble, and the variables that lead a nested dlock to it.
pub(super) fn located(
    typed: &cli::Backend,
    namespace: &Namespace,
    family: Family,
    environment: &Environment,
) -> Result<(Located, Variables), Error> {
    let hosts =
        text(typed.zk.as_ref(), "zk", environment)?.unwrap_or_else(|| on_command_line(DEFAULT_ZK.to_owned(), "zk"));
    // Not shown either: somebody may have tried to put a password into it.
    let servers = ConnectString::parse(&hosts.value)
        .map_err(|reason| hosts.level.error(format!("invalid {}: {reason}", hosts.name)))?;
    let mut variables = Vec::new();
    let files = tls::Files::named(typed, environment)?;
    let tls = match servers.transport {
        Transport::Tls => {
            variables.extend(files.variables());
            files.read(environment)?
        }
        Transport::Plain => {
            files.refuse_typed("needs servers that are reached by TLS, as zks://")?;
            Tls::default()
        }
    };
    let file = absolute(path(typed.zk_auth_file.as_ref(), "zk-auth-file", environment))?;
    let credentials = match &file {
        None => None,
        Some(file) => {
            let line = first_line(file)?;
            let shown = file.value.to_string_lossy();
            let credentials = Credentials::parse(&line.value)
                .map_err(|why| Error::Configuration(format!("{} {}: {why}", file.name, Quoted(&shown))))?;
            Some(credentials)
        }
    };
    let known = match (&credentials, servers.transport) {
        (Some(_), _) => KnownBy::Password,
        (None, Transport::Tls) if files.name_an_identity() => KnownBy::Certificate,
        (None, _) => KnownBy::Nothing,
    };
    let acl = acl(typed, environment, known)?;
    variables.push(("DLOCK_ZK_AUTH_FILE", file.map(|file| file.value.to_string_lossy().into_owned())));
    variables.push(("DLOCK_ZK_ACL", acl.variable));
    let floor = fence_floor(typed, environment)?;
    variables.push(("DLOCK_FENCE_FLOOR", (floor > 0).then(|| floor.to_string())));
    let access = Access { tls, credentials, acl: acl.policy };
    Ok((target::zookeeper(servers, access, namespace, family, floor), variables))
}

/// What is added to every fencing token.
fn fence_floor(typed: &cli::Backend, environment: &Environment) -> Result<u64, Error> {
    let Some(stated) = text(typed.fence_floor.as_ref(), "fence-floor", environment)? else { return Ok(0) };
    // `i64::from_str` takes a sign.
    let is_number = stated.value.bytes().all(|byte| byte.is_ascii_digit());
    // Databases that check tokens keep them in 63 bits.
    let floor = stated.value.parse::<i64>().ok().filter(|_| is_number);
    let floor = floor.ok_or_else(|| stated.invalid(format!("a floor is a whole number from 0 to {}", i64::MAX)))?;
    Ok(floor.unsigned_abs())
}

/// How the server knows who creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KnownBy {
    Nothing,
    Password,
    Certificate,
}

struct Acl {
    policy: AclPolicy,
    /// `None`: nobody has named one.
    variable: Option<String>,
}

fn acl(typed: &cli::Backend, environment: &Environment, creator: KnownBy) -> Result<Acl, Error> {
    let Some(stated) = text(typed.zk_acl.as_ref(), "zk-acl", environment)? else {
        // Not by a certificate alone: servers differ in whether they take that for a user.
        let policy = if creator == KnownBy::Password { AclPolicy::Contenders } else { AclPolicy::Open };
        return Ok(Acl { policy, variable: None });
    };
    let policy = match stated.value.as_str() {
        "open" => AclPolicy::Open,
        "creator" if creator == KnownBy::Nothing => {
            return Err(stated.invalid("nobody would be the creator; say who you are with --zk-auth-file"));
        }
        "creator" => AclPolicy::Creator,
        _ => return Err(stated.invalid("use open or creator")),
    };
    Ok(Acl { policy, variable: Some(stated.value) })
}
