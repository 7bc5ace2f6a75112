//! The words that this program was started with, as the kernel shows them to everybody (`/proc/PID/cmdline`, `ps`).

use std::ffi::{CStr, c_char};
use std::ops::Range;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The list that the kernel put on the stack; null until it is remembered.
static WORDS: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());

/// Keeps where the words are.
///
/// # Safety
/// `words` is the list that the C library hands to `main`, or null: it ends with a null pointer, lives as long as the
/// process and is written to by nobody else.
#[expect(unsafe_code, reason = "the list is of the C library")]
pub unsafe fn remember(words: *mut *mut c_char) {
    WORDS.store(words, Ordering::Relaxed);
}

/// Writes a star over each byte that `finds` names in a word. For a process with one thread, after the last look at
/// [`std::env::args_os`].
pub fn mask(finds: impl Fn(&[u8]) -> Vec<Range<usize>>) {
    let mut at = WORDS.load(Ordering::Relaxed);
    // SAFETY: whoever remembered the list promised that it ends with a null pointer and holds C strings; nobody else
    // uses them now. Only bytes before a string's NUL are written.
    #[expect(unsafe_code)]
    unsafe {
        while !at.is_null() && !(*at).is_null() {
            let word = CStr::from_ptr(*at).to_bytes();
            let length = word.len();
            for place in finds(word).into_iter().flatten().filter(|place| *place < length) {
                (*at).add(place).write(c_char::from_ne_bytes([b'*']));
            }
            at = at.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_is_covered_and_nothing_else() {
        let mut texts = [*b"run\0", *b"a=b\0"];
        let [first, second] = &mut texts;
        let mut words = [first.as_mut_ptr().cast::<c_char>(), second.as_mut_ptr().cast(), ptr::null_mut()];
        // SAFETY: the list ends with a null pointer, and outlives the one use of it below.
        #[expect(unsafe_code)]
        unsafe {
            remember(words.as_mut_ptr());
        }
        // One range goes beyond the word.
        mask(|word| if word == b"a=b" { vec![0..1, 2..9] } else { Vec::new() });
        // SAFETY: null is no list.
        #[expect(unsafe_code)]
        unsafe {
            remember(ptr::null_mut());
        }
        assert_eq!(texts, [*b"run\0", *b"*=*\0"]);
    }
}
