//! The bytes between us and a server, whatever carries them: the same for requests and for listening.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

use super::dial::set_up;
use crate::backend::tls;
use crate::lock::ErrorKind;

/// The most bytes that are taken from a server before it is asked for something more: thirty thousand waiters with what they
/// tell of themselves. The client crate keeps an answer until it is whole, several times its size; a tenant can store half a
/// gigabyte in one name, and a server that means harm never ends.
const MOST_UNASKED: usize = 32 << 20;

pub(super) struct Stream {
    pub(super) way: Way,
    /// How many bytes have come since the last that we sent.
    unasked: usize,
}

pub(super) enum Way {
    Tcp { stream: TcpStream, is_set_up: bool },
    Unix(UnixStream),
    Tls { stream: Box<TlsStream<TcpStream>>, refusal: Refusal },
}

/// Why the server ended TLS after the handshake: of a missing client certificate, TLS 1.3 tells only then, and whoever
/// waits for a reply may learn no more than that the connection has ended.
pub(super) type Refusal = Arc<OnceLock<(ErrorKind, String)>>;

impl From<Way> for Stream {
    fn from(way: Way) -> Self {
        Self { way, unasked: 0 }
    }
}

impl Stream {
    /// Where the reason will stand, should the server end TLS.
    pub(super) fn refusal(&self) -> Refusal {
        match &self.way {
            Way::Tls { refusal, .. } => Arc::clone(refusal),
            Way::Tcp { .. } | Way::Unix(_) => Refusal::default(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { way, unasked } = self.get_mut();
        if *unasked > MOST_UNASKED {
            return Poll::Ready(Err(io::Error::other("its answer does not end")));
        }
        let before = into.filled().len();
        let read = match way {
            Way::Tcp { stream, .. } => Pin::new(stream).poll_read(context, into),
            Way::Unix(stream) => Pin::new(stream).poll_read(context, into),
            Way::Tls { stream, refusal } => {
                let read = Pin::new(stream.as_mut()).poll_read(context, into);
                if let Poll::Ready(Err(error)) = &read
                    && let Some(why) = tls::refusal(error)
                {
                    refusal.set(why).ok();
                }
                read
            }
        };
        *unasked += into.filled().len() - before;
        read
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { way, unasked } = self.get_mut();
        *unasked = 0;
        match way {
            Way::Tcp { stream, is_set_up } => {
                let written = Pin::new(&mut *stream).poll_write(context, bytes);
                if written.is_ready() && !std::mem::replace(is_set_up, true) {
                    set_up(stream);
                }
                written
            }
            Way::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Way::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Tcp { stream, .. } => Pin::new(stream).poll_flush(context),
            Way::Unix(stream) => Pin::new(stream).poll_flush(context),
            Way::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().way {
            Way::Tcp { stream, .. } => Pin::new(stream).poll_shutdown(context),
            Way::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Way::Tls { stream, .. } => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
