//! A look at where the program lies, which the C library of a static program begins with, and which nothing here needs.

use std::ffi::c_char;
use std::ptr::without_provenance;

/// In place of the C library's own: the folder of the program, for libraries that are loaded from beside it. A static
/// program has none, and the link of `/proc` that tells the folder is a fiftieth of what starting dlock takes.
// SAFETY: its type is the C library's, and all ones are its own word for "unknown".
#[expect(unsafe_code, reason = "the C library finds it by its name")]
#[unsafe(no_mangle)]
extern "C" fn _dl_get_origin() -> *const c_char {
    without_provenance(usize::MAX)
}
