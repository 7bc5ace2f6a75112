//! Every word dlock prints. Messages go to standard error; standard output carries only what was asked for.

pub mod bench;
pub mod configuration;
mod event;
pub mod findings;
pub mod json;
mod meter;
pub mod overview;
pub mod revocation;
pub mod running;
pub mod screen;
mod table;
mod transient;
pub mod variables;
mod waiting;

use std::io::{self, IsTerminal as _};
use std::time::SystemTime;

pub use event::{Event, Severity};
pub use meter::Meter;
pub use table::table;
pub use waiting::WaitingLine;

use crate::error::Error;
use crate::error::phrase::Escaped;
use crate::settings::{Color, LogFormat, Voice, Volume};
use crate::sys::stdio::{STDERR, STDOUT, write_all, write_to_stderr_at_once};

/// `PIPE_BUF` on Linux: a pipe takes so many bytes in one piece, so lines of several dlocks never mix.
const MAX_LINE_BYTES: usize = 4096;

/// Standard error, as loud and in the form that the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// Says `event` whatever the voice. Never blocks: where nobody reads fast enough, the line is dropped, because
    /// what keeps a lease alive must not wait for a pager.
    pub fn say(self, event: impl Into<Event>) {
        self.say_as(Severity::Error, &event.into());
    }

    /// Says `event` whatever the voice, and waits until somebody takes it: only where nothing depends on us any more.
    pub fn say_last(self, event: impl Into<Event>) {
        write_all(STDERR, self.line(Severity::Error, &event.into()).as_bytes()).ok();
    }

    /// A notice or warning: not with `-q`.
    pub fn notice(self, event: impl Into<Event>) {
        if self.voice.volume != Volume::Quiet {
            self.say_as(Severity::Warning, &event.into());
        }
    }

    /// What only `-v` wants to know, and of milestones every log of events.
    pub fn detail<E: Into<Event>>(self, event: impl FnOnce() -> E) {
        let wants_only_milestones = match (self.voice.volume, self.voice.format) {
            (Volume::Verbose, _) => false,
            (Volume::Normal, LogFormat::Json) => true,
            _ => return,
        };
        let event = event().into();
        if !wants_only_milestones || event.is_milestone() {
            self.say_as(Severity::Info, &event);
        }
    }

    /// That we wait.
    fn wait(self, event: &Event) {
        self.say_as(Severity::Info, event);
    }

    /// The one sentence for a failure. Not being granted the lock is silent with `-q` and with `-E 0`; whoever was
    /// interrupted knows.
    pub fn failure(self, error: &Error) {
        match error {
            Error::NotTheHolder { .. } if self.voice.volume == Volume::Quiet => {}
            Error::NotAcquired(refusal) if refusal.status == 0 || self.voice.volume == Volume::Quiet => {}
            Error::Interrupted(_) => {}
            _ => self.say_last(error),
        }
    }

    fn say_as(self, severity: Severity, event: &Event) {
        write_to_stderr_at_once(self.line(severity, event).as_bytes());
    }

    /// The event as one line of ours.
    fn line(self, severity: Severity, event: &Event) -> String {
        match self.voice.format {
            LogFormat::Json => event.line(severity, SystemTime::now(), MAX_LINE_BYTES),
            LogFormat::Text => text_line(event.sentence(), self.colour_of(severity)),
        }
    }

    fn colour_of(self, severity: Severity) -> Option<&'static str> {
        let is_colourful = match self.voice.color {
            Color::Always => true,
            Color::Never => false,
            Color::OnTerminals => STDERR.is_terminal(),
        };
        match severity {
            Severity::Error if is_colourful => Some(RED),
            Severity::Warning if is_colourful => Some(YELLOW),
            _ => None,
        }
    }
}

/// Bold: on any background.
const RED: &str = "\u{1b}[1;31m";
const YELLOW: &str = "\u{1b}[1;33m";
const PLAIN: &str = "\u{1b}[0m";

/// Puts `text` on standard output.
///
/// # Errors
/// When not all of it was taken; a pipe that nobody reads is such an error.
pub fn print(text: &str) -> io::Result<()> {
    write_all(STDOUT, text.as_bytes())
}

/// The same for somebody to read: whoever closes the pipe has read enough.
///
/// # Errors
/// When not all of it was taken for another reason.
pub fn show(text: &str) -> io::Result<()> {
    match print(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// The sentence as one line of ours. Only our name is coloured: the words are the same for everybody.
fn text_line(sentence: &str, colour: Option<&str>) -> String {
    let name = match colour {
        Some(colour) => format!("{colour}dlock:{PLAIN} "),
        None => "dlock: ".to_owned(),
    };
    let words = one_line(sentence, MAX_LINE_BYTES - name.len() - "\n".len());
    format!("{name}{words}\n")
}

/// The sentence as a line of ours on a window, without its end.
#[must_use]
pub fn note(sentence: &str) -> String {
    text_line(sentence, None).trim_end().to_owned()
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
        assert_eq!(text_line("a\nb\u{1b}[2J\u{202e}", None), "dlock: a\\nb\\u{1b}[2J\\u{202e}\n");
        for colour in [None, Some(RED)] {
            let long = text_line(&"ä".repeat(4000), colour);
            assert!(long.len() <= MAX_LINE_BYTES && long.ends_with("…\n"), "{} bytes", long.len());
        }
    }

    #[test]
    fn only_the_name_is_coloured_and_only_what_is_no_information() {
        let always = Stderr::new(Voice { color: Color::Always, ..Voice::NORMAL });
        let said = |stderr: Stderr, severity| stderr.line(severity, &Event::from("words"));
        assert_eq!(said(always, Severity::Error), "\u{1b}[1;31mdlock:\u{1b}[0m words\n");
        assert_eq!(said(always, Severity::Warning), "\u{1b}[1;33mdlock:\u{1b}[0m words\n");
        assert_eq!(said(always, Severity::Info), "dlock: words\n");
        let never = Stderr::new(Voice { color: Color::Never, ..Voice::NORMAL });
        assert_eq!(said(never, Severity::Error), "dlock: words\n");
        let json = Stderr::new(Voice { color: Color::Always, format: LogFormat::Json, ..Voice::NORMAL });
        assert!(said(json, Severity::Error).starts_with('{'));
    }
}
