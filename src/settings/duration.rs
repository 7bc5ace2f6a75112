//! Times as people type them, and the limits of a lease.

use std::time::Duration;

use crate::lock::{LONGEST_TTL, Ttl};

/// The lease when nobody names one: long enough for a slow network and a short stop of the machine, short enough for
/// a crash at night.
pub const DEFAULT_TTL: Duration = Duration::from_secs(30);

/// Below a second the safety margins (docs of `lock::validity`) would leave nothing to work in.
const SHORTEST_TTL: Duration = Duration::from_secs(1);

/// `30s`, `1h 30m`, `250ms`; a bare number is seconds and may have a fraction.
///
/// # Errors
/// A fragment that says what would be a duration.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let is_bare = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.bytes().filter(|&byte| byte == b'.').count() <= 1;
    if is_bare {
        let seconds: f64 = text.parse().map_err(|_| NO_DURATION.to_owned())?;
        return Duration::try_from_secs_f64(seconds).map_err(|_| TOO_LONG.to_owned());
    }
    humantime::parse_duration(text).map_err(|error| match error {
        humantime::DurationError::NumberOverflow => TOO_LONG.to_owned(),
        _ => NO_DURATION.to_owned(),
    })
}

/// The TTL of a lease, within its limits.
///
/// # Errors
/// A fragment that says what would be one.
pub fn parse_ttl(text: &str) -> Result<Ttl, String> {
    let ttl = parse(text).map_err(|reason| if reason == TOO_LONG { TTL_RANGE.to_owned() } else { reason })?;
    if !(SHORTEST_TTL..=LONGEST_TTL).contains(&ttl) {
        return Err(TTL_RANGE.to_owned());
    }
    Ok(Ttl::Exactly(ttl))
}

const NO_DURATION: &str = "that is no duration; use 30s, 1h 30m, 250ms or a number of seconds";
const TOO_LONG: &str = "that is longer than dlock can count";
const TTL_RANGE: &str = "a lease lasts at least 1s and at most 366d";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_the_manual_are_understood() {
        for (text, ms) in [
            ("30s", 30_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
            ("5", 5_000),
            ("0.2", 200),
            ("0", 0),
            (".5", 500),
            (" 10 ", 10_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_the_forms_that_are() {
        for text in ["", "abc", "-1", "-1s", "1e3", "inf", "nan", "1.2.3", "5 x", ".", "1h-5m", "٣"] {
            assert_eq!(parse(text), Err(NO_DURATION.to_owned()), "{text}");
        }
        assert_eq!(parse(&"9".repeat(400)), Err(TOO_LONG.to_owned()));
    }

    #[test]
    fn a_lease_has_limits_and_the_sentence_names_them() {
        for text in ["0", "0.5", "999ms", "99999y", "366d 1s", "99999999999999999999", "99999999999999999999y"] {
            assert_eq!(parse_ttl(text), Err(TTL_RANGE.to_owned()), "{text}");
        }
        for text in ["-1", "abc", ""] {
            assert_eq!(parse_ttl(text), Err(NO_DURATION.to_owned()), "{text}");
        }
        assert_eq!(parse_ttl("1"), Ok(Ttl::Exactly(SHORTEST_TTL)));
        assert_eq!(parse_ttl("366d"), Ok(Ttl::Exactly(LONGEST_TTL)));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,20}") {
            parse(&text).ok();
            parse_ttl(&text).ok();
        }

        #[test]
        fn whole_seconds_and_milliseconds_are_read_exactly(seconds in 0u64..40_000_000, ms in 0u64..1000) {
            prop_assert_eq!(parse(&seconds.to_string()), Ok(Duration::from_secs(seconds)));
            prop_assert_eq!(parse(&format!("{seconds}s {ms}ms")), Ok(Duration::from_millis(seconds * 1000 + ms)));
        }
    }
}
