//! Where people put dlock: shells, pipelines, editors, wrappers, services, containers. Each as if it were not there.

mod container;
mod full_screen;
mod interactive_shell;
mod limits;
mod make;
mod pipelines;
mod service;
mod session_leader;
mod wrappers;

use std::path::Path;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{Dlock, Place, Process, Running, Terminal, eventually, path_with_dlock};

/// What stands before a command that is started directly, and before one under dlock.
const EITHER_WAY: [&str; 2] = ["", "dlock run -k job --"];

/// Says which signals it gets, at once, and ends with 3 on USR2.
const TELLS_SIGNALS: &str = r#"
for signal in INT TERM HUP USR1; do trap "echo got $signal" $signal; done
trap 'echo got WINCH; stty size' WINCH
trap 'kill $!; wait $!; exit 3' USR2
sleep 1000 &
echo started
while :; do wait; done
"#;

/// Says that it runs, and does until somebody ends it.
const SLEEPS: &str = "echo started; exec sleep 1000";

/// Part of it is in a session of its own.
const TREE: &str = "sleep 1000 & setsid sleep 1001 & echo started; wait";

/// Repeats what is typed.
const REPEATS: &str = r#"echo started; while read -r line; do echo "read $line."; done"#;

/// Lets `call` find dlock by its plain name, and its dlock calls lock at `place`.
fn at(place: &Place, call: Dlock) -> Dlock {
    let call = place.environment().into_iter().fold(call, |call, (name, value)| call.env(name, value));
    call.env("PATH", path_with_dlock())
}

/// A script for a shell whose dlock calls lock at `place`, run in `directory`.
fn script(place: &Place, directory: &Path, shell: &str, text: &str) -> Dlock {
    at(place, Dlock::of_program(shell.as_ref(), ["-c", text])).cwd(directory)
}

/// A directory with these scripts.
fn directory_with(scripts: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("the temporary directory takes files");
    for (name, text) in scripts {
        std::fs::write(directory.path().join(name), text).expect("it is ours");
    }
    directory
}

/// The front among the processes of a call that started it at some remove.
#[track_caller]
fn front_of(run: &Running) -> Process {
    let job = run.job();
    job.into_iter().find(|process| process.comm == "dlock").unwrap_or_else(|| panic!("no dlock: {}", run.stderr()))
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this is root; if not, says that this much is not tested.
#[expect(clippy::print_stderr)]
fn is_root_for(what: &str) -> bool {
    if !is_root() {
        eprintln!("NOT TESTED, because it needs root: {what}");
    }
    is_root()
}

/// An interactive bash in a terminal of its own. Its prompt tells the status of what ran last: `<130> `.
struct Shell {
    terminal: Terminal,
    directory: TempDir,
}

impl Shell {
    #[track_caller]
    fn start(place: &Place, scripts: &[(&str, &str)]) -> Self {
        let directory = directory_with(scripts);
        let terminal = Terminal::start(&["bash", "--norc", "--noprofile", "-i"], |call| {
            at(place, call).cwd(directory.path()).env("PS1", "<$?> ")
        });
        terminal.shows("<0> ");
        Self { terminal, directory }
    }

    /// Waits until the shell asks for the next command, the last one having ended with `status`.
    #[track_caller]
    fn prompts_after(&self, status: i32) {
        self.terminal.shows(&format!("<{status}> "));
    }

    /// Waits until the shell has taken the terminal back from a job that the stop key stopped.
    #[track_caller]
    fn says_stopped(&self) {
        self.terminal.shows("Stopped");
        self.prompts_after(148);
    }

    /// Runs a line that is over at once, and succeeds.
    #[track_caller]
    fn runs(&self, line: &str) {
        self.terminal.enters(line);
        self.prompts_after(0);
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.directory.path().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    /// The process of the job that calls itself so, as soon as there is one.
    #[track_caller]
    fn process(&self, name: &str) -> Process {
        let mut found = None;
        eventually("there is such a process", || {
            found = self.terminal.session.job().into_iter().find(|process| process.comm == name);
            found.is_some()
        });
        found.expect("it was just found")
    }

    fn signal_dlock(&self, signal: Signal) {
        front_of(&self.terminal.session).signal(signal);
    }
}
