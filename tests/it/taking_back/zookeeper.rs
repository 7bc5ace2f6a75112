//! Nodes of other programs in ZooKeeper, and the mark that they know.

use zookeeper_client::{Acls, CreateMode};

use super::{force, phase, run};
use crate::support::*;

fn directory(place: &Place) -> String {
    format!("/{}/job", place.namespace)
}

#[test]
fn curators_mark_is_heeded() {
    let place = Place::shared(Kind::ZooKeeper);
    let holder = run(&place, &["--ttl", "6s"], "echo ready; exec sleep 60");
    place.zookeeper(async |client| {
        let children = client.list_children(&directory(&place)).await.expect("the lock stands there");
        let path = format!("{}/{}", directory(&place), children[0]);
        client.set_data(&path, b"__REVOKE__", None).await.expect("the node is open to all");
    });
    // Before the first heartbeat or after it.
    holder.wait().exits_with(79).mentions(&["an operator asked for it back"]);
    assert!(place.is_free("job"));
}

#[test]
fn another_programs_node_is_deleted_and_the_next_one_gets_in() {
    let place = Place::shared(Kind::ZooKeeper);
    // Makes the directory, too.
    assert!(place.is_free("job"));
    place.zookeeper(async |client| {
        let ephemeral = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let prefix = format!("{}/_c_foreign-lock-", directory(&place));
        client.mkdir(&directory(&place), &CreateMode::Persistent.with_acls(Acls::anyone_all())).await.ok();
        client.create(&prefix, b"10.0.0.7", &ephemeral).await.expect("the directory is open to all");
        assert_eq!(phase(&place), "foreign");
        let told = force(&place, ["-k", "job"]).finish().succeeds();
        told.mentions(&["held by another program: 10.0.0.7"]).mentions(&["freed \"job\"", "cannot be asked"]);
        assert!(place.is_free("job"));
    });
}

#[test]
fn the_mark_leaves_what_is_known_of_the_holder_as_it_was() {
    let place = Place::shared(Kind::ZooKeeper);
    let holder = run(&place, &["--ttl", "9s", "--kill-after", "1s"], super::STUBBORN_LOOP);
    let before = place.status("job");
    let forced = force(&place, ["-k", "job"]).start();
    let mut after = before.clone();
    eventually("the mark is set", || {
        after = place.status("job");
        after["holders"][0]["phase"] == "revoked"
    });
    for field in ["id", "since", "fence", "host", "pid", "user", "command", "ttl_ms"] {
        assert_eq!(after["holders"][0][field], before["holders"][0][field], "{field}");
    }
    forced.wait().succeeds();
    holder.wait().exits_with(79);
}
