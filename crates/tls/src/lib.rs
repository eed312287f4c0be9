//! TLS towards external services (`wss://`): connecting, whom we trust, and what went wrong in words that help.
//!
//! Shared by the relay, which carries conversations, by the front door, which carries plain requests, and by the supervisor's
//! probes. Nothing of it is in the way, or in the
//! memory, of a process that makes no such connection: whom we trust is read at the first one.
//!
//! * [`Trust`]: whom we trust. [`Trust::connect`] makes a [`Stream`] of a connected socket.
//! * [`Trust::reach`] connects to an agent, wherever it is, and [`ReachError`] is why it did not.
//! * [`Stream`]: a socket, with TLS on it or without.
//! * [`Error`]: why there is no TLS, with the way out.
//!
//! Certificates are always verified; there is no switch. See `docs/decisions/0007-tls-to-external-services.md`.

mod error;
mod reach;
mod stream;
mod trust;

pub use error::Error;
pub use reach::ReachError;
pub use stream::Stream;
pub use trust::Trust;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

impl Trust {
    /// Makes the TLS handshake with the server of this name (or address) on a fresh connection to it. It takes as long as the
    /// server does: the caller has a limit.
    pub async fn connect(&self, socket: TcpStream, host: &str) -> Result<Stream, Error> {
        let config = self.config()?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Name(host.to_owned()))?;
        match TlsConnector::from(config).connect(name, socket).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => {
                let error = Error::from_io(error, host);
                if matches!(error, Error::UnknownAuthority | Error::OtherAuthority) {
                    self.look_again();
                }
                Err(error)
            }
        }
    }
}
