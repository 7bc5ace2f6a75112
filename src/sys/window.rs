//! The size of the window that standard output is drawn on.

use std::os::fd::AsRawFd as _;

use super::stdio::STDOUT;

/// Columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Where the terminal does not know (a serial line): that of the VT100.
const UNKNOWN: Size = Size { columns: 80, rows: 24 };

/// As large as it is at this moment.
#[must_use]
pub fn size() -> Size {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize into the one that it is given, or nothing.
    #[expect(unsafe_code)]
    let answer = unsafe { libc::ioctl(STDOUT.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    if answer == 0 && size.ws_col > 0 && size.ws_row > 0 {
        Size { columns: size.ws_col.into(), rows: size.ws_row.into() }
    } else {
        UNKNOWN
    }
}
