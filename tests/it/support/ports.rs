//! Ports of loopback for the servers of tests.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};

use super::eventually;

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// The same of a node of a Redis Cluster: the nodes talk to each other at the port that is 10000 higher.
pub(crate) fn free_cluster_port() -> u16 {
    let has_a_bus =
        |port: &u16| port.checked_add(10_000).is_some_and(|bus| TcpListener::bind((Ipv4Addr::LOCALHOST, bus)).is_ok());
    std::iter::repeat_with(free_port).find(has_a_bus).expect("the ports do not end")
}

/// The port of a server that is down for a while: refused to whoever connects, and given to no other test's server, which
/// would answer in its place.
#[derive(Debug)]
pub(super) struct KeptPort(#[expect(dead_code, reason = "it is kept for as long as it is open")] OwnedFd);

impl KeptPort {
    /// Its server has just ended.
    pub(super) fn of(port: u16) -> Self {
        let place =
            socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("there are sockets");
        // With it, so that the server's old connections are no obstacle; bound and not listening.
        setsockopt(&place, sockopt::ReuseAddr, &true).expect("a socket takes this option");
        eventually("the port of a server that has ended is free", || {
            bind(place.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).is_ok()
        });
        Self(place)
    }
}
