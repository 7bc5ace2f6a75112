//! How keys, holders, times and reasons of the system are put into words. Whatever may come from elsewhere is escaped.

use std::fmt::{self, Write};
use std::io;
use std::time::{Duration, SystemTime};

use crate::lock::pace::DoesNotFit;
use crate::lock::{Contention, Holder, Keys, LONGEST_TTL};

/// Characters that move the cursor or turn the reading direction although they are no control characters: a holder
/// of that name could otherwise write over our own words.
const INVISIBLE: &[std::ops::RangeInclusive<char>] = &[
    '\u{ad}'..='\u{ad}',
    '\u{61c}'..='\u{61c}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{feff}'..='\u{feff}',
    '\u{e0000}'..='\u{e007f}',
];

/// Whether a terminal would obey the character rather than show it.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    character.is_control() || INVISIBLE.iter().any(|range| range.contains(&character))
}

/// A text with its control and invisible characters shown, never sent.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_hidden(character) {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// An escaped text in double quotes.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.0))
    }
}

/// Keys as a list in words, `"a", "b" and "c"`; of many only the first.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a>(pub &'a Keys);

/// More than these are only counted: a sentence has to be read.
const MOST_LISTED: usize = 4;

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.as_slice();
        let (shown, more) = if keys.len() > MOST_LISTED { keys.split_at(MOST_LISTED - 1) } else { (keys, &[][..]) };
        for (index, key) in shown.iter().enumerate() {
            let is_last = index + 1 == shown.len() && more.is_empty();
            match index {
                0 => {}
                _ if is_last => f.write_str(" and ")?,
                _ => f.write_str(", ")?,
            }
            write!(f, "{}", Quoted(key.as_str()))?;
        }
        match more.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A span of time as a person says it: its two largest units, `4m 10s`.
#[derive(Debug, Clone, Copy)]
pub struct Rough(pub Duration);

impl fmt::Display for Rough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
        let two = match (days, hours, minutes) {
            (0, 0, 0) if seconds == 0 => return write!(f, "{}ms", self.0.as_millis()),
            (0, 0, 0) => return write!(f, "{seconds}s"),
            (0, 0, _) => [(minutes, 'm'), (seconds % 60, 's')],
            (0, _, _) => [(hours, 'h'), (minutes, 'm')],
            _ => [(days, 'd'), (hours, 'h')],
        };
        match two {
            [(large, unit), (0, _)] => write!(f, "{large}{unit}"),
            [(large, unit), (small, smaller)] => write!(f, "{large}{unit} {small}{smaller}"),
        }
    }
}

/// A span of time as the user gave it, to the millisecond: `1m 30s`, `1s 500ms`.
#[derive(Debug, Clone, Copy)]
pub struct Exact(pub Duration);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is left of a limit after the first microseconds is still that limit.
        let ms = self.0.saturating_add(Duration::from_micros(500)).as_millis();
        write!(f, "{}", humantime::format_duration(Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))))
    }
}

/// Why a grace does not fit its lease, with the sums, and what would do.
#[derive(Debug, Clone, Copy)]
pub struct Grace<'a>(pub &'a DoesNotFit);

impl fmt::Display for Grace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DoesNotFit { ttl, kill_after, renewing, margin, believed, ttl_that_fits } = *self.0;
        write!(
            f,
            "--kill-after {} does not fit a lease of {}: it is believed for {}, and renewing takes up to {} of that and \
             the margin {}; ",
            Exact(kill_after),
            Exact(ttl),
            Exact(believed),
            Exact(renewing),
            Exact(margin),
        )?;
        if ttl_that_fits <= LONGEST_TTL {
            write!(f, "use --ttl {} or more, or a shorter grace", Exact(ttl_that_fits))
        } else {
            f.write_str("no lease is long enough for it: use a shorter grace")
        }
    }
}

/// A holder or waiter: `root@web-3 pid 812 (backup.sh)`, as far as it said who it is.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a>(pub &'a Holder);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder { host, pid, user, command, label } = self.0;
        let place = match (user, host) {
            (Some(user), Some(host)) => Some(format!("{}@{}", Escaped(user), Escaped(host))),
            (Some(only), None) | (None, Some(only)) => Some(Escaped(only).to_string()),
            (None, None) => None,
        };
        let process = pid.map(|pid| format!("pid {pid}"));
        let task = label.as_ref().or(command.as_ref()).map(|task| format!("({})", Escaped(task)));
        let known: Vec<String> = [place, process, task].into_iter().flatten().collect();
        if known.is_empty() { f.write_str("somebody unknown") } else { f.write_str(&known.join(" ")) }
    }
}

/// `held by root@web-3 pid 812 (backup.sh) for 4m 10s`, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub struct HeldBy<'a>(pub &'a Contention);

impl fmt::Display for HeldBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.holder {
            Some(holder) => write!(f, "held by {}", Who(holder))?,
            None => f.write_str("held by somebody else")?,
        }
        if self.0.others > 0 {
            write!(f, " and {} more", self.0.others)?;
        }
        match (self.0.held_for, self.0.since) {
            (Some(held), _) => write!(f, " for {}", Rough(held)),
            (None, Some(since)) => write!(f, " {}", Since(since)),
            (None, None) => Ok(()),
        }
    }
}

/// Whether the time is one that can be written: a server, or a file, may claim any at all.
#[must_use]
pub fn is_on_the_calendar(time: SystemTime) -> bool {
    /// 9999-12-31T23:59:59Z.
    const LAST_SECOND: u64 = 253_402_300_799;
    time.duration_since(SystemTime::UNIX_EPOCH).is_ok_and(|since| since.as_secs() <= LAST_SECOND)
}

/// `since 2026-11-21T02:41:10Z`, by the server's clock: what can be said where only a write could ask for its time now,
/// because ours may differ.
#[derive(Debug, Clone, Copy)]
pub struct Since(pub SystemTime);

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !is_on_the_calendar(self.0) {
            return f.write_str("since an unknown time");
        }
        write!(f, "since {}", humantime::format_rfc3339_seconds(self.0))
    }
}

/// What the system says, without Rust's "(os error 2)".
#[derive(Debug, Clone, Copy)]
pub struct OsReason<'a>(pub &'a io::Error);

impl fmt::Display for OsReason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let without_number =
            self.0.raw_os_error().and_then(|number| text.strip_suffix(&format!(" (os error {number})")));
        f.write_str(without_number.unwrap_or(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_time_is_said_in_its_two_largest_units() {
        let said = |ms| Rough(Duration::from_millis(ms)).to_string();
        assert_eq!(said(0), "0ms");
        assert_eq!(said(250), "250ms");
        assert_eq!(said(12_900), "12s");
        assert_eq!(said(250_000), "4m 10s");
        assert_eq!(said(3_600_000), "1h");
        assert_eq!(said(5_430_000), "1h 30m");
        assert_eq!(said(90_000_000), "1d 1h");
    }

    #[test]
    fn a_limit_is_said_as_it_was_given() {
        assert_eq!(Exact(Duration::from_nanos(49_999_500)).to_string(), "50ms");
        assert_eq!(Exact(Duration::from_millis(1500)).to_string(), "1s 500ms");
        assert_eq!(Exact(Duration::from_secs(90)).to_string(), "1m 30s");
    }

    #[test]
    fn a_holder_is_described_by_what_it_said_and_by_nothing_else() {
        let nobody = Holder::default();
        assert_eq!(Who(&nobody).to_string(), "somebody unknown");
        let host_only = Holder { host: Some("web-3".into()), ..Holder::default() };
        assert_eq!(Who(&host_only).to_string(), "web-3");
        let labelled = Holder {
            user: Some("root".into()),
            pid: Some(7),
            command: Some("sh".into()),
            label: Some("nightly".into()),
            ..host_only
        };
        assert_eq!(Who(&labelled).to_string(), "root@web-3 pid 7 (nightly)");
    }

    #[test]
    fn where_only_the_beginning_is_known_it_is_said_by_the_servers_clock() {
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_228_870);
        let known = Contention { since: Some(since), ..Contention::default() };
        assert_eq!(HeldBy(&known).to_string(), "held by somebody else since 2026-11-21T02:41:10Z");
        let both = Contention { held_for: Some(Duration::from_secs(70)), ..known };
        assert_eq!(HeldBy(&both).to_string(), "held by somebody else for 1m 10s");
    }

    #[test]
    fn a_beginning_that_no_calendar_has_is_as_good_as_unknown() {
        for seconds in [253_402_300_800, u64::MAX / 1_000_000] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Since(time).to_string(), "since an unknown time");
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Since(before).to_string(), "since an unknown time");
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        assert_eq!(Since(last).to_string(), "since 9999-12-31T23:59:59Z");
    }

    #[test]
    fn of_several_holders_one_is_named_and_the_rest_are_counted() {
        let held_for = Some(Duration::from_secs(70));
        let several = Contention { holder: Some(Holder::default()), others: 2, held_for, ..Contention::default() };
        assert_eq!(HeldBy(&several).to_string(), "held by somebody unknown and 2 more for 1m 10s");
    }

    #[test]
    fn a_hostile_holder_cannot_reach_the_terminal() {
        let hostile = Holder { host: Some("\u{1b}]0;x\u{7}\r\n\u{202e}\u{9b}2J".into()), ..Holder::default() };
        assert_eq!(Who(&hostile).to_string(), r"\u{1b}]0;x\u{7}\r\n\u{202e}\u{9b}2J");
    }
}
