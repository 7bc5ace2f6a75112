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
