//! Wall clocks: one that is ahead, or is set while a server runs on it, by a library that stands before the C library's own; and
//! this machine's.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::compiler::compiled;

/// Only the time of day is moved; nobody's timers are.
const SOURCE: &str = r"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, __func__);
    int status = real(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) now->tv_sec += AHEAD;
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int (*real)(struct timeval *, void *) = dlsym(RTLD_NEXT, __func__);
    int status = real(now, zone);
    if (status == 0) now->tv_sec += AHEAD;
    return status;
}
";

/// Makes the library in `directory`; for `LD_PRELOAD`.
pub(crate) fn clock_ahead(by: Duration, directory: &Path) -> PathBuf {
    library(SOURCE, &format!("-DAHEAD={}", by.as_secs()), directory)
}

/// How far the clock is ahead stands in a file of eight bytes, in microseconds, which every call looks at.
const STEPPED: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static volatile int64_t *ahead;

__attribute__((constructor)) static void look(void) {
    int file = open(getenv(AHEAD_IN), O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    ahead = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, __func__);
    int status = real(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME && ahead) {
        int64_t nanos = now->tv_sec * INT64_C(1000000000) + now->tv_nsec + *ahead * 1000;
        now->tv_sec = nanos / 1000000000;
        now->tv_nsec = nanos % 1000000000;
    }
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, __func__);
    int status = real(now, zone);
    if (status == 0 && ahead) {
        int64_t micros = now->tv_sec * INT64_C(1000000) + now->tv_usec + *ahead;
        now->tv_sec = micros / 1000000;
        now->tv_usec = micros % 1000000;
    }
    return status;
}
"#;

const AHEAD_IN: &str = "DLOCK_TEST_CLOCK_AHEAD";

/// The wall clock of servers that are started on it, which a test sets forward and back.
#[derive(Debug)]
pub(crate) struct SteppedClock {
    library: PathBuf,
    /// Microseconds.
    ahead: AtomicI64,
    directory: TempDir,
}

impl SteppedClock {
    pub(crate) fn new() -> Self {
        let directory = TempDir::with_prefix("dlock-clock-").expect("the temporary directory takes files");
        let library = library(STEPPED, &format!("-DAHEAD_IN=\"{AHEAD_IN}\""), directory.path());
        std::fs::write(directory.path().join("ahead"), 0_i64.to_ne_bytes()).expect("the directory takes files");
        Self { library, ahead: AtomicI64::new(0), directory }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ahead")
    }

    /// Sets it so far forward, or back, at once.
    pub(crate) fn step(&self, by_ms: i64) {
        let ahead = self.ahead.fetch_add(by_ms * 1000, Ordering::Relaxed) + by_ms * 1000;
        // In place: the servers look at these very bytes.
        let file = OpenOptions::new().write(true).open(self.file()).expect("it was just made");
        file.write_all_at(&ahead.to_ne_bytes(), 0).expect("the directory takes files");
    }

    /// For the environment of a server.
    pub(super) fn variables(&self) -> [String; 2] {
        [format!("LD_PRELOAD={}", self.library.display()), format!("{AHEAD_IN}={}", self.file().display())]
    }
}

fn library(code: &str, definition: &str, directory: &Path) -> PathBuf {
    compiled(code, directory, "clock.so", &["-shared", "-fPIC", definition, "-ldl"])
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
