//! Every word dlock prints. Messages go to standard error; standard output carries only what was asked for.

pub mod configuration;
pub mod json;
pub mod running;
mod table;
pub mod variables;
mod waiting;

use std::fmt::Display;
use std::io;

pub use table::table;
pub use waiting::WaitingLine;

use crate::error::Error;
use crate::error::phrase::Escaped;
use crate::settings::Voice;
use crate::sys::stdio::{STDERR, STDOUT, write_all, write_to_stderr_at_once};

/// `PIPE_BUF` on Linux: a pipe takes so many bytes in one piece, so lines of several dlocks never mix.
const MAX_LINE_BYTES: usize = 4096;

/// Standard error, as loud as the user wants it.
#[derive(Debug, Clone, Copy)]
pub struct Stderr {
    voice: Voice,
}

impl Stderr {
    #[must_use]
    pub fn new(voice: Voice) -> Self {
        Self { voice }
    }

    #[must_use]
    pub fn voice(self) -> Voice {
        self.voice
    }

    /// Says `words` whatever the voice. Never blocks: where nobody reads fast enough, the line is dropped, because
    /// what keeps a lease alive must not wait for a pager.
    pub fn say(self, words: impl Display) {
        write_to_stderr_at_once(line(&words).as_bytes());
    }

    /// Says `words` whatever the voice, and waits until somebody takes them: only where nothing depends on us any more.
    pub fn say_last(self, words: impl Display) {
        write_all(STDERR, line(&words).as_bytes()).ok();
    }

    /// A notice or warning: not with `-q`.
    pub fn notice(self, words: impl Display) {
        if self.voice != Voice::Quiet {
            self.say(words);
        }
    }

    /// What only `-v` wants to know.
    pub fn detail(self, words: impl Display) {
        if self.voice == Voice::Verbose {
            self.say(words);
        }
    }

    /// The one sentence for a failure. Not being granted the lock is silent with `-q` and with `-E 0`; whoever was
    /// interrupted knows.
    pub fn failure(self, error: &Error) {
        match error {
            Error::NotAcquired(refusal) if refusal.status == 0 || self.voice == Voice::Quiet => {}
            Error::Interrupted(_) => {}
            _ => self.say_last(error),
        }
    }
}

/// Puts `text` on standard output.
///
/// # Errors
/// When not all of it was taken; a pipe that nobody reads is such an error.
pub fn print(text: &str) -> io::Result<()> {
    write_all(STDOUT, text.as_bytes())
}

/// `words` as one line of ours.
fn line(words: &impl Display) -> String {
    one_line(&format!("dlock: {words}"), MAX_LINE_BYTES - "\n".len()) + "\n"
}

/// The text without a line break or terminal command inside, cut where it has more than `room` bytes.
fn one_line(text: &str, room: usize) -> String {
    let mut line = Escaped(text).to_string();
    if line.len() > room {
        let most = room - "…".len();
        let end = (0..=most).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_fits_a_pipe() {
        assert_eq!(line(&"a\nb\u{1b}[2J\u{202e}"), "dlock: a\\nb\\u{1b}[2J\\u{202e}\n");
        let long = line(&"ä".repeat(4000));
        assert!(long.len() <= MAX_LINE_BYTES && long.ends_with("…\n"), "{} bytes", long.len());
    }
}
