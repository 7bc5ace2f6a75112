//! TLS under a client crate that is only to speak plainly: it connects to a loopback port of ours, and what it says is
//! carried to the server over TLS. (The crate's own TLS would bring a second provider of cryptography with it.) What
//! breaks it: somebody else on this host who connects to that port, and would be let in with our certificate; a
//! connection whose other end is not in this process is closed unheard.

use std::cell::RefCell;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener as StdTcpListener};
use std::time::Duration;

use tokio::io::{AsyncWriteExt as _, copy, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::client::TlsStream;

use super::contact::resolve;
use super::endpoint::{ConnectString, Server};
use crate::backend::tls::Tls;
use crate::lock::{BackendError, FIRST_CONTACT};
use crate::sys::own_socket;

/// A server takes so long at most: nobody waits for longer, and the crate leaves a silent one much sooner.
const REACHED_WITHIN: Duration = FIRST_CONTACT;

/// How long the server is told that the connection ends; it is no loss when it does not hear of it.
const FAREWELL: Duration = Duration::from_millis(100);

/// Pause after no connection could be taken: the reason is a lack of descriptors.
const SHORTAGE: Duration = Duration::from_millis(100);

/// The ways to the servers of one ensemble, each made when it is first needed.
#[derive(Debug)]
pub(super) struct Tunnels {
    tls: Tls,
    open: RefCell<Vec<Tunnel>>,
}

impl Tunnels {
    pub(super) fn new(tls: Tls) -> Self {
        Self { tls, open: RefCell::default() }
    }

    /// The same ensemble, as it is reached without TLS.
    ///
    /// # Errors
    /// When this host has no port or descriptor left.
    pub(super) fn to(&self, ensemble: &ConnectString) -> Result<ConnectString, BackendError> {
        let entrances: io::Result<Vec<Server>> =
            ensemble.servers().iter().map(|server| self.entrance_to(server)).collect();
        let entrances = entrances.map_err(|error| {
            BackendError::system(format!("no loopback port for TLS to {}: {}", ensemble.shown(), error.kind()))
        })?;
        Ok(ensemble.through_plain(entrances))
    }

    fn entrance_to(&self, server: &Server) -> io::Result<Server> {
        let mut open = self.open.borrow_mut();
        if let Some(tunnel) = open.iter().find(|tunnel| tunnel.server == *server) {
            return Ok(tunnel.entrance());
        }
        let tunnel = Tunnel::open(server.clone(), self.tls.clone())?;
        let entrance = tunnel.entrance();
        open.push(tunnel);
        Ok(entrance)
    }
}

#[derive(Debug)]
struct Tunnel {
    server: Server,
    listens: SocketAddrV4,
    serving: JoinHandle<()>,
}

impl Tunnel {
    fn open(server: Server, tls: Tls) -> io::Result<Self> {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let SocketAddr::V4(listens) = listener.local_addr()? else { return Err(io::ErrorKind::Unsupported.into()) };
        let listener = TcpListener::from_std(listener)?;
        let serving = tokio::spawn(serve(listener, listens, server.clone(), tls));
        Ok(Self { server, listens, serving })
    }

    fn entrance(&self) -> Server {
        Server { host: self.listens.ip().to_string(), port: self.listens.port() }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, listens: SocketAddrV4, server: Server, tls: Tls) {
    // Ends with this task.
    let mut carried = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((near, SocketAddr::V4(from))) if own_socket::is_connected(from, listens) => {
                carried.spawn(carry(near, server.clone(), tls.clone()));
            }
            Ok(_) => {}
            Err(_) => sleep(SHORTAGE).await,
        }
        while carried.try_join_next().is_some() {}
    }
}

/// Carries one connection until one of its ends has had enough. A server that cannot be reached, or shows no good
/// certificate, hangs up: the reason is asked for elsewhere.
async fn carry(near: TcpStream, server: Server, tls: Tls) {
    let Ok(Some(far)) = timeout(REACHED_WITHIN, reach(&server, &tls)).await else { return };
    near.set_nodelay(true).ok();
    let (mut from_near, mut to_near) = split(near);
    let (mut from_far, mut to_far) = split(far);
    tokio::select! {
        // Once the crate has left, nobody waits for what the server has yet to say.
        _ = copy(&mut from_near, &mut to_far) => {}
        _ = copy(&mut from_far, &mut to_near) => {}
    }
    timeout(FAREWELL, to_far.shutdown()).await.ok();
}

async fn reach(server: &Server, tls: &Tls) -> Option<TlsStream<TcpStream>> {
    for address in resolve(server).await.ok()? {
        let Ok(stream) = TcpStream::connect(address).await else { continue };
        stream.set_nodelay(true).ok();
        return tls.over(stream, &server.host).await.ok();
    }
    None
}
