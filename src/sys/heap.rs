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

#[cfg(test)]
mod tests {
    use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};

    use super::{GRANULARITY, aligned_alloc, calloc, free, malloc, ptr, realloc as realloc_in_c};

    /// By Rust's own allocator, which calls what is here.
    #[test]
    fn memory_is_aligned_and_keeps_what_is_written_to_it_in_any_thread() {
        let sizes = [1, 15, 16, 17, 4096, 100_000, GRANULARITY, 3 * GRANULARITY + 1];
        let fill = |seed: usize| {
            for (number, (size, alignment)) in
                sizes.into_iter().flat_map(|size| [8, 16, 64, 4096].map(|alignment| (size, alignment))).enumerate()
            {
                let mark = u8::try_from((seed + number) % 256).expect("a remainder");
                let layout = Layout::from_size_align(size, alignment).expect("small");
                // SAFETY: no size is zero, only memory within the size is used, and each is freed once as it was asked for.
                #[expect(unsafe_code)]
                unsafe {
                    let zeroed = alloc_zeroed(layout);
                    assert!(!zeroed.is_null() && zeroed.addr().is_multiple_of(alignment));
                    assert!((0..size).all(|at| zeroed.add(at).read() == 0), "{size} {alignment}");
                    let memory = alloc(layout);
                    assert!(!memory.is_null() && memory.addr().is_multiple_of(alignment));
                    memory.write_bytes(mark, size);
                    zeroed.write_bytes(!mark, size);
                    let grown = realloc(memory, layout, 2 * size);
                    assert!(grown.addr().is_multiple_of(alignment));
                    assert!((0..size).all(|at| grown.add(at).read() == mark), "{size} {alignment}");
                    dealloc(zeroed, layout);
                    dealloc(grown, Layout::from_size_align(2 * size, alignment).expect("small"));
                }
            }
        };
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || (0..20).for_each(|round| fill(seed * 20 + round)));
            }
        });
    }

    #[test]
    fn what_there_is_no_memory_for_is_null() {
        assert!(calloc(usize::MAX, 2).is_null() && malloc(usize::MAX / 2).is_null());
        assert!(aligned_alloc(24, 1).is_null(), "no power of two");
        // SAFETY: null is nothing to free, and new memory where there is something to grow.
        #[expect(unsafe_code)]
        unsafe {
            free(ptr::null_mut());
            let memory = realloc_in_c(ptr::null_mut(), 10);
            assert!(!memory.is_null());
            free(memory);
        }
    }
}
