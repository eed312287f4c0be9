//! Whom we trust: the certificate authorities of the system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

use crate::Error;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A server that is not trusted has the authorities read again for the next connection, at most this often: somebody may
/// have added the one that was missing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Whom we trust. Nothing is read, and no memory taken, before the first connection. Cheap to clone; a process needs one.
#[derive(Clone)]
pub struct Trust {
    inner: Arc<Inner>,
}

struct Inner {
    /// None: the system's.
    file: Option<PathBuf>,
    loaded: Mutex<Option<Loaded>>,
}

struct Loaded {
    config: Arc<ClientConfig>,
    read_at: Instant,
}

impl Trust {
    /// The authorities of the system, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR` if one of them is set.
    pub fn system() -> Self {
        Self::new(None)
    }

    /// Only those of a file (PEM).
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::new(Some(path.into()))
    }

    fn new(file: Option<PathBuf>) -> Self {
        Self { inner: Arc::new(Inner { file, loaded: Mutex::new(None) }) }
    }

    /// What every connection uses. The first call reads some 150 certificates, which takes a few milliseconds.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let mut loaded = self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*loaded {
            return Ok(Arc::clone(&loaded.config));
        }
        let config = Arc::new(self.read()?);
        *loaded = Some(Loaded { config: Arc::clone(&config), read_at: Instant::now() });
        Ok(config)
    }

    /// Somebody was not trusted.
    pub(crate) fn look_again(&self) {
        let mut loaded = self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.take_if(|loaded| loaded.read_at.elapsed() >= LOOK_AGAIN);
    }

    fn read(&self) -> Result<ClientConfig, Error> {
        let (certificates, faults) = match &self.inner.file {
            None => {
                let found = rustls_native_certs::load_native_certs();
                (found.certs, found.errors.iter().map(ToString::to_string).collect())
            }
            Some(path) => read_file(path),
        };
        let mut roots = RootCertStore::empty();
        let (added, unusable) = roots.add_parsable_certificates(certificates);
        let faults = faults.join("; ");
        if added == 0 {
            let why = if faults.is_empty() { "no certificate was found".to_owned() } else { faults };
            return Err(Error::NoAuthorities(why));
        }
        if unusable > 0 || !faults.is_empty() {
            tracing::warn!(added, unusable, faults, "not every certificate authority can be used");
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Other(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // A WebSocket is opened by HTTP/1.1; servers that also speak HTTP/2 have to be told.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("file", &self.inner.file).finish_non_exhaustive()
    }
}

fn read_file(path: &PathBuf) -> (Vec<CertificateDer<'static>>, Vec<String>) {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match read {
        Ok(certificates) => (certificates, Vec::new()),
        Err(error) => (Vec::new(), vec![format!("{}: {error}", path.display())]),
    }
}
