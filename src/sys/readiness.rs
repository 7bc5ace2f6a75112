//! A descriptor of our own, waited for in the event loop.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

/// A non-blocking descriptor registered with the event loop, owned for as long as it is registered.
#[derive(Debug)]
pub struct Readiness<T: AsFd>(AsyncFd<Owner<T>>);

/// What `tokio` asks for is `AsRawFd`; what `nix` offers is `AsFd`.
#[derive(Debug)]
struct Owner<T>(T);

impl<T: AsFd> AsRawFd for Owner<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl<T: AsFd> Readiness<T> {
    /// # Errors
    /// When the event loop takes no further descriptor.
    pub fn new(owner: T) -> io::Result<Self> {
        // SAFETY: `owner` moves into the registration and is never handed out mutably, so its descriptor stays open
        // and the same one until the registration is dropped.
        #[expect(unsafe_code)]
        let registered = unsafe { AsyncFd::register(Owner(owner)) };
        registered.map(Self).map_err(io::Error::from)
    }

    pub fn get_ref(&self) -> &T {
        &self.0.get_ref().0
    }

    /// Waits until `attempt` no longer says `EAGAIN`, and returns what it says then. May be dropped at any point.
    ///
    /// # Errors
    /// Whatever `attempt` fails with.
    pub async fn readable<R>(&self, mut attempt: impl FnMut(&T) -> nix::Result<R>) -> nix::Result<R> {
        loop {
            let Ok(mut guard) = self.0.readable().await else { return Err(Errno::EBADF) };
            match attempt(self.get_ref()) {
                Err(Errno::EAGAIN) => guard.clear_ready(),
                Err(Errno::EINTR) => {}
                answer => return answer,
            }
        }
    }
}
