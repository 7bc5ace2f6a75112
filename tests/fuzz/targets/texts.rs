//! Short texts: keys, holder data, what a fence file remembers, and the kernel's line about a process.

use dlock::commands::fence::recorded;
use dlock::error::phrase::{Escaped, Quoted, Who, is_hidden};
use dlock::lock::{
    Holder, HolderEntry, KeyPattern, LockKey, LockState, LockStatus, Mode, Namespace, OwnerToken, Phase,
};
use dlock::settings::duration;
use dlock::sys::stat::Stat;

use super::listings::can_be_shown;
use super::promises::is_one_line;

/// The most characters that are kept of one text of a holder.
const MOST_CHARACTERS: usize = 120;

/// A key, pattern, namespace, duration or token as somebody typed it.
pub(crate) fn key(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    for sentence in [Escaped(text).to_string(), Quoted(text).to_string()] {
        assert!(!sentence.chars().any(is_hidden), "{sentence:?}");
    }
    match LockKey::new(text) {
        Err(error) => is_one_line(&error.to_string()),
        Ok(key) => {
            let name = key.encoded();
            assert!(name.is_ascii() && !name.starts_with('.') && !name.contains(['/', '\0', '\n']), "{name:?}");
            assert!(name.len() <= 200, "{name:?} leaves no room for what is added to it");
            match LockKey::decode(&name) {
                Some(again) => assert_eq!(again, key),
                None => assert!(name.contains('~'), "{name:?} was not cut, and leads back to no key"),
            }
            can_be_shown(&[LockStatus::free(key.clone())]);
            if let Ok(pattern) = KeyPattern::new(text) {
                assert!(pattern.matches(&key) || text.contains(['*', '?', '[']), "{text:?} does not match itself");
            }
        }
    }
    if let Some(key) = LockKey::decode(text) {
        assert_eq!(key.encoded(), text);
    }
    if let Err(error) = Namespace::new(text) {
        is_one_line(&error.to_string());
    }
    for reason in [duration::parse(text).err(), duration::parse_ttl(text).err()].into_iter().flatten() {
        is_one_line(&reason);
    }
    match OwnerToken::parse(text) {
        Ok(token) => assert!(!format!("{token:?}").contains(token.secret()), "a token is shown"),
        Err(error) => is_one_line(&error.to_string()),
    }
}

/// What a contender says of itself.
pub(crate) fn holder(input: &[u8]) {
    let holder = Holder::from_json(input);
    for text in [&holder.host, &holder.user, &holder.command, &holder.label].into_iter().flatten() {
        assert!(text.chars().count() <= MOST_CHARACTERS, "{} characters are kept", text.chars().count());
    }
    assert_eq!(Holder::from_json(holder.to_json().as_bytes()), holder, "what is written reads back the same");
    is_one_line(&Who(&holder).to_string());
    let entry = HolderEntry {
        id: "0123abcd".to_owned(),
        holder,
        since: None,
        held_for: None,
        ttl: None,
        remaining: None,
        phase: Phase::Running,
        fence: None,
    };
    let key = LockKey::new("job").expect("a valid key");
    let status = LockStatus { state: LockState::Held(Mode::Exclusive), holders: vec![entry], ..LockStatus::free(key) };
    can_be_shown(&[status]);
}

/// The content of a file that remembers a fencing token.
pub(crate) fn fence_file(input: &[u8]) {
    let Some(fence) = recorded(input) else { return };
    let text = std::str::from_utf8(input).expect("a number is text");
    assert!(text.chars().all(|letter| letter.is_ascii_digit() || letter.is_whitespace()), "{text:?} is no number");
    assert!(text.is_empty() || text.trim().parse() == Ok(fence.0), "{text:?} is read as {fence}");
    assert_eq!(recorded(format!("{fence:>20}\n").as_bytes()), Some(fence));
}

/// `/proc/PID/stat`, as it is and with the input for the name of a program, which may hold anything.
pub(crate) fn proc_stat(input: &[u8]) {
    assert!(Stat::parse(input).is_none() || input.contains(&b')'), "a line without a name tells nothing");
    let line = [b"812 (", input, b") S 77 812 77 0 -1 4194304 101"].concat();
    let stat = Stat::parse(&line).expect("the kernel's own form");
    assert_eq!((stat.state, stat.parent.as_raw()), ('S', 77), "a name is no state");
}
