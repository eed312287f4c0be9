//! External services over TLS: everything passes as it does without, and each side's end reaches the other.

use crate::rig::*;
use futures_util::{SinkExt, StreamExt};
use myagent_core::http::Upstream;
use myagent_core::service::Endpoint;
use myagent_core::wire::handover::Refusal;
use myagent_relay::codec::{Opcode, write_frame, write_masked_frame};
use myagent_testkit::tls::{Authority, TlsStream};
use myagent_tls::Trust;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;
use tokio_rustls::TlsAcceptor;
use tokio_websockets::{CloseCode, Limits, Message, ServerBuilder};

/// A service with a certificate that the relay trusts.
struct Far {
    rig: Rig,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    _folder: TempDir,
}

impl Far {
    async fn new() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = TempDir::new()?;
        let authority = Authority::new("far")?;
        authority.write(&folder.path().join("far.pem"))?;
        let acceptor = authority.acceptor(&["localhost"], |_| {})?;
        let (listener, addr) = listen().await?;
        let endpoint = Endpoint::parse(&format!("wss://localhost:{}/ws", addr.port()))?;
        let trust = Trust::file(folder.path().join("far.pem"));
        let rig = Rig::of(Upstream::External { endpoint }, trust, 0).await?;
        Ok(Self { rig, listener, acceptor, _folder: folder })
    }

    /// A raw client and a raw agent with an open conversation between them.
    async fn pair(&self) -> Result<(TcpStream, TlsStream<TcpStream>), Box<dyn std::error::Error>> {
        let mut client = self.rig.raw(REQUEST).await?;
        let mut agent = self.acceptor.accept(self.listener.accept().await?.0).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(agent.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        let host = format!("\r\nHost: localhost:{}\r\n", self.listener.local_addr()?.port());
        assert!(head.starts_with("GET /ws/talk HTTP/1.1\r\n") && head.contains(&host), "{head}");
        agent.write_all(ACCEPTED).await?;
        agent.flush().await?;
        let answer = read_head(&mut client).await?;
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        Ok((client, agent))
    }
}

#[test]
fn messages_of_any_size_pass_and_so_does_a_close() -> Outcome {
    run(async {
        let far = Far::new().await?;
        let mut client = {
            let (acceptor, accepted) = (far.acceptor.clone(), far.listener.accept());
            let (client, accepted) = tokio::join!(far.rig.connect(), async {
                let stream = acceptor.accept(accepted.await?.0).await?;
                let limits = Limits::unlimited();
                let (_, mut ws) = ServerBuilder::new().limits(limits).accept(stream).await?;
                spawn_local(async move {
                    while let Some(Ok(message)) = ws.next().await {
                        if message.as_text() == Some("go") {
                            let _ = ws.send(Message::close(CloseCode::try_from(4001).ok(), "gone")).await;
                        } else if message.is_binary() && ws.send(message).await.is_err() {
                            return;
                        }
                    }
                });
                Ok::<_, Box<dyn std::error::Error>>(())
            });
            accepted?;
            client?
        };
        client.limits_mut().set_max_payload_len(None);
        for length in [0, 1, 125, 126, 16_000, 70_000, 3_000_000] {
            let payload: Vec<u8> = (0..length).map(|i: u32| (i % 251) as u8).collect();
            client.send(Message::binary(payload.clone())).await?;
            let answer = client.next().await.ok_or("closed")??;
            assert!(answer.as_payload()[..] == payload[..], "{length}");
        }
        client.send(Message::text("go")).await?;
        let message = client.next().await.ok_or("closed")??;
        assert_eq!(message.as_close().map(|(code, reason)| (u16::from(code), reason)), Some((4001, "gone")));
        while let Some(Ok(_)) = client.next().await {}
        drop(client);
        let closed = far.rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4001, "gone"));
        assert_eq!((closed.connection.messages_in, closed.connection.messages_out), (8, 7));
        Ok(())
    })
}

#[test]
fn an_agent_that_does_not_read_stops_its_client_until_it_does() -> Outcome {
    run(async {
        const LENGTH: usize = 24 << 20;
        let far = Far::new().await?;
        let (mut client, mut agent) = far.pair().await?;
        let mut frame = Vec::new();
        write_masked_frame(&mut frame, Opcode::Binary, &vec![7; LENGTH], [1, 2, 3, 4]);
        // As much as there is room for on the way, and not all of it.
        let (mut sent, mut full) = (0, tokio::time::Instant::now());
        while full.elapsed() < Duration::from_millis(300) {
            match client.try_write(&frame[sent..]) {
                Ok(more) => (sent, full) = (sent + more, tokio::time::Instant::now()),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        assert!(sent > 0 && sent < frame.len(), "{sent}");
        let report = far.rig.table.report(true);
        // One buffer, what waits inside of TLS, and what the kernel has: never what the client would like to send.
        assert!(report.open[0].bytes_in < 8 << 20, "{}", report.open[0].bytes_in);
        let sending = async {
            client.write_all(&frame[sent..]).await?;
            Ok::<_, std::io::Error>(client)
        };
        let reading = async {
            let mut received = vec![0; frame.len()];
            agent.read_exact(&mut received).await?;
            Ok::<_, std::io::Error>((received, agent))
        };
        let (client, read) = tokio::join!(sending, reading);
        let (received, mut agent) = read?;
        assert!(received == frame);
        drop(client?);
        // The goodbye of TLS, and no error.
        assert_eq!(agent.read(&mut [0; 1]).await?, 0);
        Ok(())
    })
}

#[test]
fn an_agent_that_goes_without_a_goodbye_is_passed_on_as_it_is() -> Outcome {
    run(async {
        let far = Far::new().await?;
        let (mut client, mut agent) = far.pair().await?;
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Text, b"half an ans");
        agent.write_all(&frame).await?;
        agent.flush().await?;
        // The connection, not TLS on it.
        drop(agent.into_inner().0);
        let mut received = Vec::new();
        client.read_to_end(&mut received).await?;
        assert_eq!(received, frame);
        drop(client);
        assert_eq!(far.rig.closed().await.code, 1006);
        Ok(())
    })
}

#[test]
fn an_agent_that_is_cut_off_inside_a_frame_ends_the_stream() -> Outcome {
    run(async {
        let far = Far::new().await?;
        let (mut client, mut agent) = far.pair().await?;
        agent.write_all(&[0x81, 100, b'x']).await?;
        agent.flush().await?;
        drop(agent.into_inner().0);
        let mut received = Vec::new();
        client.read_to_end(&mut received).await?;
        assert_eq!(received, [0x81, 100, b'x']);
        drop(client);
        let closed = far.rig.closed().await;
        assert_eq!(closed.code, 1006);
        Ok(())
    })
}

#[test]
fn a_client_that_breaks_its_connection_breaks_the_other_one() -> Outcome {
    run(async {
        let far = Far::new().await?;
        let (client, mut agent) = far.pair().await?;
        client.set_zero_linger()?;
        drop(client);
        assert!(agent.read(&mut [0; 1]).await.is_err());
        assert_eq!(far.rig.closed().await.code, 1006);
        Ok(())
    })
}

#[test]
fn who_is_not_trusted_gets_nothing_and_the_client_is_given_back() -> Outcome {
    run(async {
        let far = Far::new().await?;
        let stranger = Authority::new("somebody")?.acceptor(&["localhost"], |_| {})?;
        let _client = far.rig.raw(REQUEST).await?;
        let refused = stranger.accept(far.listener.accept().await?.0).await;
        assert!(refused.is_err(), "the relay spoke with it");
        far.rig.until(|_| !far.rig.given_back.borrow().is_empty()).await;
        let back = far.rig.given_back.borrow_mut().remove(0);
        assert_eq!(back.reason, Refusal::ConnectFailed);
        assert!(
            back.detail.starts_with("TLS with localhost:") && back.detail.contains("SSL_CERT_FILE"),
            "{}",
            back.detail
        );
        Ok(())
    })
}
