//! What can be wrong with TLS, each with the way out. The sentences go behind "TLS with HOST:PORT: ".

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::io;

/// Why there is no TLS connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nobody is trusted.
    #[error(
        "no certificate authority is known here: {0}; install the package ca-certificates, or name a file of trusted \
         certificates (PEM) in SSL_CERT_FILE in the manager's environment"
    )]
    NoAuthorities(String),
    /// The host of the URL is no name that a certificate could have.
    #[error(
        "{0:?} is neither a host name nor an address, so no certificate can be for it; use another in the endpoint"
    )]
    Name(String),
    /// Signed by nobody that we trust.
    #[error(
        "its certificate was issued by an authority that is not trusted here; add that authority's certificate (or the \
         certificate itself, if it signs itself) to those of the system, or name a file with it (PEM) in SSL_CERT_FILE in the \
         manager's environment"
    )]
    UnknownAuthority,
    /// Signed by one with the name of somebody whom we trust, and another key.
    #[error(
        "its certificate was not signed by the authority of that name that is trusted here; if that authority was made anew, \
         replace its certificate in those of the system, or in the file that SSL_CERT_FILE names in the manager's environment"
    )]
    OtherAuthority,
    /// The default of `openssl req -x509`.
    #[error(
        "its certificate is one of an authority (CA:TRUE), which a server may not use for itself; make one with \
         basicConstraints CA:FALSE, or let that authority issue one"
    )]
    AuthorityItself,
    /// It is somebody else's.
    #[error(
        "its certificate is not for {host:?} but for {names}; use one of these in the endpoint, or another certificate"
    )]
    WrongName {
        /// The host of the endpoint.
        host: String,
        /// The names in the certificate.
        names: String,
    },
    /// Too old.
    #[error("its certificate has expired{0}; renew it (or set this machine's clock)")]
    Expired(When),
    /// Too new.
    #[error(
        "its certificate is not valid yet{0}; set the clocks, of this machine or of the one that issued it"
    )]
    NotYet(When),
    /// Anything else about the certificate.
    #[error("its certificate cannot be accepted: {0}")]
    Certificate(String),
    /// A server that speaks something else.
    #[error("it does not speak TLS there; if the port is right, the endpoint is ws:// and not wss://")]
    NotTls,
    /// It knows us not.
    #[error(
        "it asks for a certificate of the client, which is not supported; put a TLS proxy that has one in between"
    )]
    ClientCertificate,
    /// It refused.
    #[error("it refused the handshake ({0})")]
    Refused(String),
    /// Nothing in common.
    #[error("it speaks no version or cipher of TLS 1.2 or 1.3 that is spoken here ({0})")]
    NothingInCommon(String),
    /// It hung up.
    #[error("it closed the connection during the handshake")]
    Closed,
    /// The network.
    #[error("{0}")]
    Io(String),
    /// What no user should ever see.
    #[error("{0}")]
    Other(String),
}

/// A time, if it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When(Option<Timestamp>);

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.map_or(Ok(()), |time| write!(f, " ({time})"))
    }
}

impl When {
    fn at(time: UnixTime) -> Self {
        Self(i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }
}

impl Error {
    /// Of a failed handshake with `host`.
    pub(crate) fn from_io(error: io::Error, host: &str) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Self::Closed;
        }
        match error.downcast::<rustls::Error>() {
            Ok(error) => Self::from_tls(error, host),
            Err(error) => Self::Io(error.to_string()),
        }
    }

    fn from_tls(error: rustls::Error, host: &str) -> Self {
        match error {
            rustls::Error::InvalidCertificate(error) => Self::from_certificate(error, host),
            rustls::Error::InvalidMessage(
                InvalidMessage::InvalidContentType
                | InvalidMessage::UnknownProtocolVersion
                | InvalidMessage::MessageTooLarge,
            ) => Self::NotTls,
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => Self::ClientCertificate,
            rustls::Error::AlertReceived(
                alert @ (AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity),
            ) => Self::NothingInCommon(format!("{alert:?}")),
            rustls::Error::AlertReceived(alert) => Self::Refused(format!("{alert:?}")),
            rustls::Error::PeerIncompatible(what) => Self::NothingInCommon(format!("{what:?}")),
            error => Self::Other(error.to_string()),
        }
    }

    fn from_certificate(error: CertificateError, host: &str) -> Self {
        match error {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::BadSignature => Self::OtherAuthority,
            CertificateError::Expired => Self::Expired(When(None)),
            CertificateError::ExpiredContext { not_after, .. } => Self::Expired(When::at(not_after)),
            CertificateError::NotValidYet => Self::NotYet(When(None)),
            CertificateError::NotValidYetContext { not_before, .. } => Self::NotYet(When::at(not_before)),
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::WrongName { host: host.to_owned(), names: names(&presented) }
            }
            CertificateError::NotValidForName => {
                Self::WrongName { host: host.to_owned(), names: "others".to_owned() }
            }
            // The library has no word of its own for it.
            CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                Self::AuthorityItself
            }
            error => Self::Certificate(error.to_string()),
        }
    }
}

/// `DnsName("a")` is how the library writes a name; some of them are enough to find the mistake.
fn names(presented: &[String]) -> String {
    const SHOWN: usize = 5;
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
        inner.unwrap_or(name).trim_matches('"').to_owned()
    };
    let shown: Vec<String> = presented.iter().take(SHOWN).map(plain).collect();
    match (shown.is_empty(), presented.len().saturating_sub(SHOWN)) {
        (true, _) => "no name at all (only its subject, which does not count)".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
