//! The options of TLS: files that are read once, and the variables that lead a nested dlock to the same ones.

use std::ffi::OsString;
use std::path::PathBuf;

use super::deployment::{absolute, content};
use super::secrets;
use super::source::{Environment, Level, Stated, path};
use crate::backend::tls::{Authorities, Identity, InvalidPem, Tls};
use crate::cli;
use crate::error::Error;
use crate::error::phrase::Quoted;

/// What OpenSSL and most programs take the trusted authorities from, where it is set.
const SYSTEM_VARIABLE: &str = "SSL_CERT_FILE";

/// The paths, not read yet: a transport without TLS needs none of them.
pub(super) struct Files {
    ca: Option<Stated<PathBuf>>,
    cert: Option<Stated<PathBuf>>,
    key: Option<Stated<PathBuf>>,
    /// One of the URLs that were typed is reached by TLS: of two places it may be the other.
    is_wanted: bool,
}

impl Files {
    /// # Errors
    /// When a path is none.
    pub(super) fn named(typed: &cli::Backend, environment: &Environment) -> Result<Self, Error> {
        let redis = typed.redis.iter().any(|url| url.to_ascii_lowercase().starts_with("rediss"));
        let zookeeper = typed.zk.as_ref().is_some_and(|servers| servers.to_ascii_lowercase().starts_with("zks:"));
        Ok(Self {
            is_wanted: redis || zookeeper,
            ca: absolute(path(typed.tls_ca.as_ref(), "tls-ca", environment))?,
            cert: absolute(path(typed.tls_cert.as_ref(), "tls-cert", environment))?,
            key: absolute(path(typed.tls_key.as_ref(), "tls-key", environment))?,
        })
    }

    /// Whether we would show a certificate of our own.
    pub(super) fn name_an_identity(&self) -> bool {
        self.cert.is_some()
    }

    /// What was typed and cannot be honoured without TLS is an error; in the environment it may be meant for others.
    ///
    /// # Errors
    /// When one of the options stands on the command line.
    pub(super) fn refuse_typed(&self, reason: &str) -> Result<(), Error> {
        let files = [&self.ca, &self.cert, &self.key].into_iter().flatten();
        match files.into_iter().find(|file| file.level == Level::CommandLine) {
            Some(file) if !self.is_wanted => Err(Error::usage(format!("{} {reason}", file.name))),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// When a file cannot be read or holds something else, or one of certificate and key lacks the other.
    pub(super) fn read(&self, environment: &Environment) -> Result<Tls, Error> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                secrets::guard();
                let chain = from_pem(cert, Identity::certificate_from_pem)?;
                Some(Identity::new(chain, from_pem(key, Identity::key_from_pem)?))
            }
            (Some(cert), None) => return Err(alone(cert, "--tls-key")),
            (None, Some(key)) => return Err(alone(key, "--tls-cert")),
            (None, None) => None,
        };
        let system = environment.get(SYSTEM_VARIABLE).map(OsString::from).map(|file| Stated {
            value: PathBuf::from(file),
            name: SYSTEM_VARIABLE.to_owned(),
            level: Level::Environment,
        });
        let authorities = self.ca.as_ref().or(system.as_ref()).map(|file| from_pem(file, Authorities::from_pem));
        Ok(Tls::new(authorities.transpose()?, identity))
    }

    /// The variables of a nested dlock.
    pub(super) fn variables(&self) -> [(&'static str, Option<String>); 3] {
        let text = |file: &Option<Stated<PathBuf>>| Some(file.as_ref()?.value.to_string_lossy().into_owned());
        [("DLOCK_TLS_CA", text(&self.ca)), ("DLOCK_TLS_CERT", text(&self.cert)), ("DLOCK_TLS_KEY", text(&self.key))]
    }
}

fn alone(file: &Stated<PathBuf>, other: &str) -> Error {
    file.level.error(format!("{} needs {other} beside it: a certificate and its private key", file.name))
}

fn from_pem<T>(file: &Stated<PathBuf>, reads: fn(&[u8]) -> Result<T, InvalidPem>) -> Result<T, Error> {
    let shown = file.value.to_string_lossy();
    reads(&content(file)?).map_err(|why| Error::Configuration(format!("{} {}: {why}", file.name, Quoted(&shown))))
}
