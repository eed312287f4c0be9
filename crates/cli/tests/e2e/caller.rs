//! Clients as routing sees them: an address, a target, headers; and an agent that costs next to nothing.

use crate::fleet::PATIENCE;
use anyhow::{Context, Result, ensure};
use myagent_testkit::{TestManager, fake_agent, http};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The agent that many external services share: it costs each of them a runner and no more.
pub(crate) struct Agent {
    url: String,
    _serving: JoinSet<()>,
}

impl Agent {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}/", listener.local_addr()?);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            drop(fake_agent::serve(listener, fake_agent::Options::default()).await);
        });
        Ok(Self { url, _serving: serving })
    }

    /// Registers and starts a service that leads to it.
    pub(crate) async fn service(&self, manager: &TestManager, name: &str, options: &[&str]) -> Result<()> {
        let words = [&["register", name, "--endpoint", self.url.as_str(), "--auto-start"], options].concat();
        manager.ok(&words).await.map(|_| ())
    }
}

/// A client as routing sees it.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) from: IpAddr,
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Caller {
    pub(crate) fn new(target: &str, headers: &[(&str, &str)]) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { from: Ipv4Addr::LOCALHOST.into(), target: target.to_owned(), headers: headers.collect() }
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        self.from = address.parse().unwrap();
        self
    }

    /// Connects and makes the handshake; the open connection, and the instance that has it (or what it was told).
    pub(crate) async fn connect(&self, proxy: SocketAddr) -> Result<(TcpStream, String)> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(self.from, 0))?;
        self.shake_hands(socket.connect(proxy).await?).await
    }

    /// Makes the handshake on an open connection.
    pub(crate) async fn shake_hands(&self, mut stream: TcpStream) -> Result<(TcpStream, String)> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            self.target
        );
        if !self.headers.keys().any(|name| name.eq_ignore_ascii_case("host")) {
            request += "Host: front\r\n";
        }
        for (name, value) in &self.headers {
            write!(request, "{name}: {value}\r\n")?;
        }
        request += "\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let read = async {
            while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
                ensure!(stream.read_buf(&mut answer).await? > 0, "closed before an answer");
            }
            Ok(())
        };
        timeout(PATIENCE, read).await.context("no answer")??;
        let head = String::from_utf8_lossy(&answer).into_owned();
        let instance = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("x-myagent-instance").then(|| value.to_owned())
        });
        Ok((stream, instance.unwrap_or_else(|| "nobody".to_owned())))
    }

    /// The instance that gets it.
    pub(crate) async fn goes_to(&self, proxy: SocketAddr) -> Result<String> {
        Ok(self.connect(proxy).await?.1)
    }

    /// What `route explain` says of it.
    pub(crate) async fn explained(&self, api: SocketAddr) -> Result<Value> {
        let body = json!({"path": self.target, "client_ip": self.from, "headers": self.headers});
        let answer = http::request(api, "POST", "/api/v1/routing/explain", Some(&body)).await?;
        ensure!(answer.status == 200, "{body}: {} {}", answer.status, answer.body);
        answer.json()
    }
}
