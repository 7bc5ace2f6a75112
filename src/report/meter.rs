//! How far a measurement is.

use std::cell::Cell;
use std::time::Duration;

use super::{Stderr, transient};
use crate::error::phrase::Rough;
use crate::settings::BackendName;
use crate::sys::boottime::BootInstant;

/// What is being measured, on a terminal as a line that is drawn anew each second; elsewhere only `-v` is told.
#[derive(Debug)]
pub struct Meter {
    stderr: Stderr,
    is_drawn: bool,
    began: BootInstant,
    whole: Duration,
    part: Cell<Option<(BackendName, &'static str)>>,
}

impl Meter {
    #[must_use]
    pub fn new(stderr: Stderr, whole: Duration) -> Self {
        let is_drawn = transient::has_room(stderr);
        Self { stderr, is_drawn, began: BootInstant::now(), whole, part: Cell::new(None) }
    }

    /// Says what comes next.
    pub fn tell(&self, backend: BackendName, part: &'static str) {
        self.part.set(Some((backend, part)));
        self.clear();
        self.stderr.detail(|| format!("measuring {backend}: {part}"));
        self.draw();
    }

    /// Draws the line, if there is a place for it. To be called every second.
    pub fn draw(&self) {
        if let Some((backend, part)) = self.part.get().filter(|_| self.is_drawn) {
            // Some more time is spent beside the measuring.
            let passed = BootInstant::now().since(self.began).min(self.whole);
            let (passed, whole) = (Duration::from_secs(passed.as_secs()), Rough(self.whole));
            let passed = if passed.is_zero() { "0s".to_owned() } else { Rough(passed).to_string() };
            transient::draw(&format!("measuring {backend}: {part}, {passed} of {whole}"));
        }
    }

    /// Takes the line off the terminal. To be called before anything else is printed.
    pub fn clear(&self) {
        if self.is_drawn {
            transient::erase();
        }
    }
}
