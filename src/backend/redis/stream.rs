//! The bytes between us and a server, whatever carries them: the same for requests and for listening.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use crate::backend::tls;
use crate::lock::ErrorKind;

pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls { stream: Box<TlsStream<TcpStream>>, refusal: Refusal },
}

/// Why the server ended TLS after the handshake: of a missing client certificate, TLS 1.3 tells only then, and whoever
/// waits for a reply may learn no more than that the connection has ended.
pub(super) type Refusal = Arc<OnceLock<(ErrorKind, String)>>;

impl Stream {
    /// Where the reason will stand, should the server end TLS.
    pub(super) fn refusal(&self) -> Refusal {
        match self {
            Self::Tls { refusal, .. } => Arc::clone(refusal),
            Self::Tcp(_) | Self::Unix(_) => Refusal::default(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, into),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Self::Tls { stream, refusal } => {
                let read = Pin::new(stream.as_mut()).poll_read(context, into);
                if let Poll::Ready(Err(error)) = &read
                    && let Some(why) = tls::refusal(error)
                {
                    refusal.set(why).ok();
                }
                read
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

/// The most that a server says to what it was asked at once: thirty thousand waiters with what they tell of themselves. The
/// client crate keeps an answer until it is whole, several times its size, and an answer need not have an end.
const MOST_ANSWERED_BYTES: usize = 32 << 20;

/// A stream that ends when the server says more than an answer has.
pub(super) struct Bounded {
    stream: Stream,
    refusal: Refusal,
    /// Since something was asked.
    answered: usize,
}

impl Bounded {
    pub(super) fn new(stream: Stream) -> Self {
        Self { refusal: stream.refusal(), stream, answered: 0 }
    }

    /// Where the reason will stand when it is the stream that ends.
    pub(super) fn refusal(&self) -> Refusal {
        Arc::clone(&self.refusal)
    }
}

impl AsyncRead for Bounded {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let bounded = self.get_mut();
        let before = into.filled().len();
        let read = Pin::new(&mut bounded.stream).poll_read(context, into);
        bounded.answered += into.filled().len() - before;
        if bounded.answered > MOST_ANSWERED_BYTES {
            let words = "says more than any answer has; it may be no Redis server".to_owned();
            bounded.refusal.set((ErrorKind::Misconfigured, words)).ok();
            return Poll::Ready(Err(io::Error::other("an answer without end")));
        }
        read
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bounded = self.get_mut();
        bounded.answered = 0;
        Pin::new(&mut bounded.stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
