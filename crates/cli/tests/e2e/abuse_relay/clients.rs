//! What clients send on a connection to an echo server that keeps to the rules.

use super::{Raw, announcing, from_server, message};
use crate::wire::{BINARY, CLOSE, FIN, PING, PONG, TEXT, frame};
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// A server that is offended ends the connection, which the client sees within this time; the rest is slack.
const SOON: Duration = Duration::from_secs(5);

pub(super) struct Case {
    pub(super) name: &'static str,
    /// Goes along with the request.
    early: Vec<u8>,
    bytes: Vec<u8>,
    /// Each byte by itself.
    slowly: bool,
    leave: Leave,
    then: Then,
}

/// What the client does once it has sent everything.
#[derive(Clone, Copy, PartialEq)]
enum Leave {
    Stays,
    /// Closes its side.
    Half,
    /// Closes the connection without reading.
    Closes,
    /// Breaks it.
    Resets,
}

enum Then {
    /// It gets exactly this, and is served as before.
    GoesOn(Vec<u8>),
    /// It gets exactly this, then the end.
    Ends(Vec<u8>),
    /// The end, soon, and whatever the server says before.
    Over,
    /// Nobody is there to see it.
    Gone,
}

fn case(name: &'static str, bytes: Vec<u8>, then: Then) -> Case {
    Case { name, early: Vec::new(), bytes, slowly: false, leave: Leave::Stays, then }
}

/// So many pseudo-random bytes.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

fn fragments(count: usize) -> Vec<u8> {
    let mut bytes = frame(TEXT & !FIN, b"f");
    for _ in 0..count {
        bytes.extend(frame(0, b"x"));
    }
    bytes.extend(frame(FIN, b"l"));
    bytes
}

pub(super) fn cases() -> Vec<Case> {
    let (hello, echo) = message();
    let longer = |first: u8, payload: &[u8]| {
        // In eight bytes what fits into one.
        announcing(first, true, payload.len() as u64, payload)
    };
    let mut cases = vec![
        // Frames that must not be.
        case("a reserved opcode", frame(0x83, b"x"), Then::Over),
        case("a reserved control opcode", frame(0x8b, b"x"), Then::Over),
        case("reserved bits", frame(0xf1, b"x"), Then::Over),
        case(
            "a compressed frame that nobody agreed on",
            frame(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00"),
            Then::Over,
        ),
        case("a frame without a mask", from_server(TEXT, b"hello"), Then::Over),
        case("a fragmented ping", frame(PING & !FIN, b"x"), Then::Over),
        case("a ping of 126 bytes", frame(PING, &[b'x'; 126]), Then::Over),
        case("a close of 200 bytes", frame(CLOSE, &[b'x'; 200]), Then::Over),
        case("a continuation of nothing", frame(FIN, b"x"), Then::Over),
        case("a message inside a message", [frame(1, b"a"), frame(TEXT, b"b")].concat(), Then::Over),
        case("text that is not UTF-8", frame(TEXT, b"\xff\xfe"), Then::Over),
        case("a close of one byte", frame(CLOSE, b"x"), Then::Over),
        case("a close with a code that is reserved", frame(CLOSE, &1005_u16.to_be_bytes()), Then::Over),
        case("a close with a code that is none", frame(CLOSE, &999_u16.to_be_bytes()), Then::Over),
        case("a close with a reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), Then::Over),
        // Lengths.
        case("ten gigabytes announced", announcing(BINARY, true, 10_000_000_000, b"so little"), Then::Over),
        case("all bits of a length", announcing(BINARY, true, u64::MAX, b"so little"), Then::Over),
        case("the sign bit of a length", announcing(BINARY, true, 1 << 63, b""), Then::Over),
        case("a ping of ten gigabytes", announcing(PING, true, 10_000_000_000, b""), Then::Over),
        case("a length that is longer than it needs to be", longer(TEXT, b"hello"), Then::Over),
        case(
            "three megabytes",
            frame(BINARY, &noise(3 << 20)),
            Then::GoesOn(from_server(BINARY, &noise(3 << 20))),
        ),
        case(
            "nothing, a hundred thousand times",
            frame(TEXT, b"").repeat(100_000),
            Then::GoesOn(from_server(TEXT, b"").repeat(100_000)),
        ),
        // Pieces.
        Case {
            slowly: true,
            ..case(
                "byte by byte",
                [hello.clone(), fragments(20), hello.clone()].concat(),
                Then::GoesOn(
                    [echo.clone(), from_server(TEXT, &[&b"f"[..], &[b'x'; 20], b"l"].concat()), echo.clone()]
                        .concat(),
                ),
            )
        },
        case(
            "twenty thousand fragments of a byte",
            fragments(20_000),
            Then::GoesOn(from_server(TEXT, &[&b"f"[..], &vec![b'x'; 20_000], b"l"].concat())),
        ),
        case(
            "pings between fragments",
            [frame(1, b"he"), frame(PING, b"1"), frame(0, b"l"), frame(PING, b"2"), frame(FIN, b"lo")]
                .concat(),
            Then::GoesOn([from_server(PONG, b"1"), from_server(PONG, b"2"), echo.clone()].concat()),
        ),
        case(
            "ten thousand pings",
            frame(PING, b"p").repeat(10_000),
            Then::GoesOn(from_server(PONG, b"p").repeat(10_000)),
        ),
        case(
            "pongs that nobody asked for, with our mark on them",
            [frame(PONG, b"myagent:\0\0\0\0\0\0\0\0").repeat(100), hello.clone()].concat(),
            Then::GoesOn(echo.clone()),
        ),
        // Garbage.
        case("a megabyte of noise", noise(1 << 20), Then::Over),
        case("a megabyte of zeros", vec![0; 1 << 20], Then::Over),
        case("a megabyte of ones", vec![0xff; 1 << 20], Then::Over),
        case("another request", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), Then::Over),
        // Ends.
        case(
            "data after a close",
            [frame(CLOSE, &1000_u16.to_be_bytes()), hello.repeat(1000)].concat(),
            Then::Ends(from_server(CLOSE, &1000_u16.to_be_bytes())),
        ),
        case(
            "a close after a close",
            frame(CLOSE, &4001_u16.to_be_bytes()).repeat(3),
            Then::Ends(from_server(CLOSE, &4001_u16.to_be_bytes())),
        ),
    ];
    let leaves = |name, bytes: &[u8], leave, then| Case { leave, ..case(name, bytes.to_vec(), then) };
    let half_a_frame = announcing(BINARY, true, 1 << 40, &noise(300_000));
    cases.extend([
        leaves("half closed after a message", &hello, Leave::Half, Then::Ends(echo.clone())),
        leaves("half closed inside a frame", &half_a_frame, Leave::Half, Then::Over),
        leaves("half closed inside a header", &hello[..3], Leave::Half, Then::Over),
        leaves("half closed at once", b"", Leave::Half, Then::Over),
        leaves("closed inside a frame", &half_a_frame, Leave::Closes, Then::Gone),
        leaves("closed inside a message", &frame(1, b"half"), Leave::Closes, Then::Gone),
        leaves(
            "closed with all answers unread",
            &frame(BINARY, &noise(60_000)).repeat(50),
            Leave::Closes,
            Then::Gone,
        ),
        leaves("broken inside a frame", &half_a_frame, Leave::Resets, Then::Gone),
        leaves("broken at once", b"", Leave::Resets, Then::Gone),
        Case {
            early: hello.repeat(3),
            ..case("messages along with the request", hello.clone(), Then::GoesOn(echo.repeat(4)))
        },
        Case {
            early: hello[..4].to_vec(),
            ..case("half a message along with the request", hello[4..].to_vec(), Then::GoesOn(echo.clone()))
        },
        Case { early: noise(200), ..case("noise along with the request", Vec::new(), Then::Over) },
    ]);
    cases
}

/// Once everything is sent.
async fn sent(sending: &mut JoinSet<OwnedWriteHalf>) -> Result<OwnedWriteHalf> {
    Ok(sending.join_next().await.context("nothing is sent")??)
}

impl Case {
    pub(super) async fn check(&self, address: SocketAddr) -> Result<()> {
        let raw = Raw::open(address, "/s/echo", &self.early).await?;
        ensure!(raw.head.starts_with("HTTP/1.1 101 "), "{}", raw.head);
        if self.leave == Leave::Resets {
            raw.socket.set_zero_linger()?;
        }
        let (mut read, mut write) = raw.socket.into_split();
        let (bytes, slowly) = (self.bytes.clone(), self.slowly);
        // Beside reading: neither may wait for the other.
        let mut sending = JoinSet::new();
        sending.spawn(async move {
            for part in bytes.chunks(if slowly { 1 } else { bytes.len().max(1) }) {
                // Whoever is cut off cannot send the rest.
                if write.write_all(part).await.is_err() {
                    break;
                }
            }
            write
        });
        let began = Instant::now();
        match &self.then {
            Then::GoesOn(expected) => {
                let mut got = vec![0; expected.len()];
                read.read_exact(&mut got).await?;
                ensure!(got == *expected, "it got something else");
                let mut write = sent(&mut sending).await?;
                let (hello, echo) = message();
                write.write_all(&hello).await?;
                let mut got = vec![0; echo.len()];
                read.read_exact(&mut got).await?;
                ensure!(got == echo, "afterwards it got {got:?}");
            }
            Then::Ends(expected) => {
                let mut write = sent(&mut sending).await?;
                if self.leave == Leave::Half {
                    write.shutdown().await?;
                }
                let mut got = Vec::new();
                let _ = read.read_to_end(&mut got).await;
                ensure!(got == *expected, "it got {got:?}");
            }
            Then::Over => {
                let reading = async {
                    let mut got = Vec::new();
                    // Broken is as much of an end.
                    let _ = read.read_to_end(&mut got).await;
                };
                if self.leave == Leave::Half {
                    sent(&mut sending).await?.shutdown().await?;
                }
                if timeout(SOON, reading).await.is_err() {
                    bail!("not over after {:?}", began.elapsed());
                }
            }
            Then::Gone => drop(sent(&mut sending).await?),
        }
        Ok(())
    }
}
