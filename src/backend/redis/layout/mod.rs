//! The layouts of other lock libraries, whose locks dlock can share. What breaks it: a byte that the library would not
//! have written.

mod locks;
mod reply;
mod waiting;

pub use locks::LayoutBackend;

use super::names::Names;
use crate::backend::redis::script::lean;
use crate::lock::{BackendError, LockKey, Namespace, OwnerToken};

/// A library that dlock can share locks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// `RLock` and the fair lock of Redisson.
    Redisson,
    PythonRedisLock,
}

impl Layout {
    pub const ALL: [Self; 2] = [Self::Redisson, Self::PythonRedisLock];

    /// As users write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Redisson => "redisson",
            Self::PythonRedisLock => "python-redis-lock",
        }
    }

    /// The functions that every script of the layout begins with.
    fn script(self, body: &str) -> String {
        let functions = match self {
            Self::Redisson => lean!(include_str!("scripts/redisson.lua")),
            Self::PythonRedisLock => lean!(include_str!("scripts/python-redis-lock.lua")),
        };
        format!("{functions}{body}")
    }

    /// What the library stores as the owner that `token` is.
    fn owner(self, token: &OwnerToken) -> String {
        let token = token.secret();
        match self {
            // A client's UUID and the number of its thread.
            Self::Redisson => {
                let parts = [&token[..8], &token[8..12], &token[12..16], &token[16..20], &token[20..]];
                format!("{}:1", parts.join("-"))
            }
            Self::PythonRedisLock => token.to_owned(),
        }
    }

    /// The bytes that a public id is made from: the token of an owner of ours, of another the owner itself.
    fn secret_of(self, owner: &[u8]) -> Vec<u8> {
        match (self, owner.strip_suffix(b":1")) {
            (Self::Redisson, Some(uuid)) => uuid.iter().copied().filter(|byte| *byte != b'-').collect(),
            (Self::Redisson, None) | (Self::PythonRedisLock, _) => owner.to_owned(),
        }
    }
}

/// Where one key of a layout stands.
#[derive(Debug, Clone)]
struct Place {
    layout: Layout,
    /// The lock, and what stands beside it in dlock's own manner.
    names: Names,
    /// The name as the library's user would write it.
    name: String,
}

impl Place {
    fn of(layout: Layout, namespace: &Namespace, key: &LockKey) -> Result<Self, BackendError> {
        let names = Names::of(namespace, key)?;
        let name = names.lock().to_owned();
        let names = match layout {
            Layout::Redisson => names,
            Layout::PythonRedisLock => Names::at(format!("lock:{name}")),
        };
        Ok(Self { layout, names, name })
    }

    /// KEYS of the layout's scripts.
    fn keys(&self) -> Vec<String> {
        let mut keys = vec![self.names.lock().to_owned(), self.names.side("holder"), self.names.side("receipts")];
        match self.layout {
            Layout::Redisson => {
                keys.extend([self.beside("redisson_lock_queue"), self.beside("redisson_lock_timeout")]);
            }
            Layout::PythonRedisLock => keys.push(format!("lock-signal:{}", self.name)),
        }
        keys
    }

    /// The channel on which a release is told; python-redis-lock tells it by a list, from which a foreign waiter must
    /// not take what is meant for one of the library's own.
    fn channel(&self) -> Option<String> {
        match self.layout {
            Layout::Redisson => Some(self.beside("redisson_lock__channel")),
            Layout::PythonRedisLock => None,
        }
    }

    /// Redisson's rule for names that belong to a lock.
    fn beside(&self, prefix: &str) -> String {
        let name = &self.name;
        if name.contains('{') { format!("{prefix}:{name}") } else { format!("{prefix}:{{{name}}}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(layout: Layout, namespace: &str, key: &str) -> Place {
        let namespace = Namespace::new(namespace).expect("a valid namespace");
        Place::of(layout, &namespace, &LockKey::new(key).expect("a valid key")).expect("a usable key")
    }

    #[test]
    fn the_names_are_those_that_the_libraries_use() {
        let token = OwnerToken::parse("0123456789abcdef0123456789abcdef").expect("a token");
        let redisson = place(Layout::Redisson, "", "job");
        assert_eq!(redisson.channel().as_deref(), Some("redisson_lock__channel:{job}"));
        assert_eq!(redisson.keys()[3..], ["redisson_lock_queue:{job}", "redisson_lock_timeout:{job}"]);
        assert_eq!(Layout::Redisson.owner(&token), "01234567-89ab-cdef-0123-456789abcdef:1");
        let tagged = place(Layout::Redisson, "", "{team}:job");
        assert_eq!(tagged.channel().as_deref(), Some("redisson_lock__channel:{team}:job"));
        let python = place(Layout::PythonRedisLock, "app", "job");
        let keys = python.keys();
        assert_eq!([keys[0].as_str(), keys[3].as_str()], ["lock:app:job", "lock-signal:app:job"]);
        assert!(python.channel().is_none());
    }

    #[test]
    fn an_owner_of_ours_leads_back_to_its_token() {
        let token = OwnerToken::random();
        for layout in Layout::ALL {
            assert_eq!(layout.secret_of(layout.owner(&token).as_bytes()), token.secret().as_bytes());
        }
    }
}
