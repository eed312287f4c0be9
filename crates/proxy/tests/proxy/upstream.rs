//! An agent that answers what a test says, byte by byte.

use crate::kit::within;
use myagent_core::http::Upstream;
use myagent_core::routing::RoutedInstance;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An agent.
pub(crate) struct Agent {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// A request that it got.
pub(crate) struct Asked {
    pub(crate) head: String,
    stream: TcpStream,
}

impl Agent {
    pub(crate) async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// The instance, as one that this agent is.
    pub(crate) fn behind(&self, instance: &RoutedInstance) -> RoutedInstance {
        let upstream = Upstream::local(&self.address.ip().to_string(), self.address.port(), "/").unwrap();
        RoutedInstance { upstream: Some(Arc::new(upstream)), ..instance.clone() }
    }

    /// The next request.
    pub(crate) async fn asked(&self) -> Asked {
        let (stream, _) = within("a request", self.listener.accept()).await.unwrap();
        let head = within("a request's head", head(&stream)).await;
        Asked { head, stream }
    }

    /// The first request of all who have connected and not said nothing.
    pub(crate) async fn first_asked(&self) -> Asked {
        loop {
            let (stream, _) = within("a request", self.listener.accept()).await.unwrap();
            if within("a word", stream.peek(&mut [0; 1])).await.unwrap_or(0) > 0 {
                let head = within("a request's head", head(&stream)).await;
                return Asked { head, stream };
            }
        }
    }
}

async fn head(stream: &TcpStream) -> String {
    stream.set_nodelay(true).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        stream.readable().await.unwrap();
        let mut byte = [0; 1];
        match stream.try_read(&mut byte) {
            Ok(0) => panic!("a request ended inside its head: {}", String::from_utf8_lossy(&head)),
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
    String::from_utf8(head).unwrap()
}

impl Asked {
    pub(crate) async fn say(&mut self, text: &str) {
        self.write(text.as_bytes()).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within("an answer is taken", self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) async fn try_write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// So much of the body, as text.
    pub(crate) async fn body(&mut self, length: usize) -> String {
        String::from_utf8(self.bytes(length).await).unwrap()
    }

    pub(crate) async fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        within("a body", self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// The content of a body in chunks, to its end.
    pub(crate) async fn chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let mut line = Vec::new();
            while !line.ends_with(b"\r\n") {
                line.push(within("a chunk's size", self.stream.read_u8()).await.unwrap());
            }
            let text = String::from_utf8(line).unwrap();
            let size = usize::from_str_radix(text.trim_end(), 16).unwrap();
            let mut chunk = self.bytes(size + 2).await;
            assert_eq!(chunk.split_off(size), b"\r\n");
            if size == 0 {
                return content;
            }
            content.append(&mut chunk);
        }
    }

    /// Everything up to the end, or the breaking, of the request's connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // Broken is as much of an end.
        let _ = within("the end of a request", self.stream.read_to_end(&mut rest)).await;
        String::from_utf8(rest).unwrap()
    }
}

/// Everything up to and with this text, and what came along.
pub(crate) async fn read_until(client: &mut TcpStream, text: &str) -> String {
    read_while(client, |read| !read.contains(text)).await
}

/// Everything that comes while this holds.
pub(crate) async fn read_while(client: &mut TcpStream, goes_on: impl Fn(&str) -> bool) -> String {
    let mut bytes = Vec::new();
    while goes_on(&String::from_utf8_lossy(&bytes)) {
        let count = within("an answer", client.read_buf(&mut bytes)).await.unwrap();
        assert!(count > 0, "the end came first: {}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8(bytes).unwrap()
}
