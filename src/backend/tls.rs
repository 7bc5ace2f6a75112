//! TLS to a server: whom to trust, and who we are. What breaks it: a certificate that has expired, names somebody else,
//! or is signed by nobody we know; each is told apart here.
//!
//! Nothing of it is set up before the first connection that needs it.

use std::io::ErrorKind as IoErrorKind;
use std::sync::{Arc, OnceLock};
use std::{fmt, fs, io};

use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::client::TlsStream;

use crate::lock::{BackendError, ErrorKind};

/// Where distributions keep the authorities that everybody trusts, in one file: Debian, Ubuntu, Arch and Alpine; Fedora
/// and Red Hat; openSUSE.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"];

/// The shortest record that begins a TLS handshake; a TLS server answers it with an alert, as it is empty.
const EMPTY_HELLO: &[u8] = &[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0];

/// Why a file's content does not do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidPem {
    #[error("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    #[error("a certificate in it is damaged")]
    BadCertificate,
    #[error("it holds no private key in PEM form (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    #[error("its private key is encrypted, and there is nobody to ask for the passphrase; store it without one")]
    EncryptedKey,
}

/// The authorities that sign the servers' certificates.
#[derive(Clone)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// # Errors
    /// When there is none, or one of them is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, InvalidPem> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(text)? {
            store.add(certificate).map_err(|_| InvalidPem::BadCertificate)?;
        }
        Ok(Self(Arc::new(store)))
    }

    /// This host's, else Mozilla's as of when dlock was built.
    fn of_this_host() -> Self {
        for text in BUNDLES.into_iter().filter_map(|path| fs::read(path).ok()) {
            let mut store = RootCertStore::empty();
            // One among a hundred that cannot be read is nobody's but its own servers' misfortune.
            store.add_parsable_certificates(certificates(&text).unwrap_or_default());
            if !store.is_empty() {
                return Self(Arc::new(store));
            }
        }
        Self(Arc::new(webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()))
    }
}

/// The certificate by which the server knows us, with its private key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// # Errors
    /// When the text holds no certificate.
    pub fn certificate_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
        certificates(text)
    }

    /// # Errors
    /// When the text holds no private key that can be read without a passphrase.
    pub fn key_from_pem(text: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidPem> {
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
        if text.windows(encrypted.len()).any(|part| part == encrypted) {
            return Err(InvalidPem::EncryptedKey);
        }
        PrivateKeyDer::from_pem_slice(text).map_err(|_| InvalidPem::NoKey)
    }

    #[must_use]
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Self {
        Self { chain, key }
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
    let all: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|_| InvalidPem::BadCertificate)?;
    if all.is_empty() { Err(InvalidPem::NoCertificate) } else { Ok(all) }
}

/// How to know a server, and how it knows us; copies share what is set up once.
#[derive(Clone, Default)]
pub struct Tls(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// `None`: those that this host trusts.
    authorities: Option<Authorities>,
    identity: Option<Identity>,
    config: OnceLock<Result<Arc<ClientConfig>, BackendError>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    #[must_use]
    pub fn new(authorities: Option<Authorities>, identity: Option<Identity>) -> Self {
        Self(Arc::new(Inner { authorities, identity, config: OnceLock::new() }))
    }

    /// Speaks TLS on `stream` with a server that must show a certificate for `host`.
    ///
    /// # Errors
    /// [`NoTls`].
    pub(super) async fn over<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        host: &str,
    ) -> Result<TlsStream<S>, NoTls> {
        let config = self.0.config.get_or_init(|| self.0.configured()).clone().map_err(NoTls::Impossible)?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| BackendError::misconfigured(format!("no certificate can name the host \"{host}\"")))
            .map_err(NoTls::Impossible)?;
        tokio_rustls::TlsConnector::from(config).connect(name, stream).await.map_err(NoTls::Failed)
    }

    /// The same as [`refusal`], by one who knows whether we have shown a certificate: some servers call a missing one
    /// a bad one.
    pub(super) fn refusal(&self, error: &io::Error) -> Option<(ErrorKind, String)> {
        let told = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match (told, &self.0.identity) {
            (Some(Error::AlertReceived(AlertDescription::BadCertificate)), None) => {
                Some(alert_refusal(AlertDescription::CertificateRequired))
            }
            _ => refusal(error),
        }
    }
}

/// Whether whoever is at the other end of `stream` speaks TLS.
pub(super) async fn is_spoken_by(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<bool> {
    stream.write_all(EMPTY_HELLO).await?;
    let mut answer = [0; 2];
    stream.read_exact(&mut answer).await?;
    // An alert or a handshake, of any version from SSL 3 on.
    Ok(matches!(answer, [0x15 | 0x16, 3]))
}

/// Why TLS was not spoken.
pub(super) enum NoTls {
    /// It was not even tried.
    Impossible(BackendError),
    /// [`refusal`] says why, where it was TLS.
    Failed(io::Error),
}

impl Inner {
    fn configured(&self) -> Result<Arc<ClientConfig>, BackendError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let authorities = self.authorities.clone().unwrap_or_else(Authorities::of_this_host);
        let verifier = WebPkiServerVerifier::builder_with_provider(authorities.0, Arc::clone(&provider)).build();
        let verifier = verifier.map_err(|error| BackendError::misconfigured(format!("no TLS: {error}")))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS 1.2 and 1.3")
            .with_webpki_verifier(verifier);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(|error| {
                    BackendError::misconfigured(match error {
                        Error::InconsistentKeys(_) => "the TLS key does not belong to the TLS certificate".to_owned(),
                        error => format!("the TLS certificate and key cannot be used: {error}"),
                    })
                })?
            }
        };
        Ok(Arc::new(config))
    }
}

/// What a handshake, or the first read after it, failed with; follows "the server at …". `None`: not for TLS' sake.
pub(super) fn refusal(error: &io::Error) -> Option<(ErrorKind, String)> {
    let error = match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => error,
        // What tokio-rustls says of a server that hangs up before it has said who it is.
        None if error.kind() == IoErrorKind::UnexpectedEof && error.to_string().contains("tls handshake") => {
            return Some((ErrorKind::Unavailable, "closed the connection instead of speaking TLS".to_owned()));
        }
        None => return None,
    };
    let (kind, words) = match error {
        Error::InvalidCertificate(error) => (ErrorKind::Misconfigured, certificate_refusal(error)),
        Error::InvalidMessage(_) => {
            (ErrorKind::Misconfigured, "does not speak TLS; check the port, and the scheme of the address".to_owned())
        }
        Error::AlertReceived(alert) => alert_refusal(*alert),
        Error::PeerIncompatible(_) => (
            ErrorKind::Misconfigured,
            "offers no version or cipher of TLS that is safe; TLS 1.2 or later is".to_owned(),
        ),
        other => (ErrorKind::Unavailable, format!("fails at TLS: {other}")),
    };
    Some((kind, words))
}

fn certificate_refusal(error: &CertificateError) -> String {
    match error {
        // The second: of an authority that only has the same name as one of ours, as after a renewal of its key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "shows a certificate of an authority that is not trusted here; name that authority's with --tls-ca"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "shows a certificate for another name; use a name that stands in it (as subjectAltName)"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "shows a certificate that has expired; it needs a new one, unless this host's clock is wrong"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "shows a certificate that is not valid yet; check this host's clock"
        }
        CertificateError::Revoked => "shows a certificate that was revoked; it needs a new one",
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "shows the certificate of an authority as its own; it needs one that the authority has signed"
        }
        other => return format!("shows a certificate that cannot be accepted: {other}"),
    }
    .to_owned()
}

fn alert_refusal(alert: AlertDescription) -> (ErrorKind, String) {
    match alert {
        AlertDescription::CertificateRequired => {
            (ErrorKind::Denied, "asks for a client certificate; name one with --tls-cert and --tls-key".to_owned())
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::DecryptError
        | AlertDescription::AccessDenied => {
            (ErrorKind::Denied, format!("does not accept the client certificate of --tls-cert ({alert:?})"))
        }
        AlertDescription::HandshakeFailure => (
            ErrorKind::Denied,
            "refuses the TLS handshake; it may ask for a client certificate (--tls-cert, --tls-key)".to_owned(),
        ),
        AlertDescription::ProtocolVersion => {
            (ErrorKind::Misconfigured, "speaks no version of TLS that is safe; TLS 1.2 or later is".to_owned())
        }
        other => (ErrorKind::Unavailable, format!("ends TLS: {other:?}")),
    }
}
