//! The options that say where the lock lives, as typed.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// Where the lock lives.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Backend")]
pub struct Backend {
    /// file, redis, zk or redis+zk [default: as --redis or --zk imply, else file]
    ///
    /// file is the kernel's lock on this host; redis and zk (ZooKeeper) are seen by every host. redis+zk holds both, first
    /// Redis, and loses the lock with either: to move a fleet from one to the other.
    #[arg(short, long, value_name = "NAME")]
    pub backend: Option<String>,

    /// Redis server; several are independent masters [default: redis://127.0.0.1:6379]
    ///
    /// redis://[user[:password]@]host[:port][/db]; rediss:// for TLS; unix:///path[?db=N&user=NAME&pass=PASSWORD];
    /// redis-sentinel://[user[:password]@]h1[:26379],h2/SERVICE[/db] for the master that Sentinels name;
    /// redis-cluster://[user[:password]@]host[:port][,host…] for a Cluster; with rediss- in front by TLS. The first three
    /// may be given several times, or as a comma list: the lock is then held by whoever a majority of them grants it,
    /// exclusively. A password is safer in --redis-password-file or in DLOCK_REDIS_PASSWORD: everybody on this host can
    /// read command lines.
    #[arg(long, value_name = "URL")]
    pub redis: Vec<String>,

    /// File whose first line is the Redis password
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub redis_password_file: Option<PathBuf>,

    /// File with the CA certificates to trust (PEM) [default: $SSL_CERT_FILE, else the system's]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_ca: Option<PathBuf>,

    /// File with the certificate that dlock shows to the server (PEM)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_cert: Option<PathBuf>,

    /// File with the private key of --tls-cert (PEM, without a passphrase)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,

    /// A grant counts only when N replicas of the Redis master have it, and so does each renewal
    ///
    /// Else the lock is given back, with status 69.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub wait_replicas: Option<String>,

    /// Share locks with another library, see below for which [default: dlock]
    ///
    /// On Redis: redisson or python-redis-lock, exclusive only, without a fencing token and without a queue. Every library
    /// that locks by SET NX shares dlock's own layout: give --namespace '' and the library's name of the lock. On
    /// ZooKeeper: curator-rw (InterProcessReadWriteLock of Curator) or kazoo (its Lock, ReadLock and WriteLock), one queue
    /// with all that dlock promises but --slots. InterProcessMutex of Curator and Lock of go-zookeeper share dlock's own
    /// layout: give --namespace '' and the path of the lock.
    #[arg(long, value_name = "NAME")]
    pub layout: Option<String>,

    /// ZooKeeper servers [default: 127.0.0.1:2181]
    ///
    /// h1:2181,h2:2181[/chroot]; zks://h1:2281,h2:2281[/chroot] for TLS
    #[arg(long, value_name = "HOSTS")]
    pub zk: Option<String>,

    /// File whose first line is user:password, by which ZooKeeper's ACLs know dlock
    ///
    /// Everybody who shares a lock should give the same.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub zk_auth_file: Option<PathBuf>,

    /// What others may do with what dlock creates on ZooKeeper: open or creator
    ///
    /// open: everything. creator: nothing at all, not even look. Without it, with --zk-auth-file: others may contend and
    /// look, but not change a holder's node; and without --zk-auth-file: open.
    #[arg(long, value_name = "ACL")]
    pub zk_acl: Option<String>,

    /// Added to every fencing token, 0 or more [default: 0]
    ///
    /// ZooKeeper's own numbers are small. A fleet that comes from Redis sets 4503599627370496, which is above all that Redis
    /// gave out, so that no resource has seen a higher one. The same everywhere, and never lowered.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub fence_floor: Option<String>,

    /// Take no lock from a server of which `dlock doctor` would warn
    ///
    /// Status 78 when what is held there may be evicted or forgotten in a restart, when nobody can take the place of a server
    /// that fails, or when ZooKeeper has no TTL nodes; also when none of that can be found out. It takes some more requests
    /// before each lock.
    #[arg(long)]
    pub strict: bool,

    /// Existing directory for lock files [default: this user's own]
    ///
    /// By default it is /run/lock/dlock-UID, or /tmp/dlock-UID where that cannot be created. Different users meet
    /// only in a directory that both name.
    #[arg(long, value_name = "PATH", value_hint = ValueHint::DirPath)]
    pub dir: Option<PathBuf>,

    /// What sets dlock's keys apart from others' [default: dlock]
    ///
    /// Empty: KEY exactly as given, to share a lock with another program.
    #[arg(long, value_name = "NS")]
    pub namespace: Option<String>,
}
