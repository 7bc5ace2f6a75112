//! One line on a terminal that is drawn again and again in its place, and taken off at the end.

use std::io::IsTerminal as _;

use super::{MAX_LINE_BYTES, Stderr, one_line};
use crate::settings::{LogFormat, Volume};
use crate::sys::stdio::{STDERR, write_to_stderr_at_once};

/// Carriage return, erase the line; no wrapping at the margin, so that one `\r` takes a long line back too.
const BEFORE: &str = "\r\u{1b}[K\u{1b}[?7l";
const AFTER: &str = "\u{1b}[?7h";
const ERASE: &str = "\r\u{1b}[K";

/// Whether there is a terminal on which it can stand, and somebody who wants it.
pub(super) fn has_room(stderr: Stderr) -> bool {
    let understands_commands = std::env::var_os("TERM").is_none_or(|kind| kind != "dumb");
    let voice = stderr.voice();
    voice.volume != Volume::Quiet && voice.format == LogFormat::Text && STDERR.is_terminal() && understands_commands
}

pub(super) fn draw(words: &str) {
    let words = one_line(words, MAX_LINE_BYTES - BEFORE.len() - AFTER.len());
    write_to_stderr_at_once(format!("{BEFORE}{words}{AFTER}").as_bytes());
}

pub(super) fn erase() {
    write_to_stderr_at_once(ERASE.as_bytes());
}
