//! Where a key's contenders stand: the key as a path of nodes.

use thiserror::Error;

use crate::lock::{BackendError, LockKey, Namespace};

/// ZooKeeper keeps its own configuration and quotas here.
const RESERVED: &str = "zookeeper";

/// The node whose stamps tell a leader's time. No encoded key can begin with a bare `%C`.
const CLOCK: &str = "%clock";

/// Why a text is no path of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidPath {
    #[error("it has an empty component")]
    Empty,
    #[error("`.` and `..` are no node names")]
    Relative,
    #[error("/zookeeper is ZooKeeper's own")]
    Reserved,
    #[error("/%clock is dlock's own")]
    Clock,
    #[error("it has a character that ZooKeeper does not take")]
    Character,
}

/// Checks a path, without its leading slash, by ZooKeeper's own rules.
///
/// # Errors
/// [`InvalidPath`] says which one it breaks.
pub(super) fn validate(path: &str) -> Result<(), InvalidPath> {
    for name in path.split('/') {
        match name {
            "" => return Err(InvalidPath::Empty),
            "." | ".." => return Err(InvalidPath::Relative),
            // PathUtils.validatePath of the server.
            _ if name.chars().any(|c| {
                matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
            }) =>
            {
                return Err(InvalidPath::Character);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The paths of one namespace.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    namespace: Namespace,
}

impl Layout {
    /// # Errors
    /// When the namespace is ZooKeeper's own.
    pub(super) fn new(namespace: &Namespace) -> Result<Self, BackendError> {
        if namespace.as_str() == RESERVED {
            return Err(BackendError::usage(
                "the namespace \"zookeeper\" is ZooKeeper's own; choose another with --namespace",
            ));
        }
        Ok(Self { namespace: namespace.clone() })
    }

    /// The node whose children contend for `key`.
    ///
    /// # Errors
    /// With an empty namespace, when the key is no path.
    pub(super) fn directory(&self, key: &LockKey) -> Result<String, BackendError> {
        if !self.namespace.is_empty() {
            return Ok(format!("/{}/{}", self.namespace.as_str(), key.encoded()));
        }
        let path = key.as_str().strip_prefix('/').unwrap_or(key.as_str());
        let reserved = path == RESERVED || path.starts_with(&format!("{RESERVED}/"));
        let valid = match path {
            _ if reserved => Err(InvalidPath::Reserved),
            CLOCK => Err(InvalidPath::Clock),
            _ => validate(path),
        };
        match valid {
            Ok(()) => Ok(format!("/{path}")),
            Err(why) => Err(BackendError::usage(format!(
                "with an empty namespace the key is the path of a ZooKeeper node, and this is none: {why}"
            ))),
        }
    }

    /// The node that tells the leader's time.
    pub(super) fn clock(&self) -> String {
        format!("{}/{CLOCK}", self.top())
    }

    /// The node that every key is below; empty for the chroot itself.
    pub(super) fn top(&self) -> String {
        if self.namespace.is_empty() { String::new() } else { format!("/{}", self.namespace.as_str()) }
    }

    /// Whether keys are paths of any depth.
    pub(super) fn keys_are_paths(&self) -> bool {
        self.namespace.is_empty()
    }

    /// Whether `list` has nothing to look for below a node of this name under [`Self::top`].
    pub(super) fn is_no_key(&self, name: &str) -> bool {
        name == CLOCK || self.namespace.is_empty() && name == RESERVED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::ErrorKind;

    fn layout(namespace: &str) -> Layout {
        Layout::new(&Namespace::new(namespace).expect("valid")).expect("not reserved")
    }

    fn key(text: &str) -> LockKey {
        LockKey::new(text).expect("valid")
    }

    #[test]
    fn a_key_in_a_namespace_is_one_encoded_node() {
        assert_eq!(layout("dlock").directory(&key("a/b c")).as_deref(), Ok("/dlock/a%2Fb%20c"));
        assert_eq!(layout("dlock").directory(&key("..")).as_deref(), Ok("/dlock/%2E."));
        assert_eq!(layout("dlock").clock(), "/dlock/%clock");
    }

    #[test]
    fn without_a_namespace_the_key_is_the_path() {
        assert_eq!(layout("").directory(&key("/app/locks")).as_deref(), Ok("/app/locks"));
        assert_eq!(layout("").directory(&key("app/locks")).as_deref(), Ok("/app/locks"));
        assert_eq!(layout("").clock(), "/%clock");
    }

    #[test]
    fn what_is_no_path_is_refused_as_a_matter_of_usage() {
        for text in ["/", "a//b", "a/", "//a", "./a", "a/..", "zookeeper", "/zookeeper/quota", "a\tb", "%clock"] {
            let refused = layout("").directory(&key(text)).expect_err(text);
            assert_eq!(refused.kind, ErrorKind::Usage, "{text}");
        }
        assert!(Layout::new(&Namespace::new("zookeeper").expect("valid")).is_err());
    }
}
