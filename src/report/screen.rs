//! Text that is drawn into the rows and columns of a window, again and again.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::sys::window::Size;

/// To the first cell; what is drawn covers what was there.
const HOME: &str = "\u{1b}[H";
/// The rest of the line, and the rest of the window.
const ERASE_LINE: &str = "\u{1b}[K";
const ERASE_BELOW: &str = "\u{1b}[J";

/// The line as far as it fits; a cut one ends with an ellipsis.
#[must_use]
pub fn cut(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |character: &char| {
        let width = character.width().unwrap_or(0);
        let is_room = width <= room;
        room = if is_room { room - width } else { 0 };
        is_room
    };
    let mut shown: String = line.chars().take_while(fits).collect();
    if columns > 0 {
        shown.push('…');
    }
    shown
}

/// What to send to a terminal so that its window shows `lines`, cut to its size, and below them `notes`, which are never
/// left out. The cursor stays in the line after the last, so that whatever ends the program leaves all of it readable.
#[must_use]
pub fn frame(lines: &[String], notes: &[String], size: Size) -> String {
    let room = size.rows.saturating_sub(1 + notes.len());
    let mut shown: Vec<String> = lines.to_vec();
    if shown.len() > room {
        let left_out = shown.len() - room.saturating_sub(1);
        shown.truncate(room.saturating_sub(1));
        shown.push(format!("and {left_out} more lines"));
    }
    shown.extend_from_slice(notes);
    let mut frame = HOME.to_owned();
    for line in shown {
        frame += &cut(&line, size.columns);
        frame += ERASE_LINE;
        frame += "\r\n";
    }
    frame + ERASE_BELOW
}

/// What to send so that the window shows exactly these lines, one for each of its rows.
#[must_use]
pub fn whole(lines: &[String]) -> String {
    HOME.to_owned() + &lines.join(&format!("{ERASE_LINE}\r\n")) + ERASE_BELOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_columns_that_its_characters_take() {
        assert_eq!(cut("backup", 6), "backup");
        assert_eq!(cut("backups", 6), "backu…");
        // Each of these takes two columns, and half of one cannot be shown.
        assert_eq!(cut("鍵鍵鍵鍵", 6), "鍵鍵…");
        assert_eq!(cut("backup", 1), "…");
        assert_eq!(cut("backup", 0), "");
    }

    #[test]
    fn a_table_that_is_too_long_says_how_much_is_missing_and_keeps_its_notes() {
        let lines: Vec<String> = (1..=9).map(|number| format!("line {number}")).collect();
        let frame = frame(&lines, &["lost".to_owned()], Size { columns: 12, rows: 5 });
        assert_eq!(
            frame,
            "\u{1b}[Hline 1\u{1b}[K\r\nline 2\u{1b}[K\r\nand 7 more …\u{1b}[K\r\nlost\u{1b}[K\r\n\u{1b}[J"
        );
    }
}
