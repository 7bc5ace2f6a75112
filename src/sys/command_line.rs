//! The words that this program was started with, as the kernel shows them to everybody (`/proc/PID/cmdline`, `ps`).

use std::ffi::{CStr, OsStr, OsString, c_char};
use std::iter;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
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

/// The words, the program's own name first.
#[must_use]
pub fn words() -> Vec<OsString> {
    // SAFETY: whoever remembered the list promised that it holds C strings; nobody writes to them meanwhile.
    #[expect(unsafe_code)]
    let text = |word: *mut c_char| unsafe { CStr::from_ptr(word) };
    each().map(|word| OsStr::from_bytes(text(word).to_bytes()).to_owned()).collect()
}

/// Writes a star over each byte that `finds` names in a word. For a process with one thread, after the last look at
/// [`words`].
pub fn mask(finds: impl Fn(&[u8]) -> Vec<Range<usize>>) {
    for start in each() {
        // SAFETY: whoever remembered the list promised that it holds C strings; nobody else uses them now. Only bytes
        // before a string's NUL are written.
        #[expect(unsafe_code)]
        unsafe {
            let word = CStr::from_ptr(start).to_bytes();
            let length = word.len();
            for place in finds(word).into_iter().flatten().filter(|place| *place < length) {
                start.add(place).write(c_char::from_ne_bytes([b'*']));
            }
        }
    }
}

/// Where each word is; none before they are remembered.
fn each() -> impl Iterator<Item = *mut c_char> {
    let mut at = WORDS.load(Ordering::Relaxed);
    iter::from_fn(move || {
        if at.is_null() {
            return None;
        }
        // SAFETY: whoever remembered the list promised that it ends with a null pointer, beyond which this never goes.
        #[expect(unsafe_code)]
        unsafe {
            let word = *at;
            if word.is_null() {
                return None;
            }
            at = at.add(1);
            Some(word)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_told_and_what_is_found_in_them_is_covered() {
        let mut texts = [*b"run\0", *b"a=b\0"];
        let [first, second] = &mut texts;
        let mut list = [first.as_mut_ptr().cast::<c_char>(), second.as_mut_ptr().cast(), ptr::null_mut()];
        // SAFETY: the list ends with a null pointer, and outlives the one use of it below.
        #[expect(unsafe_code)]
        unsafe {
            remember(list.as_mut_ptr());
        }
        assert_eq!(words(), ["run", "a=b"]);
        // One range goes beyond the word.
        mask(|word| if word == b"a=b" { vec![0..1, 2..9] } else { Vec::new() });
        // SAFETY: null is no list.
        #[expect(unsafe_code)]
        unsafe {
            remember(ptr::null_mut());
        }
        assert_eq!(words(), Vec::<OsString>::new());
        assert_eq!(texts, [*b"run\0", *b"*=*\0"]);
    }
}
