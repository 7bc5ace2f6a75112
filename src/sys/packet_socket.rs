//! A pair of sockets that carry small packets and descriptors between two processes of ours.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg, sendmsg,
    socketpair,
};

/// One end. Never blocks; packets keep their bounds and their order.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// One packet: a kind and a number.
pub type Packet = [u8; 5];

/// # Errors
/// When the process or the machine has no descriptor left.
pub fn pair() -> nix::Result<(PacketSocket, PacketSocket)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    Ok((PacketSocket(one), PacketSocket(other)))
}

impl PacketSocket {
    /// Sends `packet`, and with it a copy of `descriptor`.
    ///
    /// # Errors
    /// `EAGAIN` when the peer has left hundreds of packets unread; `EPIPE` when it is dead.
    pub fn send(&self, packet: Packet, descriptor: Option<BorrowedFd<'_>>) -> nix::Result<()> {
        let descriptor = descriptor.map(|fd| [fd.as_raw_fd()]);
        let rights = descriptor.as_ref().map(|fds| ControlMessage::ScmRights(fds));
        // MSG_NOSIGNAL: the peer's death must not be ours by SIGPIPE.
        sendmsg::<UnixAddr>(
            self.0.as_raw_fd(),
            &[IoSlice::new(&packet)],
            rights.as_slice(),
            MsgFlags::MSG_NOSIGNAL,
            None,
        )
        .map(drop)
    }

    /// The next packet, with the descriptor that came along; `None` when the peer is dead.
    ///
    /// # Errors
    /// `EAGAIN` when there is none yet.
    pub fn receive(&self) -> nix::Result<Option<(Packet, Option<OwnedFd>)>> {
        let mut packet = Packet::default();
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut buffers = [IoSliceMut::new(&mut packet)];
        let message =
            match recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut buffers, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC)
            {
                // It died with packets of ours unread. That is told once, and before its own last packets.
                Err(Errno::ECONNRESET) => return self.receive(),
                answer => answer?,
            };
        if message.bytes == 0 {
            return Ok(None);
        }
        let mut descriptor = None;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(numbers) = part {
                for number in numbers {
                    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                    #[expect(unsafe_code)]
                    let owned = unsafe { OwnedFd::from_raw_fd(number) };
                    descriptor = Some(owned);
                }
            }
        }
        Ok(Some((packet, descriptor)))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
