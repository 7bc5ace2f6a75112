//! The places where locks live; this is the only file that names them all.

mod both;
pub mod file;
pub mod redis;
pub mod tls;
pub mod zookeeper;

use crate::lock::{BackendError, LockBackend};

/// Where to lock, as validated by `settings`.
#[derive(Debug, Clone)]
pub enum Target {
    File(file::Config),
    Redis(redis::Config),
    RedisMasters(redis::masters::Config),
    /// A lock that another library shares.
    RedisLayout(redis::Config, redis::Layout),
    ZooKeeper(zookeeper::Config),
    /// One on Redis and one in ZooKeeper, both of which have to be held.
    Both(Box<Self>, Box<Self>),
}

impl Target {
    /// The places that have to agree.
    #[must_use]
    pub fn each(&self) -> Vec<&Self> {
        match self {
            Self::Both(redis, zookeeper) => vec![redis, zookeeper],
            one => vec![one],
        }
    }
}

/// Opens `target`. Nothing is sent yet: the first request connects.
///
/// # Errors
/// When the target cannot be used from this machine at all.
pub fn open(target: &Target) -> Result<Box<dyn LockBackend>, BackendError> {
    Ok(match target {
        Target::File(config) => Box::new(file::FileBackend::open(config)?),
        Target::Redis(config) => Box::new(redis::RedisBackend::open(config)?),
        Target::RedisMasters(config) => Box::new(redis::masters::MastersBackend::open(config)?),
        Target::RedisLayout(config, layout) => Box::new(redis::LayoutBackend::open(config, *layout)),
        Target::ZooKeeper(config) => Box::new(zookeeper::ZooKeeperBackend::open(config)?),
        Target::Both(redis, zookeeper) => {
            let fences = match &**zookeeper {
                Target::ZooKeeper(config) if config.fence_floor > 0 => both::Fences::AboveZooKeepers,
                _ => both::Fences::OfRedis,
            };
            Box::new(both::Both::new(open(redis)?, open(zookeeper)?, fences))
        }
    })
}
