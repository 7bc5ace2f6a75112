//! Starting the command exactly as if it had been started directly, but tied to its parent's life.
//!
//! The child shares our memory until it executes the command, as glibc's `posix_spawn` has it: a fork would copy page
//! tables and fault every page that either side writes to, which is a quarter of what `dlock run -- true` takes.
//! `posix_spawn` itself offers no parent-death signal, and std's `Command` falls back to a fork for it.
//!
//! The program is looked for as `execvp` of glibc does, whichever C library this is linked with: musl's has another
//! default for PATH, and does not run a script without `#!`.

use std::env;
use std::ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::boottime::BootInstant;
use super::environment::Environment;
use super::lifeline::LifelineWatch;
use super::process::{Blocking, Which, exit_now, wait_child};
use super::shared_page::SharedWord;
use super::signals::Inherited;

/// The error of a command that was not started because its deadline had passed between fork and exec.
pub const TOO_LATE: Errno = Errno::ETIME;

/// A few frames.
const STACK_BYTES: usize = 32 * 1024;

/// Where programs are looked for without PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Runs what is executable and no program: a script whose first line names nobody.
const SHELL: &CStr = c"/bin/sh";

/// Starts `command` with the signal mask and dispositions in `inherited`; it dies when this process dies, and until it
/// is executed when the other side of `watch` does.
///
/// Of `command` the program, the arguments and the changes of the environment count; everything else is inherited. The
/// thread that calls this must live as long as the command may: the kernel takes its end for the parent's. Variables
/// that name `stood_for` as the one process meant (`LISTEN_PID`, `WATCHDOG_PID`) name the command.
///
/// # Errors
/// What the clone or the exec fails with; [`TOO_LATE`] when `deadline` (nanoseconds of CLOCK_BOOTTIME) had passed.
pub fn spawn_tied_to_this_thread(
    command: &Command,
    stood_for: Pid,
    watch: &LifelineWatch,
    inherited: Inherited,
    deadline: SharedWord,
) -> io::Result<Pid> {
    let places = places(command.get_program(), env::var_os("PATH"))?;
    let arguments = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(c_string)
        .collect::<io::Result<Vec<CString>>>()?;
    let environment = Environment::of(command, stood_for)?;
    let (argv, envp) = (pointers(&arguments), environment.pointers());
    // The script's name takes the second place, when it turns out to be one.
    let mut shells_argv = [&[SHELL.as_ptr()], &argv[..]].concat();
    let mut start = Start {
        places: &places,
        argv: &argv,
        shells_argv: &mut shells_argv,
        environment: &environment,
        envp: &envp,
        parent: nix::unistd::getpid(),
        watch,
        inherited,
        deadline,
        error: None,
    };

    let mut stack = Stack::new(STACK_BYTES);
    // SAFETY: the stack is ours alone and large enough for `begin`; the child shares our memory, but CLONE_VFORK keeps
    // this thread from running until the child has executed the command or ended, so `start` and everything it points
    // to outlive its use.
    #[expect(unsafe_code)]
    let cloned = unsafe {
        libc::clone(
            begin,
            stack.top(),
            libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD,
            (&raw mut start).cast::<c_void>(),
        )
    };
    let child = Pid::from_raw(Errno::result(cloned)?);
    match start.error {
        None => Ok(child),
        Some(error) => {
            wait_child(Which::Pid(child), Blocking::Yes)?;
            Err(error.into())
        }
    }
}

/// What the child needs, prepared before it exists: it must not allocate.
struct Start<'a> {
    /// Where the program may be, in the order in which to try.
    places: &'a [CString],
    argv: &'a [*const c_char],
    shells_argv: &'a mut [*const c_char],
    environment: &'a Environment,
    envp: &'a [*const c_char],
    parent: Pid,
    watch: &'a LifelineWatch,
    inherited: Inherited,
    deadline: SharedWord,
    /// Why the command was not executed.
    error: Option<Errno>,
}

/// The child's life until it becomes the command.
extern "C" fn begin(start: *mut c_void) -> c_int {
    // SAFETY: the parent passes its `Start` and is suspended while this runs.
    #[expect(unsafe_code)]
    let start = unsafe { &mut *start.cast::<Start<'_>>() };
    start.error = Some(match start.become_the_command() {
        Ok(never) => match never {},
        Err(error) => error,
    });
    exit_now(127)
}

impl Start<'_> {
    /// Only async-signal-safe calls, and no allocation: other threads of the parent may hold its allocator's lock.
    fn become_the_command(&mut self) -> nix::Result<std::convert::Infallible> {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died before the line above: then nobody will ever send that signal.
        if nix::unistd::getppid() != self.parent {
            return Err(Errno::ECHILD);
        }
        self.watch.kills_this_process()?;
        if BootInstant::from_nanos(self.deadline.load()).has_passed() {
            return Err(TOO_LATE);
        }
        self.environment.name(nix::unistd::getpid());
        self.inherited.restore();
        let mut forbidden = false;
        let mut error = Errno::ENOENT;
        for place in self.places {
            error = self.execute(place);
            match error {
                Errno::EACCES => forbidden = true,
                // It is not there, or its file system does not answer.
                Errno::ENOENT | Errno::ENOTDIR | Errno::ESTALE | Errno::ENODEV | Errno::ETIMEDOUT => {}
                _ => return Err(error),
            }
        }
        // What was there and may not be executed says more than places where nothing is.
        Err(if forbidden { Errno::EACCES } else { error })
    }

    fn execute(&mut self, place: &CStr) -> Errno {
        let error = execve(place, self.argv, self.envp);
        if error != Errno::ENOEXEC {
            return error;
        }
        self.shells_argv[1] = place.as_ptr();
        execve(SHELL, self.shells_argv, self.envp)
    }
}

/// Returns only if the program could not be executed. Async-signal-safe.
fn execve(program: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    // SAFETY: both lists end with a null pointer and point to strings that the suspended parent owns.
    #[expect(unsafe_code)]
    unsafe {
        libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr());
    }
    Errno::last()
}

/// Where `program` may be. An empty element of `path` is the working directory.
fn places(program: &OsStr, path: Option<OsString>) -> io::Result<Vec<CString>> {
    let name = program.as_bytes();
    if name.is_empty() {
        return Ok(Vec::new());
    }
    if name.contains(&b'/') {
        return Ok(vec![c_string(program)?]);
    }
    let path = path.unwrap_or_else(|| DEFAULT_PATH.into());
    let within = |directory: &[u8]| {
        let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        Ok(CString::new([directory, separator, name].concat())?)
    };
    path.as_bytes().split(|&byte| byte == b':').map(within).collect()
}

/// A stack for the child. From the heap: a mapping of its own would have to be made before the command, and undone.
struct Stack(Vec<MaybeUninit<u128>>);

impl Stack {
    fn new(size: usize) -> Self {
        Self(Vec::with_capacity(size.div_ceil(size_of::<u128>())))
    }

    /// Stacks grow downwards on every platform that this is built for, and are aligned to 16 bytes.
    fn top(&mut self) -> *mut c_void {
        self.0.spare_capacity_mut().as_mut_ptr_range().end.cast()
    }
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sys::{lifeline, signals};

    #[test]
    fn a_program_is_looked_for_along_the_path() {
        let places = |program: &str, path: Option<&str>| {
            let places = places(OsStr::new(program), path.map(OsString::from)).expect("no NUL");
            places.into_iter().map(|place| place.into_string().expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(places("job", Some("/a:/b/")), ["/a/job", "/b//job"]);
        assert_eq!(places("job", Some(":b:")), ["job", "b/job", "job"]);
        assert_eq!(places("job", Some("")), ["job"]);
        assert_eq!(places("job", None), ["/bin/job", "/usr/bin/job"]);
        assert_eq!(places("./job", Some("/a")), ["./job"]);
        assert_eq!(places("a/job", Some("/a")), ["a/job"]);
        assert_eq!(places("", Some("/a")), Vec::<String>::new());
        assert!(super::places(OsStr::new("a\0b"), None).is_err());
    }

    /// What the grant was worth may be over by the time that a process is there for the command.
    #[test]
    fn nothing_is_executed_once_the_deadline_has_passed() {
        let ran = tempfile::tempdir().expect("the temporary directory takes files");
        let (_held, watch) = lifeline::pair().expect("there are descriptors");
        let (inherited, _) = signals::take_over();
        for (left, runs) in [(Duration::from_secs(60), true), (Duration::ZERO, false)] {
            let mark = ran.path().join(runs.to_string());
            let mut command = Command::new("touch");
            command.arg(&mark);
            let [deadline] = SharedWord::several([(BootInstant::now() + left).as_nanos()]).expect("there is a page");
            let started = spawn_tied_to_this_thread(&command, nix::unistd::getpid(), &watch, inherited, deadline);
            match started {
                Ok(child) => drop(wait_child(Which::Pid(child), Blocking::Yes)),
                Err(error) => assert_eq!(error.raw_os_error(), Some(TOO_LATE as i32), "{error}"),
            }
            assert_eq!(mark.exists(), runs);
        }
        inherited.restore();
    }
}
