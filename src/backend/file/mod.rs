//! Locks of this host, kept by the kernel in files. Breaks when the directory is not the same for all, when a file is
//! removed by hand, or when somebody else's kernel has a say (network file systems).

mod contenders;
mod directory;
mod examination;
mod group;
mod joining;
mod kept;
mod lease;
mod listing;
mod lock_file;
mod locks;
mod plain;
mod records;
mod revoking;
mod vacancy;
mod waiting;

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use crate::lock::{
    Acquired, BackendError, Claim, Finding, HolderEntry, KeyPattern, Lease, LockBackend, LockKey, LockStatus, Manner,
    Namespace, OwnerToken, Parting, Progress, Prolonged, Release, Renewal, Revocation, Ttl,
};
use crate::sys::boottime::BootInstant;
use contenders::Contenders;
use directory::{Missing, NamespaceDir};
use lock_file::LockFile;
use records::{Entry, Now, Record, Standing};

pub use directory::{default_directory, made_default_directory};

/// Changes at every start of the machine, and with it CLOCK_BOOTTIME begins anew.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where lock files are.
#[derive(Debug, Clone)]
pub struct Config {
    /// `None`: [`default_directory`].
    pub dir: Option<PathBuf>,
    /// Empty: keys are paths of files that are only locked.
    pub namespace: Namespace,
}

impl Config {
    /// The directory in which this host's contenders meet.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(default_directory)
    }
}

/// Locks that cover this host.
#[derive(Debug)]
pub struct FileBackend {
    config: Config,
    place: OnceCell<NamespaceDir>,
    contenders: Contenders<LockFile>,
    plain: Contenders<OwnedFd>,
    boot_id: OnceCell<String>,
    /// Owners who know that an operator wants their lock back.
    asked_back: RefCell<HashSet<OwnerToken>>,
}

impl FileBackend {
    /// Takes the configuration as it is: the first request opens the directory.
    ///
    /// # Errors
    /// None so far; every failure has a key to be reported with.
    pub fn open(config: &Config) -> Result<Self, BackendError> {
        Ok(Self {
            config: config.clone(),
            place: OnceCell::new(),
            contenders: Contenders::new(),
            plain: Contenders::new(),
            boot_id: OnceCell::new(),
            asked_back: RefCell::default(),
        })
    }

    fn is_plain(&self) -> bool {
        self.config.namespace.is_empty()
    }

    /// The namespace's directory, made if it is missing.
    fn made_place(&self) -> Result<&NamespaceDir, BackendError> {
        self.opened_place(Missing::Make).map(|place| place.expect("a missing directory was to be made"))
    }

    /// The namespace's directory, if there is one.
    fn place(&self) -> Result<Option<&NamespaceDir>, BackendError> {
        self.opened_place(Missing::Leave)
    }

    fn opened_place(&self, missing: Missing) -> Result<Option<&NamespaceDir>, BackendError> {
        if let Some(place) = self.place.get() {
            return Ok(Some(place));
        }
        let opened = NamespaceDir::open(self.config.dir.as_deref(), &self.config.namespace, missing)?;
        Ok(opened.map(|place| self.place.get_or_init(|| place)))
    }

    fn boot_id(&self) -> Result<&str, BackendError> {
        if let Some(boot_id) = self.boot_id.get() {
            return Ok(boot_id);
        }
        let text = fs::read_to_string(BOOT_ID)
            .map_err(|error| BackendError::misconfigured(format!("{BOOT_ID} cannot be read ({error}); mount /proc")))?;
        Ok(self.boot_id.get_or_init(|| text.trim().to_owned()))
    }

    fn now(&self) -> Result<Now, BackendError> {
        Ok(Now { boot_id: self.boot_id()?.to_owned(), boottime: BootInstant::now() })
    }

    /// Tells the entries that a lease keeps alive at this moment.
    fn leases(&self) -> Result<impl Fn(&Entry) -> bool, BackendError> {
        let (boot_id, now) = (self.boot_id()?, BootInstant::now());
        Ok(move |entry: &Entry| entry.leased(boot_id, now))
    }

    /// Microseconds since 1970, 0 while the clock stands before that.
    fn wall_us(&self) -> u64 {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
    }

    /// Whether `record` keeps everybody out by itself.
    fn stands(&self, record: &Record) -> Result<bool, BackendError> {
        if !record.depends_on_boot() {
            return Ok(false);
        }
        let now = self.now()?;
        Ok(matches!(record.standing(&now.boot_id, now.boottime), Standing::Until(_)))
    }

    /// Whether `record` is of a dead holder that wants others to be kept out.
    fn is_uncleared(&self, record: &Record) -> Result<bool, BackendError> {
        let now = self.now()?;
        Ok(matches!(record.standing(&now.boot_id, now.boottime), Standing::Delayed(_)))
    }
}

#[async_trait(?Send)]
impl LockBackend for FileBackend {
    async fn acquire(&self, claim: &Claim, progress: &dyn Fn(Progress)) -> Result<Acquired, BackendError> {
        if self.is_plain() { self.take_plain(claim, progress).await } else { self.take(claim, progress).await }
    }

    /// A kernel lock needs no renewal; what is answered is whether the lease is still ours.
    async fn renew(&self, lease: &Lease) -> Result<Renewal, BackendError> {
        let forever = BootInstant::from_nanos(u64::MAX);
        if let Some(contender) = self.contenders.granted(&lease.key, &lease.token) {
            return Ok(match self.is_asked_back(&contender.file, &lease.token)? {
                true => Renewal::Revoked { valid_until: forever },
                false => Renewal::Renewed { valid_until: forever },
            });
        }
        if self.plain.granted(&lease.key, &lease.token).is_some() {
            return Ok(Renewal::Renewed { valid_until: forever });
        }
        Ok(match self.prolong(&lease.key, &lease.token, Some(lease.ttl)).await? {
            Prolonged::Set { ttl, .. } => Renewal::Renewed { valid_until: BootInstant::now() + ttl },
            Prolonged::HeldByRun => Renewal::Renewed { valid_until: forever },
            Prolonged::NotHeld => Renewal::Lost,
        })
    }

    async fn touched(&self, lease: &Lease) {
        match self.contenders.granted(&lease.key, &lease.token) {
            Some(contender) => self.until_asked_back(&contender.file, &lease.token).await,
            None => std::future::pending().await,
        }
    }

    async fn prolong(
        &self,
        key: &LockKey,
        token: &OwnerToken,
        ttl: Option<Duration>,
    ) -> Result<Prolonged, BackendError> {
        if self.is_plain() {
            return Ok(match self.plain.granted(key, token) {
                Some(_) => Prolonged::HeldByRun,
                None => Prolonged::NotHeld,
            });
        }
        self.set_lease(key, token, ttl).await
    }

    async fn release(&self, key: &LockKey, token: &OwnerToken) -> Result<Release, BackendError> {
        self.part(key, token, Parting::Unused).await
    }

    async fn part(&self, key: &LockKey, token: &OwnerToken, parting: Parting) -> Result<Release, BackendError> {
        if self.is_plain() { self.give_up_plain(key, token) } else { self.give_up(key, token, parting).await }
    }

    async fn revoke(&self, key: &LockKey, shown: &HolderEntry, manner: Manner) -> Result<Revocation, BackendError> {
        self.take_back(key, shown, manner).await
    }

    async fn mend(&self, key: &LockKey) -> Result<(), BackendError> {
        self.rewrite(key).await
    }

    /// Lock files stay, as anybody may be about to lock one that he has opened. Nobody has opened one of a key that nobody
    /// knows of.
    async fn forget(&self, key: &LockKey) -> Result<(), BackendError> {
        match self.place()? {
            Some(place) if !self.is_plain() => place.remove_file(&key.encoded()),
            _ => Ok(()),
        }
    }

    async fn status(&self, key: &LockKey) -> Result<LockStatus, BackendError> {
        if self.is_plain() { self.plain_status(key) } else { self.read_status(key) }
    }

    async fn list(&self, pattern: &KeyPattern) -> Result<Vec<LockStatus>, BackendError> {
        if self.is_plain() {
            return Err(BackendError::usage(
                "with an empty namespace any file can be a key, so there is nothing to list; name a namespace",
            ));
        }
        self.read_list(pattern)
    }

    async fn examine(&self, _: Ttl) -> Result<Vec<Finding>, BackendError> {
        self.examined()
    }

    async fn close(&self) {}

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let plain = self.plain.all_granted().map(|contender| contender.file.as_fd());
        self.contenders.all_granted().map(|contender| contender.file.descriptor()).chain(plain).collect()
    }
}
