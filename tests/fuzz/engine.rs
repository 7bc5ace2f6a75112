//! libFuzzer round one target, the one that `DLOCK_FUZZ_TARGET` names.
#![no_main]

mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use targets::Target;

/// More than this at once is never needed for what a stranger wrote, however much the stranger says will follow.
const MOST_AT_ONCE: usize = 64 << 20;

/// The system's allocator, which ends the process where somebody's word alone is taken for a size.
struct Frugal;

// SAFETY: everything is done by the system's allocator.
unsafe impl GlobalAlloc for Frugal {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        refuse(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        refuse(size);
        unsafe { System.realloc(memory, layout, size) }
    }
}

fn refuse(size: usize) {
    if size > MOST_AT_ONCE {
        std::process::abort();
    }
}

#[global_allocator]
static FRUGAL: Frugal = Frugal;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|input: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("DLOCK_FUZZ_TARGET").expect("run.sh names a target");
        *targets::ALL.iter().find(|target| target.name == name).expect("run.sh knows the names")
    });
    (target.run)(input);
});
