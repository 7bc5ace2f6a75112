//! The `dlock` command.
//!
//! # Map
//!
//! `cli` is the command line as typed, `settings` the command line as meant; `commands` has a file for each
//! subcommand, and `commands/run.rs` tells the story of a run. `lock` is the vocabulary and the contract, `backend`
//! the places where locks live, `child` the command and its tree. `error` has every sentence, `exit_code` every
//! status, `report` every other word.
//!
//! `argv → cli → settings → commands → backend → Lease → child → release → exit_code`
//!
//! # Invariants
//!
//! 1. The owner token exists before the first request; `release` with it is always a safe undo.
//! 2. A lease counts from the instant *before* its request was sent, on a clock that neither stops nor jumps.
//! 3. The deadline is looked at before every renewal and again on resume; every call to a backend is bounded.
//! 4. The lock is released only after the command has been reaped; what cannot be killed still holds it.
//! 5. Signal first, print second: nothing on the loop that renews may block, standard error included.
//! 6. `lock` and `child` know nothing of each other or of the rest; they meet in `commands/run.rs` alone.
//! 7. Text from a backend is somebody else's: bounded when read, escaped when printed. A secret is never printed.
//! 8. Standard output carries only what was asked for; everything else goes to standard error as one line.

// Rust's own start-up would have SIGPIPE ignored, closed standard descriptors opened, and /proc/self/maps read. The
// command inherits the first two, and must find what dlock found; every start of dlock would pay for the third.
#![no_main]

use std::ffi::c_int;

use dlock::commands;
use dlock::exit_code::{DEFECT, UNAVAILABLE};
use dlock::report::Stderr;
use dlock::settings::Voice;
use dlock::sys::memory::Frugal;
use dlock::sys::{command_line, stdio};

dlock::entry_point!(start);

#[global_allocator]
static MEMORY: Frugal = Frugal::ending_with(UNAVAILABLE);

fn start() -> c_int {
    stdio::occupy_closed();
    std::panic::set_hook(Box::new(|defect| {
        Stderr::new(Voice::NORMAL).say_last(format_args!("a defect in dlock, please report it: {defect}"));
        std::process::exit(i32::from(DEFECT));
    }));
    let words = command_line::words();
    let ending = match commands::refuse_borrowed_rights() {
        Some(refused) => refused,
        None => commands::parse(&words).map_or_else(|ending| ending, commands::dispatch),
    };
    commands::end(ending)
}
