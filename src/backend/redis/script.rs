//! The scripts, put together, and how they are sent. What breaks it: an expiry that rounds to nothing.

use std::time::Duration;

use redis::Cmd;

use crate::sys::seeded::seeded;

/// A script without comments and indentation, made so when dlock is built: the server would have to read and hash them
/// each time, and dlock to take them out while the next contender waits for a release.
macro_rules! lean {
    ($written:expr) => {{
        use crate::backend::redis::script::{bytes_of_code, stripped};
        const WRITTEN: &str = $written;
        // No longer than that: what lies between the constants of a start is fetched with them.
        const STRIPPED: [u8; bytes_of_code(WRITTEN)] = stripped(WRITTEN);
        match std::str::from_utf8(&STRIPPED) {
            Ok(lean) => lean,
            Err(_) => unreachable!(),
        }
    }};
}
pub(super) use lean;

/// Who may have a lock in whichever mode, and the grant.
macro_rules! grants_beside_others {
    () => {
        concat!(
            include_str!("scripts/head.lua"),
            include_str!("scripts/alone.lua"),
            include_str!("scripts/base.lua"),
            include_str!("scripts/holders.lua"),
            include_str!("scripts/sharing.lua"),
            include_str!("scripts/grant.lua"),
            include_str!("scripts/refusal.lua")
        )
    };
}

/// An exclusive lock that is free and awaited by nobody; for whoever would wait for another.
pub const ACQUIRE_FREE: &str = lean!(concat!(
    include_str!("scripts/quick/head.lua"),
    include_str!("scripts/quick/acquire.lua"),
    include_str!("scripts/quick/grant.lua")
));
/// The same for whoever wants to know who is in the way.
pub const ACQUIRE: &str = lean!(concat!(
    include_str!("scripts/head.lua"),
    include_str!("scripts/alone.lua"),
    include_str!("scripts/base.lua"),
    include_str!("scripts/holders.lua"),
    include_str!("scripts/grant.lua"),
    include_str!("scripts/refusal.lua"),
    include_str!("scripts/acquire.lua")
));
/// The same in every mode.
pub const ACQUIRE_BESIDE_OTHERS: &str = lean!(concat!(grants_beside_others!(), include_str!("scripts/acquire.lua")));
/// The same for several locks, of which all are granted or none.
pub const ACQUIRE_TOGETHER: &str = lean!(concat!(
    include_str!("scripts/lock_at.lua"),
    grants_beside_others!(),
    include_str!("scripts/acquire_together.lua")
));
pub const WAIT: &str = lean!(concat!(
    include_str!("scripts/head.lua"),
    include_str!("scripts/alone.lua"),
    include_str!("scripts/base.lua"),
    include_str!("scripts/wait_offered.lua"),
    include_str!("scripts/holders.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/grant.lua"),
    include_str!("scripts/waiters.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/wait.lua")
));
/// What takes a lock that was offered, as whoever was told to look was, most of the time.
pub const TAKE_OFFERED: &str = lean!(concat!(
    include_str!("scripts/quick/head.lua"),
    include_str!("scripts/quick/take_offered.lua"),
    include_str!("scripts/quick/grant.lua")
));
/// The release of most leases, which says when it is not one of these.
pub const RELEASE_ALONE: &str = lean!(include_str!("scripts/quick/release.lua"));
pub const RELEASE: &str = lean!(concat!(
    include_str!("scripts/head.lua"),
    include_str!("scripts/base.lua"),
    include_str!("scripts/holders.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/waiters.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/release.lua")
));
pub const PROLONG: &str = lean!(concat!(
    include_str!("scripts/head.lua"),
    include_str!("scripts/base.lua"),
    include_str!("scripts/holders.lua"),
    include_str!("scripts/sharing.lua"),
    include_str!("scripts/waiters.lua"),
    include_str!("scripts/queue.lua"),
    include_str!("scripts/prolong.lua")
));
pub const RENEW: &str = lean!(include_str!("scripts/renew.lua"));
pub const FENCE: &str = lean!(include_str!("scripts/fence.lua"));
/// One master's part of a lock on several.
pub const TAKE: &str = lean!(concat!(
    include_str!("scripts/head.lua"),
    include_str!("scripts/alone.lua"),
    include_str!("scripts/base.lua"),
    include_str!("scripts/holders.lua"),
    include_str!("scripts/masters/take.lua")
));

/// Plain EVAL, always: it costs what EVALSHA costs, and no second request when the server has forgotten the script.
pub(super) fn eval(script: &str, keys: &[impl AsRef<str>], args: &[&str]) -> Cmd {
    let mut request = redis::cmd("EVAL");
    let mut script = std::borrow::Cow::Borrowed(script);
    if seeded!("fence-from-the-clock") {
        script = script.replace("math.max(last + 1, now_us)", "now_us").into();
    }
    if seeded!("wakes-nobody") {
        script = script.replace("'PUBLISH', channel", "'PUBLISH', channel .. '-'").into();
    }
    request.arg(&*script).arg(keys.len());
    for key in keys {
        request.arg(key.as_ref());
    }
    request.arg(args);
    request
}

/// Takes these away, whatever they hold.
pub(super) fn deletion(keys: &[String]) -> Cmd {
    let mut request = redis::cmd("DEL");
    request.arg(keys);
    request
}

/// How many bytes [`stripped`] leaves of `written`.
#[must_use]
pub const fn bytes_of_code(written: &str) -> usize {
    let (mut length, mut rest) = (0, written.as_bytes());
    while let Some((line, after)) = first_line(rest) {
        length += code_of(line).len();
        rest = after;
    }
    length
}

/// What [`lean!`] leaves of `written`.
#[must_use]
pub const fn stripped<const N: usize>(written: &str) -> [u8; N] {
    let (mut lean, mut length, mut rest) = ([0; N], 0, written.as_bytes());
    while let Some((line, after)) = first_line(rest) {
        let (_, room) = lean.split_at_mut(length);
        let code = code_of(line);
        room.split_at_mut(code.len()).0.copy_from_slice(code);
        length += code.len();
        rest = after;
    }
    lean
}

/// The first line of `text` with the byte that ends it, and what follows; `None`: there is no text.
const fn first_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut end = 0;
    while end < text.len() {
        end += 1;
        if text[end - 1] == b'\n' {
            break;
        }
    }
    if end == 0 { None } else { Some(text.split_at(end)) }
}

/// A line without its indentation; nothing of one that is empty or a comment from there on.
const fn code_of(line: &[u8]) -> &[u8] {
    let code = line.trim_ascii_start();
    match code {
        [b'-', b'-', ..] => &[],
        _ => code,
    }
}

/// Whole milliseconds, above zero: an expiry of 0 would delete.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_expiry_that_is_sent_is_what_was_asked_and_never_nothing(nanos in 0..=366 * 86_400_000_000_000_u64) {
            let asked = Duration::from_nanos(nanos);
            let sent = Duration::from_millis(millis(asked).parse().expect("digits"));
            prop_assert!(sent >= Duration::from_millis(1));
            prop_assert!(sent <= asked.max(Duration::from_millis(1)) && asked.saturating_sub(sent) < Duration::from_millis(1));
        }
    }

    #[test]
    fn comments_and_indentation_go_and_every_other_line_stays() {
        let lean = lean!("-- KEYS: none\n\nif a - b then -- why\n    return '--'\n  -- so\nend\n");
        assert_eq!(lean, "if a - b then -- why\nreturn '--'\nend\n");
    }

    #[test]
    fn no_line_of_code_is_lost_from_a_script_that_is_sent() {
        let written =
            glob::glob(concat!(env!("CARGO_MANIFEST_DIR"), "/src/backend/redis/**/*.lua")).expect("a pattern");
        let mut seen = 0;
        for path in written.flatten() {
            let written = std::fs::read_to_string(&path).expect("it is there");
            let (lean, length) = (stripped::<65_536>(&written), bytes_of_code(&written));
            let code = |text: &str| -> String {
                let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
                lines.flat_map(str::split_whitespace).collect()
            };
            assert_eq!(
                code(std::str::from_utf8(&lean[..length]).expect("UTF-8")),
                code(&written),
                "{}",
                path.display()
            );
            assert!(length < written.len(), "{}", path.display());
            seen += 1;
        }
        assert!(seen > 15, "{seen} scripts");
    }

    #[test]
    fn no_time_is_sent_as_none_at_all() {
        assert_eq!([0, 1, 999_999].map(|nanos| millis(Duration::from_nanos(nanos))), ["1", "1", "1"]);
        assert_eq!(millis(Duration::from_micros(1_500_900)), "1500");
    }
}
