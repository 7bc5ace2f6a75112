//! The line of a terminal: one end for its user, one for programs.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

/// The two sides of a terminal: what its user sees and types, and what programs read and write. Neither is inherited
/// by whatever another test starts meanwhile.
#[derive(Debug)]
pub(crate) struct Pty {
    pub(crate) user: PtyMaster,
    pub(crate) programs: File,
}

impl Pty {
    pub(crate) fn open() -> Self {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let user = posix_openpt(flags).expect("there is a terminal to be had");
        grantpt(&user).expect("it is ours");
        unlockpt(&user).expect("it is ours");
        let name = ptsname_r(&user).expect("it has a name");
        let programs = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NOCTTY.bits()).open(name);
        Self { user, programs: programs.expect("it is unlocked") }
    }
}
