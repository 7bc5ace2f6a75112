//! Where the C library enters the program, in place of Rust's own start-up.

/// Makes `$start` the program's `main`: called first and without arguments, which `std::env::args_os` has all the same
/// (glibc hands them to std's constructor). For a `#![no_main]` crate.
#[macro_export]
macro_rules! entry_point {
    ($start:path) => {
        // SAFETY: the symbol that the C library calls, with its C signature; a `no_main` crate has no other.
        #[expect(unsafe_code, reason = "the C library finds the start of the program by its name")]
        #[unsafe(no_mangle)]
        pub extern "C" fn main(_count: std::ffi::c_int, _words: *const *const std::ffi::c_char) -> std::ffi::c_int {
            $start()
        }
    };
}
