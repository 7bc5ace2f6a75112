//! A line of bash's as far as the cursor: its words, and what has to take the place of the last one. Pure, and nothing
//! of the line is ever executed.

use std::fmt::Write as _;

/// How the value would go on at the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

#[derive(Debug)]
pub(super) struct Line {
    /// What the shell would make of them; the last one is unfinished and may be empty.
    pub words: Vec<String>,
    /// That part of the last word, as typed, which readline replaces.
    replaced: String,
    quote: Quote,
}

impl Line {
    /// `breaks`: `COMP_WORDBREAKS`. `variable` tells the value of an exported variable. `None` for a line with parts that
    /// only executing it, or a whole parser, could understand.
    pub(super) fn read(text: &str, breaks: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut replaced_from = text.len();
        let mut dangling = false;
        let mut quote = Quote::None;
        let mut letters = text.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            let after = at + letter.len_utf8();
            if quote == Quote::None && (letter == ' ' || letter == '\t') {
                words.extend(word.take());
                replaced_from = text.len();
                continue;
            }
            if word.is_none() {
                replaced_from = at;
            }
            let value = word.get_or_insert_default();
            match (quote, letter) {
                (Quote::Single, '\'') | (Quote::Double, '"') => quote = Quote::None,
                (Quote::Single, _) => value.push(letter),
                (_, '`') | (Quote::None, '<' | '>' | '(' | ')' | ';' | '|' | '&' | '\n') => return None,
                (_, '$') => {
                    let rest = &text[after..];
                    if rest.starts_with('(') || (quote == Quote::None && rest.starts_with(['\'', '"'])) {
                        return None;
                    }
                    let Some((name, length)) = name_of_variable(rest) else {
                        value.push('$');
                        continue;
                    };
                    let found = variable(name)?;
                    // The shell would take it apart.
                    if quote == Quote::None
                        && found.contains(|letter: char| letter.is_whitespace() || "*?[".contains(letter))
                    {
                        return None;
                    }
                    value.push_str(&found);
                    while letters.next_if(|(at, _)| *at < after + length).is_some() {}
                }
                (Quote::None, '\\') => match letters.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => dangling = true,
                },
                (Quote::Double, '\\') => match letters.next_if(|(_, next)| "\"\\$`".contains(*next)) {
                    Some((_, escaped)) => value.push(escaped),
                    None if letters.peek().is_none() => dangling = true,
                    None => value.push('\\'),
                },
                (Quote::Double, _) => value.push(letter),
                (Quote::None, '\'' | '"') => {
                    quote = if letter == '"' { Quote::Double } else { Quote::Single };
                }
                (Quote::None, '~') if value.is_empty() && text[after..].starts_with('/') => {
                    value.push_str(&variable("HOME")?);
                }
                (Quote::None, _) => {
                    value.push(letter);
                    if breaks.contains(letter) {
                        replaced_from = after;
                    }
                }
            }
        }
        // readline begins after a quote that is still open.
        if quote != Quote::None {
            replaced_from = open_quote(text, quote)? + 1;
        }
        let replaced = text[replaced_from..].to_owned();
        let replaced = if dangling { replaced[..replaced.len() - 1].to_owned() } else { replaced };
        words.push(word.unwrap_or_default());
        Some(Self { words, replaced, quote })
    }

    /// What readline puts in the place of the word, for one that goes on with `rest`.
    pub(super) fn replacement(&self, rest: &str) -> String {
        let mut text = self.replaced.clone();
        let (close, reopen) = match self.quote {
            Quote::None => ("", ""),
            Quote::Single => ("'", "'"),
            Quote::Double => ("\"", "\""),
        };
        for letter in rest.chars() {
            match (self.quote, letter) {
                _ if letter.is_control() => {
                    text += close;
                    text += "$'";
                    let mut bytes = [0; 4];
                    for byte in letter.encode_utf8(&mut bytes).bytes() {
                        write!(text, "\\{byte:03o}").expect("memory takes whatever is written to it");
                    }
                    text += "'";
                    text += reopen;
                }
                (Quote::Single, '\'') => text += r"'\''",
                // Of history, which even double quotes do not hide.
                (Quote::Double, '!') => text += "\"'!'\"",
                (Quote::Double, '"' | '\\' | '$' | '`') => text.extend(['\\', letter]),
                (Quote::None, _) if letter.is_ascii() && !is_plain(letter) => text.extend(['\\', letter]),
                _ => text.push(letter),
            }
        }
        text
    }
}

fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "_./:@%+,-".contains(letter)
}

/// `NAME` or `{NAME}` at the beginning of `text`, and how long that is.
fn name_of_variable(text: &str) -> Option<(&str, usize)> {
    let name_in = |text: &str| {
        let length = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_').unwrap_or(text.len());
        Some(length).filter(|length| *length > 0 && !text.starts_with(|letter: char| letter.is_ascii_digit()))
    };
    match text.strip_prefix('{') {
        Some(inner) => {
            let length = name_in(inner)?;
            inner[length..].starts_with('}').then(|| (&inner[..length], length + 2))
        }
        None => name_in(text).map(|length| (&text[..length], length)),
    }
}

/// Where the quote stands that is not closed.
fn open_quote(text: &str, quote: Quote) -> Option<usize> {
    let mut open = None;
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match (open, letter) {
            (None | Some((_, '"')), '\\') => {
                letters.next();
            }
            (None, '\'' | '"') => open = Some((at, letter)),
            (Some((_, opened)), _) if opened == letter => open = None,
            _ => {}
        }
    }
    let letter = if quote == Quote::Double { '"' } else { '\'' };
    open.filter(|(_, opened)| *opened == letter).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As bash sets it.
    const BREAKS: &str = " \t\n\"'><=;|&(:";

    fn read(text: &str) -> Option<Line> {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/me".to_owned()),
            "URL" => Some("redis://r1".to_owned()),
            _ => None,
        };
        Line::read(text, BREAKS, variable)
    }

    fn words(text: &str) -> Vec<String> {
        read(text).unwrap_or_else(|| panic!("{text} can be read")).words
    }

    #[test]
    fn words_are_what_the_shell_would_make_of_them() {
        assert_eq!(words("dlock status "), ["dlock", "status", ""]);
        assert_eq!(words("dlock  status 'a b' c\\ d \"e'f\" g"), ["dlock", "status", "a b", "c d", "e'f", "g"]);
        assert_eq!(
            words("dlock status --redis $URL \"${URL}/1\" '$URL'"),
            ["dlock", "status", "--redis", "redis://r1", "redis://r1/1", "$URL"]
        );
        assert_eq!(
            words("dlock status --config ~/x a~ '~/y"),
            ["dlock", "status", "--config", "/home/me/x", "a~", "~/y"]
        );
        assert_eq!(words("dlock status $ $1 \"a\\b\\\"c"), ["dlock", "status", "$", "$1", "a\\b\"c"]);
    }

    #[test]
    fn what_only_executing_would_tell_is_not_understood() {
        for text in ["a $(b) ", "a `b` ", "a \"$(b) ", "a >b", "a $UNKNOWN ", "a $'b", "a & b", "a <(b) ", "a (b"] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_replacement_begins_where_readline_does() {
        for (text, rest, replacement) in [
            ("x dep", "loy", "deploy"),
            ("x db:or", "ders", "orders"),
            ("x db:", "orders", "orders"),
            ("x --key=dep", "loy", "deploy"),
            ("x ", "a b", "a\\ b"),
            ("x a\\ ", "b", "a\\ b"),
            ("x a\\", " b", "a\\ b"),
            ("x 'a", " b's", "a b'\\''s"),
            ("x 'a", " b", "a b"),
            ("x \"a", "$b!", "a\\$b\"'!'\""),
            ("x a'b'c", "d", "a'b'cd"),
            ("x a'b", "c", "bc"),
            ("x ", "~$(b)`c`;*", "\\~\\$\\(b\\)\\`c\\`\\;\\*"),
            ("x ", "\u{1b}[31m", "$'\\033'\\[31m"),
            ("x '", "\u{1b}[", "'$'\\033''["),
            ("x ", "schlüssel", "schlüssel"),
        ] {
            let line = read(text).unwrap_or_else(|| panic!("{text} can be read"));
            assert_eq!(line.replacement(rest), replacement, "{text:?} and {rest:?}");
        }
    }

    proptest! {
        /// Whatever the key, the line that is completed with it has the key as its last word.
        #[test]
        fn a_completed_line_is_read_as_the_key(key in "\\PC{0,12}", begun in 0..8_usize, quote in 0..3_usize) {
            let begun: String = key.chars().take(begun).collect();
            let rest = &key[begun.len()..];
            let opened = ["", "'", "\""][quote];
            let plain = Line { words: Vec::new(), replaced: String::new(), quote: [Quote::None, Quote::Single, Quote::Double][quote] };
            let typed = format!("x {opened}{}", plain.replacement(&begun));
            let Some(line) = Line::read(&typed, "", |_| None) else { return Ok(()) };
            prop_assert_eq!(line.words.last(), Some(&begun));
            let before = &typed[..typed.len() - line.replaced.len()];
            let completed = format!("{before}{}{opened}", line.replacement(rest));
            let words = Line::read(&completed, "", |_| None).expect("it is quoted").words;
            prop_assert_eq!(words.last(), Some(&key));
        }
    }
}
