//! Why an ensemble cannot be reached: every server is asked by itself, since the client crate keeps the reasons to itself.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::endpoint::{ConnectString, Server, Transport};
use crate::backend::tls::{self, NoTls, Tls};
use crate::lock::{BackendError, ErrorKind};

/// What a server that lets everybody ask says who it is with; allowed by default since four-letter words need
/// permission at all (3.5). A server that forbids it answers with a sentence of its own.
const QUESTION: &[u8] = b"srvr";

/// How the answer of a server that serves begins.
const GREETING: &[u8] = b"Zookeeper version:";

/// As much of the answer is looked at: what tells one from another stands in its first lines.
const ANSWER_BYTES: usize = 1024;

/// A server that speaks plainly has answered by now, and one that waits for the rest of a TLS record never will.
const PATIENCE: Duration = Duration::from_millis(500);

/// What one server did when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Serving,
    /// A ZooKeeper without a leader, or still starting.
    NotServing,
    /// A ZooKeeper without a leader that serves those who only read.
    ReadOnly,
    Unresolvable,
    Refused(String),
    /// Nothing came back on the way to it.
    Unreachable,
    /// It took the connection and said nothing.
    Silent,
    /// It took the connection and closed it.
    Closed,
    SomethingElse,
    /// It was asked plainly and speaks TLS.
    SpeaksTls,
    /// It was asked by TLS and speaks plainly.
    SpeaksPlainly,
    /// TLS, or a certificate, does not do.
    NoTls(ErrorKind, String),
}

impl Verdict {
    /// What sort of failure it is. Only what is certain to stay is more than "unavailable".
    fn kind(&self) -> ErrorKind {
        match self {
            Self::SpeaksTls | Self::SpeaksPlainly => ErrorKind::Misconfigured,
            Self::NoTls(kind, _) => *kind,
            _ => ErrorKind::Unavailable,
        }
    }

    /// Whether it is what a server is called that has not answered yet.
    fn is_unheard(&self) -> bool {
        matches!(self, Self::Unresolvable | Self::Unreachable | Self::Silent)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Serving => "answers, but grants no session in time",
            Self::NotServing => "has no leader at the moment",
            Self::ReadOnly => "has no leader at the moment and is read-only",
            Self::Unresolvable => "is a name that does not resolve",
            Self::Refused(why) => why,
            Self::Unreachable => "is unreachable: no answer to the connection attempt",
            Self::Silent => "accepts connections and never answers",
            Self::Closed => "closes every connection at once (is maxClientCnxns reached?)",
            Self::SomethingElse => "is not a ZooKeeper server",
            Self::SpeaksTls => "speaks TLS; write zks:// instead of zk://",
            Self::SpeaksPlainly => "does not speak TLS; write zk:// instead of zks://, or name the secureClientPort",
            Self::NoTls(_, words) => words,
        })
    }
}

/// Asks every server of `ensemble` at the same time; the answers arrive in the order in which they are known, none
/// later than `within`.
pub(super) fn ask_all(ensemble: &ConnectString, tls: &Tls, within: Duration) -> Answers {
    let (sender, receiver) = mpsc::unbounded_channel();
    let tls = (ensemble.transport == Transport::Tls).then_some(tls);
    for server in ensemble.servers() {
        let (server, tls, sender) = (server.clone(), tls.cloned(), sender.clone());
        tokio::spawn(async move {
            let verdict = ask(&server, tls.as_ref(), within).await;
            // Nobody listens any more once a session has been granted.
            sender.send((server, verdict)).ok();
        });
    }
    Answers(receiver)
}

pub(super) struct Answers(mpsc::UnboundedReceiver<(Server, Verdict)>);

impl Answers {
    /// `None` once every server has been heard.
    pub(super) async fn next(&mut self) -> Option<(Server, Verdict)> {
        self.0.recv().await
    }
}

/// What was `heard`, but of those who did not answer what was known `before`.
pub(super) fn unless_unheard(
    mut heard: Vec<(Server, Verdict)>,
    before: Vec<(Server, Verdict)>,
) -> Vec<(Server, Verdict)> {
    for (server, verdict) in before {
        match heard.iter_mut().find(|(asked, _)| *asked == server) {
            Some((_, told)) if told.is_unheard() => *told = verdict,
            Some(_) => {}
            None => heard.push((server, verdict)),
        }
    }
    heard
}

/// The sentence for an ensemble of which nobody grants a session.
pub(super) fn unavailable(ensemble: &ConnectString, verdicts: &[(Server, Verdict)]) -> BackendError {
    let mut reasons: Vec<String> = Vec::new();
    for server in ensemble.servers() {
        let verdict =
            verdicts.iter().find(|(asked, _)| asked == server).map_or(&Verdict::Unreachable, |(_, told)| told);
        reasons.push(format!("{server} {verdict}"));
    }
    let decisive = verdicts.iter().map(|(_, told)| told).find(|told| told.kind() != ErrorKind::Unavailable);
    let advice = match (decisive, verdicts.first()) {
        (Some(_), _) => "",
        (None, Some((_, Verdict::Unresolvable | Verdict::SomethingElse))) => "; check --zk",
        (None, _) => "; check --zk and the servers",
    };
    let kind = decisive.map_or(ErrorKind::Unavailable, Verdict::kind);
    BackendError::new(kind, format!("no session with {}: {}{advice}", ensemble.shown(), reasons.join(", ")))
}

/// Asks one server. What it had come to when the time was over is the reason.
async fn ask(server: &Server, tls: Option<&Tls>, within: Duration) -> Verdict {
    let mut so_far = Verdict::Unresolvable;
    match timeout(within, converse(server, tls, &mut so_far)).await {
        Ok(verdict) => verdict,
        Err(_) => so_far,
    }
}

async fn converse(server: &Server, tls: Option<&Tls>, so_far: &mut Verdict) -> Verdict {
    let Ok(addresses) = resolve(server).await else { return Verdict::Unresolvable };
    *so_far = Verdict::Unreachable;
    let mut refusal = Verdict::Unresolvable;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                *so_far = Verdict::Silent;
                return match tls {
                    None => plainly(stream, address).await,
                    Some(tls) => by_tls(stream, address, server, tls).await,
                };
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                refusal = Verdict::Refused("refuses connections".to_owned());
            }
            Err(error) => refusal = Verdict::Refused(format!("cannot be reached ({})", error.kind())),
        }
    }
    refusal
}

async fn plainly(stream: TcpStream, address: SocketAddr) -> Verdict {
    let mut asking = pin!(question(stream));
    let heard = tokio::select! {
        heard = &mut asking => Some(heard),
        () = sleep(PATIENCE) => None,
    };
    let speaks_tls = async { tls::is_spoken_by(TcpStream::connect(address).await?).await };
    match heard {
        Some(Ok(verdict @ (Verdict::Serving | Verdict::NotServing | Verdict::ReadOnly))) => verdict,
        Some(heard) => match speaks_tls.await {
            Ok(true) => Verdict::SpeaksTls,
            _ => heard.unwrap_or(Verdict::Closed),
        },
        None => tokio::select! {
            heard = &mut asking => heard.unwrap_or(Verdict::Closed),
            Ok(true) = speaks_tls => Verdict::SpeaksTls,
        },
    }
}

async fn by_tls(stream: TcpStream, address: SocketAddr, server: &Server, tls: &Tls) -> Verdict {
    let error = match tls.over(stream, &server.host).await {
        // Of a client certificate that does not do, TLS 1.3 tells only after the handshake.
        Ok(stream) => match question(stream).await {
            Ok(verdict) => return verdict,
            Err(error) => error,
        },
        Err(NoTls::Impossible(error)) => return Verdict::NoTls(error.kind, error.message),
        Err(NoTls::Failed(error)) => error,
    };
    match tls.refusal(&error) {
        // It has spoken TLS.
        Some((kind, words)) if kind != ErrorKind::Unavailable => Verdict::NoTls(kind, words),
        told => {
            let plainly = async { question(TcpStream::connect(address).await?).await };
            match (plainly.await, told) {
                (Ok(Verdict::Serving | Verdict::NotServing | Verdict::ReadOnly), _) => Verdict::SpeaksPlainly,
                (_, Some((kind, words))) => Verdict::NoTls(kind, words),
                (_, None) => Verdict::Closed,
            }
        }
    }
}

/// Asks, and reads as much of the answer as tells who it is.
async fn question(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<Verdict> {
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    // Whoever hangs up may have said why.
    let asked = async {
        stream.write_all(QUESTION).await?;
        stream.flush().await
    };
    let unasked = asked.await.err();
    loop {
        if let Some(verdict) = classify(&answer) {
            return Ok(verdict);
        }
        match stream.read_buf(&mut answer).await {
            // The end of an answer that does not say in which mode the server is.
            Ok(0) if answer.starts_with(GREETING) => return Ok(Verdict::Serving),
            Ok(0) if answer.is_empty() => return Ok(Verdict::Closed),
            Err(error) if answer.is_empty() => return Err(unasked.unwrap_or(error)),
            Ok(0) | Err(_) => return Ok(Verdict::SomethingElse),
            Ok(_) => {}
        }
    }
}

/// `None` while more bytes are needed.
fn classify(answer: &[u8]) -> Option<Verdict> {
    if answer.starts_with(GREETING) {
        let mut lines = answer.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let mode = lines.find_map(|line| line.strip_prefix(b"Mode: "));
        return match mode {
            Some(b"read-only\n") => Some(Verdict::ReadOnly),
            Some(_) => Some(Verdict::Serving),
            None if answer.len() >= ANSWER_BYTES => Some(Verdict::Serving),
            None => None,
        };
    }
    if GREETING.starts_with(answer) {
        return None;
    }
    let known = [
        (&b"This ZooKeeper instance is not currently serving requests"[..], Verdict::NotServing),
        // "srvr is not executed because it is not in the whitelist."
        (b"srvr is not executed", Verdict::Serving),
    ];
    for (beginning, verdict) in known {
        if answer.starts_with(beginning) {
            return Some(verdict);
        }
        if beginning.starts_with(answer) {
            return None;
        }
    }
    Some(Verdict::SomethingElse)
}

/// Resolves without the runtime's own pool: leaving the runtime would wait for a resolver that hangs.
pub(super) async fn resolve(server: &Server) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = server.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, server.port)]);
    }
    let (sender, receiver) = oneshot::channel();
    let (host, port) = (server.host.clone(), server.port);
    std::thread::Builder::new().name("zk-resolve".into()).spawn(move || {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port)).map(Iterator::collect);
        sender.send(found).ok();
    })?;
    receiver.await.map_err(|_| io::Error::from(io::ErrorKind::Other))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_recognised_by_its_beginning() {
        assert_eq!(classify(b""), None);
        assert_eq!(classify(b"Zoo"), None);
        assert_eq!(classify(b"Zookeeper version: 3.8.0\nMode: stand"), None);
        assert_eq!(classify(b"Zookeeper version: 3.8.0\nMode: standalone\n"), Some(Verdict::Serving));
        assert_eq!(classify(b"Zookeeper version: 3.8.0\nMode: read-only\n"), Some(Verdict::ReadOnly));
        assert_eq!(classify(b"srvr is not executed because"), Some(Verdict::Serving));
        let no_leader = b"This ZooKeeper instance is not currently serving requests\n";
        assert_eq!(classify(no_leader), Some(Verdict::NotServing));
        assert_eq!(classify(b"HTTP/1.1 400 Bad Request"), Some(Verdict::SomethingElse));
        assert_eq!(classify(b"-ERR unknown command"), Some(Verdict::SomethingElse));
    }

    #[test]
    fn the_sentence_names_every_server_and_its_reason() {
        let ensemble = ConnectString::parse("z1:1,z2:2/app").expect("valid");
        let verdicts = [
            (ensemble.servers()[0].clone(), Verdict::Refused("refuses connections".into())),
            (ensemble.servers()[1].clone(), Verdict::Silent),
        ];
        let sentence = unavailable(&ensemble, &verdicts).message;
        assert_eq!(
            sentence,
            "no session with zookeeper z1:1,z2:2/app: z1:1 refuses connections, z2:2 accepts connections and never \
             answers; check --zk and the servers"
        );
    }
}
