//! Answers that do not open a WebSocket, and agents that do not answer.

use crate::rig::*;
use myagent_core::http::Upstream;
use myagent_core::service::Endpoint;
use myagent_core::wire::handover::Refusal;
use myagent_tls::Trust;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn read_to_end(stream: &mut tokio::net::TcpStream) -> std::io::Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[test]
fn a_refused_connect_gives_the_untouched_client_back() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        drop(listener);
        let rig = Rig::new(addr).await?;
        let mut client = rig.raw(&[REQUEST, b"early"].concat()).await?;
        rig.until(|_| !rig.given_back.borrow().is_empty()).await;
        let back = rig.given_back.borrow_mut().remove(0);
        assert_eq!(back.reason, Refusal::ConnectFailed);
        assert!(back.detail.starts_with(&format!("connecting to {addr}: ")), "{}", back.detail);
        assert_eq!(
            (back.client.head.as_slice(), back.client.rest.as_slice()),
            (REQUEST, b"early".as_slice())
        );
        // The socket still works, and nothing was written to it.
        let mut stream = tokio::net::TcpStream::from_std(back.client.stream)?;
        stream.write_all(b"from another").await?;
        drop(stream);
        assert_eq!(read_to_end(&mut client).await?, "from another");
        let report = rig.table.report(true);
        assert_eq!((report.totals.connections, report.closed.len(), report.places), (0, 0, 0));
        Ok(())
    })
}

#[test]
fn a_server_error_and_a_broken_answer_give_it_back() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let rig = Rig::new(addr).await?;
        for (answer, reason) in [
            ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Refusal::UpstreamError),
            ("SSH-2.0-OpenSSH\r\n\r\n", Refusal::ConnectFailed),
            ("", Refusal::ConnectFailed),
        ] {
            let _client = rig.raw(REQUEST).await?;
            let (mut agent, _) = listener.accept().await?;
            read_head(&mut agent).await?;
            agent.write_all(answer.as_bytes()).await?;
            drop(agent);
            rig.until(|_| !rig.given_back.borrow().is_empty()).await;
            assert_eq!(rig.given_back.borrow_mut().remove(0).reason, reason, "{answer:?}");
        }
        Ok(())
    })
}

#[test]
fn full_and_draining_give_it_back() -> Outcome {
    run(async {
        let (_listener, addr) = listen().await?;
        let rig = Rig::new(addr).await?;
        rig.table.set_draining(true);
        let _client = rig.raw(REQUEST).await?;
        rig.until(|_| !rig.given_back.borrow().is_empty()).await;
        assert_eq!(rig.given_back.borrow_mut().remove(0).reason, Refusal::Draining);

        let rig = Rig::of(Upstream::Local { addr, path: "/ws".to_owned() }, Trust::system(), 1).await?;
        let _place = rig.table.reserve();
        let _client = rig.raw(REQUEST).await?;
        rig.until(|_| !rig.given_back.borrow().is_empty()).await;
        assert_eq!(rig.given_back.borrow_mut().remove(0).reason, Refusal::Full);
        Ok(())
    })
}

#[test]
fn a_404_is_passed_on_and_the_connection_closed() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let rig = Rig::new(addr).await?;
        let mut client = rig.raw(REQUEST).await?;
        let (mut agent, _) = listener.accept().await?;
        read_head(&mut agent).await?;
        // The agent keeps its connection open.
        agent.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nX-Own: 1\r\n\r\nno such").await?;
        let text = read_to_end(&mut client).await?;
        assert!(
            text.starts_with(
                "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\nX-Own: 1\r\nConnection: close\r\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\nno such"), "{text}");
        drop(client);
        let closed = rig.closed().await;
        assert_eq!(closed.reason, "HTTP answer 404 has ended");
        assert_eq!(agent.read(&mut [0; 1]).await.unwrap_or(0), 0);
        Ok(())
    })
}

#[test]
fn an_event_stream_passes_until_it_ends() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let rig = Rig::new(addr).await?;
        let mut client = rig
            .raw(b"POST /s/chat/ask HTTP/1.1\r\nHost: front\r\nAccept: text/event-stream\r\nContent-Length: 4\r\n\r\nques")
            .await?;
        let (mut agent, _) = listener.accept().await?;
        let head = read_head(&mut agent).await?;
        assert!(
            head.starts_with("POST /ws/ask HTTP/1.1\r\n") && head.contains("Connection: close\r\n"),
            "{head}"
        );
        let mut body = [0; 4];
        agent.read_exact(&mut body).await?;
        assert_eq!(&body, b"ques");
        agent.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        let head = read_head(&mut client).await?;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"), "{head}");
        for token in ["5\r\none\n\n\r\n", "5\r\ntwo\n\n\r\n"] {
            agent.write_all(token.as_bytes()).await?;
            let mut received = vec![0; token.len()];
            client.read_exact(&mut received).await?;
            assert_eq!(received, token.as_bytes());
        }
        agent.write_all(b"0\r\n\r\n").await?;
        assert_eq!(read_to_end(&mut client).await?, "0\r\n\r\n");
        drop(client);
        assert_eq!(rig.closed().await.code, 1000);
        Ok(())
    })
}

#[test]
fn a_plain_request_that_fails_is_answered() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let rig = Rig::new(addr).await?;
        let mut client =
            rig.raw(b"GET / HTTP/1.1\r\nHost: front\r\nAccept: text/event-stream\r\n\r\n").await?;
        let (mut agent, _) = listener.accept().await?;
        read_head(&mut agent).await?;
        drop(agent);
        let text = read_to_end(&mut client).await?;
        assert!(
            text.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && text.contains("it closed the connection"),
            "{text}"
        );
        assert!(rig.closed().await.reason.starts_with("handshake with "));
        Ok(())
    })
}

#[test]
fn an_external_service_is_reached_by_its_url() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let endpoint = Endpoint::parse(&format!("ws://localhost:{}/far?token=t", addr.port()))?;
        let rig = Rig::of(Upstream::External { endpoint }, Trust::system(), 0).await?;
        let _client = rig.raw(REQUEST).await?;
        let (mut agent, _) = listener.accept().await?;
        let head = read_head(&mut agent).await?;
        let expected = format!("GET /far/talk?token=t HTTP/1.1\r\nHost: localhost:{}\r\n", addr.port());
        assert!(head.starts_with(&expected) && head.contains("X-Forwarded-Host: front\r\n"), "{head}");
        Ok(())
    })
}
