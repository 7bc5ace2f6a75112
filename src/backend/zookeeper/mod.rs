//! The zookeeper backend.

use crate::lock::BackendError;

#[derive(Debug, Clone)]
pub struct Config {}

pub struct ZooKeeperBackend {}

impl ZooKeeperBackend {
    pub fn open(_config: &Config) -> Result<Self, BackendError> {
        Ok(Self {})
    }
}
