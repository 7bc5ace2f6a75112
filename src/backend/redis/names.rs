//! What a key is called on the server, and which key a name belongs to.

use crate::lock::{BackendError, LockKey, Namespace};

const MARK: &str = ":dlock:";
const LOCKED_BY_NAME: [&str; 2] = ["queue", "holders"];
const SIDE_NAMES: [&str; 6] = ["queue", "leases", "waiters", "receipts", "fence", "holders"];

/// All names of one key, in the order in which the scripts take them.
#[derive(Debug, Clone)]
pub(super) struct Names {
    lock: String,
    side: String,
}

impl Names {
    /// # Errors
    /// When the key would stand where dlock keeps its own data for another key.
    pub(super) fn of(namespace: &Namespace, key: &LockKey) -> Result<Self, BackendError> {
        let lock = main_key(namespace, key);
        if side_key_owner(&lock).is_some() {
            return Err(BackendError::usage("this name belongs to dlock's own data on Redis; choose another key"));
        }
        // Its side keys would be those of the key inside the braces.
        if lock.starts_with('{') && lock.find('}') == Some(lock.len() - 1) {
            return Err(BackendError::usage(
                "on Redis a key in an empty namespace cannot be a hash tag and nothing else",
            ));
        }
        Ok(Self::at(lock))
    }

    /// The names round a lock that stands at `lock`, whatever key that belongs to.
    pub(super) fn at(lock: String) -> Self {
        let side = if has_hash_tag(&lock) { format!("{lock}{MARK}") } else { format!("{{{lock}}}{MARK}") };
        Self { lock, side }
    }

    pub(super) fn lock(&self) -> &str {
        &self.lock
    }

    pub(super) fn side(&self, name: &str) -> String {
        format!("{}{name}", self.side)
    }

    /// KEYS of the scripts that grant or give up.
    pub(super) fn all(&self) -> Vec<String> {
        let side = |name| self.side(name);
        vec![
            self.lock.clone(),
            side("queue"),
            side("leases"),
            side("waiters"),
            side("receipts"),
            side("fence"),
            side("holders"),
        ]
    }

    /// The beginning of every channel; a waiter's token follows.
    pub(super) fn wake_prefix(&self) -> String {
        self.side("wake:")
    }
}

/// The glob that every name of the namespace matches; `SCAN` takes only one. `None`: everything.
pub(super) fn scan_pattern(namespace: &Namespace) -> Option<String> {
    // Main keys begin with `NS:`, side keys with `{NS:`. No namespace has a character that means something in a glob.
    (!namespace.is_empty()).then(|| format!("*{}:*", namespace.as_str()))
}

/// What a name on the server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The lock itself, or what might be one.
    Lock(LockKey),
    /// Something that only stands beside a lock which is held or awaited.
    Beside(LockKey),
}

/// Which key of the namespace the name `bytes` tells of, if any.
pub(super) fn found(namespace: &Namespace, bytes: &[u8]) -> Option<Found> {
    let name = std::str::from_utf8(bytes).ok()?;
    match side_key_owner(name) {
        Some((lock, side)) if LOCKED_BY_NAME.contains(&side) => key_of(namespace, lock).map(Found::Beside),
        Some(_) => None,
        None => key_of(namespace, name).map(Found::Lock),
    }
}

fn main_key(namespace: &Namespace, key: &LockKey) -> String {
    if namespace.is_empty() { key.as_str().to_owned() } else { format!("{}:{key}", namespace.as_str()) }
}

fn key_of(namespace: &Namespace, lock: &str) -> Option<LockKey> {
    let text = if namespace.is_empty() { lock } else { lock.strip_prefix(namespace.as_str())?.strip_prefix(':')? };
    LockKey::new(text).ok()
}

/// Redis Cluster's rule: what stands between the first `{` and the next `}`, unless that is nothing.
pub(super) fn hash_tag(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once('{')?;
    rest.split_once('}').map(|(tag, _)| tag).filter(|tag| !tag.is_empty())
}

fn has_hash_tag(name: &str) -> bool {
    hash_tag(name).is_some()
}

/// The main key and the side name, when `name` is a side key.
fn side_key_owner(name: &str) -> Option<(&str, &str)> {
    let (owner, side) = name.rsplit_once(MARK)?;
    if !SIDE_NAMES.contains(&side) {
        return None;
    }
    match owner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
        Some(lock) if !lock.is_empty() && !has_hash_tag(lock) => Some((lock, side)),
        _ => has_hash_tag(owner).then_some((owner, side)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn namespace(text: &str) -> Namespace {
        Namespace::new(text).expect("a valid namespace")
    }

    fn key(text: &str) -> LockKey {
        LockKey::new(text).expect("a valid key")
    }

    #[test]
    fn side_keys_share_the_slot_of_their_lock() {
        let names = Names::of(&namespace("dlock"), &key("job")).expect("a usable key");
        assert_eq!(names.lock(), "dlock:job");
        assert_eq!(names.side("queue"), "{dlock:job}:dlock:queue");
        let tagged = Names::of(&namespace(""), &key("{team}:job")).expect("a usable key");
        assert_eq!(tagged.side("queue"), "{team}:job:dlock:queue");
    }

    #[test]
    fn a_key_that_would_be_another_keys_side_key_is_refused() {
        for (ns, text) in
            [("", "{job}:dlock:fence"), ("dlock", "{job}:dlock:queue"), ("", "x{job}:dlock:leases"), ("", "{job}")]
        {
            assert!(Names::of(&namespace(ns), &key(text)).is_err(), "{ns} {text}");
        }
        assert!(Names::of(&namespace("dlock"), &key("job:dlock:fence")).is_ok());
    }

    #[test]
    fn names_of_other_namespaces_and_side_keys_without_a_lock_are_nobodys() {
        let ns = namespace("dlock");
        assert_eq!(found(&ns, b"dlock:job"), Some(Found::Lock(key("job"))));
        assert_eq!(found(&ns, b"{dlock:job}:dlock:queue"), Some(Found::Beside(key("job"))));
        assert_eq!(found(&ns, b"{dlock:job}:dlock:fence"), None);
        assert_eq!(found(&ns, b"{other:job}:dlock:queue"), None);
        assert_eq!(found(&ns, b"other:dlock:job"), None);
        assert_eq!(found(&ns, b"dlock:\xff"), None);
    }

    proptest! {
        #[test]
        fn every_name_leads_back_to_its_key(text in "[^\n\0]{1,60}", ns in "(|dlock|a\\.b)") {
            let (ns, key) = (namespace(&ns), key(&text));
            if let Ok(names) = Names::of(&ns, &key) {
                prop_assert_eq!(found(&ns, names.lock().as_bytes()), Some(Found::Lock(key.clone())));
                prop_assert_eq!(found(&ns, names.side("queue").as_bytes()), Some(Found::Beside(key)));
                prop_assert_eq!(found(&ns, names.side("receipts").as_bytes()), None);
            }
        }
    }
}
