//! Words of memory that a process shares with those it forks.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

/// A number that this process and all its forks see at once. Lives as long as the last of them.
#[derive(Debug, Clone, Copy)]
pub struct SharedWord(&'static AtomicU64);

impl SharedWord {
    /// So many side by side, with these values.
    ///
    /// # Errors
    /// When the system has no memory left.
    pub fn several<const N: usize>(values: [u64; N]) -> nix::Result<[Self; N]> {
        let size = NonZeroUsize::new(size_of::<[AtomicU64; N]>()).expect("some words are asked for");
        // SAFETY: a fresh anonymous mapping, page-aligned and zeroed, which is a valid array of AtomicU64; it is never
        // unmapped, so the reference may live for ever.
        #[expect(unsafe_code)]
        let words: &'static [AtomicU64; N] = unsafe {
            mmap_anonymous(None, size, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED)?
                .cast()
                .as_ref()
        };
        let shared = words.each_ref().map(Self);
        shared.iter().zip(values).for_each(|(word, value)| word.store(value));
        Ok(shared)
    }

    #[must_use]
    pub fn load(self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub fn store(self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}
