//! A front door in a few lines: accepts, reads the head, hands the socket to a relay.

use myagent_core::http::Upstream;
use myagent_core::wire::control::{Closed, Report};
use myagent_core::wire::handover::Offer;
use myagent_core::{Clock, ConnectionId};
use myagent_relay::relay::Config;
use myagent_relay::{Client, GivenBack, Relay, Table};
use myagent_tls::Trust;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use tokio_websockets::{ClientBuilder, MaybeTlsStream, WebSocketStream};

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;
pub(crate) type WsClient = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Longest wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

struct Epoch;

impl Clock for Epoch {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

pub(crate) struct Rig {
    pub(crate) table: Table,
    pub(crate) front: SocketAddr,
    pub(crate) given_back: Rc<RefCell<Vec<GivenBack>>>,
}

/// Runs a test on one thread, for a bounded time.
pub(crate) fn run<F: Future<Output = Outcome>>(test: F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async { tokio::time::timeout(LIMIT, test).await? })
}

/// A listener for the agent of a test.
pub(crate) async fn listen() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let addr = listener.local_addr()?;
    Ok((listener, addr))
}

impl Rig {
    /// A front door whose clients go to an agent at `agent`, path `/ws`.
    pub(crate) async fn new(agent: SocketAddr) -> std::io::Result<Self> {
        Self::of(Upstream::Local { addr: agent, path: "/ws".to_owned() }, Trust::system(), 0).await
    }

    /// A front door with so many places (0: no limit) before this agent.
    pub(crate) async fn of(target: Upstream, trust: Trust, max_places: u32) -> std::io::Result<Self> {
        let table = Table::new(Arc::new(Epoch), Duration::from_secs(30), max_places);
        let config = Config {
            target,
            trust,
            service: "chat".to_owned(),
            instance: "chat-0".to_owned(),
            slow_client: Duration::from_secs(30),
        };
        let relay = Relay::new(config, table.clone());
        let (listener, front) = listen().await?;
        myagent_handover::vanish::watch_clients(&listener)?;
        let given_back = Rc::<RefCell<Vec<_>>>::default();
        let rig = Self { table, front, given_back: Rc::clone(&given_back) };
        spawn_local(async move {
            while let Ok((stream, address)) = listener.accept().await {
                let (relay, given_back) = (Rc::clone(&relay), Rc::clone(&given_back));
                spawn_local(async move {
                    if let Ok(client) = take(stream, address).await {
                        match relay.begin(client).await {
                            Ok(conversation) => conversation.run().await,
                            Err(back) => given_back.borrow_mut().push(back),
                        }
                    }
                });
            }
        });
        Ok(rig)
    }

    pub(crate) async fn connect(&self) -> Result<WsClient, tokio_websockets::Error> {
        let uri = format!("ws://{}/s/chat/talk?service=chat&session_id=s-9", self.front);
        Ok(ClientBuilder::new()
            .uri(&uri)
            .map_err(|_| tokio_websockets::Error::AlreadyClosed)?
            .connect()
            .await?
            .0)
    }

    /// What the runner does when the agent's process has ended.
    pub(crate) fn agent_dies(&self) {
        self.table.close_all(1012, "agent ended");
    }

    /// A raw client that has sent these bytes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.front).await?;
        stream.write_all(bytes).await?;
        Ok(stream)
    }

    /// The closed record of the only conversation, once it is over.
    pub(crate) async fn closed(&self) -> Closed {
        self.until(|report| !report.closed.is_empty()).await.closed.remove(0)
    }

    /// The first full report for which this holds.
    pub(crate) async fn until(&self, condition: impl Fn(&Report) -> bool) -> Report {
        loop {
            let report = self.table.report(true);
            if condition(&report) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// What the front door does with a new client.
async fn take(mut stream: TcpStream, address: SocketAddr) -> std::io::Result<Client> {
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let rest = head.split_off(end);
    let offer = Offer {
        connection_id: ConnectionId(uuid::Uuid::from_u128(u128::from(address.port()))),
        client: address,
        strategy: "round_robin".to_owned(),
        rule: None,
        pool: None,
        head_len: end,
        attempt: 0,
    };
    Ok(Client { offer, head, rest, stream: stream.into_std()? })
}

/// The head of a WebSocket request.
pub(crate) const REQUEST: &[u8] =
    b"GET /s/chat/talk HTTP/1.1\r\nHost: front\r\nUser-Agent: raw\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// The head of an agent's answer that opens one.
pub(crate) const ACCEPTED: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Reads a head.
pub(crate) async fn read_head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A raw client and a raw agent with an open conversation between them.
pub(crate) async fn raw_pair() -> std::io::Result<(Rig, TcpStream, TcpStream)> {
    let (listener, addr) = listen().await?;
    let rig = Rig::new(addr).await?;
    let mut client = rig.raw(REQUEST).await?;
    let (mut agent, _) = listener.accept().await?;
    read_head(&mut agent).await?;
    agent.write_all(ACCEPTED).await?;
    let answer = read_head(&mut client).await?;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    Ok((rig, client, agent))
}
