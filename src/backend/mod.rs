//! The places where locks live; this is the only file that names them all.

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
    })
}
