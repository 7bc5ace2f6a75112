//! Who this contender says it is.

use std::ffi::OsStr;
use std::path::Path;

use nix::unistd::gethostname;

use crate::lock::Holder;
use crate::sys::users;

/// The holder data of a contender on this host: `command` is shown by its file name alone, its arguments may hold
/// secrets.
#[must_use]
pub fn describe(pid: u32, command: Option<&OsStr>, label: Option<&str>) -> Holder {
    let file_name = |command| Path::new(command).file_name().map(|name| name.to_string_lossy().into_owned());
    Holder {
        host: gethostname().ok().map(|name| name.to_string_lossy().into_owned()),
        pid: Some(pid),
        user: Some(users::name()),
        command: command.and_then(file_name),
        label: label.map(str::to_owned),
    }
    .bounded()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_its_file_name_without_arguments_or_path() {
        let holder = describe(7, Some(OsStr::new("/opt/jobs/backup.sh")), None);
        assert_eq!(holder.command.as_deref(), Some("backup.sh"));
        assert_eq!(holder.pid, Some(7));
    }
}
