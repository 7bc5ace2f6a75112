//! What is done as soon as this process knows a secret: nobody else is to find it in its memory or on its command line.

use std::ops::Range;

use crate::sys::{command_line, process};

/// Keeps what this process has in memory out of core files and from other processes of the same user, the command among
/// them. Whoever has no secret can be looked at with a debugger like any program.
pub(super) fn guard() {
    process::close_memory();
}

/// Covers the passwords that stand in `urls`, the values of `--redis`, where `ps` shows this process's command line.
pub(super) fn cover(urls: &[String]) {
    if !urls.iter().any(|url| !passwords_in(url.as_bytes()).is_empty()) {
        return;
    }
    guard();
    let is_typed = |word: &[u8]| urls.iter().any(|url| word.ends_with(url.as_bytes()));
    command_line::mask(|word| if is_typed(word) { passwords_in(word) } else { Vec::new() });
}

/// Where passwords stand in a list of URLs; rather too much than too little.
fn passwords_in(urls: &[u8]) -> Vec<Range<usize>> {
    let starts: Vec<usize> =
        urls.windows(3).enumerate().filter(|(_, end)| *end == b"://").map(|(at, _)| at + 3).collect();
    let ends = starts.iter().skip(1).map(|next| next - 3).chain([urls.len()]);
    let mut found = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends) {
        let url = &urls[start..end];
        // The last @ ends the credentials: one that was not percent-encoded belongs to the password.
        if let Some(at) = url.iter().rposition(|byte| *byte == b'@')
            && let Some(colon) = url[..at].iter().position(|byte| *byte == b':')
        {
            found.push(start + colon + 1..start + at);
        }
        if let Some(at) = url.windows(5).position(|option| option == b"pass=") {
            let length = url[at + 5..].iter().position(|byte| *byte == b'&').unwrap_or(url.len() - at - 5);
            found.push(start + at + 5..start + at + 5 + length);
        }
    }
    found.retain(|place| !place.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covered(urls: &str) -> String {
        let mut bytes = urls.as_bytes().to_vec();
        for place in passwords_in(urls.as_bytes()).into_iter().flatten() {
            bytes[place] = b'*';
        }
        String::from_utf8(bytes).expect("stars for whole characters")
    }

    #[test]
    fn passwords_are_covered_in_urls_of_every_kind_and_lists_of_them() {
        for (urls, shown) in [
            ("redis://h:6379/1", "redis://h:6379/1"),
            ("redis://user@h", "redis://user@h"),
            ("redis://user:@h", "redis://user:@h"),
            ("redis://user:pw@h:1", "redis://user:**@h:1"),
            ("rediss://:p:w@d@h", "rediss://:*****@h"),
            ("--redis=redis://:pw@h", "--redis=redis://:**@h"),
            ("redis://a:pw@h1,redis://h2,redis://b:word@h3", "redis://a:**@h1,redis://h2,redis://b:****@h3"),
            ("redis-sentinel://u:pw@h1:26379,h2/name/1", "redis-sentinel://u:**@h1:26379,h2/name/1"),
            ("unix:///run/r.sock?db=1&pass=p%26w&user=u", "unix:///run/r.sock?db=1&pass=*****&user=u"),
            ("unix:///run/r.sock?pass=", "unix:///run/r.sock?pass="),
            ("h:6379", "h:6379"),
            ("", ""),
        ] {
            assert_eq!(covered(urls), shown);
        }
    }
}
