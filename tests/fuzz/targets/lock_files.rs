//! Lock files that anybody may have written, read and written on by the backend.

use std::fs;
use std::path::Path;
use std::time::Duration;

use dlock::backend::file::{Config, FileBackend};
use dlock::error::{Attempt, Error};
use dlock::lock::{
    Acquired, Claim, Holder, KeyPattern, LeaseKind, LockBackend as _, LockKey, LockState, Mode, Namespace, OwnerToken,
    Patience, Retention, Ttl,
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use super::listings::can_be_shown;
use super::promises::is_sayable;

/// As `docs/protocol.md` has it.
const SLOT_LEN: usize = 2048;
const ENTRY_LEN: usize = 512;

struct Place {
    directory: TempDir,
    runtime: Runtime,
    boot_id: String,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("the temporary directory takes files");
        fs::create_dir(directory.path().join("n")).expect("our own directory");
        let runtime = Builder::new_current_thread().enable_all().build().expect("there are descriptors");
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("Linux has it");
        Self { directory, runtime, boot_id: boot_id.trim().to_owned() }
    }

    fn file(&self) -> std::path::PathBuf {
        self.directory.path().join("n/job")
    }
}

/// The content of a lock file: a line for each part. `r …` is a record and `e …` an entry, to be sealed; `s …` and `f …`
/// are the same as they stand; `$BOOT` is this start of the machine. Anything else is the file.
pub(crate) fn lock_file(input: &[u8]) {
    thread_local! {
        static PLACE: Place = Place::new();
    }
    PLACE.with(|place| {
        fs::write(place.file(), content(input, &place.boot_id)).expect("our own directory");
        place.runtime.block_on(read_and_write(place.directory.path()));
    });
}

async fn read_and_write(directory: &Path) {
    let namespace = Namespace::new("n").expect("a valid namespace");
    let config = Config { dir: Some(directory.to_owned()), namespace: namespace.clone() };
    let backend = FileBackend::open(&config).expect("it opens nothing yet");
    let key = LockKey::new("job").expect("a valid key");
    let corrupt = match backend.status(&key).await {
        Ok(status) => {
            assert_eq!(status.key, key);
            can_be_shown(&[status]);
            false
        }
        Err(error) => {
            is_sayable(&Error::backend(Attempt::Status(key.clone()), error), false);
            true
        }
    };
    match backend.list(&KeyPattern::new("*").expect("a pattern")).await {
        Ok(statuses) => can_be_shown(&statuses),
        Err(error) => is_sayable(&Error::backend(Attempt::List(namespace), error), false),
    }
    let token = OwnerToken::random();
    let claim = Claim {
        key: key.clone(),
        token: token.clone(),
        holder: Holder { label: Some("ours".to_owned()), ..Holder::default() },
        ttl: Ttl::Exactly(Duration::from_secs(9)),
        kind: LeaseKind::Running,
        patience: Patience::Refuse,
        mode: Mode::Exclusive,
        looks_first: false,
        retention: Retention::default(),
    };
    match backend.acquire(&claim, &|_| {}).await {
        Ok(Acquired::Granted(lease)) => {
            assert!(!corrupt, "what cannot be read is not taken");
            assert_eq!(lease.key, key);
            let status = backend.status(&key).await.expect("what we write can be read");
            assert_eq!(status.state, LockState::Held(Mode::Exclusive));
            assert_eq!(status.fence, lease.fence, "the holder has the number that others are shown");
            backend.release(&key, &token).await.expect("it is ours");
            let free = backend.status(&key).await.expect("what we write can be read");
            assert_eq!(free.state, LockState::Free);
        }
        Ok(Acquired::Held(_) | Acquired::Lost) => {}
        Err(error) => is_sayable(&Error::backend(Attempt::Acquire(key.clone()), error), false),
    }
    if corrupt {
        backend.mend(&key).await.expect("our own directory");
        let mended = backend.status(&key).await.expect("it can be read now");
        assert_eq!(mended.state, LockState::Free);
    }
    backend.close().await;
}

/// What the file is to hold.
fn content(input: &[u8], boot_id: &str) -> Vec<u8> {
    let mut slots: Vec<Vec<u8>> = Vec::new();
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for line in input.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match line.split_at_checked(2) {
            Some((b"r ", body)) => slots.push(seal(slots.len() as u64 + 1, body, boot_id)),
            Some((b"e ", body)) => entries.push(seal(0, body, boot_id)),
            Some((b"s ", bytes)) => slots.push(bytes.to_vec()),
            Some((b"f ", bytes)) => entries.push(bytes.to_vec()),
            _ => return input.to_vec(),
        }
    }
    let mut content = Vec::new();
    for index in 0..2 {
        let mut slot = slots.get(index).cloned().unwrap_or_default();
        slot.resize(SLOT_LEN, 0);
        content.extend(slot);
    }
    for mut entry in entries {
        entry.resize(ENTRY_LEN, 0);
        content.extend(entry);
    }
    content
}

fn seal(sequence: u64, body: &[u8], boot_id: &str) -> Vec<u8> {
    let body = match std::str::from_utf8(body) {
        Ok(text) => text.replace("$BOOT", boot_id).into_bytes(),
        Err(_) => body.to_vec(),
    };
    let line = format!("dlock 1 {sequence:016x} {:04x} ", body.len()).into_bytes();
    let digest = Sha256::new().chain_update(&line).chain_update(&body).finalize();
    let sum: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    [&line, sum.as_bytes(), b"\n", &body].concat()
}
