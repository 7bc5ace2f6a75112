//! Wall clocks: one that is ahead, or steps ahead, by a library that stands before the C library's own; and this machine's.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Only the time of day is moved; nobody's timers are. `WHEN` is a file, if any: it is moved from when that is there.
const SOURCE: &str = r"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int moved(void) { return WHEN[0] == 0 || access(WHEN, F_OK) == 0; }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, __func__);
    int status = real(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME && moved()) now->tv_sec += AHEAD;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, __func__);
    int status = real(now, zone);
    if (status == 0 && moved()) now->tv_sec += AHEAD;
    return status;
}
";

/// Makes the library in `directory`; for `LD_PRELOAD`.
pub(crate) fn clock_ahead(by: Duration, directory: &Path) -> PathBuf {
    made(by, directory, "")
}

/// The same of a clock that steps ahead as soon as this file is there.
pub(crate) fn clock_that_steps(by: Duration, when: &Path, directory: &Path) -> PathBuf {
    made(by, directory, when.to_str().expect("temporary directories have plain names"))
}

fn made(by: Duration, directory: &Path, when: &str) -> PathBuf {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    std::fs::write(&source, SOURCE).expect("the directory takes files");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(format!("-DAHEAD={}", by.as_secs()))
        .arg(format!("-DWHEN=\"{when}\""))
        .arg(&source)
        .arg("-ldl")
        .output()
        .expect("cc is installed: tests/run.sh installs what the tests need");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}

/// Whoever sets this machine's clock, and whoever counts what processes do that watch it.
static SETTING: Mutex<()> = Mutex::new(());

/// While it lives, nobody else of this program sets the clock.
#[derive(Debug)]
pub(crate) struct Setting(#[expect(dead_code, reason = "it is held, and that is all")] MutexGuard<'static, ()>);

impl Setting {
    pub(crate) fn the_clock() -> Self {
        Self(SETTING.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
