//! Servers that behave badly: a proxy that falls silent or hangs up, one that never answers, one that reads a script.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Stands between dlock and a real server.
///
/// Its threads end with the test process; a test makes few of them.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Takes bytes and passes none on, as a network that lost its route does.
    silent: AtomicBool,
    /// What it says to every request, which then goes nowhere.
    reply: Mutex<Option<Vec<u8>>>,
    /// Carries requests and loses what is answered, as a half-open connection does.
    answers_lost: AtomicBool,
    /// So many milliseconds each piece takes on its way.
    delay: AtomicU64,
    /// The same of answers alone.
    delay_of_answers: AtomicU64,
    accepted: AtomicUsize,
    /// Both ends of each connection, by its number.
    open: Mutex<HashMap<usize, [TcpStream; 2]>>,
    /// Whose bytes are lost, both ways.
    cut_off: Mutex<Vec<IpAddr>>,
}

impl Proxy {
    pub(crate) fn before(server_port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
                let Ok(source) = client.peer_addr().map(|peer| peer.ip()) else { continue };
                let link = Arc::new(Link { number, state: Arc::clone(&shared) });
                let both = [&client, &server].map(|end| end.try_clone().expect("there are descriptors"));
                shared.open.lock().expect("no holder panics").insert(number, both);
                pass_on(&client, &server, source, &link, Some(&client));
                pass_on(&server, &client, source, &link, None);
            }
        });
        Self { port, state }
    }

    /// From now on every byte is lost, in both directions, on old and new connections.
    pub(crate) fn fall_silent(&self) {
        self.state.silent.store(true, Ordering::Relaxed);
    }

    /// From now on every request is answered with this, and goes nowhere.
    pub(crate) fn say(&self, reply: &str) {
        *self.state.reply.lock().expect("no holder panics") = Some(reply.as_bytes().to_vec());
    }

    /// From now on requests are passed on again.
    pub(crate) fn say_no_more(&self) {
        *self.state.reply.lock().expect("no holder panics") = None;
    }

    /// Ends every connection, some of which may lack bytes, and serves new ones.
    pub(crate) fn recover(&self) {
        self.hang_up();
        self.state.silent.store(false, Ordering::Relaxed);
        self.state.answers_lost.store(false, Ordering::Relaxed);
    }

    /// From now on every byte from and to this address is lost.
    pub(crate) fn cut_off(&self, source: Ipv4Addr) {
        self.state.cut_off.lock().expect("no holder panics").push(source.into());
    }

    /// Ends every connection; new ones are served.
    pub(crate) fn hang_up(&self) {
        for (_, connection) in self.state.open.lock().expect("no holder panics").drain() {
            for end in connection {
                end.shutdown(Shutdown::Both).ok();
            }
        }
    }

    /// From now on requests arrive and answers are lost, until it [recovers](Self::recover).
    pub(crate) fn lose_answers(&self) {
        self.state.answers_lost.store(true, Ordering::Relaxed);
    }

    /// From now on every piece is so long on its way, in either direction.
    pub(crate) fn slow_down(&self, delay: Duration) {
        self.state.delay.store(millis(delay), Ordering::Relaxed);
    }

    /// From now on every answer is so long on its way, on top.
    pub(crate) fn slow_answers(&self, delay: Duration) {
        self.state.delay_of_answers.store(millis(delay), Ordering::Relaxed);
    }

    pub(crate) fn accepted(&self) -> usize {
        self.state.accepted.load(Ordering::Relaxed)
    }
}

fn millis(delay: Duration) -> u64 {
    u64::try_from(delay.as_millis()).expect("a delay of this century")
}

/// One connection through the proxy, forgotten when both directions have ended.
#[derive(Debug)]
struct Link {
    number: usize,
    state: Arc<State>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.open.lock().expect("no holder panics").remove(&self.number);
    }
}

/// `asker`: where a reply of the proxy's own goes, when it is requests that are passed on.
fn pass_on(from: &TcpStream, to: &TcpStream, source: IpAddr, link: &Arc<Link>, asker: Option<&TcpStream>) {
    let mut from = from.try_clone().expect("there are descriptors");
    let mut to = to.try_clone().expect("there are descriptors");
    let mut asker = asker.map(|stream| stream.try_clone().expect("there are descriptors"));
    let link = Arc::clone(link);
    thread::spawn(move || {
        let state = &link.state;
        let mut piece = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            let reply = state.reply.lock().expect("no holder panics").clone();
            let of_answers = if asker.is_none() { state.delay_of_answers.load(Ordering::Relaxed) } else { 0 };
            let delay = state.delay.load(Ordering::Relaxed) + of_answers;
            if delay > 0 {
                thread::sleep(Duration::from_millis(delay));
            }
            let is_lost = state.silent.load(Ordering::Relaxed)
                || (asker.is_none() && state.answers_lost.load(Ordering::Relaxed))
                || state.cut_off.lock().expect("no holder panics").contains(&source);
            let outcome = match (&mut asker, reply) {
                (Some(asker), Some(reply)) => asker.write_all(&reply),
                _ if is_lost => Ok(()),
                _ => to.write_all(&piece[..read]),
            };
            if outcome.is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}

/// Accepts every connection and never says a word; returns its port.
pub(crate) fn silent_server() -> u16 {
    scripted_server(|_| None)
}

/// Answers every read with what `answer` makes of it; `None` is silence. Returns its port.
pub(crate) fn scripted_server(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || {
                let mut piece = [0; 16 * 1024];
                while let Ok(read @ 1..) = client.read(&mut piece) {
                    if let Some(reply) = answer(&piece[..read])
                        && client.write_all(&reply).is_err()
                    {
                        break;
                    }
                }
            });
        }
    });
    port
}

/// What a proxy does to those who want to be told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Muteness {
    /// It knows no SUBSCRIBE.
    Refuses,
    /// It takes SUBSCRIBE and answers nothing.
    Swallows,
    /// It subscribes, and passes nothing on that is published.
    Loses,
}

/// A proxy before the server that serves every request, and tells nobody anything. Returns its port.
pub(crate) fn mute_proxy(server_port: u16, muteness: Muteness) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
            let listens = Arc::new(AtomicBool::new(false));
            let [mut from_client, mut to_client] = twice(client);
            let [mut from_server, mut to_server] = twice(server);
            let mut refusal = to_client.try_clone().expect("there are descriptors");
            let told = Arc::clone(&listens);
            thread::spawn(move || {
                let mut piece = [0; 16 * 1024];
                while let Ok(read @ 1..) = from_client.read(&mut piece) {
                    let subscribes = piece[..read].windows(15).any(|words| words == b"$9\r\nSUBSCRIBE\r\n");
                    told.fetch_or(subscribes, Ordering::Relaxed);
                    let outcome = match muteness {
                        Muteness::Refuses if subscribes => refusal.write_all(b"-ERR unknown command 'SUBSCRIBE'\r\n"),
                        Muteness::Swallows if subscribes => Ok(()),
                        _ => to_server.write_all(&piece[..read]),
                    };
                    if outcome.is_err() {
                        break;
                    }
                }
                to_server.shutdown(Shutdown::Both).ok();
            });
            thread::spawn(move || {
                let mut piece = [0; 16 * 1024];
                let mut confirmed = false;
                while let Ok(read @ 1..) = from_server.read(&mut piece) {
                    let published = listens.load(Ordering::Relaxed) && std::mem::replace(&mut confirmed, true);
                    if !published && to_client.write_all(&piece[..read]).is_err() {
                        break;
                    }
                }
                to_client.shutdown(Shutdown::Both).ok();
            });
        }
    });
    port
}

fn twice(stream: TcpStream) -> [TcpStream; 2] {
    [stream.try_clone().expect("there are descriptors"), stream]
}
