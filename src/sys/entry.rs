//! Where the C library enters the program, in place of Rust's own start-up.

/// Makes `$start` the program's `main`: called first and without arguments, which [`command_line::words`] has. For a
/// `#![no_main]` crate, where [`std::env::args_os`] has them only if the C library hands them to constructors, as glibc
/// does and musl does not.
///
/// [`command_line::words`]: crate::sys::command_line::words
#[macro_export]
macro_rules! entry_point {
    ($start:path) => {
        // SAFETY: the symbol that the C library calls, with its C signature; a `no_main` crate has no other.
        #[expect(unsafe_code, reason = "the C library finds the start of the program by its name")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn main(_count: std::ffi::c_int, words: *mut *mut std::ffi::c_char) -> std::ffi::c_int {
            // SAFETY: it is the C library's own list, which this program uses through `command_line` alone.
            #[expect(unsafe_code, reason = "only the C library knows where the list is")]
            unsafe {
                $crate::sys::command_line::remember(words);
            }
            $start()
        }
    };
}
