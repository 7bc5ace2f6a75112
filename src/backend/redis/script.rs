//! How scripts are sent. What breaks it: an expiry that rounds to nothing.

use std::time::Duration;

use redis::Cmd;

use crate::sys::seeded::seeded;

/// Plain EVAL, always: it costs what EVALSHA costs, and no second request when the server has forgotten the script.
pub(super) fn eval(script: &str, keys: &[impl AsRef<str>], args: &[&str]) -> Cmd {
    let mut request = redis::cmd("EVAL");
    let mut script = lean(script);
    if seeded!("fence-from-the-clock") {
        script = script.replace("math.max(last + 1, now_us)", "now_us");
    }
    if seeded!("wakes-nobody") {
        script = script.replace("'PUBLISH', channel", "'PUBLISH', channel .. '-'");
    }
    request.arg(script).arg(keys.len());
    for key in keys {
        request.arg(key.as_ref());
    }
    request.arg(args);
    request
}

/// The script without comments and indentation, which the server would have to read and hash each time.
fn lean(script: &str) -> String {
    let lines = script.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// Whole milliseconds, above zero: an expiry of 0 would delete.
pub(super) fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_sent_as_none_at_all() {
        assert_eq!([0, 1, 999_999].map(|nanos| millis(Duration::from_nanos(nanos))), ["1", "1", "1"]);
        assert_eq!(millis(Duration::from_micros(1_500_900)), "1500");
    }
}
