//! The user that this process acts as, by name and home directory.
//!
//! Read from the file: the C library's own look-up loads shared objects, which a static program must not.

use std::path::PathBuf;

use nix::unistd::Uid;

/// The name of the effective user, or the number where `/etc/passwd` has no name for it.
#[must_use]
pub fn name() -> String {
    let uid = Uid::effective().to_string();
    field(&passwd(), &uid, Field::Name).map_or(uid, str::to_owned)
}

/// The home directory that `/etc/passwd` gives the effective user.
#[must_use]
pub fn home() -> Option<PathBuf> {
    let uid = Uid::effective().to_string();
    field(&passwd(), &uid, Field::Home).map(PathBuf::from)
}

/// Whether the file of this program gave it a user's or a group's rights that its caller does not have: it is
/// set-user-ID or set-group-ID, or was called by such a program.
#[must_use]
pub fn has_borrowed_rights() -> bool {
    // SAFETY: getauxval takes a number; the kernel tells these four to every program.
    #[expect(unsafe_code)]
    let told = |what| unsafe { libc::getauxval(what) };
    told(libc::AT_UID) != told(libc::AT_EUID) || told(libc::AT_GID) != told(libc::AT_EGID)
}

fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

/// What is asked for, and where it stands in a line.
#[derive(Debug, Clone, Copy)]
enum Field {
    Name = 0,
    Home = 5,
}

fn field<'a>(passwd: &'a str, uid: &str, field: Field) -> Option<&'a str> {
    let fields = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let mut ours = fields.filter(|fields| fields.get(2) == Some(&uid));
    ours.find_map(|fields| fields.get(field as usize).copied().filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_known_as_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nwww:x:33:33::/var/www:/bin/false\n:x:7:7:::\n";
        assert_eq!(field(passwd, "33", Field::Name), Some("www"));
        assert_eq!(field(passwd, "0", Field::Name), Some("root"));
        assert_eq!(field(passwd, "33", Field::Home), Some("/var/www"));
        for nobody in ["3", "7"] {
            assert_eq!(field(passwd, nobody, Field::Name), None);
            assert_eq!(field(passwd, nobody, Field::Home), None);
        }
    }
}
