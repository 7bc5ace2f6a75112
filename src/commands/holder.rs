//! Who this contender says it is.

use std::ffi::OsStr;
use std::path::Path;

use nix::unistd::{Uid, gethostname};

use crate::lock::Holder;

/// The holder data of a contender on this host: `command` is shown by its file name alone, its arguments may hold
/// secrets.
#[must_use]
pub fn describe(pid: u32, command: Option<&OsStr>, label: Option<&str>) -> Holder {
    let file_name = |command| Path::new(command).file_name().map(|name| name.to_string_lossy().into_owned());
    Holder {
        host: gethostname().ok().map(|name| name.to_string_lossy().into_owned()),
        pid: Some(pid),
        user: Some(this_user()),
        command: command.and_then(file_name),
        label: label.map(str::to_owned),
    }
    .bounded()
}

/// The name of the effective user, or the number where `/etc/passwd` has no name for it.
///
/// Read from the file: the C library's own look-up loads shared objects, which a static program must not.
#[must_use]
pub fn this_user() -> String {
    let uid = Uid::effective().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&passwd, &uid).map_or(uid, str::to_owned)
}

fn name_in<'a>(passwd: &'a str, uid: &str) -> Option<&'a str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_named_as_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nwww:x:33:33::/var/www:/bin/false\n";
        assert_eq!(name_in(passwd, "33"), Some("www"));
        assert_eq!(name_in(passwd, "0"), Some("root"));
        assert_eq!(name_in(passwd, "3"), None);
    }

    #[test]
    fn a_command_is_its_file_name_without_arguments_or_path() {
        let holder = describe(7, Some(OsStr::new("/opt/jobs/backup.sh")), None);
        assert_eq!(holder.command.as_deref(), Some("backup.sh"));
        assert_eq!(holder.pid, Some(7));
    }
}
