//! A real terminal: what a person would see of a program, and the keys that a person would press.

use std::cell::Cell;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::PtyMaster;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::termios::{Termios, tcgetattr};

use super::call::{Dlock, Running};
use super::pty::Pty;
use super::waiting::A_WHILE;

pub(crate) const CTRL_C: &str = "\x03";
pub(crate) const CTRL_Z: &str = "\x1a";
pub(crate) const ESCAPE: &str = "\x1b";

/// A call that is the leader of a session on a terminal of its own, as a shell is in a window or under `ssh`.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// What leads the session.
    pub(crate) session: Running,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How much of what was shown is behind us: each handshake looks for something new.
    seen: Cell<usize>,
    line: Option<Line>,
}

/// Our end of the terminal's line, as long as nobody has hung up.
#[derive(Debug)]
struct Line {
    master: Arc<PtyMaster>,
    hang_up: Arc<EventFd>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `args`, the program first, with the settings that `with` adds to the call.
    #[track_caller]
    pub(crate) fn start(args: &[&str], with: impl FnOnce(Dlock) -> Dlock) -> Self {
        let Pty { user: master, programs } = Pty::open();
        let slave = OwnedFd::from(programs);
        set_size(&master, &["rows", "50", "cols", "200"]);

        let call = Dlock::of_program("setsid".as_ref(), ["--ctty"].iter().chain(args)).env("TERM", "dumb");
        let session = with(call).stdin_from(copy(&slave)).stdout_to(copy(&slave)).stderr_to(slave).start();

        let (master, hang_up) = (Arc::new(master), EventFd::from_flags(EfdFlags::EFD_CLOEXEC));
        let hang_up = Arc::new(hang_up.expect("there are descriptors"));
        let shown = Arc::new(Mutex::new(Vec::new()));
        let reader = {
            let (master, hang_up, shown) = (Arc::clone(&master), Arc::clone(&hang_up), Arc::clone(&shown));
            std::thread::spawn(move || collect(&master, &hang_up, &shown))
        };
        Self { session, shown, seen: Cell::new(0), line: Some(Line { master, hang_up, reader }) }
    }

    /// Presses these keys.
    #[track_caller]
    pub(crate) fn types(&self, keys: &str) {
        let mut rest = keys.as_bytes();
        while !rest.is_empty() {
            let written = nix::unistd::write(&*self.line().master, rest).expect("the terminal takes keys");
            rest = &rest[written..];
        }
    }

    /// Types a line and the return key.
    #[track_caller]
    pub(crate) fn enters(&self, line: &str) {
        self.types(line);
        self.types("\r");
    }

    /// Waits until `text` is shown after whatever was waited for before, and returns what was shown up to it.
    ///
    /// A terminal shows what is typed, too: `text` must not be part of that.
    #[track_caller]
    pub(crate) fn shows(&self, text: &str) -> String {
        let began = Instant::now();
        loop {
            let shown = self.everything();
            if let Some(at) = shown[self.seen.get()..].find(text) {
                let from = self.seen.replace(self.seen.get() + at + text.len());
                return shown[from..from + at].to_owned();
            }
            assert!(
                began.elapsed() < A_WHILE,
                "{text:?} is not shown after {:?}:\n{}",
                &shown[..self.seen.get()],
                &shown[self.seen.get()..]
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// All that was ever shown. A byte that is no ASCII is shown as `?`, so that positions are those of the bytes.
    pub(crate) fn everything(&self) -> String {
        let shown = self.shown.lock().expect("the reader does not panic");
        shown.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '?' }).collect()
    }

    /// Changes the height of the window. Both dimensions at once would be two changes.
    #[track_caller]
    pub(crate) fn resize(&self, rows: u16) {
        set_size(&self.line().master, &["rows", &rows.to_string()]);
    }

    /// Changes its width.
    #[track_caller]
    pub(crate) fn resize_columns(&self, columns: u16) {
        set_size(&self.line().master, &["cols", &columns.to_string()]);
    }

    /// The modes that programs have set.
    #[track_caller]
    pub(crate) fn modes(&self) -> Termios {
        tcgetattr(&*self.line().master).expect("it is a terminal")
    }

    /// Closes the window, as a broken connection does.
    #[track_caller]
    pub(crate) fn hang_up(&mut self) {
        let line = self.line.take().expect("nobody has hung up yet");
        line.hang_up.write(1).expect("it is ours");
        line.reader.join().expect("the reader does not panic");
    }

    #[track_caller]
    fn line(&self) -> &Line {
        self.line.as_ref().expect("nobody has hung up yet")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Whatever a failed test leaves behind is killed with the session.
        if let Some(line) = self.line.take() {
            line.hang_up.write(1).ok();
            line.reader.join().ok();
        }
    }
}

/// Notes what is shown until the line is hung up, from either side.
fn collect(master: &PtyMaster, hang_up: &EventFd, shown: &Mutex<Vec<u8>>) {
    let mut bytes = [0; 4096];
    loop {
        let mut sources =
            [PollFd::new(master.as_fd(), PollFlags::POLLIN), PollFd::new(hang_up.as_fd(), PollFlags::POLLIN)];
        poll(&mut sources, PollTimeout::NONE).ok();
        if sources[1].any() == Some(true) {
            return;
        }
        // The end of a terminal whose last program has gone is an error.
        match nix::unistd::read(master, &mut bytes) {
            Ok(0) | Err(nix::errno::Errno::EIO) => return,
            Ok(count) => shown.lock().expect("nobody panics with it").extend(&bytes[..count]),
            Err(_) => {}
        }
    }
}

fn set_size(master: &PtyMaster, size: &[&str]) {
    let terminal = master.as_fd().try_clone_to_owned().expect("there are descriptors");
    let status = Command::new("stty").args(size).stdin(Stdio::from(terminal)).status();
    assert!(status.is_ok_and(|status| status.success()), "the window takes any size");
}

fn copy(slave: &OwnedFd) -> OwnedFd {
    slave.try_clone().expect("there are descriptors")
}
