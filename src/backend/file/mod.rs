//! The file backend.

use crate::lock::BackendError;

#[derive(Debug, Clone)]
pub struct Config {}

pub struct FileBackend {}

impl FileBackend {
    pub fn open(_config: &Config) -> Result<Self, BackendError> {
        Ok(Self {})
    }
}
