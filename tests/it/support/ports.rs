//! Ports of loopback for the servers of tests.
//!
//! They lie below those that the system gives to whoever connects, and each process of tests has some to itself: nobody else
//! takes one between its choice and the moment at which its server listens.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt};

use super::eventually;

const OF_A_PROCESS: u16 = 1000;

/// The nodes of a Redis Cluster talk to each other at the port that is so much higher.
const BUS: u16 = 10_000;

/// A port that nobody listens on, and nobody else will.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = first_of_this_process();
    let in_turn = || first + 1 + NEXT.fetch_add(1, Ordering::Relaxed) % (OF_A_PROCESS - 1);
    let mut tries = std::iter::repeat_with(in_turn).take(OF_A_PROCESS.into());
    tries.find(|port| is_free(*port)).expect("not all of them are in use")
}

/// The same for a node of a Redis Cluster.
pub(crate) fn free_cluster_port() -> u16 {
    std::iter::repeat_with(free_port).find(|port| is_free(port + BUS)).expect("the ports do not end")
}

/// The first of its ports, on which it listens itself so that no other process takes them for its own.
fn first_of_this_process() -> u16 {
    static CLAIM: OnceLock<(u16, TcpListener)> = OnceLock::new();
    let claim = |first| Some((first, TcpListener::bind((Ipv4Addr::LOCALHOST, first)).ok()?));
    let mut firsts = (BUS..2 * BUS).step_by(OF_A_PROCESS.into());
    CLAIM.get_or_init(|| firsts.find_map(claim).expect("fewer than ten processes of tests run at once")).0
}

/// Also of a server that is down for a while the port is not free.
fn is_free(port: u16) -> bool {
    let place = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("there are sockets");
    bind(place.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, port)).is_ok()
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
