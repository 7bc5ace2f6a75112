//! What front and keeper tell each other; the end of the channel is the other's death.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::supervisor::Delivery;
use crate::sys::packet_socket::{self, PacketSocket};

/// What the front tells the keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FromFront {
    /// This signal reached dlock.
    Signal { number: i32, delivery: Delivery },
    /// Every signal that had reached dlock when [`Channel::ask_for_signals`] was heard has been told.
    CaughtUp,
    /// The front is dead.
    Gone,
}

/// What the keeper tells the front.
#[derive(Debug)]
pub(super) enum FromKeeper {
    /// The command is about to exist: keep this open for as long as anything of it may live.
    KeepOpen(Option<OwnedFd>),
    /// The command has been stopped, by this signal.
    CommandStopped(i32),
    /// Whether somebody wanted the end that the command has come to.
    AskedForSignals,
    /// The wait has been given up because dlock was asked to stop, by this signal.
    WaitSuspended(i32),
    /// The keeper has ended, as it meant to or not.
    Gone,
}

#[derive(Debug)]
pub(super) struct Channel(PacketSocket);

/// The front's end and the keeper's.
pub(super) fn pair() -> nix::Result<(Channel, Channel)> {
    let (front, keeper) = packet_socket::pair()?;
    Ok((Channel(front), Channel(keeper)))
}

const SIGNAL_TO_FORWARD: u8 = b'S';
const SIGNAL_DELIVERED: u8 = b's';
const SIGNAL_TO_GROUP: u8 = b'g';
const WOKEN: u8 = b'w';
const KEEP_OPEN: u8 = b'K';
const CAUGHT_UP: u8 = b'c';
const COMMAND_STOPPED: u8 = b'Z';
const ASK_FOR_SIGNALS: u8 = b'?';
const WAIT_SUSPENDED: u8 = b'W';

impl Channel {
    pub(super) fn tell_signal(&self, number: i32, delivery: Delivery) {
        match delivery {
            Delivery::Forward => self.send(SIGNAL_TO_FORWARD, number, None),
            Delivery::AlreadyDelivered => self.send(SIGNAL_DELIVERED, number, None),
            Delivery::ToFrontsGroup => self.send(SIGNAL_TO_GROUP, number, None),
            // There is one signal that wakes.
            Delivery::UnlessWokenFrom { stop } => self.send(WOKEN, stop, None),
        }
    }

    pub(super) fn tell_caught_up(&self) {
        self.send(CAUGHT_UP, 0, None);
    }

    pub(super) fn ask_for_signals(&self) {
        self.send(ASK_FOR_SIGNALS, 0, None);
    }

    pub(super) fn tell_to_keep_open(&self, descriptor: BorrowedFd<'_>) {
        self.send(KEEP_OPEN, 0, Some(descriptor));
    }

    pub(super) fn tell_command_stopped(&self, signal: i32) {
        self.send(COMMAND_STOPPED, signal, None);
    }

    pub(super) fn tell_wait_suspended(&self, signal: i32) {
        self.send(WAIT_SUSPENDED, signal, None);
    }

    /// The front's next message; `EAGAIN` when there is none yet.
    pub(super) fn hear_front(&self) -> nix::Result<FromFront> {
        let Some(([kind, number @ ..], _)) = self.0.receive()? else { return Ok(FromFront::Gone) };
        let number = i32::from_le_bytes(number);
        Ok(match kind {
            CAUGHT_UP => FromFront::CaughtUp,
            SIGNAL_TO_FORWARD => FromFront::Signal { number, delivery: Delivery::Forward },
            WOKEN => FromFront::Signal { number: libc::SIGCONT, delivery: Delivery::UnlessWokenFrom { stop: number } },
            SIGNAL_TO_GROUP => FromFront::Signal { number, delivery: Delivery::ToFrontsGroup },
            _ => FromFront::Signal { number, delivery: Delivery::AlreadyDelivered },
        })
    }

    /// The keeper's next message; `EAGAIN` when there is none yet.
    pub(super) fn hear_keeper(&self) -> nix::Result<FromKeeper> {
        let Some(([kind, number @ ..], descriptor)) = self.0.receive()? else { return Ok(FromKeeper::Gone) };
        let number = i32::from_le_bytes(number);
        Ok(match kind {
            KEEP_OPEN => FromKeeper::KeepOpen(descriptor),
            COMMAND_STOPPED => FromKeeper::CommandStopped(number),
            ASK_FOR_SIGNALS => FromKeeper::AskedForSignals,
            _ => FromKeeper::WaitSuspended(number),
        })
    }

    /// A message to a dead peer is lost, its death is read from this end; one to a peer that has left hundreds unread
    /// is lost too, for it is stopped, and waiting for it would delay a renewal.
    fn send(&self, kind: u8, number: i32, descriptor: Option<BorrowedFd<'_>>) {
        let [a, b, c, d] = number.to_le_bytes();
        self.0.send([kind, a, b, c, d], descriptor).ok();
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;

    #[test]
    fn messages_arrive_whole_and_in_order_and_the_end_is_a_death() {
        let (front, keeper) = pair().expect("a socket pair");
        assert_eq!(keeper.hear_front(), Err(Errno::EAGAIN));
        front.tell_signal(15, Delivery::Forward);
        front.tell_signal(64, Delivery::AlreadyDelivered);
        front.tell_signal(libc::SIGCONT, Delivery::UnlessWokenFrom { stop: 3 });
        drop(front);
        assert_eq!(keeper.hear_front(), Ok(FromFront::Signal { number: 15, delivery: Delivery::Forward }));
        assert_eq!(keeper.hear_front(), Ok(FromFront::Signal { number: 64, delivery: Delivery::AlreadyDelivered }));
        let delivery = Delivery::UnlessWokenFrom { stop: 3 };
        assert_eq!(keeper.hear_front(), Ok(FromFront::Signal { number: libc::SIGCONT, delivery }));
        assert_eq!(keeper.hear_front(), Ok(FromFront::Gone));
        keeper.tell_wait_suspended(20);
    }

    /// A signal that comes as the keeper ends is never read; the keeper's last word is.
    #[test]
    fn what_a_peer_said_last_arrives_although_it_died_with_a_message_unread() {
        let (front, keeper) = pair().expect("a socket pair");
        front.tell_signal(15, Delivery::Forward);
        keeper.tell_command_stopped(20);
        drop(keeper);
        assert!(matches!(front.hear_keeper(), Ok(FromKeeper::CommandStopped(20))));
        assert!(matches!(front.hear_keeper(), Ok(FromKeeper::Gone)));
    }

    #[test]
    fn a_descriptor_that_is_to_be_kept_open_travels() {
        let (front, keeper) = pair().expect("a socket pair");
        let (reader, writer) = nix::unistd::pipe().expect("a pipe");
        keeper.tell_to_keep_open(writer.as_fd());
        let Ok(FromKeeper::KeepOpen(Some(copy))) = front.hear_keeper() else { panic!("a descriptor") };
        drop(writer);
        nix::unistd::write(&copy, b"x").expect("the copy is open");
        let mut byte = [0];
        assert_eq!(nix::unistd::read(&reader, &mut byte), Ok(1));
    }
}
