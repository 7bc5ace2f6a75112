//! What `acquire --export` prints: the lock as variables, for a shell's `eval` or a CI environment file.

use crate::exit_code::Ending;
use crate::lock::{FencingToken, Lease};
use crate::settings::{Deployment, SECRETS};

/// A variable and its value; `None`: it has none, and an old one must not be taken for it.
type Variable = (String, Option<String>);

/// `export` and `unset` lines, quoted for any POSIX shell.
#[must_use]
pub fn for_shell(leases: &[Lease], deployment: &Deployment) -> String {
    let line = |(name, value): Variable| match value {
        Some(value) => {
            let quoted = shlex::try_quote(&value).expect("keys, paths and URLs were read from NUL-terminated strings");
            format!("export {name}={quoted}\n")
        }
        None => format!("unset {name}\n"),
    };
    variables(leases, deployment).map(line).collect()
}

/// Bare `NAME=value` lines. `settings` has made sure that no value can end its line.
#[must_use]
pub fn for_environment_file(leases: &[Lease], deployment: &Deployment) -> String {
    variables(leases, deployment).filter_map(|(name, value)| Some(format!("{name}={}\n", value?))).collect()
}

/// What `eval` must run when there is no lock: nothing but the failure.
#[must_use]
pub fn failure(ending: Ending) -> String {
    format!("(exit {})\n", ending.as_seen_by_a_shell())
}

/// The value of a variable that has one line for each key.
#[must_use]
pub fn lines<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().collect::<Vec<_>>().join("\n")
}

/// The value of `DLOCK_FENCE`: one line for each key, empty where it has no fence; `None` when none has.
#[must_use]
pub fn fences(fences: impl IntoIterator<Item = Option<FencingToken>>) -> Option<String> {
    let fences: Vec<_> = fences.into_iter().map(|fence| fence.map(|fence| fence.to_string())).collect();
    fences
        .iter()
        .any(Option::is_some)
        .then(|| fences.into_iter().map(Option::unwrap_or_default).collect::<Vec<_>>().join("\n"))
}

fn variables(leases: &[Lease], deployment: &Deployment) -> impl Iterator<Item = Variable> {
    let lock = [
        ("DLOCK_KEY", Some(lines(leases.iter().map(|lease| lease.key.as_str())))),
        ("DLOCK_TOKEN", leases.first().map(|lease| lease.token.secret().to_owned())),
        ("DLOCK_FENCE", fences(leases.iter().map(|lease| lease.fence))),
    ];
    let place = deployment.environment.iter().filter(|(name, _)| !SECRETS.contains(&name.as_str()));
    lock.map(|(name, value)| (name.to_owned(), value)).into_iter().chain(place.cloned().collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lock::{LockKey, OwnerToken};
    use crate::sys::boottime::BootInstant;

    fn lease(key: &str) -> Lease {
        Lease {
            key: LockKey::new(key).expect("a key"),
            token: OwnerToken::parse("0123456789abcdef0123456789abcdef").expect("a token"),
            ttl: Duration::from_secs(10),
            fence: None,
            requested_at: BootInstant::now(),
            valid_until: None,
            renew_every: None,
            expires_at: None,
        }
    }

    fn deployment() -> Deployment {
        Deployment::on_redis("redis://:s3cret@r1/")
    }

    #[test]
    fn a_shell_gets_quoted_exports_and_unsets_but_no_secret() {
        let text = for_shell(&[lease("it's; rm -rf $HOME")], &deployment());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], r#"export DLOCK_KEY="it's; rm -rf "'$HOME'"#);
        assert_eq!(lines[1], "export DLOCK_TOKEN=0123456789abcdef0123456789abcdef");
        assert_eq!(lines[2], "unset DLOCK_FENCE");
        assert!(lines.contains(&"export DLOCK_BACKEND=redis"));
        assert!(lines.contains(&"unset DLOCK_ZK"));
        assert!(!text.contains("s3cret") && !text.contains("DLOCK_REDIS_PASSWORD\n"), "{text}");
    }

    #[test]
    fn an_environment_file_gets_bare_lines_of_what_has_a_value() {
        let text = for_environment_file(&[lease("my job")], &deployment());
        assert!(text.starts_with("DLOCK_KEY=my job\nDLOCK_TOKEN=0123456789abcdef0123456789abcdef\n"), "{text}");
        assert!(!text.contains("unset") && !text.contains("FENCE"), "{text}");
    }
}
