//! What `doctor` finds about a directory of locks. What breaks it: a file that comes or goes while it looks, which is
//! passed over.

use std::fs::{self, Metadata};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::statfs::statfs;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, eaccess};

use super::directory::{Missing, UNFINISHED, default_directory, not_local};
use super::lock_file::LockFile;
use super::{BOOT_ID, FileBackend};
use crate::lock::{BackendError, Finding, LockKey};
use crate::sys::ofd_lock::{ByteRange, locked_by_another};

const TMPFS: i64 = 0x0102_1994;

/// Of files that stand beside locks; runs that use others' locks make them in the default directory.
const GUARD: &str = "%held-";

/// No step that makes such a file takes as long, and few jobs run as long.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// Room for a few hundred lock files of a page each, and for their waiters.
const LITTLE_SPACE: u64 = 4 << 20;
const FEW_FILES: u64 = 256;

/// What a directory is like.
#[derive(Debug)]
struct Facts {
    dir: PathBuf,
    /// Why it cannot be used; `None`: it can.
    refusal: Option<String>,
    file_system: i64,
    owner: u32,
    mode: u32,
    is_writable: bool,
    free_bytes: u64,
    /// `None`: the file system does not count them.
    free_files: Option<u64>,
    corrupt: Vec<String>,
    left_behind: Vec<String>,
}

impl FileBackend {
    pub(super) fn examined(&self) -> Result<Vec<Finding>, BackendError> {
        let mut findings = vec![clock()];
        if self.is_plain() {
            findings.push(Finding::ok(
                "directory",
                "with an empty namespace each key is the path of a file, whose own directory counts",
            ));
            return Ok(findings);
        }
        let dir = self.config.directory();
        match fs::metadata(&dir) {
            Ok(status) => findings.extend(judge(&self.facts(dir, &status)?)),
            Err(_) if self.config.dir.is_none() => {
                findings.push(Finding::ok(
                    "directory",
                    format!("{} is not there yet; the first lock makes it", dir.display()),
                ));
            }
            Err(_) => findings.push(Finding::failed(
                "directory",
                format!("the directory {} does not exist or cannot be reached", dir.display()),
                "no lock can be taken: dlock makes no directory that was named",
                "make it, for all who are to meet there, or correct --dir",
            )),
        }
        Ok(findings)
    }

    fn facts(&self, dir: PathBuf, status: &Metadata) -> Result<Facts, BackendError> {
        let refused = |error: nix::Error| BackendError::unavailable(format!("{}: {}", dir.display(), error.desc()));
        let number = statfs(&dir).map_err(refused)?.filesystem_type().0;
        let room = statvfs(&dir).map_err(refused)?;
        let place = self.place();
        let mut facts = Facts {
            // The field is wider on some architectures than the number that it holds.
            file_system: i64::from(number as u32),
            owner: status.uid(),
            mode: status.mode(),
            is_writable: eaccess(&dir, AccessFlags::W_OK | AccessFlags::X_OK).is_ok(),
            free_bytes: room.blocks_available() * room.fragment_size(),
            free_files: (room.files() > 0).then(|| room.files_available()),
            corrupt: Vec::new(),
            left_behind: left_behind(&dir),
            refusal: place.as_ref().err().map(|error| error.message.clone()),
            dir,
        };
        if let Ok(Some(place)) = place {
            facts.left_behind.extend(left_behind(&place.path));
            for name in place.names()?.into_iter().filter(|name| LockKey::decode(name).is_some()) {
                let Ok(Some((file, identity))) = place.open_file(&name, Missing::Leave) else { continue };
                let path = place.path.join(&name);
                if LockFile::new(file, identity, path.clone()).read_unguarded().is_err() {
                    facts.corrupt.push(path.to_string_lossy().into_owned());
                }
            }
        }
        let default = default_directory();
        if default != facts.dir {
            facts.left_behind.extend(left_behind(&default));
        }
        Ok(facts)
    }
}

/// Old files of dlock's own that nobody has locked.
fn left_behind(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let is_old = |status: &Metadata| {
        let age = status.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
        status.is_file() && age.is_some_and(|age| age > LEFT_BEHIND)
    };
    let ours = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        let is_named = [GUARD, UNFINISHED].iter().any(|prefix| name.as_bytes().starts_with(prefix.as_bytes()));
        is_named && entry.metadata().is_ok_and(|status| is_old(&status))
    });
    let unlocked = ours.filter(|entry| {
        let file = fs::File::options().read(true).write(true).open(entry.path());
        file.is_ok_and(|file| matches!(locked_by_another(file.as_fd(), ByteRange::byte(0)), Ok(None)))
    });
    unlocked.map(|entry| entry.path().to_string_lossy().into_owned()).collect()
}

/// One-shot leases end by this host's uptime, which only the boot id tells apart from that of another start.
fn clock() -> Finding {
    match fs::read_to_string(BOOT_ID) {
        Ok(_) => Finding::ok("boot-id", "this host tells one start from another"),
        Err(_) => Finding::failed(
            "boot-id",
            format!("{BOOT_ID} cannot be read"),
            "nobody can tell whether a lease is of this start of the host",
            "mount /proc",
        ),
    }
}

fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![file_system(facts), meeting(facts)];
    // That is the reason of the refusal, and has been said.
    if let Some(refusal) = facts.refusal.as_ref().filter(|_| not_local(facts.file_system).is_none()) {
        let why = "no lock can be taken there";
        findings.push(Finding::failed("directory", refusal, why, "mend that, or name another directory with --dir"));
    }
    findings.push(space(facts));
    findings.push(if facts.corrupt.is_empty() {
        Finding::ok("records", format!("every lock file in {} is one of dlock's", facts.dir.display()))
    } else {
        Finding::failed(
            "records",
            format!("no valid record of dlock is in {}", some_of(&facts.corrupt)),
            "nobody can tell who holds these keys, so they are refused",
            "when no dlock uses them any more, move these files away",
        )
    });
    findings.push(if facts.left_behind.is_empty() {
        Finding::ok("left-behind", "no files of crashed runs lie about")
    } else {
        Finding::warning(
            "left-behind",
            format!("files of runs that are gone: {}", some_of(&facts.left_behind)),
            "they hold nothing and only take up space",
            "remove them while no dlock runs",
        )
    });
    findings
}

fn file_system(facts: &Facts) -> Finding {
    let dir = facts.dir.display();
    match (not_local(facts.file_system), facts.file_system) {
        (Some(name), _) => Finding::failed(
            "file-system",
            format!("{dir} is on a file system ({name}) that this kernel shares or cannot see through"),
            "locks there may be unknown to other hosts, or outlive whoever held them, so dlock refuses it",
            "name a directory on a local file system, or let hosts meet on --redis or --zk",
        ),
        (None, TMPFS) => Finding::ok(
            "file-system",
            format!("{dir} is in memory (tmpfs): a restart of this host ends every lock, one-shot leases too"),
        ),
        (None, _) => Finding::ok("file-system", format!("{dir} is on a local file system")),
    }
}

/// Who meets there, and who could take the files away.
fn meeting(facts: &Facts) -> Finding {
    let dir = facts.dir.display();
    let (open_to_all, open_to_group) = (facts.mode & 0o002 != 0, facts.mode & 0o020 != 0);
    let is_sticky = facts.mode & 0o1000 != 0;
    if !facts.is_writable {
        return Finding::failed(
            "sharing",
            format!("this user may not write to {dir}, which belongs to uid {}", facts.owner),
            "no lock can be taken there that is not there already",
            "give this user or its group write permission, or name another directory with --dir",
        );
    }
    if open_to_all && !is_sticky {
        return Finding::warning(
            "sharing",
            format!("{dir} is open to all users and not sticky"),
            "anybody may remove the file of a lock that is held, and two then hold it",
            "chmod 1777, or a group's directory with chmod 2770",
        );
    }
    Finding::ok(
        "sharing",
        match (open_to_all, open_to_group) {
            (true, _) => format!("all users meet in {dir}"),
            (false, true) => format!("the users of its group meet in {dir}"),
            (false, false) => format!("only the user with uid {} and root meet in {dir}", facts.owner),
        },
    )
}

fn space(facts: &Facts) -> Finding {
    let (dir, free) = (facts.dir.display(), facts.free_bytes >> 20);
    let files = facts.free_files.map_or_else(String::new, |files| format!(" and {files} more files"));
    let what = format!("{dir} has room for {free} MiB{files}");
    let advice = "free some, or name another directory with --dir";
    let files = facts.free_files.unwrap_or(u64::MAX);
    if facts.free_bytes == 0 || files == 0 {
        Finding::failed("space", what, "a key that has never been locked cannot be", advice)
    } else if facts.free_bytes < LITTLE_SPACE || files < FEW_FILES {
        Finding::warning("space", what, "when it is full, new keys and waiters have no place", advice)
    } else {
        Finding::ok("space", what)
    }
}

/// The first ones, and how many more.
fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > 3 { format!("{shown} and {} more", names.len() - 3) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Grade;

    fn facts() -> Facts {
        Facts {
            dir: "/run/lock/x".into(),
            refusal: None,
            file_system: 0xef53,
            owner: 0,
            mode: 0o40700,
            is_writable: true,
            free_bytes: 1 << 30,
            free_files: Some(1000),
            corrupt: Vec::new(),
            left_behind: Vec::new(),
        }
    }

    #[track_caller]
    fn worst(facts: &Facts) -> (&'static str, Grade) {
        let worst = judge(facts).into_iter().max_by_key(|one| one.grade).expect("something is found");
        (worst.check, worst.grade)
    }

    #[test]
    fn an_ordinary_directory_is_all_right() {
        assert_eq!(worst(&facts()).1, Grade::Ok);
        assert_eq!(worst(&Facts { file_system: TMPFS, ..facts() }).1, Grade::Ok);
        assert_eq!(worst(&Facts { free_files: None, mode: 0o41777, ..facts() }).1, Grade::Ok);
    }

    #[test]
    fn each_thing_that_is_wrong_is_found_once() {
        for (facts, expected) in [
            (Facts { file_system: 0x6969, refusal: Some("NFS".into()), ..facts() }, ("file-system", Grade::Failed)),
            (Facts { refusal: Some("private".into()), ..facts() }, ("directory", Grade::Failed)),
            (Facts { is_writable: false, ..facts() }, ("sharing", Grade::Failed)),
            (Facts { mode: 0o40777, ..facts() }, ("sharing", Grade::Warning)),
            (Facts { free_bytes: 0, ..facts() }, ("space", Grade::Failed)),
            (Facts { free_files: Some(3), ..facts() }, ("space", Grade::Warning)),
            (Facts { corrupt: vec!["a".into()], ..facts() }, ("records", Grade::Failed)),
            (Facts { left_behind: vec!["a".into()], ..facts() }, ("left-behind", Grade::Warning)),
        ] {
            assert_eq!(worst(&facts), expected);
            assert_eq!(judge(&facts).iter().filter(|one| one.grade != Grade::Ok).count(), 1, "{expected:?}");
        }
        let many = ["a", "b", "c", "d", "e"].map(str::to_owned);
        assert_eq!(some_of(&many), "a, b, c and 2 more");
    }
}
