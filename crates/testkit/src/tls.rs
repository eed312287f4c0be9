//! Servers over TLS with certificates of a test's own: an authority that clients may trust, and what it issues.

use anyhow::Result;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub use rcgen;
pub use tokio_rustls::server::TlsStream;

/// Issues certificates for servers.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one of this name, which nobody trusts yet.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Writes its certificate into a file, for `SSL_CERT_FILE`.
    pub fn write(&self, file: &Path) -> Result<()> {
        Ok(std::fs::write(file, &self.pem)?)
    }

    /// A server's side of TLS with a certificate for these names and addresses; `change` makes it a bad one.
    pub fn acceptor(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<TlsAcceptor> {
        let mut params = params(names)?;
        change(&mut params);
        let key = KeyPair::generate()?;
        acceptor(params.signed_by(&key, &self.issuer)?.der().clone(), &key)
    }
}

/// A server's side of TLS whose certificate signs itself; the certificate, in PEM, comes along.
pub fn self_signed(
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> Result<(TlsAcceptor, String)> {
    let mut params = params(names)?;
    change(&mut params);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((acceptor(certificate.der().clone(), &key)?, certificate.pem()))
}

fn params(names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    Ok(CertificateParams::new(names)?)
}

fn acceptor(certificate: CertificateDer<'static>, key: &KeyPair) -> Result<TlsAcceptor> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)?;
    // As a web server that speaks both would.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Speaks TLS in front of a server that does not, until it is dropped.
pub async fn stand_before(listener: TcpListener, acceptor: TlsAcceptor, server: SocketAddr) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                let acceptor = acceptor.clone();
                clients.spawn(async move {
                    client.set_nodelay(true)?;
                    let mut client = acceptor.accept(client).await?;
                    let mut server = TcpStream::connect(server).await?;
                    server.set_nodelay(true)?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                });
            }
            Some(_) = clients.join_next() => {}
        }
    }
}
