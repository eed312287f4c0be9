//! Events of our own: between two messages of the agent, whatever it sends; and connections that are closed from outside,
//! whatever the client does.

use crate::rig::*;
use myagent_relay::codec::{Opcode, write_frame};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// A conversation whose client has asked for events.
async fn listening_pair() -> std::io::Result<(Rig, TcpStream, TcpStream)> {
    let (listener, addr) = listen().await?;
    let rig = Rig::new(addr).await?;
    let request = String::from_utf8_lossy(REQUEST).replacen("\r\n", "\r\nX-MyAgent-Events: 1\r\n", 1);
    let mut client = rig.raw(request.as_bytes()).await?;
    let (mut agent, _) = listener.accept().await?;
    assert!(!read_head(&mut agent).await?.to_lowercase().contains("events"));
    agent.write_all(ACCEPTED).await?;
    read_head(&mut client).await?;
    Ok((rig, client, agent))
}

async fn read(client: &mut TcpStream, count: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// The next frame, a short text frame of ours.
async fn read_notice(client: &mut TcpStream) -> std::io::Result<String> {
    let head = read(client, 2).await?;
    assert!(head[0] == 0x81 && head[1] < 126, "{head:?}");
    let text = read(client, usize::from(head[1])).await?;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.starts_with("{\"event\":\"management_notification\",\"connection_id\":\""), "{text}");
    Ok(text)
}

#[test]
fn a_notification_goes_between_two_messages() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = listening_pair().await?;
        assert_eq!(rig.table.notify(None, "\"content\":\"one\""), Some(1));
        assert!(read_notice(&mut client).await?.ends_with("\"content\":\"one\"}"));

        // Two frames of one message, and a ping between them: the notification waits for the end of the message, although
        // the stream stands between two frames twice.
        let first = [0x01, 3, b'o', b'n', b'e', 0x89, 0];
        agent.write_all(&first).await?;
        assert_eq!(read(&mut client, first.len()).await?, first);
        assert_eq!(rig.table.notify(None, "\"content\":\"two\""), Some(1));
        let mut rest = vec![0x80, 3, b't', b'w', b'o'];
        let message_end = rest.len();
        write_frame(&mut rest, Opcode::Binary, b"more");
        agent.write_all(&rest).await?;
        assert_eq!(read(&mut client, message_end).await?, rest[..message_end]);
        read_notice(&mut client).await?;
        assert_eq!(read(&mut client, rest.len() - message_end).await?, rest[message_end..]);

        // In the middle of a frame, whose end and a half of the next come in one piece.
        agent.write_all(&[0x81, 3, b'a']).await?;
        read(&mut client, 3).await?;
        assert_eq!(rig.table.notify(None, "\"content\":\"three\""), Some(1));
        agent.write_all(&[b'b', b'c', 0x81, 2, b'd']).await?;
        assert_eq!(read(&mut client, 2).await?, b"bc");
        read_notice(&mut client).await?;
        assert_eq!(read(&mut client, 3).await?, [0x81, 2, b'd']);
        agent.write_all(b"e").await?;
        assert_eq!(read(&mut client, 1).await?, b"e");
        // Only the agent's messages are counted.
        let report = rig.until(|report| report.totals.messages_out == 4).await;
        assert_eq!((report.open[0].messages_out, report.open[0].messages_in), (4, 0));
        assert_eq!(report.open[0].bytes_out, (first.len() + rest.len() + 9) as u64);
        Ok(())
    })
}

#[test]
fn who_did_not_ask_gets_nothing() -> Outcome {
    run(async {
        let (rig, mut client, mut agent) = raw_pair().await?;
        assert_eq!(rig.table.notify(None, "\"content\":\"x\""), Some(0));
        agent.write_all(&[0x82, 0]).await?;
        assert_eq!(read(&mut client, 2).await?, [0x82, 0]);
        Ok(())
    })
}

#[test]
fn a_client_that_does_not_read_is_closed_in_time_with_a_word_or_without() -> Outcome {
    run(async {
        for code in [1000, 1006] {
            let (rig, mut client, agent) = raw_pair().await?;
            // Full up to the agent.
            let frame = vec![0; 1 << 20];
            let mut head = vec![0x82, 127];
            head.extend_from_slice(&(1_u64 << 40).to_be_bytes());
            agent.try_write(&head)?;
            let mut full = Instant::now();
            while full.elapsed() < Duration::from_millis(200) {
                match agent.try_write(&frame) {
                    Ok(_) => full = Instant::now(),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            let id = rig.table.report(true).open[0].connection_id;
            let asked = Instant::now();
            assert!(rig.table.disconnect(id, code, "enough"));
            let closed = rig.closed().await;
            assert_eq!((closed.code, closed.reason.as_str()), (code, "enough"));
            assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
            assert!(!rig.table.is_open(id));
            // It gets what was on its way, and the end.
            let mut rest = Vec::new();
            let ended = client.read_to_end(&mut rest).await;
            assert!(
                ended.is_ok()
                    || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
            );
        }
        Ok(())
    })
}
