//! What holds for every sentence and every listing, whatever was read.

use dlock::error::Error;
use dlock::error::phrase::is_hidden;
use dlock::report;

/// What inputs have where a password stands.
pub(crate) const SECRET: &str = "hunter2";

/// `PIPE_BUF`: a line that a pipe takes in one piece.
const MOST_LINE_BYTES: usize = 4096;

/// A sentence is one line that a terminal only shows, and no longer than a pipe takes at once.
pub(crate) fn is_one_line(sentence: &str) {
    let line = report::note(sentence);
    assert!(!line.chars().any(is_hidden), "{line:?} has something that a terminal obeys");
    assert!(line.len() < MOST_LINE_BYTES, "{} bytes are no line", line.len());
    assert!(line.starts_with("dlock: ") && line.len() > "dlock: ".len(), "{line:?} says nothing");
}

/// The same of an error, which never repeats a password.
pub(crate) fn is_sayable(error: &Error, holds_secret: bool) {
    let sentence = error.to_string();
    is_one_line(&sentence);
    assert!(!holds_secret || !sentence.contains(SECRET), "a password is shown: {sentence}");
}

/// Whether a URL of the text has the secret where a password belongs, `…:hunter2…@` or `unix:…?…pass=hunter2`,
/// and nowhere else.
///
/// What stands between a comma and `://` is another URL of the list; a password with those has to be percent-encoded.
pub(crate) fn has_password(text: &str) -> bool {
    let mut found = text.match_indices(SECRET);
    let (Some((at, _)), None) = (found.next(), found.next()) else { return false };
    let (before, after) = (&text[..at], &text[at + SECRET.len()..]);
    let (_, credentials) = before.rsplit_once("://").unwrap_or(("redis", before));
    let rest = after.split("://").next().unwrap_or(after);
    if let Some((_, path)) = before.to_ascii_lowercase().rsplit_once("unix:") {
        // Without a question mark all of it is a path, whatever it looks like.
        let options = path.split_once('?').map(|(_, options)| options);
        return before.starts_with("unix:")
            && options.is_some_and(|options| options == "pass=" || options.ends_with("&pass="));
    }
    credentials.contains(':') && rest.contains('@')
}
