//! Where lock files live and how they come into being. Breaks when two users, or a shell and a cron job, choose different
//! directories, or when a file can be replaced while somebody has it locked.

use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, FallocateFlags, OFlag, fallocate, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::sys::statfs::fstatfs;
use nix::unistd::{AccessFlags, Uid, UnlinkatFlags, eaccess, linkat, unlinkat};

use super::records::RECORDS_LEN;
use crate::lock::{BackendError, Namespace};

/// World-writable like /tmp on Debian and its kin; root's alone on Fedora, Arch, and with systemd 258.
const SYSTEM_LOCKS: &str = "/run/lock";

/// Names here are no encoded keys, so no lock is ever called so.
pub(super) const UNFINISHED: &str = "%new-";

/// File systems on which a lock may be unknown to this kernel, or known to other hosts' too, by `statfs` type.
const NOT_LOCAL: [(i64, &str); 15] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x564c, "NCP"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0102_1997, "9P"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    // The kernel cannot tell what is behind them: sshfs, glusterfs and a virtual machine's host look alike.
    (0x6573_5546, "FUSE"),
    (0x786f_4256, "vboxsf"),
];

/// The directory that is used when none was named.
#[must_use]
pub fn default_directory() -> PathBuf {
    let name = format!("dlock-{}", Uid::effective());
    let of_system = Path::new(SYSTEM_LOCKS).join(&name);
    // Once there it stays the choice, so that everybody with this uid goes on meeting in it.
    if fs::symlink_metadata(&of_system).is_ok() || eaccess(SYSTEM_LOCKS, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
    {
        return of_system;
    }
    Path::new("/tmp").join(name)
}

/// The directory that is used when none was named, made if it is missing.
///
/// # Errors
/// When it cannot be made, or is not ours alone.
pub fn made_default_directory() -> Result<PathBuf, BackendError> {
    let dir = default_directory();
    if let Some(directory) = open_default(&dir, Missing::Make)? {
        let status = fstat(&directory).map_err(|errno| failed(&dir, errno))?;
        check_default_owner(&dir, &status)?;
    }
    Ok(dir)
}

/// Whether what is missing is to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Leave,
}

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(status: &FileStat) -> Self {
        Self { device: status.st_dev, inode: status.st_ino }
    }
}

/// The directory of one namespace.
#[derive(Debug)]
pub(super) struct NamespaceDir {
    descriptor: OwnedFd,
    pub(super) path: PathBuf,
    /// Permissions beyond the owner's that files in it get.
    shared: Mode,
}

impl NamespaceDir {
    /// Opens `DIR/NS`; `None` when it does not exist and is not to be made.
    pub(super) fn open(
        named: Option<&Path>,
        namespace: &Namespace,
        missing: Missing,
    ) -> Result<Option<Self>, BackendError> {
        let dir = named.map_or_else(default_directory, Path::to_owned);
        let directory = match named {
            Some(_) => open_named(&dir)?,
            None => match open_default(&dir, missing)? {
                Some(directory) => directory,
                None => return Ok(None),
            },
        };
        let of_dir = fstat(&directory).map_err(|errno| failed(&dir, errno))?;
        match named {
            Some(_) => check_named_owner(&dir, &of_dir)?,
            None => check_default_owner(&dir, &of_dir)?,
        }
        let shared = shared_bits(&of_dir);
        let path = dir.join(namespace.as_str());
        let descriptor = match open_directory_at(&directory, namespace.as_str()) {
            Err(Errno::ENOENT) if missing == Missing::Leave => return Ok(None),
            Err(Errno::ENOENT) => {
                make_directory(&directory, namespace.as_str(), directory_mode(&of_dir))
                    .map_err(|errno| failed(&path, errno))?;
                open_directory_at(&directory, namespace.as_str()).map_err(|errno| failed(&path, errno))?
            }
            opened => opened.map_err(|errno| failed(&path, errno))?,
        };
        check_local(&descriptor, &path)?;
        Ok(Some(Self { descriptor, path, shared }))
    }

    /// Opens the lock file `name` for reading and writing; `None` when it does not exist and is not to be made.
    pub(super) fn open_file(&self, name: &str, missing: Missing) -> Result<Option<(OwnedFd, Identity)>, BackendError> {
        loop {
            let failed = |errno| failed(&self.path.join(name), errno);
            match self.open_existing(name) {
                Err(Errno::ENOENT) if missing == Missing::Leave => return Ok(None),
                Err(Errno::ENOENT) => self.make_file(name).map_err(failed)?,
                opened => {
                    let file = opened.map_err(failed)?;
                    let status = fstat(&file).map_err(failed)?;
                    if kind(&status) != SFlag::S_IFREG {
                        return Err(not_regular(self.path.join(name).display()));
                    }
                    // Ours have their room before they have a name. Somebody may have linked what he must not write.
                    if status.st_size == 0 && status.st_nlink > 1 {
                        return Err(BackendError::misconfigured(format!(
                            "{} is another name of an empty file that dlock did not make; remove it or use another key",
                            self.path.join(name).display()
                        )));
                    }
                    return Ok(Some((file, Identity::of(&status))));
                }
            }
        }
    }

    /// Whether the file that was opened as `name` still is what is called so.
    pub(super) fn is_current(&self, name: &str, opened: Identity) -> Result<bool, BackendError> {
        match fstatat(&self.descriptor, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(named) => Ok(Identity::of(&named) == opened),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(failed(&self.path.join(name), errno)),
        }
    }

    /// Takes the file's name away; that there is none is as good.
    pub(super) fn remove_file(&self, name: &str) -> Result<(), BackendError> {
        match unlinkat(&self.descriptor, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(failed(&self.path.join(name), errno)),
        }
    }

    /// The names of all files in it that may be locks.
    pub(super) fn names(&self) -> Result<Vec<String>, BackendError> {
        let unreadable = |error: io::Error| failed(&self.path, io_errno(&error));
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            // Every encoded key is ASCII.
            if let Ok(name) = String::from_utf8(entry.map_err(unreadable)?.file_name().into_vec()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open_existing(&self, name: &str) -> nix::Result<OwnedFd> {
        // Without O_NONBLOCK a FIFO of that name would hold us up.
        let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        openat(&self.descriptor, name, flags, Mode::empty())
    }

    /// Makes the file under another name first: nobody ever opens one that lacks its permissions or its room.
    fn make_file(&self, name: &str) -> nix::Result<()> {
        let unfinished = format!("{UNFINISHED}{}", uuid::Uuid::new_v4().simple());
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.descriptor, unfinished.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let finished = self.finish_file(&file, &unfinished, name);
        let removed = unlinkat(&self.descriptor, unfinished.as_str(), UnlinkatFlags::NoRemoveDir);
        finished.and(removed)
    }

    fn finish_file(&self, file: &OwnedFd, unfinished: &str, name: &str) -> nix::Result<()> {
        // The sticky bit spares a file that nobody writes for weeks from systemd-tmpfiles.
        fchmod(file, Mode::S_IRUSR | Mode::S_IWUSR | Mode::S_ISVTX | self.shared)?;
        allocate(file)?;
        match linkat(&self.descriptor, unfinished, &self.descriptor, name, AtFlags::empty()) {
            // Somebody else made it meanwhile.
            Err(Errno::EEXIST) => Ok(()),
            result => result,
        }
    }
}

/// Opens an existing file or directory exactly as flock(1) would, for locking alone.
pub(super) fn open_plain(path: &str) -> Result<OwnedFd, BackendError> {
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {
            return Err(BackendError::misconfigured(format!(
                "there is no file {path}: with an empty namespace the key is the path of an existing file"
            )));
        }
        opened => opened.map_err(|errno| failed(Path::new(path), errno))?,
    };
    let status = fstat(&file).map_err(|errno| failed(Path::new(path), errno))?;
    if !matches!(kind(&status), SFlag::S_IFREG | SFlag::S_IFDIR) {
        return Err(BackendError::misconfigured(format!("{path} is neither a regular file nor a directory")));
    }
    check_local(&file, Path::new(path))?;
    Ok(file)
}

/// What a call on `path` failed with, as a failure of the backend.
pub(super) fn failed(path: &Path, errno: Errno) -> BackendError {
    let path = path.display();
    match errno {
        Errno::EACCES | Errno::EPERM | Errno::EROFS => {
            BackendError::denied(format!("{path} is not writable for uid {}: {}", Uid::effective(), errno.desc()))
        }
        Errno::ELOOP => BackendError::denied(format!("{path} is a symbolic link, and dlock follows none here")),
        Errno::ENOTDIR => BackendError::misconfigured(format!("{path} is no directory")),
        Errno::EISDIR | Errno::ENXIO | Errno::ENODEV => not_regular(path),
        Errno::ENAMETOOLONG => BackendError::misconfigured(format!("the path {path} is too long for this file system")),
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => BackendError::system(format!("{path}: {}", errno.desc())),
        Errno::ENOSPC | Errno::EDQUOT => BackendError::unavailable(format!(
            "no space is left for {path}; free some, or name another directory with --dir"
        )),
        _ => BackendError::unavailable(format!("{path}: {}", errno.desc())),
    }
}

/// A file whose content no dlock wrote: not to be overwritten, and nobody can tell whether it is held.
pub(super) fn corrupt(path: &Path) -> BackendError {
    BackendError::corrupt(format!(
        "{} holds no valid record of dlock; dlock release --force rewrites it",
        path.display()
    ))
}

fn not_regular(path: impl Display) -> BackendError {
    BackendError::misconfigured(format!("{path} is no regular file; remove it or use another key"))
}

pub(super) fn io_errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn open_named(dir: &Path) -> Result<OwnedFd, BackendError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match open(dir, flags, Mode::empty()) {
        Err(Errno::ENOENT) => Err(BackendError::misconfigured(format!(
            "the directory {} does not exist; dlock makes none that was named, so make it or correct --dir",
            dir.display()
        ))),
        opened => opened.map_err(|errno| failed(dir, errno)),
    }
}

fn open_default(dir: &Path, missing: Missing) -> Result<Option<OwnedFd>, BackendError> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let directory = match open(dir, flags, Mode::empty()) {
        Err(Errno::ENOENT) if missing == Missing::Leave => return Ok(None),
        Err(Errno::ENOENT) => {
            make_directory(nix::fcntl::AT_FDCWD, dir, Mode::S_IRWXU).map_err(|errno| failed(dir, errno))?;
            open(dir, flags, Mode::empty())
        }
        opened => opened,
    };
    directory.map(Some).map_err(|errno| match errno {
        // With O_DIRECTORY the kernel says this of a symbolic link too.
        Errno::ENOTDIR | Errno::ELOOP => not_ours(dir, "is no directory of ours"),
        errno => failed(dir, errno),
    })
}

/// Anybody may make directories beside it, so its owner tells whose it is.
fn check_default_owner(dir: &Path, status: &FileStat) -> Result<(), BackendError> {
    if status.st_uid != Uid::effective().as_raw() {
        return Err(not_ours(dir, &format!("belongs to uid {}", status.st_uid)));
    }
    Ok(())
}

fn not_ours(dir: &Path, why: &str) -> BackendError {
    BackendError::denied(format!(
        "{} {why}, so its locks cannot be trusted; have it removed, or name another directory with --dir",
        dir.display()
    ))
}

/// Somebody's private directory is no meeting place, not even for root: its owner could not open what root leaves there.
fn check_named_owner(dir: &Path, status: &FileStat) -> Result<(), BackendError> {
    let foreign = status.st_uid != Uid::effective().as_raw() && status.st_uid != 0;
    if foreign && !mode(status).intersects(Mode::S_IWGRP | Mode::S_IWOTH) {
        return Err(BackendError::denied(format!(
            "the directory {} is private to uid {}; to share it, give its group or others write permission",
            dir.display(),
            status.st_uid
        )));
    }
    Ok(())
}

fn check_local(file: &OwnedFd, path: &Path) -> Result<(), BackendError> {
    let kind = fstatfs(file).map_err(|errno| failed(path, errno))?.filesystem_type().0;
    // The field is wider on some architectures than the number that it holds.
    let number = i64::from(kind as u32);
    match not_local(number) {
        Some(name) => Err(BackendError::misconfigured(format!(
            "{} is on a file system ({name}) whose locks this host cannot vouch for; use a local one, or --backend redis or zk",
            path.display()
        ))),
        None => Ok(()),
    }
}

/// What a file system of this `statfs` type is called, where locks on it cannot be trusted.
pub(super) fn not_local(number: i64) -> Option<&'static str> {
    NOT_LOCAL.iter().find(|(magic, _)| *magic == number).map(|(_, name)| *name)
}

fn open_directory_at(parent: &OwnedFd, name: &str) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ENOTDIR) => match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(status) if kind(&status) == SFlag::S_IFLNK => Err(Errno::ELOOP),
            _ => Err(Errno::ENOTDIR),
        },
        opened => opened,
    }
}

/// Makes a directory with exactly `mode`, or leaves the one that is there.
fn make_directory<P: ?Sized + NixPath>(parent: impl AsFd + Copy, name: &P, mode: Mode) -> nix::Result<()> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => return Ok(()),
        made => made?,
    }
    // The umask had its say above; O_RDONLY because an O_PATH descriptor cannot be changed by fchmod.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = openat(parent, name, flags, Mode::empty())?;
    let inherited = self::mode(&fstat(&made)?) & Mode::S_ISGID;
    fchmod(&made, mode | inherited)
}

/// What files in a directory with `status` grant beyond their owner.
fn shared_bits(status: &FileStat) -> Mode {
    let mut bits = Mode::empty();
    bits.set(Mode::S_IRGRP | Mode::S_IWGRP, mode(status).contains(Mode::S_IWGRP));
    bits.set(Mode::S_IROTH | Mode::S_IWOTH, mode(status).contains(Mode::S_IWOTH));
    bits
}

fn directory_mode(of_parent: &FileStat) -> Mode {
    let mut bits = Mode::S_IRWXU;
    bits.set(Mode::S_IRWXG, mode(of_parent).contains(Mode::S_IWGRP));
    bits.set(Mode::S_IRWXO, mode(of_parent).contains(Mode::S_IWOTH));
    // Where others may write they must not remove what is not theirs.
    bits.set(Mode::S_ISVTX, bits != Mode::S_IRWXU);
    bits
}

fn allocate(file: &OwnedFd) -> nix::Result<()> {
    let len = i64::try_from(RECORDS_LEN).expect("a page is a small number");
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        // Then the space is promised by writing it.
        Err(Errno::EOPNOTSUPP) => match nix::sys::uio::pwrite(file, &[0; RECORDS_LEN], 0)? {
            RECORDS_LEN => Ok(()),
            _ => Err(Errno::ENOSPC),
        },
        result => result,
    }
}

fn kind(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT
}

fn mode(status: &FileStat) -> Mode {
    Mode::from_bits_truncate(status.st_mode)
}
