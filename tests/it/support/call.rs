//! One call of the real binary, while it is being put together, while it runs, and when it has ended.

use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::executable::program;
use super::processes::{MARK, Process, processes_with};
use super::waiting::{A_WHILE, eventually};

/// A call that is longer than this hangs: no test waits for a lease longer than a third of it.
const HANGS: Duration = Duration::from_secs(60);

/// A call of dlock that has not begun.
///
/// Its environment is empty but for `PATH`, a private `HOME`, and the mark by which its processes are found. Both
/// outputs go to files, so that whatever outlives the call cannot keep a test waiting for the end of a pipe.
#[derive(Debug)]
pub(crate) struct Dlock {
    program: PathBuf,
    args: Vec<OsString>,
    command: Command,
    stdin: Stdin,
    scratch: TempDir,
    mark: String,
    stdout_given: Cell<bool>,
    stderr_given: Cell<bool>,
}

#[derive(Debug)]
enum Stdin {
    Nothing,
    Open,
    Holding(Vec<u8>),
    Given,
}

impl Dlock {
    pub(crate) fn new<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Self {
        Self::of_program(Path::new(program()), args)
    }

    /// The same of a copy of the binary, or of a program that ends up as dlock (`nohup`, `sh -c 'exec …'`).
    pub(crate) fn of_program<A: AsRef<OsStr>>(program: &Path, args: impl IntoIterator<Item = A>) -> Self {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let scratch = TempDir::with_prefix("dlock-call-").expect("the temporary directory takes files");
        let mark = uuid::Uuid::new_v4().simple().to_string();
        let mut command = Command::new(program);
        command.args(&args).env_clear();
        command.env("PATH", std::env::var_os("PATH").expect("PATH is set"));
        command.env("HOME", scratch.path()).env(MARK, &mark);
        Self {
            program: program.to_owned(),
            args,
            command,
            stdin: Stdin::Nothing,
            scratch,
            mark,
            stdout_given: Cell::new(false),
            stderr_given: Cell::new(false),
        }
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn cwd(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs as this user and group, which only root can ask for.
    pub(crate) fn by_user(mut self, id: u32) -> Self {
        self.command.uid(id).gid(id);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Holding(bytes.into());
        self
    }

    /// Keeps standard input open until [`Running::let_go`].
    pub(crate) fn stdin_open(mut self) -> Self {
        self.stdin = Stdin::Open;
        self
    }

    pub(crate) fn stdin_from(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self.stdin = Stdin::Given;
        self
    }

    pub(crate) fn stdout_to(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self.stdout_given.set(true);
        self
    }

    pub(crate) fn stderr_to(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self.stderr_given.set(true);
        self
    }

    #[track_caller]
    pub(crate) fn start(mut self) -> Running {
        let capture = |name: &str| File::create(self.scratch.path().join(name)).expect("a fresh directory takes files");
        if !self.stdout_given.get() {
            self.command.stdout(capture("stdout"));
        }
        if !self.stderr_given.get() {
            self.command.stderr(capture("stderr"));
        }
        match self.stdin {
            Stdin::Nothing => drop(self.command.stdin(Stdio::null())),
            Stdin::Given => {}
            Stdin::Open | Stdin::Holding(_) => drop(self.command.stdin(Stdio::piped())),
        }
        let began = Instant::now();
        let mut child = self.command.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", self.program.display()));
        // It holds our copies of what was given; the other end of a pipe or terminal must see the child's alone.
        drop(self.command);
        if let Stdin::Holding(bytes) = &self.stdin {
            // Nobody needs to read it: a command that ends early leaves a broken pipe.
            child.stdin.take().expect("it is piped").write_all(bytes).ok();
        }
        let call: Vec<_> = self.args.iter().map(|arg| arg.to_string_lossy()).collect();
        let call = format!("{} {}", self.program.file_name().unwrap_or_default().to_string_lossy(), call.join(" "));
        let pid = i32::try_from(child.id()).expect("a pid is an i32");
        Running { pid, child: RefCell::new(child), call, scratch: self.scratch, mark: self.mark, began }
    }

    /// Runs it to its end.
    #[track_caller]
    pub(crate) fn finish(self) -> Finished {
        self.start().wait()
    }
}

/// A call under way. Dropped, it is killed with everything that it brought forth.
#[derive(Debug)]
pub(crate) struct Running {
    pid: i32,
    child: RefCell<Child>,
    call: String,
    scratch: TempDir,
    mark: String,
    began: Instant,
}

impl Running {
    /// The front: the process that the test started.
    pub(crate) fn front(&self) -> Process {
        Process::find(self.pid).unwrap_or_else(|| panic!("{} is gone: {}", self.call, self.stderr()))
    }

    pub(crate) fn front_pid(&self) -> i32 {
        self.pid
    }

    /// The keeper: the front's child, which does not call itself dlock.
    #[track_caller]
    pub(crate) fn keeper(&self) -> Process {
        let front = self.front().pid;
        let mut keeper = None;
        eventually("the front has a keeper", || {
            keeper = self.job().into_iter().find(|process| process.parent == front && process.comm == "lock-keeper");
            keeper.is_some()
        });
        keeper.expect("it was just found")
    }

    /// Every living process of this call: front, keeper, the command and whatever that started.
    pub(crate) fn job(&self) -> Vec<Process> {
        processes_with(&self.mark)
    }

    /// What lives of the job beside dlock's own processes.
    pub(crate) fn tree(&self) -> Vec<Process> {
        self.job().into_iter().filter(|process| process.pid != self.pid && !process.comm.starts_with("lock-")).collect()
    }

    /// Waits until no process of this call lives.
    #[track_caller]
    pub(crate) fn leaves_no_process(&self) {
        let began = Instant::now();
        while !self.job().is_empty() {
            assert!(
                began.elapsed() < A_WHILE,
                "{} left processes: {:?}\nstdout: {}\nstderr: {}",
                self.call,
                self.job(),
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn mark(&self) -> String {
        self.mark.clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid), signal).expect("a process that was not waited for can be signalled");
    }

    pub(crate) fn stdout(&self) -> String {
        read(&self.scratch.path().join("stdout"))
    }

    pub(crate) fn stderr(&self) -> String {
        read(&self.scratch.path().join("stderr"))
    }

    /// Waits for the handshake of the command: a line on its standard output.
    #[track_caller]
    pub(crate) fn says(&self, line: &str) {
        let began = Instant::now();
        while !self.stdout().lines().any(|said| said == line) {
            let ended = self.child.borrow_mut().try_wait().expect("our own child can be waited for");
            assert!(
                ended.is_none() && began.elapsed() < A_WHILE,
                "{} did not say {line:?} ({ended:?})\nstdout: {}\nstderr: {}",
                self.call,
                self.stdout(),
                self.stderr()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends standard input, for which the command waits.
    pub(crate) fn let_go(&self) {
        drop(self.child.borrow_mut().stdin.take());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.child.borrow_mut().try_wait().expect("our own child can be waited for").is_some()
    }

    /// Waits for the end, at most [`HANGS`].
    #[track_caller]
    pub(crate) fn wait(&self) -> Finished {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.borrow_mut().try_wait().expect("our own child can be waited for") {
                break status;
            }
            let said = || format!("stdout: {}\nstderr: {}", self.stdout(), self.stderr());
            assert!(began.elapsed() < HANGS, "{} hangs\n{}", self.call, said());
            std::thread::sleep(Duration::from_millis(2));
        };
        Finished {
            status,
            call: self.call.clone(),
            stdout: fs::read(self.scratch.path().join("stdout")).unwrap_or_default(),
            stderr: self.stderr(),
            took: self.began.elapsed(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Several rounds: whatever was forking while we looked is found in the next one.
        for _ in 0..5 {
            let job = self.job();
            if job.is_empty() {
                break;
            }
            for process in job {
                process.signal(Signal::SIGKILL);
            }
        }
        self.child.borrow_mut().wait().ok();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A call that has ended, and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    call: String,
    pub(crate) stdout: Vec<u8>,
    stderr: String,
    pub(crate) took: Duration,
}

impl Finished {
    #[track_caller]
    pub(crate) fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{}", self.account());
        self
    }

    #[track_caller]
    pub(crate) fn succeeds(self) -> Self {
        self.exits_with(0)
    }

    #[track_caller]
    pub(crate) fn dies_of(self, signal: Signal) -> Self {
        assert_eq!(self.status.signal(), Some(signal as i32), "{}", self.account());
        self
    }

    /// Standard output without its last line break.
    #[track_caller]
    pub(crate) fn said(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("what was asked for is text").trim_end_matches('\n')
    }

    pub(crate) fn stderr(&self) -> &str {
        &self.stderr
    }

    /// Standard error is one sentence of dlock's, and it contains all of `words`.
    #[track_caller]
    pub(crate) fn complains(self, words: &[&str]) -> Self {
        let lines: Vec<&str> = self.stderr.lines().collect();
        assert_eq!(lines.len(), 1, "one sentence is said\n{}", self.account());
        self.mentions(words)
    }

    /// Some line of standard error is a sentence of dlock's that contains all of `words`.
    #[track_caller]
    pub(crate) fn mentions(self, words: &[&str]) -> Self {
        let found = self.stderr.lines().any(|line| {
            let sentence = line.strip_prefix("dlock: ");
            sentence
                .is_some_and(|sentence| !sentence.ends_with('.') && words.iter().all(|word| sentence.contains(word)))
        });
        assert!(found, "no line says {words:?}, begins with \"dlock: \" and ends without a stop\n{}", self.account());
        self
    }

    #[track_caller]
    pub(crate) fn says_nothing_on_stderr(self) -> Self {
        assert!(self.stderr.is_empty(), "{}", self.account());
        self
    }

    #[track_caller]
    pub(crate) fn says_nothing(self) -> Self {
        assert!(self.stderr.is_empty() && self.stdout.is_empty(), "{}", self.account());
        self
    }

    pub(crate) fn account(&self) -> String {
        let stdout = String::from_utf8_lossy(&self.stdout);
        format!("{}\n{:?} after {:?}\nstdout: {stdout}\nstderr: {}", self.call, self.status, self.took, self.stderr)
    }
}
