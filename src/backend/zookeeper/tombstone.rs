//! Leaving the place of a holder taken when that parts with it. What breaks it: an instant without a node in the place, and a
//! session that is closed while its end is to keep others out.

use zookeeper_client::Error;

use super::lease::replace;
use super::node::Node;
use super::place::{Afterwards, Place, Removal};
use super::{ZooKeeperBackend, failure};
use crate::lock::{BackendError, OwnerToken, Parting};

/// Takes the node out of the queue, or leaves one in its place that ends by time.
///
/// # Errors
/// When the outcome is unknown.
pub(super) async fn part(
    backend: &ZooKeeperBackend,
    place: &Place,
    token: &OwnerToken,
    parting: Parting,
) -> Result<Removal, BackendError> {
    let (Some((lease, until)), Some(path)) = (place.left_by(parting), place.path()) else {
        // What the lock was taken for is over, and nothing else hangs on the session: the process is about to end.
        let session = place.session();
        let is_last = parting != Parting::Unused && session.is_connected() && !backend.is_in_use(session);
        let afterwards = if is_last { Afterwards::SessionCloses } else { Afterwards::SessionStays };
        return place.remove(backend, afterwards).await;
    };
    // Also when this future is dropped half-way: the end of the session would take the node along at once.
    place.session().leave_open_for(&path);
    let explained = |error: Error| failure::explained(&backend.ensemble, "leave the lock taken", &error);
    // Of an earlier try, perhaps, and then the session may be over.
    let client = match place.session().is_over() {
        false => place.session().client()?,
        true => backend.any_session().await?.client()?,
    };
    let (data, stat) = match client.get_data(&path).await {
        Ok(read) => read,
        Err(Error::NoNode) => return settled(place, &path, Removal::WasGone),
        Err(error) => return Err(explained(error)),
    };
    let node = Node::new("", data, stat);
    if node.timed().is_some_and(|record| record.is_owned_by(token) && !record.is_in_its_owners_hands()) {
        return settled(place, &path, Removal::Removed);
    }
    let ours = node.record.as_ref().filter(|record| record.is_owned_by(token));
    let (true, Some(ours)) = (stat.ephemeral_owner == place.session().id(), ours) else {
        // Somebody has written over it, or it stands there in another's name: it is not ours to keep.
        place.session().may_close_for(&path);
        return place.remove(backend, Afterwards::SessionStays).await;
    };
    let length = until.remaining();
    let tombstone = ours.tombstone(lease, length, node.fence(), node.granted_ms());
    match replace(&client, backend.acl(), &path, None, &tombstone, length).await {
        Ok(_) => settled(place, &path, Removal::Removed),
        Err(Error::NoNode) => settled(place, &path, Removal::WasGone),
        Err(error) => Err(explained(error)),
    }
}

/// Nothing depends on the session's end any more.
fn settled(place: &Place, path: &str, removal: Removal) -> Result<Removal, BackendError> {
    place.session().may_close_for(path);
    Ok(removal)
}
