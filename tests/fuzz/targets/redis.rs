//! A hostile Redis: the input says what it answers, to the connection and the readers that ship.

use std::future::Future;
use std::net::Ipv4Addr;
use std::time::Duration;

use dlock::backend::redis::{Config, Layout, Topology, masters};
use dlock::backend::tls::Tls;
use dlock::backend::{Target, open};
use dlock::error::{Attempt, Error};
use dlock::lock::{
    Acquired, BackendError, Claim, Holder, KeyPattern, Lease, LeaseKind, LockBackend, LockKey, Mode, Namespace,
    OwnerToken, Patience, Retention, Ttl,
};
use dlock::sys::boottime::BootInstant;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::listings::can_be_shown;
use super::promises::{SECRET, is_one_line, is_sayable};

/// Between two answers.
const NEXT: &[u8] = b"\n===\n";

/// Whatever is still awaited by then is given up: an answer that lacks its end is waited for until the caller's deadline.
const PATIENCE: Duration = Duration::from_millis(40);

/// The first line says how the server is named and what is asked of it, as in `redis status`; the rest is what it answers.
pub(crate) fn server(input: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().expect("there are descriptors");
    }
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, rest) = input.split_at(end);
    let first = String::from_utf8_lossy(first).into_owned();
    let (place, question) = first.split_once(' ').unwrap_or((&first, "status"));
    let answers = pieces(rest.get(1..).unwrap_or_default());
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let serving = tokio::spawn(serve(listener, answers));
            let backend = open(&target(place, port)).expect("nothing is sent yet");
            timeout(PATIENCE, ask(&*backend, question)).await.ok();
            timeout(PATIENCE, backend.close()).await.ok();
            serving.abort();
        });
    });
}

pub(super) fn pieces(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while let Some(at) = rest.windows(NEXT.len()).position(|window| window == NEXT) {
        pieces.push(rest[..at].to_vec());
        rest = &rest[at + NEXT.len()..];
    }
    pieces.push(rest.to_vec());
    pieces
}

/// Each request is answered with the next piece; behind the last of them every connection is closed.
async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) {
    let mut answers = answers.into_iter();
    while let Ok((mut client, _)) = listener.accept().await {
        let mut request = [0; 16 * 1024];
        while let Ok(1..) = client.read(&mut request).await {
            let Some(answer) = answers.next() else { break };
            if client.write_all(&answer).await.is_err() {
                break;
            }
        }
    }
}

fn target(place: &str, port: u16) -> Target {
    let namespace = Namespace::new("dlock").expect("a valid namespace");
    let at = |url: String| Topology::parse(&url).expect("a valid URL");
    let config =
        |url| Config { topology: at(url), namespace: namespace.clone(), tls: Tls::default(), wait_replicas: 0 };
    let endpoint = |host| at(format!("redis://{host}:{port}")).into_server().expect("it is one server");
    match place {
        "sentinel" => Target::Redis(config(format!("redis-sentinel://127.0.0.1:{port}/service"))),
        "cluster" => Target::Redis(config(format!("redis-cluster://127.0.0.1:{port}"))),
        "redisson" => Target::RedisLayout(config(format!("redis://127.0.0.1:{port}")), Layout::Redisson),
        "python" => Target::RedisLayout(config(format!("redis://127.0.0.1:{port}")), Layout::PythonRedisLock),
        "masters" => Target::RedisMasters(masters::Config {
            endpoints: vec![endpoint("127.0.0.1"), endpoint("127.0.0.2"), endpoint("127.0.0.3")],
            namespace,
            tls: Tls::default(),
        }),
        "password" => Target::Redis(config(format!("redis://user:{SECRET}@127.0.0.1:{port}/3"))),
        _ => Target::Redis(config(format!("redis://127.0.0.1:{port}"))),
    }
}

/// Asks one thing, and looks at whatever comes back.
pub(super) async fn ask(backend: &dyn LockBackend, question: &str) {
    let key = LockKey::new("job").expect("a valid key");
    let token = OwnerToken::parse("0123456789abcdef0123456789abcdef").expect("a token");
    let ttl = Duration::from_secs(9);
    match question {
        "list" => {
            let listed = backend.list(&KeyPattern::new("*").expect("a pattern")).await;
            told(listed, Attempt::Examine).await.inspect(|statuses| can_be_shown(statuses));
        }
        "acquire" | "share" | "lease" => {
            let claim = Claim {
                key: key.clone(),
                token,
                holder: Holder::default(),
                ttl: Ttl::Exactly(ttl),
                kind: if question == "lease" { LeaseKind::OneShot } else { LeaseKind::Running },
                patience: Patience::Refuse,
                mode: if question == "share" { Mode::Shared } else { Mode::Exclusive },
                looks_first: false,
                retention: Retention::default(),
            };
            let acquired = backend.acquire(&claim, &|_| {}).await;
            match told(acquired, Attempt::Acquire(key)).await {
                Some(Acquired::Granted(lease)) => {
                    assert!(lease.ttl <= ttl, "{:?} is more than was asked for", lease.ttl);
                }
                Some(Acquired::Held(contention)) => {
                    is_one_line(&dlock::error::phrase::HeldBy(&contention).to_string());
                }
                Some(Acquired::Lost) | None => {}
            }
        }
        "renew" => {
            let lease = Lease {
                key: key.clone(),
                token,
                ttl,
                fence: None,
                requested_at: BootInstant::now(),
                valid_until: None,
                renew_every: None,
                expires_at: None,
            };
            told(backend.renew(&lease).await, Attempt::Renew(key)).await;
        }
        "prolong" => {
            told(backend.prolong(&key, &token, Some(ttl)).await, Attempt::Renew(key)).await;
        }
        "release" => {
            told(backend.release(&key, &token).await, Attempt::Release(key)).await;
        }
        "examine" => {
            let findings = told(backend.examine(Ttl::Exactly(ttl)).await, Attempt::Examine).await;
            findings.into_iter().flatten().for_each(|finding| is_one_line(&format!("{finding:?}")));
        }
        _ => {
            if let Some(status) = told(backend.status(&key).await, Attempt::Status(key)).await {
                can_be_shown(&[status]);
            }
        }
    }
}

/// The outcome, its error looked at.
fn told<T>(outcome: Result<T, BackendError>, attempt: Attempt) -> impl Future<Output = Option<T>> {
    let outcome = outcome.map_err(|error| is_sayable(&Error::backend(attempt, error), true)).ok();
    std::future::ready(outcome)
}
