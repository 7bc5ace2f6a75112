//! A directory of a test's own, and other processes that use it.

use std::fs;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dlock::backend::file::{Config, FileBackend};
use dlock::lock::{
    Acquired, BackendError, Claim, Contention, Holder, KeyPattern, Lease, LeaseKind, LockBackend, LockKey, LockStatus,
    Namespace, OwnerToken, Patience, Ttl,
};
use tempfile::TempDir;

/// Long enough for any machine, short enough for a test that fails.
pub(super) const LONG: Duration = Duration::from_secs(20);

/// Tells a test that runs as another process which part it plays, and where.
pub(super) const CHILD_DIR: &str = "DLOCK_TEST_CHILD_DIR";

/// Nobody's uid on any machine that tests run on.
pub(super) const STRANGER: u32 = 61_234;

/// A directory of a test's own.
pub(super) struct Place {
    pub(super) dir: Directory,
}

pub(super) enum Directory {
    Own(TempDir),
    OfParent(PathBuf),
}

impl Directory {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::OfParent(dir) => dir,
        }
    }
}

impl Place {
    pub(super) fn new() -> Self {
        Self { dir: Directory::Own(tempfile::tempdir().expect("a writable /tmp")) }
    }

    /// The directory of the process that started this one to play its part of the test.
    pub(super) fn of_child() -> Option<Self> {
        let dir = std::env::var_os(CHILD_DIR)?;
        Some(Self { dir: Directory::OfParent(dir.into()) })
    }

    pub(super) fn config(&self) -> Config {
        Config { dir: Some(self.dir.path().to_owned()), namespace: namespace("dlock") }
    }

    pub(super) fn backend(&self) -> FileBackend {
        FileBackend::open(&self.config()).expect("opening asks nothing")
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("dlock").join(key(name).encoded())
    }

    pub(super) fn make_namespace(&self) {
        fs::create_dir(self.dir.path().join("dlock")).expect("our own directory");
    }

    pub(super) fn claim(&self, name: &str, patience: Patience) -> Claim {
        self.claim_of(name, "tests", patience)
    }

    pub(super) fn claim_of(&self, name: &str, command: &str, patience: Patience) -> Claim {
        self.claim_for(name, LeaseKind::Running, patience, LONG, command)
    }

    pub(super) fn claim_for(
        &self,
        name: &str,
        kind: LeaseKind,
        patience: Patience,
        ttl: Duration,
        command: &str,
    ) -> Claim {
        let holder = Holder { pid: Some(4711), command: Some(command.to_owned()), ..Holder::default() };
        Claim {
            key: key(name),
            token: OwnerToken::random(),
            holder,
            ttl: Ttl::Exactly(ttl),
            kind,
            patience,
            mode: dlock::lock::Mode::Exclusive,
            looks_first: false,
            retention: dlock::lock::Retention::default(),
        }
    }

    pub(super) async fn granted(&self, backend: &FileBackend, name: &str) -> Lease {
        expect_grant(backend.acquire(&self.claim(name, Patience::Refuse), &|_| {}).await)
    }

    pub(super) async fn one_shot(&self, backend: &FileBackend, ttl: Duration) -> Lease {
        let claim = self.claim_for("job", LeaseKind::OneShot, Patience::Refuse, ttl, "tests");
        expect_grant(backend.acquire(&claim, &|_| {}).await)
    }

    pub(super) async fn refused(&self, backend: &FileBackend, name: &str) -> Contention {
        match backend.acquire(&self.claim(name, Patience::Refuse), &|_| {}).await.expect("no failure") {
            Acquired::Held(contention) => contention,
            other => panic!("{other:?} beside a holder"),
        }
    }

    pub(super) async fn status(&self, name: &str) -> LockStatus {
        self.backend().status(&key(name)).await.expect("an answer")
    }

    pub(super) async fn list(&self, pattern: &str) -> Vec<LockStatus> {
        self.backend().list(&KeyPattern::new(pattern).expect("a glob")).await.expect("an answer")
    }

    pub(super) async fn after_waiters(&self, count: usize, then: impl Future<Output = ()>) {
        eventually_blocked(&self.file("job"), count).await;
        then.await;
    }

    /// Starts this very test in another process, which knows by its environment which part it plays, and waits until
    /// it says that it has done it.
    pub(super) fn spawn_myself(&self, test: &str) -> Child {
        let mut child = Command::new(std::env::current_exe().expect("a running program"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(CHILD_DIR, self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own program");
        while !first_line(&mut child).starts_with("child: ") {}
        child
    }
}

/// What the other process says to the one that started it.
pub(super) fn say(what: &str) {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "\nchild: {what}").and_then(|()| stdout.flush()).expect("the parent reads");
}

pub(super) fn first_line(child: &mut Child) -> String {
    let mut line = Vec::new();
    let mut stdout = BufReader::with_capacity(1, child.stdout.as_mut().expect("piped"));
    stdout.read_until(b'\n', &mut line).expect("the child's output");
    assert!(!line.is_empty(), "the child ended without a word");
    String::from_utf8_lossy(&line).into_owned()
}

pub(super) fn expect_grant(acquired: Result<Acquired, BackendError>) -> Lease {
    match acquired.expect("no failure") {
        Acquired::Granted(lease) => lease,
        other => panic!("{other:?}"),
    }
}

pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(LONG * 2, work).await.expect("the test hangs") })
}

pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(condition: impl Fn() -> F) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(since.elapsed() < LONG, "what the test waits for never comes");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(super) async fn eventually_blocked(path: &Path, count: usize) {
    eventually(|| async { (blocked_on(path) >= count).then_some(()) }).await;
}

/// How many processes the kernel has in its queues for locks of this file.
pub(super) fn blocked_on(path: &Path) -> usize {
    let Ok(status) = fs::metadata(path) else { return 0 };
    let inode = format!(":{} ", status.ino());
    let locks = fs::read_to_string("/proc/locks").expect("/proc is mounted");
    locks.lines().filter(|line| line.contains(" -> ") && line.contains(&inode)).count()
}

pub(super) fn key(name: &str) -> LockKey {
    LockKey::new(name).expect("a valid key")
}

pub(super) fn namespace(name: &str) -> Namespace {
    Namespace::new(name).expect("a valid namespace")
}
