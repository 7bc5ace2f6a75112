//! Proxies that meddle with what they pass on: one loses an answer, one holds a request back, one changes names.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// What becomes of a connection whose answer was lost, and of later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Afterwards {
    /// It ends; new ones are served.
    HangsUp,
    /// Nothing is heard any more, on new ones neither.
    Silence,
}

/// A proxy that loses one answer. Its threads end with the test process.
#[derive(Debug)]
pub(crate) struct Loser {
    pub(crate) port: u16,
    lost: Arc<AtomicBool>,
}

impl Loser {
    /// Loses the answer to the first request of these bytes, once the server has carried it out.
    pub(crate) fn before(server_port: u16, request: &'static [u8], afterwards: Afterwards) -> Self {
        let (listener, port) = listening();
        let lost = Arc::new(AtomicBool::new(false));
        let loses = Arc::clone(&lost);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if loses.load(Ordering::SeqCst) && afterwards == Afterwards::Silence {
                    std::mem::forget(client);
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
                // Whether this connection's answers go nowhere from now on.
                let deaf = Arc::new(AtomicBool::new(false));
                let (first, deafened) = (Arc::clone(&loses), Arc::clone(&deaf));
                carry(&client, &server, move |bytes| {
                    if contains(&bytes, request) && !first.swap(true, Ordering::SeqCst) {
                        deafened.store(true, Ordering::SeqCst);
                    }
                    bytes
                });
                let (from, to) = (client.try_clone(), server.try_clone());
                carry(&server, &client, move |bytes| {
                    if !deaf.load(Ordering::SeqCst) {
                        return bytes;
                    }
                    if afterwards == Afterwards::HangsUp {
                        for end in [&from, &to].into_iter().flatten() {
                            end.shutdown(Shutdown::Both).ok();
                        }
                    }
                    Vec::new()
                });
            }
        });
        Self { port, lost }
    }

    /// Whether the request has come.
    pub(crate) fn has_struck(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }
}

/// A proxy that holds one request or one answer back until it is told to pass it on.
#[derive(Debug)]
pub(crate) struct Retainer {
    pub(crate) port: u16,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    /// The request has come.
    found: AtomicBool,
    caught: AtomicBool,
    open: AtomicBool,
}

impl Gate {
    fn hold(&self) {
        self.caught.store(true, Ordering::SeqCst);
        while !self.open.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Retainer {
    /// Holds back the first piece with these bytes in it, and whatever follows on its connection.
    pub(crate) fn before(server_port: u16, request: Vec<u8>) -> Self {
        let (listener, port) = listening();
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
                let (gate, request) = (Arc::clone(&shared), request.clone());
                carry(&client, &server, move |bytes| {
                    if contains(&bytes, &request) && !gate.found.swap(true, Ordering::SeqCst) {
                        gate.hold();
                    }
                    bytes
                });
                carry(&server, &client, |bytes| bytes);
            }
        });
        Self { port, gate }
    }

    /// Holds back the answer to the first request with these bytes in it, and whatever follows on its connection; the
    /// server has carried it out by then.
    pub(crate) fn of_answers(server_port: u16, request: &'static [u8]) -> Self {
        let (listener, port) = listening();
        let gate = Arc::new(Gate::default());
        let shared = Arc::clone(&gate);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
                let is_late = Arc::new(AtomicBool::new(false));
                let (gate, late) = (Arc::clone(&shared), Arc::clone(&is_late));
                carry(&client, &server, move |bytes| {
                    if contains(&bytes, request) && !gate.found.swap(true, Ordering::SeqCst) {
                        late.store(true, Ordering::SeqCst);
                    }
                    bytes
                });
                let gate = Arc::clone(&shared);
                carry(&server, &client, move |bytes| {
                    if is_late.load(Ordering::SeqCst) {
                        gate.hold();
                    }
                    bytes
                });
            }
        });
        Self { port, gate }
    }

    pub(crate) fn has_caught(&self) -> bool {
        self.gate.caught.load(Ordering::SeqCst)
    }

    pub(crate) fn let_go(&self) {
        self.gate.open.store(true, Ordering::SeqCst);
    }
}

/// A proxy before the server that changes `theirs` into `ours` on the way from it, and back on the way to it. Both have
/// one length, and stand in one piece. Returns its port.
pub(crate) fn renaming_proxy(server_port: u16, theirs: &'static str, ours: &'static str) -> u16 {
    assert_eq!(theirs.len(), ours.len(), "the lengths that stand before them stay as they are");
    let (listener, port) = listening();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
            carry(&client, &server, move |bytes| replaced(bytes, ours, theirs));
            carry(&server, &client, move |bytes| replaced(bytes, theirs, ours));
        }
    });
    port
}

/// A proxy before a ZooKeeper server whose answers name another session as the owner of a client's own nodes, as they would
/// of nodes that an earlier session has left. Returns its port.
pub(crate) fn disowning_proxy(server_port: u16) -> u16 {
    let (listener, port) = listening();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server_port)) else { continue };
            carry(&client, &server, |bytes| bytes);
            let mut session = None;
            carry(&server, &client, move |mut bytes| {
                let Some(session) = &session else {
                    // Its length, the protocol's version, the timeout, and then the session.
                    session = bytes.get(12..20).map(<[u8]>::to_vec);
                    return bytes;
                };
                let mut at = 0;
                while let Some(found) = bytes[at..].windows(8).position(|window| window == &session[..]) {
                    bytes[at + found + 7] ^= 1;
                    at += found + 8;
                }
                bytes
            });
        }
    });
    port
}

fn listening() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

fn carry(from: &TcpStream, to: &TcpStream, mut change: impl FnMut(Vec<u8>) -> Vec<u8> + Send + 'static) {
    let mut from = from.try_clone().expect("there are descriptors");
    let mut to = to.try_clone().expect("there are descriptors");
    thread::spawn(move || {
        let mut piece = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut piece) {
            let bytes = change(piece[..read].to_vec());
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn replaced(mut bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(from.len()).position(|window| window == from) {
        bytes[at + found..at + found + to.len()].copy_from_slice(to);
        at += found + to.len();
    }
    bytes
}
