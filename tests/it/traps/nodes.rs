//! ZooKeeper: whose a node is, what stands beside it, and what keeps it.

use zookeeper_client::{Acls, CreateMode};

use crate::support::{Kind, Place, disowning_proxy, eventually};

/// A node with our own name whose owner is another session is one that an earlier session of ours has left: it goes with
/// that session, and is no grant.
#[test]
fn a_node_of_an_earlier_session_is_no_grant() {
    let place = Place::shared(Kind::ZooKeeper);
    let through = place.through(disowning_proxy(place.port()));
    let run = through.dlock(["run", "-n", "-k", "job", "--", "echo", "it ran"]).finish().exits_with(69);
    assert!(run.stdout.is_empty(), "{}", run.account());
    let holder = place.hold("job");
    let waiter = through.dlock(["run", "-w", "3s", "-k", "job", "--", "echo", "it ran"]).start();
    let waited = waiter.wait();
    assert!(waited.stdout.is_empty() && waited.status.code() != Some(0), "{}", waited.account());
    holder.let_go();
    holder.wait().succeeds();
    eventually("nothing of either is left", || place.is_free("job"));
}

/// Beside a child that is no contender another tool may not see us, nor we it. Nor may ours be such a child to others.
#[test]
fn what_is_no_contender_is_refused_and_left_alone_and_never_made() {
    let place = Place::shared(Kind::ZooKeeper);
    let directory = format!("/{}/job", place.namespace);
    let children = || place.zookeeper(async |client| client.list_children(&directory).await.unwrap_or_default());
    for name in [".meta", "guard"] {
        let path = format!("{directory}/{name}");
        place.zookeeper(async |client| {
            let open = Acls::anyone_all();
            client.mkdir(&directory, &CreateMode::Container.with_acls(open)).await.expect("a container can be made");
            let kept = CreateMode::Persistent.with_acls(open);
            client.create(&path, b"theirs", &kept).await.expect("a node can be made");
        });
        for patience in ["-n", "-w9"] {
            let refused = place.dlock(["run", patience, "-k", "job", "--", "echo", "it ran"]).finish();
            let refused = refused.exits_with(78).complains(&["in use by another kind of lock", name]);
            assert!(refused.stdout.is_empty(), "{}", refused.account());
        }
        assert_eq!(children(), [name]);
        place.zookeeper(async |client| client.delete(&path, None).await.expect("it is ours"));
    }
    let holder = place.hold("job");
    let waiter = place.queue_up("job");
    let forced = place.dlock(["release", "--force", "--yes", "-k", "job"]).start();
    let seen = children();
    assert!(!seen.is_empty() && seen.iter().all(|name| name.contains("-lock-")), "{seen:?}");
    holder.wait().exits_with(79);
    forced.wait().succeeds();
    waiter.says("ready");
    let seen = children();
    assert!(seen.len() == 1 && seen[0].contains("-lock-"), "{seen:?}");
    waiter.let_go();
    waiter.wait().succeeds();
}
