//! What passes: messages of any size and shape, unchanged.

use crate::rig::*;
use futures_util::{SinkExt, StreamExt};
use myagent_relay::codec::{Opcode, write_frame, write_masked_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::spawn_local;
use tokio_websockets::{CloseCode, Limits, Message, ServerBuilder};

/// An agent that answers every message with itself and says once where it was reached.
fn echo(listener: TcpListener) {
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn_local(async move {
                let server = ServerBuilder::new().limits(Limits::unlimited());
                let Ok((request, mut ws)) = server.accept(stream).await else { return };
                let _ = ws.send(Message::text(request.uri().to_string())).await;
                while let Some(Ok(message)) = ws.next().await {
                    if (message.is_text() || message.is_binary()) && ws.send(message).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

#[test]
fn messages_come_back_and_are_counted() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        echo(listener);
        let rig = Rig::new(addr).await?;
        let mut client = rig.connect().await?;
        let first = client.next().await.ok_or("closed")??;
        assert_eq!(first.as_text(), Some("/ws/talk?session_id=s-9"));
        for text in ["hello", "", r#"{"event":"user.message","session_id":"s-9"}"#] {
            client.send(Message::text(text.to_owned())).await?;
            assert_eq!(client.next().await.ok_or("closed")??.as_text(), Some(text));
        }
        let report = rig.until(|report| report.totals.messages_out == 4).await;
        assert_eq!((report.totals.messages_in, report.places, report.active_connections), (3, 1, 1));
        assert_eq!(report.open[0].session_id.as_deref(), Some("s-9"));
        client.close().await?;
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.connection.messages_in), (1000, 3));
        assert_eq!(rig.table.places(), 0);
        Ok(())
    })
}

#[test]
fn a_large_message_passes_whole() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        echo(listener);
        let rig = Rig::new(addr).await?;
        let mut client = rig.connect().await?;
        client.limits_mut().set_max_payload_len(None);
        client.next().await.ok_or("closed")??;
        let payload: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        client.send(Message::binary(payload.clone())).await?;
        let answer = client.next().await.ok_or("closed")??;
        assert!(answer.as_payload()[..] == payload[..]);
        Ok(())
    })
}

#[test]
fn many_conversations_share_the_thread() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        echo(listener);
        let rig = Rig::new(addr).await?;
        let mut clients = Vec::new();
        for _ in 0..50 {
            clients.push(rig.connect().await?);
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(Message::text(number.to_string())).await?;
        }
        for (number, client) in clients.iter_mut().enumerate() {
            client.next().await.ok_or("closed")??;
            assert_eq!(client.next().await.ok_or("closed")??.as_text(), Some(number.to_string().as_str()));
        }
        drop(clients);
        rig.until(|report| report.active_connections == 0 && report.closed.len() == 50).await;
        Ok(())
    })
}

#[test]
fn close_codes_and_reasons_pass_both_ways() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let agent = spawn_local(async move {
            let mut seen = Vec::new();
            for ours in [false, true] {
                let (stream, _) = listener.accept().await?;
                let (_, mut ws) = ServerBuilder::new().accept(stream).await?;
                if ours {
                    ws.send(Message::close(CloseCode::try_from(4001).ok(), "agent is tired")).await?;
                }
                while let Some(Ok(message)) = ws.next().await {
                    seen.extend(
                        message.as_close().map(|(code, reason)| (u16::from(code), reason.to_owned())),
                    );
                }
            }
            Ok::<_, tokio_websockets::Error>(seen)
        });
        let rig = Rig::new(addr).await?;
        let mut client = rig.connect().await?;
        client.send(Message::close(CloseCode::try_from(4000).ok(), "client is tired")).await?;
        while let Some(Ok(_)) = client.next().await {}
        drop(client);
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4000, "client is tired"));
        rig.table.ack_closed(closed.number);

        let mut client = rig.connect().await?;
        let message = client.next().await.ok_or("closed")??;
        assert_eq!(
            message.as_close().map(|(code, reason)| (u16::from(code), reason)),
            Some((4001, "agent is tired"))
        );
        while let Some(Ok(_)) = client.next().await {}
        drop(client);
        let closed = rig.closed().await;
        assert_eq!((closed.code, closed.reason.as_str()), (4001, "agent is tired"));
        let seen = agent.await??;
        assert_eq!(seen[0], (4000, "client is tired".to_owned()));
        Ok(())
    })
}

#[test]
fn every_byte_passes_as_it_is() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        // Fragments with a ping between them, a compressed frame, a reserved opcode; in small pieces.
        let mut bytes = Vec::new();
        for (first, payload) in
            [(0x01, "frag"), (0x89, "ping"), (0x80, "ment"), (0xc1, "deflated?"), (0x8b, "odd")]
        {
            let start = bytes.len();
            write_masked_frame(&mut bytes, Opcode::Text, payload.as_bytes(), [1, 2, 3, 4]);
            bytes[start] = first;
        }
        let mut received = vec![0; bytes.len()];
        for piece in bytes.chunks(3) {
            client.write_all(piece).await?;
            client.flush().await?;
            tokio::task::yield_now().await;
        }
        agent.read_exact(&mut received).await?;
        assert_eq!(received, bytes);
        agent.write_all(&bytes).await?;
        client.read_exact(&mut received).await?;
        assert_eq!(received, bytes);
        let report = rig.until(|report| report.totals.messages_out > 0).await;
        assert_eq!((report.totals.messages_in, report.totals.bytes_in), (2, bytes.len() as u64));
        Ok(())
    })
}

#[test]
fn what_came_behind_the_heads_is_not_lost() -> Outcome {
    run(async {
        let (listener, addr) = listen().await?;
        let rig = Rig::new(addr).await?;
        let (mut up, mut down) = (Vec::new(), Vec::new());
        write_masked_frame(&mut up, Opcode::Text, b"too early", [1, 2, 3, 4]);
        write_frame(&mut down, Opcode::Text, b"welcome");
        let mut client = rig.raw(&[REQUEST, &up].concat()).await?;
        let (mut agent, _) = listener.accept().await?;
        let head = read_head(&mut agent).await?;
        assert!(head.starts_with("GET /ws/talk HTTP/1.1\r\nHost: front\r\n"), "{head}");
        assert!(head.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{head}");
        agent.write_all(&[ACCEPTED, &down].concat()).await?;
        let answer = read_head(&mut client).await?;
        assert!(
            answer.contains(
                "X-MyAgent-Service: chat\r\nX-MyAgent-Instance: chat-0\r\nX-MyAgent-Connection-Id: "
            ),
            "{answer}"
        );
        let mut received = vec![0; down.len()];
        client.read_exact(&mut received).await?;
        assert_eq!(received, down);
        let mut received = vec![0; up.len()];
        agent.read_exact(&mut received).await?;
        assert_eq!(received, up);
        let report = rig.table.report(true);
        assert_eq!((report.totals.messages_in, report.totals.messages_out), (1, 1));
        assert_eq!(report.open[0].user_agent.as_deref(), Some("raw"));
        Ok(())
    })
}

#[test]
fn a_side_that_does_not_read_stops_the_other() -> Outcome {
    run(async {
        let (_rig, mut client, mut agent) = raw_pair().await?;
        let mut frame = Vec::new();
        write_frame(&mut frame, Opcode::Binary, &vec![7; 100_000]);
        // Until everything between the two is full, nothing is read.
        let mut written = 0;
        while let Ok(count) = tokio::time::timeout(
            std::time::Duration::from_millis(300),
            agent.write(&frame[written % frame.len()..]),
        )
        .await
        {
            written += count?;
            assert!(written < 100_000_000, "nothing stopped the agent");
        }
        let end = written % frame.len();
        let (mut read, mut expected, mut buffer) = (0, frame.iter().cycle(), vec![0; 65536]);
        while read < written {
            let count = client.read(&mut buffer).await?;
            assert!(count > 0 && buffer[..count].iter().eq(expected.by_ref().take(count)));
            read += count;
        }
        agent.write_all(&frame[end..]).await?;
        Ok(())
    })
}
