//! A small disk under the lock files, which is full now and then.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use fastrand::Rng;
use tempfile::TempDir;

use super::super::history::Scribe;
use super::{Nemesis, a_while, during};

/// A file system in memory of 256 KiB; only root can have one.
#[derive(Debug)]
pub(in super::super) struct Disk(TempDir);

impl Disk {
    pub(in super::super) fn new() -> Self {
        let directory = TempDir::with_prefix("dlock-disk-").expect("the temporary directory takes files");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs"])
            .arg(directory.path())
            .status()
            .expect("mount is part of every system");
        assert!(mounted.success(), "a disk that can be full is mounted by root alone");
        Self(directory)
    }

    pub(in super::super) fn path(&self) -> &Path {
        self.0.path()
    }

    fn filler(&self) -> PathBuf {
        self.path().join(".filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

impl Nemesis for Disk {
    fn befall(&mut self, dice: &mut Rng, scribe: &Scribe) {
        let a_while = a_while(dice);
        during(scribe, "disk-full", "server", || {
            let mut filler = File::create(self.filler()).expect("the name of an empty file has room");
            while filler.write_all(&[0; 4096]).is_ok() {}
            std::thread::sleep(a_while);
            fs::remove_file(self.filler()).expect("it was just made");
        });
    }
}
