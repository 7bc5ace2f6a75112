//! Reaching a server: its addresses one after the other, the socket's options, TLS. What breaks it: an address that
//! swallows packets, and a connection whose other end is gone without a word.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::client::TlsStream;

use super::endpoint::{Address, Endpoint, Transport};
use super::failure::{Failure, seconds};
use super::stream::{Refusal, Stream, Way};
use crate::backend::tls::{self, NoTls, Tls};
use crate::lock::BackendError;

/// A connection on which nothing is said is asked after so often: sooner than address translators forget it (minutes),
/// and a dead one is found within the longest lease of a waiter (30 s).
const KEEPALIVE_IDLE_S: u32 = 15;
const KEEPALIVE_INTERVAL_S: u32 = 5;
const KEEPALIVE_PROBES: u32 = 3;

/// What was sent and not confirmed by the other host for so long is lost with its connection; the keepalives' sum.
const UNCONFIRMED_MS: u32 = (KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_PROBES) * 1000;

/// How long the answer to a hello may take, or to a PING: a round trip or two.
const HELLO_LIMIT: Duration = Duration::from_secs(1);

/// Connects to `endpoint` by `deadline`, `limit` from when it was begun.
pub(super) async fn dial(
    endpoint: &Endpoint,
    tls: &Tls,
    deadline: Instant,
    limit: Duration,
) -> Result<Stream, Failure> {
    let (host, port) = match &endpoint.address {
        Address::Unix(path) => {
            return dial_socket(endpoint, path, deadline, limit).await.map(|stream| Way::Unix(stream).into());
        }
        Address::Tcp { host, port } => (host, *port),
    };
    let url = endpoint.masked();
    let addresses = resolve(&url, host, port, deadline, limit).await?;
    let mut last = Failure::unanswered(BackendError::unavailable(format!("{url} has no address")));
    for (tried, address) in addresses.iter().enumerate() {
        // Each address gets its share, so that one that swallows packets leaves time for the next.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = Instant::now() + left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let stream = match timeout_at(share, connect(*address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                last = unconnected(&url, &error);
                continue;
            }
            Err(_) => {
                last = Failure::unanswered(BackendError::unavailable(format!(
                    "cannot reach {url} within {}; check host, port and firewall",
                    seconds(limit)
                )));
                continue;
            }
        };
        match endpoint.transport {
            Transport::Plain => return Ok(Way::Tcp { stream, is_set_up: false }.into()),
            Transport::Tls => match timeout_at(share, secured(tls, stream, host, *address, &url)).await {
                Ok(Ok(stream)) => {
                    return Ok(Way::Tls { stream: Box::new(stream), refusal: Refusal::default() }.into());
                }
                Ok(Err(NoTls::Impossible(error))) => return Err(Failure::unanswered(error)),
                Ok(Err(NoTls::Failed(error))) => last = without_tls(&url, &error),
                Err(_) => {
                    last = Failure::unanswered(BackendError::unavailable(format!(
                        "{url} does not finish the TLS handshake within {}; check that its port speaks TLS",
                        seconds(limit)
                    )));
                }
            },
        }
    }
    Err(last)
}

/// The handshake, left as soon as the server is found to be a plain one: that takes a handshake for the beginning of a
/// command, and waits for the rest.
async fn secured(
    tls: &Tls,
    stream: TcpStream,
    host: &str,
    address: SocketAddr,
    url: &str,
) -> Result<TlsStream<TcpStream>, NoTls> {
    set_up(&stream);
    let mut handshake = pin!(tls.over(stream, host));
    let plain = || {
        let text = format!("{url} does not speak TLS; write redis instead of rediss in its URL");
        NoTls::Impossible(BackendError::misconfigured(text))
    };
    if let Ok(outcome) = timeout_at(Instant::now() + HELLO_LIMIT, &mut handshake).await {
        return match outcome {
            Err(NoTls::Failed(error)) if tls::refusal(&error).is_none() && speaks_plainly(address).await => {
                Err(plain())
            }
            outcome => outcome,
        };
    }
    tokio::select! {
        outcome = &mut handshake => outcome,
        true = speaks_plainly(address) => Err(plain()),
    }
}

/// Whether what does not finish a handshake is a Redis server without TLS.
async fn speaks_plainly(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        // An error (no password, no connection left) is a Redis server's as well.
        io::Result::Ok(answer == *b"+PONG" || answer[0] == b'-')
    };
    timeout_at(Instant::now() + HELLO_LIMIT, asked).await.is_ok_and(|answer| answer.unwrap_or(false))
}

/// Whether what hung up on us without an answer speaks TLS.
pub(super) async fn speaks_tls(endpoint: &Endpoint, deadline: Instant) -> bool {
    let (Address::Tcp { host, port }, Transport::Plain) = (&endpoint.address, endpoint.transport) else { return false };
    let asked = async {
        let stream = TcpStream::connect((host.as_str(), *port)).await?;
        tls::is_spoken_by(stream).await
    };
    let deadline = deadline.min(Instant::now() + HELLO_LIMIT);
    timeout_at(deadline, asked).await.is_ok_and(|answer| answer.unwrap_or(false))
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Nobody listened, and the kernel gave us the very port that we asked for: we reached ourselves.
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
    }
    Ok(stream)
}

/// The options of the socket. With a plain connection the server reads the first request meanwhile.
pub(super) fn set_up(stream: &TcpStream) {
    // None can fail on a socket that has just been connected, and a lock is as good without.
    stream.set_nodelay(true).ok();
    // An abandoned connection is reset, so that what the server has not read yet is not carried out.
    stream.set_zero_linger().ok();
    setsockopt(stream, sockopt::TcpKeepIdle, &KEEPALIVE_IDLE_S).ok();
    setsockopt(stream, sockopt::TcpKeepInterval, &KEEPALIVE_INTERVAL_S).ok();
    setsockopt(stream, sockopt::TcpKeepCount, &KEEPALIVE_PROBES).ok();
    setsockopt(stream, sockopt::KeepAlive, &true).ok();
    setsockopt(stream, sockopt::TcpUserTimeout, &UNCONFIRMED_MS).ok();
}

async fn dial_socket(
    endpoint: &Endpoint,
    path: &Path,
    deadline: Instant,
    limit: Duration,
) -> Result<UnixStream, Failure> {
    let url = endpoint.masked();
    let error = match timeout_at(deadline, UnixStream::connect(path)).await {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) => error,
        Err(_) => {
            let text = format!("cannot connect to {url} within {}", seconds(limit));
            return Err(Failure::unanswered(BackendError::unavailable(text)));
        }
    };
    Err(match error.kind() {
        ErrorKind::NotFound => Failure::unanswered(BackendError::unavailable(format!(
            "{url} is not there; check the path, and that the server runs (unixsocket in its configuration)"
        ))),
        ErrorKind::PermissionDenied => Failure::unanswered(BackendError::denied(format!(
            "{url} may not be used by this user; see unixsocketperm in the server's configuration"
        ))),
        _ => unconnected(&url, &error),
    })
}

fn unconnected(url: &str, error: &io::Error) -> Failure {
    Failure::unanswered(match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS) => {
            BackendError::system(format!("no socket for {url}: {}", reason(error)))
        }
        Some(libc::ECONNREFUSED) => BackendError::unavailable(format!(
            "{url} refuses the connection; check that the server runs and listens there"
        )),
        _ => BackendError::unavailable(format!("cannot connect to {url}: {}", reason(error))),
    })
}

fn without_tls(url: &str, error: &io::Error) -> Failure {
    Failure::unanswered(match tls::refusal(error) {
        Some((kind, words)) => BackendError::new(kind, format!("{url} {words}")),
        None => BackendError::unavailable(format!("{url} fails at the TLS handshake: {}", reason(error))),
    })
}

async fn resolve(
    url: &str,
    host: &str,
    port: u16,
    deadline: Instant,
    limit: Duration,
) -> Result<Vec<SocketAddr>, Failure> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    match timeout_at(deadline, lookup_host((host, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) => Err(Failure::unanswered(BackendError::unavailable(format!(
            "the host of {url} cannot be resolved; check its name"
        )))),
        Err(_) => Err(Failure::unanswered(BackendError::unavailable(format!(
            "the host of {url} could not be resolved within {}",
            seconds(limit)
        )))),
    }
}

/// The kernel's words without the number that Rust appends.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[tokio::test]
    async fn both_connections_find_out_when_the_other_host_is_gone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let url = format!("127.0.0.1:{}", listener.local_addr().expect("it is bound").port());
        let endpoint = Endpoint::parse(&url).expect("a valid URL");
        let limit = Duration::from_secs(5);
        let dialed = dial(&endpoint, &Tls::default(), Instant::now() + limit, limit).await;
        let Ok(mut dialed) = dialed else { panic!("it listens") };
        dialed.write_all(b"PING\r\n").await.expect("the kernel takes it");
        let Way::Tcp { stream, .. } = dialed.way else { panic!("it is a plain one") };
        assert_eq!(getsockopt(&stream, sockopt::KeepAlive), Ok(true));
        assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle), Ok(15));
        assert_eq!(getsockopt(&stream, sockopt::TcpUserTimeout), Ok(30_000));
    }
}
