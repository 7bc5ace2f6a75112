//! The environment for a command, made from our own entry by entry.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, c_char};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use nix::unistd::Pid;

/// Variables that tell one process, by its pid, that it is the one meant (`sd_listen_fds(3)`, `sd_watchdog_enabled(3)`).
const NAMING_A_PROCESS: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];

/// Goes with `LISTEN_PID`: a second name, not reused, of the same process. Where it is missing the pid alone counts.
const LISTENERS_SECOND_NAME: &str = "LISTEN_PIDFDID";

/// The entries of an environment, with room for the pid of a process that does not exist yet.
#[derive(Debug)]
pub(super) struct Environment {
    entries: Vec<Entry>,
}

#[derive(Debug)]
enum Entry {
    Inherited(&'static CStr),
    Set(CString),
    NamesTheCommand(PidField),
}

impl Environment {
    /// Our environment with the changes that `command` makes. Where a variable that names one process names
    /// `stood_for`, it is to name the command.
    ///
    /// # Errors
    /// When a changed value contains a NUL.
    pub(super) fn of(command: &Command, stood_for: Pid) -> io::Result<Self> {
        let changes: BTreeMap<&OsStr, Option<&OsStr>> = command.get_envs().collect();
        // Entries as they are, without `=` or twice as they may be: they are somebody else's.
        let inherited: Vec<&'static CStr> =
            inherited().into_iter().filter(|entry| !changes.contains_key(split(entry).0)).collect();
        let names_dlock = |entry: &CStr, name: &str| {
            let (found, value) = split(entry);
            found == name && value.to_str().and_then(|pid| pid.parse().ok()) == Some(stood_for.as_raw())
        };
        let listens = inherited.iter().any(|entry| names_dlock(entry, NAMING_A_PROCESS[0]));
        let mut entries = Vec::with_capacity(inherited.len() + changes.len());
        for entry in inherited {
            if listens && split(entry).0 == LISTENERS_SECOND_NAME {
                continue;
            }
            let name = NAMING_A_PROCESS.iter().find(|name| names_dlock(entry, name));
            entries.push(name.map_or(Entry::Inherited(entry), |name| Entry::NamesTheCommand(PidField::new(name))));
        }
        for (name, value) in changes.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            entries.push(Entry::Set(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?));
        }
        Ok(Self { entries })
    }

    /// The list that `exec` takes; it points into `self`.
    pub(super) fn pointers(&self) -> Vec<*const c_char> {
        let pointers = self.entries.iter().map(|entry| match entry {
            Entry::Inherited(text) => text.as_ptr(),
            Entry::Set(text) => text.as_ptr(),
            Entry::NamesTheCommand(field) => field.text.as_ptr().cast(),
        });
        pointers.chain([std::ptr::null()]).collect()
    }

    /// Enters the pid of the process that this environment is for. Async-signal-safe, and allocates nothing.
    pub(super) fn name(&self, pid: Pid) {
        for entry in &self.entries {
            if let Entry::NamesTheCommand(field) = entry {
                field.fill(pid);
            }
        }
    }
}

/// `NAME=` and a pid, in cells: the list for `exec` points to them already when the pid is entered.
#[derive(Debug)]
struct PidField {
    text: Vec<Cell<u8>>,
    digits_at: usize,
}

impl PidField {
    /// With the NUL, the longest decimal `i32` that is no negative number.
    const ROOM: usize = 11;

    fn new(name: &str) -> Self {
        let text = name.bytes().chain([b'=']).chain([0; Self::ROOM]);
        Self { text: text.map(Cell::new).collect(), digits_at: name.len() + 1 }
    }

    fn fill(&self, pid: Pid) {
        let mut rest = pid.as_raw().unsigned_abs();
        let count = rest.checked_ilog10().unwrap_or(0) as usize + 1;
        for cell in self.text[self.digits_at..self.digits_at + count].iter().rev() {
            cell.set(b'0' + u8::try_from(rest % 10).expect("a digit"));
            rest /= 10;
        }
    }
}

/// The name and the value of an entry; all of it is the name where there is no `=` after its first byte.
fn split(entry: &CStr) -> (&OsStr, &OsStr) {
    let bytes = entry.to_bytes();
    let equals = bytes.iter().skip(1).position(|&byte| byte == b'=').map(|at| at + 1);
    let (name, value) = equals.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
    (OsStr::from_bytes(name), OsStr::from_bytes(value))
}

/// The entries that this process was started with.
fn inherited() -> Vec<&'static CStr> {
    #[expect(unsafe_code, reason = "the C library's variable")]
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    let mut found = Vec::new();
    // SAFETY: the list is null, or ends with a null pointer, and holds C strings; nothing in this program ever changes
    // its own environment, so they stay where they are.
    #[expect(unsafe_code)]
    unsafe {
        let mut at = environ;
        while !at.is_null() && !(*at).is_null() {
            found.push(CStr::from_ptr(*at));
            at = at.add(1);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(pid: i32) -> String {
        let field = PidField::new("LISTEN_PID");
        field.fill(Pid::from_raw(pid));
        let bytes: Vec<u8> = field.text.iter().map(Cell::get).collect();
        CStr::from_bytes_until_nul(&bytes).expect("it ends").to_str().expect("ASCII").to_owned()
    }

    #[test]
    fn a_pid_is_entered_in_decimal_and_every_pid_has_room() {
        for pid in [1, 9, 10, 99, 100, 4_194_304, i32::MAX] {
            assert_eq!(filled(pid), format!("LISTEN_PID={pid}"));
        }
    }

    #[test]
    fn an_entry_is_taken_apart_at_the_first_equals_sign_that_is_not_its_beginning() {
        let parts = |entry: &'static CStr| {
            let (name, value) = split(entry);
            (name.to_str().expect("ASCII"), value.to_str().expect("ASCII"))
        };
        assert_eq!(parts(c"NAME=a=b"), ("NAME", "a=b"));
        assert_eq!(parts(c"=C:=dir"), ("=C:", "dir"));
        assert_eq!(parts(c"NAME="), ("NAME", ""));
        assert_eq!(parts(c"nothing"), ("nothing", ""));
        assert_eq!(parts(c""), ("", ""));
    }
}
