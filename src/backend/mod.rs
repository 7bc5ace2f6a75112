//! The places where locks live; this is the only file that names them all.

pub mod file;
pub mod redis;
pub mod zookeeper;

/// Where to lock, as validated by `settings`.
#[derive(Debug, Clone)]
pub enum Target {
    File(file::Config),
    Redis(redis::Config),
    ZooKeeper(zookeeper::Config),
}
