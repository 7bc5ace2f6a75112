//! The heap of a program that is linked with musl, in place of musl's own, which asks the system for memory again and again
//! at every start. Everything in the program allocates here: Rust's allocator calls these functions, too.

use std::ffi::c_void;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dlmalloc::Dlmalloc;

/// What is asked of the system at once: as much as a whole `dlock run -- true` takes.
const GRANULARITY: usize = 128 << 10;

/// What every address that is given out is a multiple of.
const ALIGNMENT: usize = 16;

static HEAP: Mutex<Dlmalloc> = Mutex::new(
    const {
        let mut heap = Dlmalloc::new();
        assert!(heap.set_granularity(GRANULARITY), "it is a power of two");
        heap
    },
);

/// Nothing in here panics: a lock that is poisoned would be as good.
fn heap() -> MutexGuard<'static, Dlmalloc> {
    HEAP.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As of C, whose names these are: null where there is no memory.
#[expect(unsafe_code, reason = "the C library and Rust's allocator find it by its name")]
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut c_void {
    // SAFETY: any size will do.
    unsafe { heap().c_malloc(size).cast() }
}

#[expect(unsafe_code, reason = "as for malloc")]
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else { return ptr::null_mut() };
    // SAFETY: any size will do, and the alignment is what `free` and `realloc` take for granted.
    unsafe { heap().calloc(bytes, ALIGNMENT).cast() }
}

#[expect(unsafe_code, reason = "as for malloc")]
#[unsafe(no_mangle)]
extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if !alignment.is_power_of_two() {
        return ptr::null_mut();
    }
    // SAFETY: the alignment is a power of two, and any size will do.
    unsafe { heap().c_memalign(alignment, size).cast() }
}

/// # Safety
/// `memory` is null, or comes from here and has not been freed.
#[expect(unsafe_code, reason = "as for malloc")]
#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller's promise is what this asks for.
    unsafe { heap().c_realloc(memory.cast(), size).cast() }
}

/// # Safety
/// As of [`realloc`].
#[expect(unsafe_code, reason = "as for malloc")]
#[unsafe(no_mangle)]
unsafe extern "C" fn free(memory: *mut c_void) {
    // SAFETY: the caller's promise is what this asks for.
    unsafe { heap().c_free(memory.cast()) }
}
