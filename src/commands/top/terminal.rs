//! The whole terminal for as long as `top` runs, and as it was before whenever that ends or pauses.

use std::io;

use crossterm::Command;
use crossterm::cursor::{Hide, Show};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use crate::error::Error;
use crate::report;

/// Taken from here on; given back when it is dropped, and by whatever panics.
#[derive(Debug)]
pub(super) struct WholeTerminal;

impl WholeTerminal {
    /// # Errors
    /// When the terminal refuses other modes.
    pub(super) fn take() -> Result<Self, Error> {
        let before = std::panic::take_hook();
        // It ends the process, and nothing is dropped then.
        std::panic::set_hook(Box::new(move |defect| {
            give_back();
            before(defect);
        }));
        take_again()?;
        Ok(Self)
    }

    /// Gives it back for the time of `pause`.
    ///
    /// # Errors
    /// When it cannot be had again.
    pub(super) fn without(&self, pause: impl FnOnce()) -> Result<(), Error> {
        give_back();
        pause();
        take_again()
    }
}

impl Drop for WholeTerminal {
    fn drop(&mut self) {
        give_back();
    }
}

fn take_again() -> Result<(), Error> {
    let taken = enable_raw_mode().and_then(|()| report::print(&(sent(EnterAlternateScreen) + &sent(Hide))));
    taken.map_err(|error: io::Error| {
        give_back();
        Error::system("take the terminal", error)
    })
}

fn give_back() {
    // There is nobody left to complain to.
    report::print(&(sent(Show) + &sent(LeaveAlternateScreen))).ok();
    disable_raw_mode().ok();
}

/// What the terminal is sent for it.
fn sent(command: impl Command) -> String {
    let mut text = String::new();
    command.write_ansi(&mut text).expect("a string takes whatever is written to it");
    text
}
