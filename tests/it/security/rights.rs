//! With whose rights dlock acts, and which of the servers' it needs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zookeeper_client::{Acl, Acls, AuthId, CreateMode, Permission};

use super::{STRANGER, is_root, program_for_all};
use crate::support::{Dlock, Finished, Kind, Place};

/// Variables, files and the command are the caller's: whoever calls such a copy would be its owner.
#[test]
fn a_copy_that_lends_its_owners_rights_refuses_everything() {
    if !is_root() {
        return;
    }
    for bits in [0o4755, 0o2755, 0o6755] {
        let program = program_for_all();
        let dlock = program.path().join("dlock");
        fs::set_permissions(&dlock, fs::Permissions::from_mode(bits)).expect("it is ours");
        for words in [&["run", "-k", "job", "--", "id"][..], &["list"], &["run", "--help"], &["man"], &["nonsense"]] {
            let finished = Dlock::of_program(&dlock, words).by_user(STRANGER).cwd(Path::new("/")).finish();
            let finished = finished.exits_with(78).complains(&["rights that its caller does not have", "chmod ug-s"]);
            assert_eq!(finished.said(), "", "{words:?}");
        }
        // To its owner it lends nothing.
        Dlock::of_program(&dlock, ["--version"]).finish().succeeds();
    }
}

/// The directory of a key in which everybody has these rights.
fn directory_with(place: &Place, key: &str, rights: Permission) {
    place.zookeeper(async |client| {
        let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
        // It is there from the second key on.
        client.create(&format!("/{}", place.namespace), b"", &open).await.ok();
        let limited = [Acl::new(rights, AuthId::anyone())];
        let limited = CreateMode::Persistent.with_acls(Acls::new(&limited));
        client.create(&format!("/{}/{key}", place.namespace), b"", &limited).await.expect("a node");
    });
}

fn all_that_is_done_with(place: &Place, key: &str) -> Vec<Finished> {
    let run = place.dlock(["run", "-n", "-k", key, "--", "true"]).finish();
    let taken = place.dlock(["acquire", "-n", "-k", key, "--ttl", "1m"]).finish();
    let token = taken.said().to_owned();
    let mut calls = vec![run, taken, place.dlock(["status", "-k", key]).finish()];
    if !token.is_empty() {
        calls.push(place.dlock(["renew", "-k", key, "--token", &token, "--ttl", "2m"]).finish());
        calls.push(place.dlock(["release", "-k", key, "--token", &token]).finish());
    }
    calls
}

#[test]
fn create_read_and_delete_are_all_that_zookeeper_has_to_allow_in_a_directory() {
    let place = Place::shared(Kind::ZooKeeper);
    let needed = [("create", Permission::CREATE), ("read", Permission::READ), ("delete", Permission::DELETE)];
    let all = needed.iter().fold(Permission::NONE, |all, (_, right)| all | *right);
    directory_with(&place, "enough", all);
    for call in all_that_is_done_with(&place, "enough") {
        call.succeeds();
    }
    for (name, _) in needed {
        let others = needed.iter().filter(|(other, _)| *other != name);
        directory_with(&place, name, others.fold(Permission::NONE, |all, (_, right)| all | *right));
        let calls = all_that_is_done_with(&place, name);
        let refused = calls.iter().filter(|call| call.status.code() == Some(77)).count();
        assert!(refused > 0, "nothing fails without {name}: {calls:#?}");
        for call in &calls {
            assert!(matches!(call.status.code(), Some(0 | 75 | 77)), "without {name}: {}", call.account());
            let said = call.stderr().contains("forbids it; name a user whom it lets with --zk-auth-file");
            assert!(said || call.status.code() != Some(77), "without {name}: {}", call.account());
        }
    }
}
