//! The pages of our own program: what starting needed is not needed while a command runs.

use std::ffi::{c_int, c_void};

use libc::{PF_W, PT_LOAD, dl_iterate_phdr, dl_phdr_info, madvise, size_t};

/// Lets go of the program's code and constants; whatever is needed again is mapped again from the page cache.
///
/// Two processes that do nothing but wait for a day should not count as if they were parsing their command lines.
pub fn give_back() {
    // SAFETY: the callback has the signature that is asked for, and ignores its data.
    #[expect(unsafe_code)]
    unsafe {
        dl_iterate_phdr(Some(give_back_of), std::ptr::null_mut());
    }
}

/// Gives back the read-only segments of one loaded object.
extern "C" fn give_back_of(object: *mut dl_phdr_info, _size: size_t, _data: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid object whose program headers are in memory. A segment that was loaded without
    // the right to write holds what the file holds (what is only protected after its relocation is part of a writable
    // one), so that pages which are dropped come back the same.
    #[expect(unsafe_code)]
    unsafe {
        let object = &*object;
        let headers = std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
        for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0) {
            let page = page_size();
            let begin = (object.dlpi_addr + header.p_vaddr).next_multiple_of(page);
            let end = (object.dlpi_addr + header.p_vaddr + header.p_memsz) / page * page;
            if let Ok(length) = usize::try_from(end.saturating_sub(begin)) {
                madvise(begin as *mut c_void, length, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

fn page_size() -> u64 {
    // SAFETY: sysconf takes a number and changes nothing.
    #[expect(unsafe_code)]
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(size).expect("a page has a size")
}
