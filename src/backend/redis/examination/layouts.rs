//! Whether the keys of the namespace are locks of one library. What breaks it: a namespace of a million keys, of which
//! only some are looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::super::failure::Failure;
use super::super::layout::Layout;
use super::super::names::{self, Found};
use super::super::node::Node;
use super::super::reply;
use super::told;
use crate::lock::{Finding, LockKey, Namespace};

/// How much of the server's keys a look costs at most: `STEPS` requests of `STEP` keys each.
const STEPS: usize = 20;
const STEP: usize = 1000;

/// So many keys are named.
const NAMED: usize = 3;

/// Whose locks stand in the namespace; dlock's own are `None`.
type Seen = BTreeMap<Option<Layout>, BTreeSet<LockKey>>;

/// `None`: there is no namespace, and any key of the database may be anybody's; or this user may not ask.
pub(super) async fn judge(node: &Node, namespace: &Namespace, own: Option<Layout>) -> Result<Option<Finding>, Failure> {
    if namespace.is_empty() {
        return Ok(None);
    }
    let own_names = format!("{}:*", namespace.as_str());
    let library_names = format!("lock:{}:*", namespace.as_str());
    let mut seen = Seen::new();
    for (layout, pattern, kind) in [
        (None, &own_names, "string"),
        (Some(Layout::Redisson), &own_names, "hash"),
        (Some(Layout::PythonRedisLock), &library_names, "string"),
    ] {
        let Some(names) = scan(node, pattern, kind).await? else { return Ok(None) };
        let keys: BTreeSet<LockKey> = names
            .iter()
            .filter_map(|name| {
                let name = if layout == Some(Layout::PythonRedisLock) { name.strip_prefix(b"lock:")? } else { name };
                match names::found(namespace, name)? {
                    Found::Lock(key) => Some(key),
                    Found::Beside(_) => None,
                }
            })
            .collect();
        if !keys.is_empty() {
            seen.insert(layout, keys);
        }
    }
    Ok(Some(told_of(&node.endpoint().masked(), own, &seen)))
}

async fn scan(node: &Node, pattern: &str, kind: &str) -> Result<Option<BTreeSet<Vec<u8>>>, Failure> {
    let (mut found, mut cursor) = (BTreeSet::new(), b"0".to_vec());
    for _ in 0..STEPS {
        let mut request = redis::cmd("SCAN");
        request.arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP).arg("TYPE").arg(kind);
        let Some(answer) = told(node, &request).await? else { return Ok(None) };
        let Some((next, names)) = reply::scanned(&answer) else { return Ok(None) };
        found.extend(names.into_iter().map(<[u8]>::to_vec));
        if next == b"0" {
            break;
        }
        cursor = next;
    }
    Ok(Some(found))
}

fn told_of(url: &str, own: Option<Layout>, seen: &Seen) -> Finding {
    const CHECK: &str = "layouts";
    let name = |layout: &Option<Layout>| layout.map_or("dlock", Layout::name);
    let others: Vec<String> = seen
        .iter()
        .filter(|(layout, _)| **layout != own)
        .map(|(layout, keys)| format!("{} ({})", name(layout), named(keys)))
        .collect();
    if others.is_empty() {
        return Finding::ok(CHECK, format!("{url} has locks of no other layout in this namespace"));
    }
    let what =
        format!("{url} has locks of another layout than {} in this namespace: {}", name(&own), others.join(", "));
    let advice = "give everybody who uses these keys the same --layout, or each its own --namespace";
    match unseen(seen) {
        Some(key) => {
            let why = format!("these do not see each other: {:?} may be held by two at once", key.as_str());
            Finding::failed(CHECK, what, why, advice)
        }
        None => Finding::warning(
            CHECK,
            what,
            "whoever names one of these keys is refused, or does not see its holder",
            advice,
        ),
    }
}

/// A key that is locked in two places of which neither library knows the other's. The others share the name, and are
/// refused by its type.
fn unseen(seen: &Seen) -> Option<&LockKey> {
    let elsewhere = seen.get(&Some(Layout::PythonRedisLock))?;
    elsewhere
        .iter()
        .find(|key| seen.iter().any(|(layout, keys)| *layout != Some(Layout::PythonRedisLock) && keys.contains(*key)))
}

fn named(keys: &BTreeSet<LockKey>) -> String {
    let mut names: Vec<String> = keys.iter().take(NAMED).map(|key| format!("{:?}", key.as_str())).collect();
    if keys.len() > NAMED {
        names.push(format!("and {} more", keys.len() - NAMED));
    }
    names.join(", ")
}
