//! Whose names and formats the lock has: dlock's own, or those of a library that shares it.

use super::BackendName;
use super::source::{Environment, Level, Stated, text};
use crate::backend::redis;
use crate::backend::zookeeper::Family;
use crate::cli;
use crate::error::Error;

/// The layout that nobody has to ask for; every backend has it.
pub(super) const OWN_LAYOUT: &str = "dlock";

/// Another library's layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Redis(redis::Layout),
    ZooKeeper(Family),
}

impl Layout {
    /// The one chosen for `backend`; `None`: dlock's own.
    ///
    /// # Errors
    /// When there is no such layout, or somebody typed one that belongs to another backend. From the environment that
    /// is ignored, like every option that the backend cannot honour.
    pub(super) fn chosen(
        typed: &cli::Backend,
        environment: &Environment,
        backend: BackendName,
    ) -> Result<Option<Self>, Error> {
        let Some(stated) = text(typed.layout.as_ref(), "layout", environment)? else { return Ok(None) };
        if stated.value == OWN_LAYOUT {
            return Ok(None);
        }
        let Some(layout) = Self::all().find(|layout| layout.name() == stated.value) else {
            return Err(unknown(&stated, backend));
        };
        if layout.backend() == backend {
            return Ok(Some(layout));
        }
        if stated.level != Level::CommandLine {
            return Ok(None);
        }
        let (name, home) = (layout.name(), layout.backend());
        Err(Error::usage(format!(
            "--layout {name} belongs to the {home} backend, and the backend chosen is {backend}{}",
            choice(backend).map(|names| format!(", which has {names}")).unwrap_or_default()
        )))
    }

    /// As users write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Redis(layout) => layout.name(),
            Self::ZooKeeper(family) => family.layout(),
        }
    }

    fn backend(self) -> BackendName {
        match self {
            Self::Redis(_) => BackendName::Redis,
            Self::ZooKeeper(_) => BackendName::ZooKeeper,
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let families = Family::ALL.into_iter().filter(|family| *family != Family::Dlock);
        redis::Layout::ALL.into_iter().map(Self::Redis).chain(families.map(Self::ZooKeeper))
    }
}

/// The names that may be given with `backend`, where there is more than one.
fn choice(backend: BackendName) -> Option<String> {
    let others: Vec<&str> = Layout::all().filter(|layout| layout.backend() == backend).map(Layout::name).collect();
    let (last, others) = others.split_last()?;
    let first = [OWN_LAYOUT].iter().chain(others).copied().collect::<Vec<_>>().join(", ");
    Some(format!("{first} or {last}"))
}

fn unknown(stated: &Stated<String>, backend: BackendName) -> Error {
    let names = choice(backend).unwrap_or_else(|| format!("{OWN_LAYOUT}, as the {backend} backend has no other"));
    stated.invalid(format!("there is no such layout; use {names}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, backend: BackendName) -> Result<Option<&'static str>, String> {
        let typed = cli::Backend { layout: Some(name.to_owned()), ..cli::Backend::default() };
        let layout = Layout::chosen(&typed, &Environment::default(), backend);
        layout.map(|layout| layout.map(Layout::name)).map_err(|error| error.to_string())
    }

    #[test]
    fn every_layout_belongs_to_one_backend() {
        use BackendName::{File, Redis, ZooKeeper};
        assert_eq!(chosen("redisson", Redis), Ok(Some("redisson")));
        assert_eq!(chosen("kazoo", ZooKeeper), Ok(Some("kazoo")));
        assert_eq!(chosen("curator-rw", ZooKeeper), Ok(Some("curator-rw")));
        for backend in [File, Redis, ZooKeeper] {
            assert_eq!(chosen("dlock", backend), Ok(None), "everybody has dlock's own");
        }
        for (name, backend, sentence) in [
            (
                "redisson",
                ZooKeeper,
                "--layout redisson belongs to the redis backend, and the backend chosen is zk, which has dlock, curator-rw or \
                 kazoo",
            ),
            (
                "kazoo",
                Redis,
                "--layout kazoo belongs to the zk backend, and the backend chosen is redis, which has dlock, redisson or \
                 python-redis-lock",
            ),
            ("kazoo", File, "--layout kazoo belongs to the zk backend, and the backend chosen is file"),
        ] {
            assert_eq!(chosen(name, backend), Err(sentence.to_owned()));
        }
    }

    #[test]
    fn an_unknown_layout_is_told_which_there_are() {
        let sentence = r#"invalid --layout "curator": there is no such layout; use dlock, curator-rw or kazoo"#;
        assert_eq!(chosen("curator", BackendName::ZooKeeper), Err(sentence.into()));
        let sentence =
            r#"invalid --layout "curator": there is no such layout; use dlock, as the file backend has no other"#;
        assert_eq!(chosen("curator", BackendName::File), Err(sentence.into()));
    }

    #[test]
    fn a_variable_for_another_backend_is_ignored_and_one_for_none_is_not() {
        let from = |name| {
            let environment = Environment::of(&[("DLOCK_LAYOUT", name)]);
            Layout::chosen(&cli::Backend::default(), &environment, BackendName::ZooKeeper)
        };
        assert_eq!(from("redisson").ok(), Some(None));
        assert_eq!(from("kazoo").ok(), Some(Some(Layout::ZooKeeper(Family::Kazoo))));
        assert!(from("curator").is_err());
    }
}
