//! Memory: no more at once than anything here needs, whatever a stranger's bytes say.

use std::alloc::{GlobalAlloc, Layout, System};

use super::process::exit_now;
use super::stdio::{STDERR, write_all};

/// A hundred times what the longest list of locks takes. Reading begins with room for as many things as are announced
/// (the client crate of ZooKeeper does so), and four bytes can announce two thousand million of them: for that there is no
/// memory, and a program that runs out of it is aborted, without a sentence and with a dump of all that it knows.
const MOST_AT_ONCE: usize = 512 << 20;

/// The system's allocator, which ends the process in good order where so much is asked for.
#[derive(Debug)]
pub struct Frugal {
    status: i32,
}

impl Frugal {
    /// `status` is what the process ends with.
    #[must_use]
    pub const fn ending_with(status: u8) -> Self {
        Self { status: status as i32 }
    }

    fn admit(&self, size: usize) {
        if size > MOST_AT_ONCE {
            self.refuse();
        }
    }

    /// Nobody here can do without what was asked for: whoever is told so aborts.
    fn given(&self, memory: *mut u8) -> *mut u8 {
        if memory.is_null() {
            self.refuse();
        }
        memory
    }

    #[cold]
    fn refuse(&self) -> ! {
        // Nothing that would allocate.
        let sentence =
            b"dlock: a server announces more than there is memory for; it is broken, or no server for locks\n";
        write_all(STDERR, sentence).ok();
        exit_now(self.status);
    }
}

// SAFETY: everything that returns is done by the system's allocator.
#[expect(unsafe_code)]
unsafe impl GlobalAlloc for Frugal {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.admit(layout.size());
        // SAFETY: the caller's promises are those that this asks for; so below.
        self.given(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.admit(layout.size());
        // SAFETY: as above.
        self.given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.admit(size);
        // SAFETY: as above.
        self.given(unsafe { System.realloc(memory, layout, size) })
    }
}
