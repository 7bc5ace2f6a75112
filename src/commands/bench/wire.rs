//! What is said between the measuring process and its contenders: one line of JSON for each order and each word.

use std::io;
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::lock::{BackendError, ErrorKind};

/// What a contender is to do. The next one follows when the last has been answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Order {
    /// Take the lock and give it up again, so that the connection stands.
    WarmUp,
    Acquire(Share),
    Release,
    /// Take it and give it up, again and again between these two instants, in nanoseconds since boot.
    Contend {
        from: u64,
        until: u64,
    },
}

/// With whom the lock is shared.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Share {
    WithNobody,
    /// As the options say.
    AsAsked,
}

/// What a contender answers; instants and times in nanoseconds, instants since boot.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Word {
    WarmedUp,
    /// Before `Granted`, where there is somebody to wait for.
    Waiting,
    Granted {
        at: u64,
    },
    Released {
        began: u64,
    },
    /// For how long each turn was waited for.
    Contended {
        waits: Vec<u64>,
    },
    Failed(Failure),
}

/// A backend's failure on its way from one process to another.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failure {
    kind: u8,
    message: String,
}

const KINDS: [ErrorKind; 6] = [
    ErrorKind::Unavailable,
    ErrorKind::Denied,
    ErrorKind::Misconfigured,
    ErrorKind::Corrupt,
    ErrorKind::Usage,
    ErrorKind::System,
];

impl From<BackendError> for Failure {
    fn from(error: BackendError) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == error.kind).unwrap_or_default();
        Self { kind: u8::try_from(kind).unwrap_or_default(), message: error.message }
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        let kind = KINDS.get(usize::from(failure.kind)).copied().unwrap_or(ErrorKind::Unavailable);
        Self::new(kind, failure.message)
    }
}

/// One end.
#[derive(Debug)]
pub(super) struct Wire {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

impl Wire {
    /// # Errors
    /// When the event loop takes no further descriptor.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(stream)?.into_split();
        Ok(Self { reader: BufReader::new(reader), writer })
    }

    /// # Errors
    /// When the other process is gone.
    pub(super) async fn send(&mut self, what: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        self.writer.write_all(&line).await
    }

    /// The next order or word; `None`: the other process is gone. Dropped half-way, it may lose one that is coming in.
    ///
    /// # Errors
    /// When what came makes no sense.
    pub(super) async fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(serde_json::from_slice(&line)?)),
            // It died with something of ours unread.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_arrives_as_it_was() {
        for kind in KINDS {
            let error = BackendError::new(kind, "x");
            assert_eq!(BackendError::from(Failure::from(error.clone())), error);
        }
    }

    #[test]
    fn what_is_sent_is_what_is_received_and_the_end_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (one, other) = UnixStream::pair().expect("a socket pair");
            let (mut one, mut other) = (Wire::new(one).expect("a wire"), Wire::new(other).expect("a wire"));
            let many = Word::Contended { waits: vec![1; 1_000_000] };
            let (sent, received) = tokio::join!(one.send(&many), other.receive());
            sent.expect("it is read at the same time");
            let Ok(Some(Word::Contended { waits })) = received else { panic!("a word") };
            assert_eq!(waits.len(), 1_000_000);
            drop(one);
            assert!(matches!(other.receive::<Word>().await, Ok(None)));
        });
    }
}
