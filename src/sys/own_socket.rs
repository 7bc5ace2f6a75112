//! Whether the other end of a loopback connection is in this very process.

use std::net::SocketAddrV4;
use std::os::fd::RawFd;

use nix::sys::socket::{SockaddrIn, getpeername, getsockname};

/// Whether one of this process' sockets stands at `local` and is connected to `peer`.
#[must_use]
pub fn is_connected(local: SocketAddrV4, peer: SocketAddrV4) -> bool {
    let Ok(descriptors) = std::fs::read_dir("/proc/self/fd") else { return false };
    let numbers = descriptors.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok());
    // What is no socket, or has been closed meanwhile, has no address.
    numbers.into_iter().any(|number| {
        getsockname::<SockaddrIn>(number).is_ok_and(|at| SocketAddrV4::from(at) == local)
            && getpeername::<SockaddrIn>(number).is_ok_and(|at| SocketAddrV4::from(at) == peer)
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

    use super::*;

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        let SocketAddr::V4(address) = address else { panic!("loopback is IPv4 here") };
        address
    }

    #[test]
    fn a_socket_of_ours_is_told_from_a_strangers() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let listens = v4(listener.local_addr().expect("it is bound"));
        let ours = TcpStream::connect(listens).expect("it listens");
        let near = v4(ours.local_addr().expect("it is connected"));
        assert!(is_connected(near, listens));
        assert!(!is_connected(near, SocketAddrV4::new(Ipv4Addr::LOCALHOST, near.port())));
        let (_accepted, from) = listener.accept().expect("somebody connected");
        assert_eq!(v4(from), near);
        drop(ours);
        assert!(!is_connected(near, listens), "it is closed");

        // Another process, which says its own port.
        let script = "exec 3<>/dev/tcp/127.0.0.1/$0; cat <&3 >/dev/null";
        let mut stranger = std::process::Command::new("bash")
            .args(["-c", script, &listens.port().to_string()])
            .spawn()
            .expect("bash is there");
        let (accepted, from) = listener.accept().expect("somebody connected");
        assert!(!is_connected(v4(from), listens));
        drop(accepted);
        stranger.wait().expect("our own child can be waited for");
    }
}
