//! Fencing in practice: the token in a file for the command, and `dlock fence-check` for resources that a shell writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::Command;

use super::failed;
use crate::error::Error;
use crate::error::phrase::Quoted;
use crate::exit_code::Ending;
use crate::lock::FencingToken;
use crate::report::Stderr;
use crate::settings::{FenceCheckSettings, RunSettings};
use crate::sys::ofd_lock::{Access, ByteRange, Extent, lock_blocking};

/// Every token takes as many digits as the longest, blanks in front: the record never grows or shrinks, so that a crash
/// leaves the old number or the new one, both within one sector, and never the beginning of the new one.
const DIGITS: usize = 20;

/// What a file may hold besides: somebody's own number, with blanks and a line break.
const MOST_BYTES: u64 = 64;

/// Writes the tokens that `command` is to find in `DLOCK_FENCE` where `--fence-file` says.
///
/// # Errors
/// When that is not possible, or there is none.
pub(super) fn write(settings: &RunSettings, command: &Command) -> Result<(), Error> {
    let Some(path) = &settings.fence_file else { return Ok(()) };
    let shown = path.to_string_lossy();
    let found = command.get_envs().find(|(name, _)| *name == "DLOCK_FENCE").and_then(|(_, value)| value?.to_str());
    let Some(fences) = found else {
        return Err(Error::usage("--fence-file: no fencing token comes with this lock; leave the option out"));
    };
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        // A pipe that nobody reads is an error, and no reason to wait with a lease in hand.
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .and_then(|mut file| file.write_all(format!("{fences}\n").as_bytes()));
    written.map_err(|error| Error::file(format!("write --fence-file {}", Quoted(&shown)), error))
}

pub(super) fn fence_check(settings: &FenceCheckSettings) -> Ending {
    let stderr = Stderr::new(settings.voice);
    match check_and_raise(&settings.file, settings.fence) {
        Ok(()) => {
            let shown = settings.file.to_string_lossy();
            stderr.detail(|| format!("{} records fencing token {}", Quoted(&shown), settings.fence));
            Ending::SUCCESS
        }
        Err(error) => failed(&error, stderr),
    }
}

/// Records `fence` unless a higher one is recorded; one step for all who do the same on this host, and on disk when it
/// returns.
fn check_and_raise(path: &Path, fence: FencingToken) -> Result<(), Error> {
    let shown = path.to_string_lossy();
    let attempt = |verb: &str| format!("{verb} {}", Quoted(&shown));
    let file = open(path).map_err(|error| Error::file(attempt("open"), error))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(Error::Configuration(format!("{} is no file: name one for the fencing token", Quoted(&shown))));
    }
    // Of this kind, so that it may be called under a flock(1) of the same file. It ends with this process.
    lock_blocking(file.as_fd(), Extent::Bytes(ByteRange::byte(0)), Access::Write)
        .map_err(|errno| Error::file(attempt("lock"), errno))?;
    let mut text = Vec::new();
    (&file).take(MOST_BYTES + 1).read_to_end(&mut text).map_err(|error| Error::file(attempt("read"), error))?;
    match recorded(&text) {
        None => {
            let what = format!("{} holds something else than a fencing token: name another file", Quoted(&shown));
            return Err(Error::Configuration(what));
        }
        Some(recorded) if recorded > fence => {
            return Err(Error::Fenced { file: shown.into_owned(), recorded, presented: fence });
        }
        Some(recorded) if recorded == fence && !text.is_empty() => return Ok(()),
        Some(_) => {}
    }
    record(&file, path, fence).map_err(|error| Error::file(attempt("write"), error))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The token that a file of this content remembers: 0 where nothing has been recorded; `None` for anything else, blanks
/// too: they may be the beginning of a record.
#[must_use]
pub fn recorded(text: &[u8]) -> Option<FencingToken> {
    if text.is_empty() {
        return Some(FencingToken(0));
    }
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() as u64 <= MOST_BYTES)?.trim();
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).map(FencingToken)
}

fn record(file: &File, path: &Path, fence: FencingToken) -> io::Result<()> {
    let text = format!("{fence:>DIGITS$}\n");
    let is_new = file.metadata()?.len() == 0;
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()?;
    if is_new {
        let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_number_and_nothing_else() {
        for (text, number) in [
            ("", Some(0)),
            ("\n", None),
            ("      ", None),
            ("7", Some(7)),
            ("                   7\n", Some(7)),
            ("18446744073709551615\n", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("+7", None),
            ("-7", None),
            ("7 8", None),
            ("7\n8\n", None),
            ("seven", None),
            ("\u{0}\u{0}", None),
        ] {
            assert_eq!(recorded(text.as_bytes()), number.map(FencingToken), "{text:?}");
        }
        assert_eq!(recorded(&[b' '; 65]), None);
        assert_eq!(recorded(&[0xff]), None);
    }

    #[test]
    fn whatever_is_recorded_has_the_same_length() {
        for fence in [0, 7, u64::MAX] {
            let fence = FencingToken(fence);
            let file = tempfile::NamedTempFile::new().expect("the temporary directory takes files");
            record(file.as_file(), file.path(), fence).expect("there is room");
            let text = std::fs::read(file.path()).expect("it was written");
            assert_eq!((text.len(), recorded(&text)), (DIGITS + 1, Some(fence)));
        }
    }
}
