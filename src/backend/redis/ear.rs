//! How a waiter hears that it should look: a connection of its own that only listens. What breaks it: silence that is
//! taken for a subscription.
//!
//! Once the subscription is confirmed, whatever arrives is a hint and carries nothing else, so nothing is parsed: no
//! RESP3, no second request.

use std::io;

use redis::{RedisError, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::endpoint::Endpoint;
use super::failure::{is_unknown_command, refuses_to_notify};
use super::stream::Stream;

/// Long enough for the confirmation of the longest key's channel.
const CHUNK: usize = 4096;

/// How a message travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    Plain,
    /// Only to the nodes of a Cluster that have the channel's slot, which also say when it leaves them; from Redis 7 on.
    Sharded,
}

impl Manner {
    /// In lower case, as the server's confirmation has it.
    fn command(self) -> &'static str {
        match self {
            Self::Plain => "subscribe",
            Self::Sharded => "ssubscribe",
        }
    }
}

pub(super) enum Ear {
    Listens {
        stream: Stream,
        /// Something arrived together with the confirmation.
        heard: bool,
        manner: Manner,
        /// The server that it is connected to.
        server: Endpoint,
    },
    /// The server refuses to notify.
    Polls,
}

/// Why there is no ear.
pub(super) enum NoEar {
    Refused(RedisError),
    Lost(io::Error),
    /// What answers does not speak Redis' language.
    Stranger,
}

impl From<io::Error> for NoEar {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

impl Ear {
    /// Subscribes to `channel` in the first of `manners` that the server knows. When this returns, the subscription is
    /// confirmed.
    pub(super) async fn open(
        mut stream: Stream,
        endpoint: &Endpoint,
        channel: &str,
        manners: &[Manner],
    ) -> Result<Self, NoEar> {
        let mut request = Vec::new();
        let mut greetings = 0;
        if let Some(password) = &endpoint.password {
            let mut auth = redis::cmd("AUTH");
            auth.arg(endpoint.user.as_deref()).arg(password.reveal());
            request.extend(auth.get_packed_command());
            greetings += 1;
        }
        let mut answer = Vec::new();
        for (tried, manner) in manners.iter().copied().enumerate() {
            let command = manner.command();
            // Channels belong to no database: SELECT is not needed.
            request.extend(redis::cmd(&command.to_uppercase()).arg(channel).get_packed_command());
            stream.write_all(&request).await?;
            stream.flush().await?;
            request.clear();
            let confirmation =
                format!("*3\r\n${}\r\n{command}\r\n${}\r\n{channel}\r\n:1\r\n", command.len(), channel.len());
            let listens = loop {
                match confirmed(&mut answer, &mut greetings, confirmation.as_bytes()) {
                    Some(listens) => break listens,
                    None => read(&mut stream, &mut answer).await?,
                }
            };
            match listens {
                Ok(()) => {
                    let (heard, server) = (!answer.is_empty(), endpoint.clone());
                    return Ok(Self::Listens { stream, heard, manner, server });
                }
                Err(NoEar::Refused(error)) if is_unknown_command(&error) && tried + 1 < manners.len() => {}
                Err(NoEar::Refused(error)) if refuses_to_notify(&error) => return Ok(Self::Polls),
                Err(why) => return Err(why),
            }
        }
        Ok(Self::Polls)
    }

    /// What the scripts call it.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Listens { manner: Manner::Plain, .. } => "listens",
            Self::Listens { manner: Manner::Sharded, .. } => "sharded",
            Self::Polls => "polls",
        }
    }

    /// Completes when there is a hint; never where nobody may give one. May be dropped at any point.
    ///
    /// # Errors
    /// When the connection has ended.
    pub(super) async fn hint(&mut self) -> io::Result<()> {
        match self {
            Self::Listens { heard: heard @ true, .. } => {
                *heard = false;
                Ok(())
            }
            Self::Listens { stream, .. } => read(stream, &mut Vec::new()).await,
            Self::Polls => std::future::pending().await,
        }
    }
}

/// Takes what is complete out of `answer`; `None`: the confirmation has not arrived yet.
fn confirmed(answer: &mut Vec<u8>, greetings: &mut usize, confirmation: &[u8]) -> Option<Result<(), NoEar>> {
    while matches!(answer.first(), Some(b'+' | b'-')) {
        let end = answer.windows(2).position(|two| two == b"\r\n")? + 2;
        let line: Vec<u8> = answer.drain(..end).collect();
        let refused = redis::parse_redis_value(&line).and_then(Value::extract_error).err();
        let greeting = *greetings > 0;
        *greetings = greetings.saturating_sub(1);
        match refused {
            None if greeting => {}
            None => return Some(Err(NoEar::Stranger)),
            // A password where none is asked for hurts nobody.
            Some(error) if greeting && error.detail().is_some_and(|text| text.contains("without any password")) => {}
            Some(error) => return Some(Err(NoEar::Refused(error))),
        }
    }
    if answer.starts_with(confirmation) {
        answer.drain(..confirmation.len());
        return Some(Ok(()));
    }
    (!confirmation.starts_with(answer)).then_some(Err(NoEar::Stranger))
}

/// Adds what there is to read, at least one byte. May be dropped at any point.
async fn read(stream: &mut Stream, into: &mut Vec<u8>) -> io::Result<()> {
    let mut chunk = [0; CHUNK];
    match stream.read(&mut chunk).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => {
            into.extend_from_slice(&chunk[..length]);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIRMATION: &[u8] = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nw\r\n:1\r\n";

    fn outcome(answer: &[u8], mut greetings: usize) -> Option<Result<(), NoEar>> {
        confirmed(&mut answer.to_vec(), &mut greetings, CONFIRMATION)
    }

    #[test]
    fn a_confirmation_counts_only_when_it_is_whole() {
        for length in 0..CONFIRMATION.len() {
            assert!(outcome(&CONFIRMATION[..length], 0).is_none(), "{length} bytes");
            assert!(outcome(&[b"+OK\r\n", &CONFIRMATION[..length]].concat(), 1).is_none(), "{length} bytes");
        }
        assert!(matches!(outcome(CONFIRMATION, 0), Some(Ok(()))));
        assert!(matches!(outcome(&[b"+OK\r\n", CONFIRMATION].concat(), 1), Some(Ok(()))));
    }

    #[test]
    fn what_follows_the_confirmation_is_left_as_a_hint() {
        let mut answer = [CONFIRMATION, b"*3\r\n$7\r\nmess"].concat();
        assert!(matches!(confirmed(&mut answer, &mut 0, CONFIRMATION), Some(Ok(()))));
        assert!(!answer.is_empty());
    }

    #[test]
    fn a_refusal_and_a_stranger_are_told_apart() {
        assert!(matches!(outcome(b"-NOPERM no channel\r\n", 0), Some(Err(NoEar::Refused(_)))));
        assert!(matches!(outcome(b"-WRONGPASS no\r\n", 1), Some(Err(NoEar::Refused(_)))));
        assert!(matches!(outcome(b"+OK\r\n-NOPERM no channel\r\n", 1), Some(Err(NoEar::Refused(_)))));
        let needless = b"-ERR AUTH <password> called without any password configured\r\n";
        assert!(outcome(needless, 1).is_none());
        for stranger in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"+OK\r\n", b"*3\r\n$9\r\npsubscrib"] {
            assert!(matches!(outcome(stranger, 0), Some(Err(NoEar::Stranger))));
        }
    }
}
