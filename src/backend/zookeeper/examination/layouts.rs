//! Whether all who contend in the namespace see each other. What breaks it: a plain lock of kazoo, which is granted beside
//! everybody whose name it does not know.

use zookeeper_client::{Client, Error};

use super::super::ZooKeeperBackend;
use super::super::family::Family;
use super::super::queue::{self, Queue};
use crate::lock::Finding;

/// So many keys are looked at, some at a time.
const LOOKED_AT: usize = 1000;
const LISTS_IN_FLIGHT: usize = 64;

/// So many keys are named.
const NAMED: usize = 3;

/// `None`: keys are paths, which may be anybody's, or there is no namespace yet.
///
/// # Errors
/// When the servers cannot be asked any more.
pub(super) async fn judge(backend: &ZooKeeperBackend, client: &Client) -> Result<Option<Finding>, Error> {
    if backend.layout.keys_are_paths() {
        return Ok(None);
    }
    let top = backend.layout.top();
    let names = match client.list_children(&top).await {
        Ok(names) => names,
        Err(Error::NoNode | Error::NoAuth) => return Ok(None),
        Err(error) => return Err(error),
    };
    let keys: Vec<String> = names.into_iter().filter(|name| !backend.layout.is_no_key(name)).take(LOOKED_AT).collect();
    let mut strange = Vec::new();
    for some in keys.chunks(LISTS_IN_FLIGHT) {
        // A request is sent when its future is made.
        let sent: Vec<_> = some.iter().map(|name| client.list_children(&format!("{top}/{name}"))).collect();
        for (name, answer) in some.iter().zip(sent) {
            let children = match answer.await {
                Ok(children) => children,
                Err(Error::NoNode | Error::NoAuth) => continue,
                Err(error) => return Err(error),
            };
            let count = children.len();
            let queue = Queue::of(backend.family, children);
            if let Some(stranger) = queue.stranger() {
                let strangers =
                    queue.entries().iter().filter(|entry| backend.family.read(&entry.name).is_none()).count();
                let layout = Family::of(stranger).map(Family::layout);
                let shown = queue::shown(stranger).into_owned();
                strange.push(Strange { key: name.clone(), layout, stranger: shown, is_mixed: strangers < count });
            }
        }
    }
    Ok(Some(told_of(&backend.ensemble.shown(), backend.family, &strange)))
}

/// A key where somebody stands who does not see this layout.
struct Strange {
    /// As its directory is called.
    key: String,
    layout: Option<&'static str>,
    stranger: String,
    /// Others who do not see that somebody stand there, too.
    is_mixed: bool,
}

fn told_of(at: &str, own: Family, strange: &[Strange]) -> Finding {
    const CHECK: &str = "layouts";
    if strange.is_empty() {
        return Finding::ok(CHECK, format!("{at} has locks of no other layout in this namespace"));
    }
    let mut named: Vec<String> = strange.iter().take(NAMED).map(|one| one.to_string()).collect();
    if strange.len() > NAMED {
        named.push(format!("and {} more", strange.len() - NAMED));
    }
    let own = own.layout();
    let what = format!("{at} has locks of another layout than {own} in this namespace: {}", named.join(", "));
    let advice = "give everybody who uses these keys the same --layout, or each its own --namespace";
    if let Some(mixed) = strange.iter().find(|one| one.is_mixed) {
        let why = format!("these do not see each other: \"{}\" may be held by two at once", mixed.key);
        return Finding::failed(CHECK, what, why, advice);
    }
    Finding::warning(CHECK, what, "whoever asks for one of these keys in this layout is refused with status 78", advice)
}

impl std::fmt::Display for Strange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let layout = self.layout.unwrap_or("none that dlock knows");
        write!(f, "\"{}\" ({layout}, its child {:?})", self.key, self.stranger)
    }
}
