//! A wall clock that is ahead: a library that stands before the C library's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    std::fs::write(&source, SOURCE).expect("the directory takes files");
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(format!("-DAHEAD={}", by.as_secs()))
        .arg(&source)
        .arg("-ldl")
        .output()
        .expect("cc is installed: tests/run.sh installs what the tests need");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    library
}
