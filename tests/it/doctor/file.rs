//! In a directory: what stands in the way of locks there, and what is lost with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use crate::support::{Dlock, Kind, Place, program};

use super::Findings;

/// Any user but root, without a name that would have to exist.
const NOBODY: u32 = 65534;

fn open_to_all(place: &Place, mode: u32) {
    fs::set_permissions(place.dir(), Permissions::from_mode(mode)).expect("our own directory");
}

#[test]
fn a_directory_of_ones_own_is_all_right() {
    let place = Place::shared(Kind::File);
    let holder = place.hold("job");
    Findings::at(&place).exits_with(0).finds_only(&[]).finds("records", "ok", &[&place.dir_text()]);
    holder.let_go();
    holder.wait().succeeds();
}

#[test]
fn a_missing_directory_fails_where_it_was_named() {
    let call = Dlock::new(["doctor", "--json", "-b", "file", "--dir", "/nonexistent/locks"]);
    Findings::of(call).exits_with(1).finds("directory", "failed", &["/nonexistent/locks", "make it"]);
}

/// In a mount namespace of its own.
#[test]
fn a_file_system_in_memory_says_what_a_restart_does_and_a_full_one_fails() {
    let examined = |mount: &str, script: &str| {
        let namespaces = if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" };
        let script = format!("mount -t tmpfs -o {mount} none /mnt && {script} && exec \"$@\"");
        let dlock = [program(), "doctor", "--json", "-b", "file", "--dir", "/mnt"];
        let before = [namespaces, "sh", "-c", &script, "sh"];
        Findings::of(Dlock::of_program("unshare".as_ref(), before.iter().chain(&dlock)))
    };
    let found = examined("size=64m,mode=700", "true").exits_with(0);
    found.finds_only(&[]).finds("file-system", "ok", &["tmpfs", "restart of this host"]);
    let full = examined("size=64k,mode=700", "! dd if=/dev/zero of=/mnt/full bs=64k count=2 2>/dev/null");
    full.exits_with(1).finds_only(&[("space", "failed")]);
    examined("size=2m,mode=700", "true").exits_with(0).finds_only(&[("space", "warning")]);
    examined("size=64m,mode=777", "true").exits_with(0).finds_only(&[("sharing", "warning")]);
}

#[test]
fn a_directory_of_somebody_else_fails_for_who_may_not_write_there() {
    let place = Place::shared(Kind::File);
    open_to_all(&place, 0o755);
    let call = place.dlock(["doctor", "--json"]).by_user(NOBODY);
    Findings::of(call).exits_with(1).finds("sharing", "failed", &["may not write"]);
    open_to_all(&place, 0o1777);
    let call = place.dlock(["doctor", "--json"]).by_user(NOBODY);
    Findings::of(call).exits_with(0).finds("sharing", "ok", &["all users meet"]);
}

#[test]
fn what_crashed_runs_left_is_found_and_what_is_no_lock_fails() {
    let place = Place::shared(Kind::File);
    place.dlock(["run", "-k", "job", "--", "true"]).finish().succeeds();
    let namespace = place.dir().join(&place.namespace);
    for (path, days) in [("%held-old", 2), ("%held-new", 0)] {
        let file = fs::File::create(place.dir().join(path)).expect("our own directory");
        let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        file.set_modified(at).expect("our own file");
    }
    let found = Findings::at(&place).exits_with(0);
    found.finds_only(&[("left-behind", "warning")]).finds("left-behind", "warning", &["%held-old"]);
    fs::write(namespace.join("other"), "not dlock's").expect("our own directory");
    let found = Findings::at(&place).exits_with(1);
    found.finds("records", "failed", &["/other", "move these files away"]);
}
