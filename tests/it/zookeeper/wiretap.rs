//! A proxy that writes down what clients ask of a ZooKeeper server, and how often it tells them of something.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Its threads end with the test process.
#[derive(Debug)]
pub(super) struct Wiretap {
    port: u16,
    notes: Arc<Mutex<Vec<Note>>>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

/// What is answered to a request in place of the server, before the connection ends.
type Refusal = fn(&[u8]) -> Option<Vec<u8>>;

const READ_MANY: i32 = 22;

#[derive(Debug)]
enum Note {
    Asked(String),
    Told,
    Answered,
}

impl Wiretap {
    pub(super) fn before(address: &str) -> Self {
        Self::far_from(address, Duration::ZERO)
    }

    /// The same, with every answer that much later: whatever is asked without waiting for it is noted before it.
    pub(super) fn far_from(address: &str, delay: Duration) -> Self {
        Self::on_the_way(address, delay, |_| None)
    }

    /// The same before a server that has not heard of reading many nodes in one request, as those up to 3.5: it says so, and
    /// hangs up.
    pub(super) fn of_old(address: &str) -> Self {
        const UNIMPLEMENTED: i32 = -6;
        Self::on_the_way(address, Duration::ZERO, |frame| {
            let header = [&frame[..4], &0_i64.to_be_bytes(), &UNIMPLEMENTED.to_be_bytes()].concat();
            (word(frame, 4) == READ_MANY).then_some(header)
        })
    }

    fn on_the_way(address: &str, delay: Duration, refusal: Refusal) -> Self {
        let server = address.to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let clients = Arc::new(Mutex::new(Vec::new()));
        let (shared, connected) = (Arc::clone(&notes), Arc::clone(&clients));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                connected.lock().expect("no holder panics").extend(client.try_clone());
                pass_on(&client, &server, &shared, Duration::ZERO, asked, refusal);
                pass_on(&server, &client, &shared, delay, answered, |_| None);
            }
        });
        Self { port, notes, clients }
    }

    /// Ends every connection; new ones are let through.
    pub(super) fn cut(&self) {
        for client in self.clients.lock().expect("no holder panics").drain(..) {
            client.shutdown(Shutdown::Both).ok();
        }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What has been noted since the last call, in order.
    pub(super) fn take(&self) -> Vec<String> {
        let asked = |note| match note {
            Note::Asked(what) => Some(what),
            Note::Told => Some("told".to_owned()),
            Note::Answered => None,
        };
        self.take_notes().into_iter().filter_map(asked).collect()
    }

    /// The same as round trips: what was asked before an answer to the first of it came, each.
    pub(super) fn take_trips(&self) -> Vec<String> {
        let notes = self.take_notes();
        let trips = notes.split(|note| matches!(note, Note::Answered));
        let words = trips.map(|trip| {
            let asked = trip.iter().filter_map(|note| if let Note::Asked(what) = note { Some(&**what) } else { None });
            asked.collect::<Vec<_>>().join(" + ")
        });
        words.filter(|trip| !trip.is_empty()).collect()
    }

    fn take_notes(&self) -> Vec<Note> {
        std::mem::take(&mut *self.notes.lock().expect("no holder panics"))
    }
}

/// One frame after the other, each whole, so that the note is there before the frame is.
fn pass_on(
    from: &TcpStream,
    to: &TcpStream,
    notes: &Arc<Mutex<Vec<Note>>>,
    delay: Duration,
    note: fn(&[u8], usize) -> Note,
    refusal: Refusal,
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
            // Not to wait for anything: this is how long the way is.
            thread::sleep(delay);
            notes.lock().expect("no holder panics").push(note(&frame, number));
            if let Some(refusal) = refusal(&frame).filter(|_| number > 0) {
                let len = u32::try_from(refusal.len()).expect("a header is short").to_be_bytes();
                from.write_all(&[&len[..], &refusal].concat()).ok();
                from.shutdown(Shutdown::Both).ok();
                break;
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

fn asked(frame: &[u8], number: usize) -> Note {
    if number == 0 {
        return Note::Asked("connect".into());
    }
    Note::Asked(match word(frame, 4) {
        -11 => "close".into(),
        1 | 15 => "create".into(),
        2 => "delete".into(),
        3 => "exists".into(),
        4 => "get".into(),
        5 => "set".into(),
        8 | 12 => "list".into(),
        11 => "ping".into(),
        14 => checks(frame).map_or_else(|| "multi".into(), |count| format!("check {count}")),
        18 => "unwatch".into(),
        19 => "create-container".into(),
        READ_MANY => "read-many".into(),
        other => other.to_string(),
    })
}

/// How many nodes a multi asks about that does nothing else.
fn checks(frame: &[u8]) -> Option<usize> {
    const CHECK: i32 = 13;
    let mut at = 8;
    for count in 0.. {
        // Which operation, whether it is the end, and an error that only answers have.
        if *frame.get(at + 4)? != 0 {
            return Some(count);
        }
        if word(frame, at) != CHECK {
            return None;
        }
        let path = usize::try_from(word(frame, at + 9)).ok()?;
        at += 9 + 4 + path + 4;
    }
    None
}

fn answered(frame: &[u8], number: usize) -> Note {
    const NOTIFICATION: i32 = -1;
    if number > 0 && word(frame, 0) == NOTIFICATION { Note::Told } else { Note::Answered }
}
