//! A proxy that writes down what clients ask of a ZooKeeper server, and how often it tells them of something.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Its threads end with the test process.
#[derive(Debug)]
pub(super) struct Wiretap {
    port: u16,
    notes: Arc<Mutex<Vec<String>>>,
}

impl Wiretap {
    pub(super) fn before(address: &str) -> Self {
        let server = address.to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&notes);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                pass_on(&client, &server, &shared, asked);
                pass_on(&server, &client, &shared, told);
            }
        });
        Self { port, notes }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What has been noted since the last call, in order.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.notes.lock().expect("no holder panics"))
    }
}

/// One frame after the other, each whole, so that the note is there before the frame is.
fn pass_on(
    from: &TcpStream,
    to: &TcpStream,
    notes: &Arc<Mutex<Vec<String>>>,
    note: fn(&[u8], usize) -> Option<String>,
) {
    let mut from = from.try_clone().expect("there are descriptors");
    let mut to = to.try_clone().expect("there are descriptors");
    let notes = Arc::clone(notes);
    thread::spawn(move || {
        for number in 0.. {
            let mut len = [0; 4];
            if from.read_exact(&mut len).is_err() {
                break;
            }
            let mut frame = vec![0; usize::try_from(u32::from_be_bytes(len)).expect("32 bits fit")];
            if from.read_exact(&mut frame).is_err() {
                break;
            }
            if let Some(note) = note(&frame, number) {
                notes.lock().expect("no holder panics").push(note);
            }
            if to.write_all(&[&len[..], &frame].concat()).is_err() {
                break;
            }
        }
        to.shutdown(Shutdown::Write).ok();
    });
}

fn word(frame: &[u8], at: usize) -> i32 {
    frame.get(at..at + 4).map_or(0, |bytes| i32::from_be_bytes(bytes.try_into().expect("four bytes")))
}

fn asked(frame: &[u8], number: usize) -> Option<String> {
    if number == 0 {
        return Some("connect".into());
    }
    Some(match word(frame, 4) {
        -11 => "close".into(),
        1 | 15 => "create".into(),
        2 => "delete".into(),
        3 => "exists".into(),
        4 => "get".into(),
        5 => "set".into(),
        8 | 12 => "list".into(),
        11 => "ping".into(),
        14 => "multi".into(),
        18 => "unwatch".into(),
        19 => "create-container".into(),
        other => other.to_string(),
    })
}

fn told(frame: &[u8], number: usize) -> Option<String> {
    const NOTIFICATION: i32 = -1;
    (number > 0 && word(frame, 0) == NOTIFICATION).then(|| "told".into())
}
