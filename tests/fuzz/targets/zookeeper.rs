//! A hostile ZooKeeper: the input says what it answers, to the client and the readers that ship.

use std::net::Ipv4Addr;
use std::time::Duration;

use dlock::backend::zookeeper::{Access, Config, ConnectString, Family};
use dlock::backend::{Target, open};
use dlock::lock::Namespace;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::redis::{ask, pieces};

/// Whatever is still awaited by then is given up.
const PATIENCE: Duration = Duration::from_millis(60);

/// Opcodes of requests that are answered as a server would.
const PING: i32 = 11;
const CLOSE: i32 = -11;

/// A read of data, and the least that answers it: a head, the length of the data, and a node's stamps. The client crate
/// panics where there is less, which ends dlock as a defect (README.md); so that others are found, there never is.
const GET_DATA: i32 = 4;
const LEAST_DATA: usize = 12 + 4 + STAT;
const STAT: usize = 68;

/// What creates a node, and where the length of the new node's path stands in the answer. The client crate panics where there
/// is no path; so that others are found, there always is one.
const CREATIONS: [i32; 4] = [1, 15, 19, 21];
const PATH_LENGTH: std::ops::Range<usize> = 12..16;

/// Several operations in one. dlock's only check and read, so that none of the answers tells of a creation.
const MULTI: i32 = 14;
const CHECK: i32 = 13;
const SET_DATA: i32 = 5;
const ERROR: i32 = -1;

/// Lists of access rights and of children. The client crate makes room for as many as are announced, which ends dlock with a
/// sentence; so that others are found, there are never announced more than there are bytes.
const LISTS: [i32; 3] = [6, 8, 12];

/// Longer requests than these are none.
const MOST_REQUEST_BYTES: usize = 1 << 20;

/// The first line is what is asked, as in `status`, behind it the family of names and a colon where that is another. The
/// rest is what the server answers: first the greeting, where it is not to be a good one; then the body of each reply,
/// behind its number.
pub(crate) fn server(input: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("there are descriptors");
    }
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, rest) = input.split_at(end);
    let first = String::from_utf8_lossy(first).into_owned();
    let (family, question) = first.split_once(':').unwrap_or(("dlock", &first));
    let family = Family::ALL.into_iter().find(|one| one.layout() == family).unwrap_or(Family::Dlock);
    let answers = pieces(rest.get(1..).unwrap_or_default());
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let serving = tokio::spawn(serve(listener, answers));
            let servers = ConnectString::parse(&format!("127.0.0.1:{port}")).expect("a valid address");
            let namespace = Namespace::new("dlock").expect("a valid namespace");
            let access = Access::default();
            let config = Config { servers, namespace, access, family, fence_floor: 0 };
            let backend = open(&Target::ZooKeeper(config)).expect("nothing is sent yet");
            timeout(PATIENCE, ask(&*backend, question)).await.ok();
            timeout(PATIENCE, backend.close()).await.ok();
            serving.abort();
        });
    });
}

async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) {
    let mut answers = answers.into_iter();
    let greeting = answers.next().filter(|greeting| !greeting.is_empty()).unwrap_or_else(good_greeting);
    while let Ok((mut client, _)) = listener.accept().await {
        if converse(&mut client, &greeting, &mut answers).await.is_none() {
            client.shutdown().await.ok();
        }
    }
}

/// A session of 9 s.
fn good_greeting() -> Vec<u8> {
    let mut greeting = vec![0; 4];
    greeting.extend(9_000_i32.to_be_bytes());
    greeting.extend(7_i64.to_be_bytes());
    greeting.extend(16_i32.to_be_bytes());
    greeting.extend([1; 16]);
    greeting.push(0);
    greeting
}

async fn converse(client: &mut TcpStream, greeting: &[u8], answers: &mut impl Iterator<Item = Vec<u8>>) -> Option<()> {
    let mut is_greeted = false;
    loop {
        let mut word = [0; 4];
        client.read_exact(&mut word).await.ok()?;
        if &word == b"srvr" {
            client.write_all(b"Zookeeper version: 3.8.0\nMode: standalone\n").await.ok()?;
            return None;
        }
        let length = usize::try_from(i32::from_be_bytes(word)).ok().filter(|length| *length <= MOST_REQUEST_BYTES)?;
        let mut request = vec![0; length];
        client.read_exact(&mut request).await.ok()?;
        if !is_greeted {
            is_greeted = true;
            answer(client, greeting).await?;
            continue;
        }
        let (number, rest) = request.split_at_checked(4)?;
        let operation = i32::from_be_bytes(rest.get(..4)?.try_into().ok()?);
        let mut body = match operation {
            PING | CLOSE => vec![0; 12],
            _ => answers.next()?,
        };
        let is_error = body.get(8..12).is_some_and(|error| error != [0; 4]);
        if operation == GET_DATA && !is_error && body.len() < LEAST_DATA {
            body.resize(LEAST_DATA, 0);
        }
        if CREATIONS.contains(&operation) && !is_error && body.get(PATH_LENGTH).is_some_and(|length| int(length) <= 0) {
            body.splice(PATH_LENGTH, [&1_i32.to_be_bytes()[..], b"/"].concat());
        }
        if operation == MULTI {
            check_instead_of_create(&mut body);
        }
        let most = i32::try_from(body.len()).unwrap_or(i32::MAX);
        if LISTS.contains(&operation)
            && let Some(count) = body.get_mut(12..16)
            && int(count) > most
        {
            count.copy_from_slice(&most.to_be_bytes());
        }
        answer(client, &[number, &body].concat()).await?;
        if operation == CLOSE {
            return None;
        }
    }
}

/// Goes over what a multi's answer says of each operation: what it was, whether it is the last, and an error.
fn check_instead_of_create(body: &mut [u8]) {
    const HEAD: usize = 9;
    let mut at = 12;
    while let Some(head) = body.get_mut(at..at + HEAD).filter(|head| head[4] == 0) {
        let operation = int(&head[..4]);
        if CREATIONS.contains(&operation) {
            head[..4].copy_from_slice(&CHECK.to_be_bytes());
        }
        at += HEAD
            + match operation {
                SET_DATA => STAT,
                ERROR => 4,
                _ => 0,
            };
    }
}

/// The big-endian number that four bytes are.
fn int(bytes: &[u8]) -> i32 {
    i32::from_be_bytes(bytes.try_into().expect("a number has four bytes"))
}

async fn answer(client: &mut TcpStream, frame: &[u8]) -> Option<()> {
    let length = i32::try_from(frame.len()).ok()?.to_be_bytes();
    client.write_all(&[&length, frame].concat()).await.ok()
}
