//! Handshakes with good and bad servers: who is trusted, and what is said when one is not.

use myagent_testkit::tls::rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use myagent_testkit::tls::{Authority, self_signed};
use myagent_tls::{Error, Stream, Trust};
use std::path::PathBuf;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Greets each client over TLS and ends the connection.
fn greet(listener: TcpListener, acceptor: TlsAcceptor) -> tokio::task::JoinSet<()> {
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                let _ = stream.write_all(b"hello").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    server
}

/// Connects to a server with this side of TLS.
async fn connect(acceptor: TlsAcceptor, trust: &Trust, host: &str) -> Result<Stream, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let _server = greet(listener, acceptor);
    let mut stream = trust.connect(TcpStream::connect(address).await.expect("it listens"), host).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("a greeting and its end");
    assert_eq!(text, "hello");
    Ok(stream)
}

struct Rig {
    folder: TempDir,
    authority: Authority,
    trust: Trust,
}

impl Rig {
    fn new(name: &str) -> Result<Self, Box<dyn std::error::Error>> {
        let folder = TempDir::new()?;
        let authority = Authority::new(name)?;
        let file = folder.path().join("trusted.pem");
        authority.write(&file)?;
        Ok(Self { folder, authority, trust: Trust::file(file) })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is said about a server whose certificate was changed in this way.
    async fn fault(
        &self,
        host: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<String, Box<dyn std::error::Error>> {
        let acceptor = self.authority.acceptor(&["localhost", "*.agents.test"], change)?;
        Ok(connect(acceptor, &self.trust, host).await.err().ok_or("it was accepted")?.to_string())
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_spoken_with() -> Outcome {
    let rig = Rig::new("ours")?;
    for host in ["localhost", "127.0.0.1", "::1", "deep.agents.test"] {
        let acceptor = rig.authority.acceptor(&["localhost", "127.0.0.1", "::1", "*.agents.test"], |_| {})?;
        let stream = connect(acceptor, &rig.trust, host).await?;
        assert!(
            matches!(&stream, Stream::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"http/1.1"))
        );
        assert!(stream.socket().local_addr()?.ip().is_loopback());
    }
    Ok(())
}

#[tokio::test]
async fn a_certificate_that_signs_itself_is_trusted_if_it_is_named() -> Outcome {
    let rig = Rig::new("ours")?;
    let (acceptor, pem) = self_signed(&["localhost"], |_| {})?;
    let error = connect(acceptor.clone(), &rig.trust, "localhost").await.err().ok_or("it was accepted")?;
    assert_eq!(error, Error::UnknownAuthority);
    std::fs::write(rig.file("own.pem"), pem)?;
    connect(acceptor, &Trust::file(rig.file("own.pem")), "localhost").await?;

    // What `openssl req -x509` makes is an authority's.
    let (acceptor, pem) =
        self_signed(&["localhost"], |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained))?;
    std::fs::write(rig.file("own.pem"), pem)?;
    let error = connect(acceptor, &Trust::file(rig.file("own.pem")), "localhost").await.err();
    assert_eq!(error, Some(Error::AuthorityItself));
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_with_the_way_out() -> Outcome {
    let rig = Rig::new("ours")?;
    let other = Rig::new("theirs")?;
    for (said, parts) in [
        (
            other.fault("elsewhere.test", |_| {}).await?,
            ["not for \"elsewhere.test\" but for localhost, *.agents.test", "use one of these"],
        ),
        (
            rig.fault("127.0.0.1", |_| {}).await?,
            ["not for \"127.0.0.1\" but for localhost", "use one of these"],
        ),
        (
            rig.fault("localhost", |params| params.not_after = date_time_ymd(2020, 1, 2)).await?,
            ["has expired (2020-01-02T00:00:00Z)", "renew it"],
        ),
        (
            rig.fault("localhost", |params| params.not_before = date_time_ymd(2090, 1, 2)).await?,
            ["not valid yet (2090-01-02T00:00:00Z)", "clock"],
        ),
        (
            rig.fault("localhost", |params| params.subject_alt_names.clear()).await?,
            ["no name at all", "another certificate"],
        ),
        (rig.fault("not a name", |_| {}).await?, ["neither a host name nor an address", "use another"]),
    ] {
        for part in parts {
            assert!(said.contains(part), "{said}");
        }
    }
    let acceptor = other.authority.acceptor(&["localhost"], |_| {})?;
    let said = connect(acceptor, &rig.trust, "localhost").await.err().ok_or("it was accepted")?.to_string();
    assert!(said.contains("not trusted here") && said.contains("SSL_CERT_FILE"), "{said}");
    let acceptor = Rig::new("ours")?.authority.acceptor(&["localhost"], |_| {})?;
    let said = connect(acceptor, &rig.trust, "localhost").await.err().ok_or("it was accepted")?.to_string();
    assert!(said.contains("made anew") && said.contains("SSL_CERT_FILE"), "{said}");
    Ok(())
}

#[tokio::test]
async fn who_speaks_no_tls_or_hangs_up_is_told_apart() -> Outcome {
    let rig = Rig::new("ours")?;
    let answers: [(&[u8], Error); 3] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Error::NotTls),
        (b"SSH-2.0-x\r\n", Error::NotTls),
        (b"", Error::Closed),
    ];
    for (answer, expected) in answers {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let socket = TcpStream::connect(listener.local_addr()?).await?;
        let serving = async {
            let (mut client, _) = listener.accept().await?;
            client.write_all(answer).await?;
            client.shutdown().await?;
            client.read_to_end(&mut Vec::new()).await
        };
        let (served, connected) = tokio::join!(serving, rig.trust.connect(socket, "localhost"));
        assert_eq!(connected.err(), Some(expected));
        // The client may have gone with what it did not read.
        let _ = served;
    }
    Ok(())
}

#[tokio::test]
async fn without_any_authority_it_is_said_where_they_come_from() -> Outcome {
    let rig = Rig::new("ours")?;
    std::fs::write(rig.file("empty.pem"), "nothing\n")?;
    for (name, what) in [("missing.pem", "missing.pem"), ("empty.pem", "no certificate was found")] {
        let acceptor = rig.authority.acceptor(&["localhost"], |_| {})?;
        let error =
            connect(acceptor, &Trust::file(rig.file(name)), "localhost").await.err().ok_or("accepted")?;
        let said = error.to_string();
        assert!(
            said.contains(what) && said.contains("ca-certificates") && said.contains("SSL_CERT_FILE"),
            "{said}"
        );
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_added_is_trusted_after_a_moment() -> Outcome {
    let (rig, other) = (Rig::new("ours")?, Rig::new("theirs")?);
    let connect = async || {
        connect(
            other.authority.acceptor(&["localhost"], |_| {}).expect("a certificate"),
            &rig.trust,
            "localhost",
        )
        .await
    };
    assert_eq!(connect().await.err(), Some(Error::UnknownAuthority));
    other.authority.write(&rig.file("trusted.pem"))?;
    // Not read again for each client.
    assert_eq!(connect().await.err(), Some(Error::UnknownAuthority));
    tokio::time::advance(std::time::Duration::from_secs(6)).await;
    assert_eq!(connect().await.err(), Some(Error::UnknownAuthority));
    assert!(connect().await.is_ok());
    Ok(())
}
