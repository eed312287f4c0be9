//! What agents answer, and send afterwards: a server of raw bytes, which acts by the number in the path that it is asked for.

use super::{Raw, announcing, from_server, message};
use crate::wire::{BINARY, CLOSE, PING, PONG, TEXT, frame};
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_websockets::ServerBuilder;

pub(super) struct Case {
    pub(super) name: &'static str,
    acts: Vec<Act>,
    then: Then,
}

#[derive(Clone)]
enum Act {
    Sends(Vec<u8>),
    /// Byte by byte, as fast as it goes.
    Drips(Vec<u8>),
    /// Until the other side ends.
    Waits,
    /// For so long, without reading.
    Ignores(Duration),
    /// For ever the same.
    Repeats(Vec<u8>),
    Resets,
}

use Act::{Drips, Ignores, Repeats, Resets, Sends, Waits};

enum Then {
    /// The client is told that there is nobody for it: a WebSocket that is closed with 1013.
    TurnedAway,
    /// The client gets an answer that begins so, and in the end what ends so.
    Gets(&'static str, Vec<u8>),
    /// The client sends this many megabytes, of which not all can go anywhere, and leaves.
    Fills(u64),
}

const ACCEPTED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OPEN: &str = "HTTP/1.1 101 ";

fn case(name: &'static str, acts: Vec<Act>, then: Then) -> Case {
    Case { name, acts, then }
}

fn text(text: &str) -> Act {
    Sends(text.as_bytes().to_vec())
}

/// Accepts, sends this, and ends.
fn after(bytes: Vec<u8>) -> Vec<Act> {
    vec![Sends(ACCEPTED.to_vec()), Sends(bytes)]
}

pub(super) fn cases() -> Vec<Case> {
    let (_, hello) = message();
    let close = from_server(CLOSE, &1000_u16.to_be_bytes());
    let as_it_is = |name, bytes: Vec<u8>| case(name, after(bytes.clone()), Then::Gets(OPEN, bytes));
    vec![
        // Answers that are none.
        case("closes at once", vec![], Then::TurnedAway),
        case("breaks the connection at once", vec![Resets], Then::TurnedAway),
        case("speaks something else", vec![text("SSH-2.0-OpenSSH_9.2\r\n\r\n"), Waits], Then::TurnedAway),
        case("speaks TLS", vec![Sends(b"\x15\x03\x01\x00\x02\x02\x46".to_vec())], Then::TurnedAway),
        case(
            "sends noise",
            vec![Sends((0..=255).rev().cycle().take(50_000).collect()), Waits],
            Then::TurnedAway,
        ),
        case("says nothing", vec![Waits], Then::TurnedAway),
        case(
            "never ends its head",
            vec![text("HTTP/1.1 101 Switching Protocols\r\n"), Repeats(b"X-More: of it\r\n".to_vec())],
            Then::TurnedAway,
        ),
        case(
            "has a header of 100 KB",
            vec![text("HTTP/1.1 101 Switching Protocols\r\nX-Long: "), Sends(vec![b'x'; 100_000]), Waits],
            Then::TurnedAway,
        ),
        case(
            "has five hundred headers",
            vec![
                text("HTTP/1.1 101 Switching Protocols\r\n"),
                text(&"X-One: more\r\n".repeat(500)),
                text("\r\n"),
                Waits,
            ],
            Then::TurnedAway,
        ),
        case(
            "has control characters in a header",
            vec![text("HTTP/1.1 101 Switching Protocols\r\nX-Bad: a\0b\r\n\r\n"), Waits],
            Then::TurnedAway,
        ),
        case(
            "goes on saying that it goes on",
            vec![Repeats(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec())],
            Then::TurnedAway,
        ),
        case("closes inside its head", vec![Sends(ACCEPTED[..60].to_vec())], Then::TurnedAway),
        case("answers 500", vec![text("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")], Then::TurnedAway),
        case(
            "answers 503 with a body",
            vec![text("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nlater"), Waits],
            Then::TurnedAway,
        ),
        // Answers that are others.
        case(
            "answers 200",
            vec![text("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Waits],
            Then::Gets("HTTP/1.1 200 OK\r\n", b"\r\n\r\nhi".to_vec()),
        ),
        case(
            "answers 200 without an end",
            vec![text("HTTP/1.1 200 OK\r\n\r\nall of it")],
            Then::Gets("HTTP/1.1 200 OK\r\n", b"\r\n\r\nall of it".to_vec()),
        ),
        case(
            "answers less than it announces",
            vec![text("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhi")],
            Then::Gets("HTTP/1.1 200 OK\r\n", b"\r\n\r\nhi".to_vec()),
        ),
        case(
            "answers with bad chunks",
            vec![text("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhi")],
            Then::Gets("HTTP/1.1 200 OK\r\n", b"\r\nhi".to_vec()),
        ),
        case(
            "answers 302",
            vec![text("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), Waits],
            Then::Gets("HTTP/1.1 302 Found\r\nLocation: /x\r\n", b"\r\n\r\n".to_vec()),
        ),
        case(
            "answers 404",
            vec![text("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"), Waits],
            Then::Gets("HTTP/1.1 404 ", b"\r\n\r\nno".to_vec()),
        ),
        case(
            "answers in drops",
            vec![Drips(ACCEPTED.to_vec()), Drips([hello.clone(), close.clone()].concat())],
            Then::Gets(OPEN, [hello.clone(), close.clone()].concat()),
        ),
        case(
            "answers with frames behind its head",
            vec![Sends([ACCEPTED, &hello, &close].concat())],
            Then::Gets(OPEN, [hello.clone(), close.clone()].concat()),
        ),
        // Frames that must not be. They are the client's to refuse; nothing of ours comes between them.
        as_it_is("sends masked frames", frame(TEXT, b"hello")),
        as_it_is(
            "sends reserved bits and opcodes",
            [from_server(0xf3, b"x"), from_server(0x8f, b"y")].concat(),
        ),
        as_it_is("sends a fragmented ping", from_server(PING & 0x7f, b"x")),
        as_it_is(
            "sends a long close, and goes on",
            [from_server(CLOSE, &[b'x'; 300]), hello.repeat(100)].concat(),
        ),
        as_it_is("sends frames behind its close", [close.clone(), hello.repeat(100)].concat()),
        as_it_is("sends pongs with our mark", from_server(PONG, b"myagent:\0\0\0\0\0\0\0\0")),
        as_it_is(
            "announces ten gigabytes, and ends",
            announcing(BINARY, false, 10_000_000_000, b"so little"),
        ),
        as_it_is(
            "announces more than there are numbers, and ends",
            announcing(BINARY, false, u64::MAX, b"so little"),
        ),
        as_it_is("ends inside a header", vec![0x82, 127, 0]),
        as_it_is("ends inside a message", [from_server(1, b"half"), from_server(0, b"more")].concat()),
        as_it_is(
            "sends twenty thousand fragments",
            [from_server(1, b"f"), from_server(0, b"x").repeat(20_000)].concat(),
        ),
        as_it_is("sends ten thousand pings", from_server(PING, b"p").repeat(10_000)),
        case(
            "breaks the connection after its answer",
            vec![Sends(ACCEPTED.to_vec()), Resets],
            Then::Gets(OPEN, Vec::new()),
        ),
        case(
            "never reads",
            vec![Sends(ACCEPTED.to_vec()), Ignores(Duration::from_secs(10))],
            Then::Fills(64),
        ),
    ]
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: TcpListener) {
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Ok((socket, _)) = listener.accept() => {
                // How it ends is the case's affair.
                clients.spawn(async move { drop(act(socket).await) });
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

async fn act(mut socket: TcpStream) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut head = [0; 2048];
    let length = socket.peek(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..length]).into_owned();
    let path = head.split(' ').nth(1).context("no request")?;
    if path == "/echo" {
        return echo(socket).await;
    }
    let number: usize = path.trim_start_matches('/').parse()?;
    socket.read_exact(&mut vec![0; length]).await?;
    for act in cases().swap_remove(number).acts {
        match act {
            Sends(bytes) => socket.write_all(&bytes).await?,
            Drips(bytes) => {
                for byte in bytes {
                    socket.write_all(&[byte]).await?;
                    socket.flush().await?;
                    tokio::task::yield_now().await;
                }
            }
            Repeats(bytes) => loop {
                socket.write_all(&bytes).await?;
                sleep(Duration::from_millis(1)).await;
            },
            Waits => drop(tokio::io::copy(&mut socket, &mut tokio::io::sink()).await),
            Ignores(time) => sleep(time).await,
            Resets => socket.set_zero_linger()?,
        }
    }
    Ok(())
}

async fn echo(socket: TcpStream) -> Result<()> {
    use futures_util::{SinkExt, StreamExt};
    let (_, mut socket) = ServerBuilder::new().accept(socket).await?;
    while let Some(message) = socket.next().await.transpose()? {
        if message.is_text() {
            socket.send(message).await?;
        }
    }
    Ok(())
}

/// A client that is served well.
pub(super) async fn good(address: SocketAddr) -> Result<()> {
    let mut raw = Raw::open(address, "/s/raw/echo", &[]).await?;
    ensure!(raw.head.starts_with(OPEN), "{}", raw.head);
    let (hello, echo) = message();
    raw.socket.write_all(&hello).await?;
    let mut got = vec![0; echo.len()];
    raw.socket.read_exact(&mut got).await?;
    ensure!(got == echo, "{got:?}");
    Ok(())
}

impl Case {
    pub(super) async fn check(&self, address: SocketAddr, number: usize) -> Result<()> {
        let mut raw = Raw::open(address, &format!("/s/raw/{number}"), &[]).await?;
        let head = raw.head.clone();
        match &self.then {
            Then::TurnedAway => {
                ensure!(head.starts_with(OPEN), "{head}");
                let rest = raw.rest().await;
                let text = String::from_utf8_lossy(&rest);
                let close =
                    rest.windows(4).any(|bytes| bytes[0] == CLOSE && bytes[2..] == 1013_u16.to_be_bytes());
                ensure!(text.contains("ROUTING_FAILED") && close, "{text}");
            }
            Then::Gets(begins, ends) => {
                let rest = raw.rest().await;
                ensure!(head.starts_with(begins), "{head}");
                let all = [head.as_bytes(), &rest].concat();
                if !all.ends_with(ends) {
                    bail!(
                        "it ends with {:?}",
                        String::from_utf8_lossy(&all[all.len().saturating_sub(200)..])
                    );
                }
                ensure!(
                    !head.starts_with(OPEN) || rest == *ends,
                    "there is more in it: {} bytes",
                    rest.len()
                );
            }
            Then::Fills(megabytes) => {
                ensure!(head.starts_with(OPEN), "{head}");
                let megabyte = frame(BINARY, &vec![b'x'; 1 << 20]);
                let mut sent = 0;
                while let Ok(done) =
                    tokio::time::timeout(Duration::from_secs(1), raw.socket.write_all(&megabyte)).await
                {
                    done?;
                    sent += 1;
                    ensure!(sent < *megabytes, "all of it went somewhere");
                }
            }
        }
        Ok(())
    }
}
