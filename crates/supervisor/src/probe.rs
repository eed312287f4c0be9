//! Asks the agent itself: is it ready, is it alive?

use futures_util::{SinkExt, StreamExt};
use myagent_core::probe::Ready;
use myagent_core::secrets::without_query;
use myagent_core::service::Endpoint;
use myagent_tls::{Stream, Trust};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_websockets::{ClientBuilder, Message, WebSocketStream};

/// How long an agent may take to answer the close of a probe that it has passed.
const GOODBYE: Duration = Duration::from_millis(100);
/// Between two readiness probes, once an agent has taken a moment.
const READY_INTERVAL: Duration = Duration::from_millis(250);
/// Between the first two; doubles up to [`READY_INTERVAL`], so that a quick agent is ready when it is.
const FIRST_READY_INTERVAL: Duration = Duration::from_millis(16);
/// The header that tells an agent that this connection is a probe.
const PROBE_HEADER: &str = "x-myagent-probe";

type Socket = WebSocketStream<Stream>;

/// Where and how to ask.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    /// Whom to trust if the endpoint is `wss://`.
    pub(crate) trust: Trust,
    pub(crate) ready: Ready,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
}

/// What a probe found.
#[derive(Debug)]
pub(crate) enum Found {
    /// The readiness probe succeeded.
    Ready,
    /// The readiness probe failed, and not as it did before.
    NotReady(String),
    /// A health check was made.
    Checked { latency: Duration, failure: Option<String> },
}

/// Probes until it is ready.
pub(crate) async fn until_ready(target: Target, found: mpsc::Sender<Found>) {
    let mut interval = FIRST_READY_INTERVAL;
    let mut last = String::new();
    loop {
        let started = Instant::now();
        // The receiver is gone only if the instance is.
        match ready_once(&target).await {
            Ok(()) => {
                let _ = found.send(Found::Ready).await;
                return;
            }
            Err(reason) if reason != last => {
                last.clone_from(&reason);
                let _ = found.send(Found::NotReady(reason)).await;
            }
            Err(_) => {}
        }
        sleep(interval.saturating_sub(started.elapsed())).await;
        interval = (interval * 2).min(READY_INTERVAL);
    }
}

/// Checks health at its interval (±10 %), over one kept connection.
pub(crate) async fn keep_checking(target: Target, random: fn() -> f64, found: mpsc::Sender<Found>) {
    let mut socket: Option<Socket> = None;
    loop {
        let pause = target.interval.mul_f64(0.9 + 0.2 * random());
        idle(&mut socket, pause).await;
        let (latency, failure) = check(&target, &mut socket).await;
        if found.send(Found::Checked { latency, failure }).await.is_err() {
            return;
        }
    }
}

/// One check; the connection is kept if it is still good.
pub(crate) async fn check_once(target: &Target) -> (Duration, Option<String>) {
    check(target, &mut None).await
}

async fn check(target: &Target, socket: &mut Option<Socket>) -> (Duration, Option<String>) {
    let started = Instant::now();
    let result = match &target.ready {
        Ready::Ws(_) => timeout(target.timeout, ping(target, socket)).await,
        // What listens without speaking WebSocket at a known path is asked the way readiness was.
        Ready::Log(_) | Ready::Tcp => {
            timeout(target.timeout, async { connect(target).await.map(|_| ()) }).await
        }
        Ready::Http(path) => timeout(target.timeout, http(target, path)).await,
    };
    let failure = match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error),
        Err(_) => Some(format!("no answer within {} s", target.timeout.as_secs_f64())),
    };
    if failure.is_some() {
        *socket = None;
    }
    (started.elapsed(), failure)
}

/// Waits, reading (and dropping) what an agent says on the probe connection, so that it never fills up.
async fn idle(socket: &mut Option<Socket>, pause: Duration) {
    let pause = sleep(pause);
    tokio::pin!(pause);
    while let Some(open) = socket {
        tokio::select! {
            () = &mut pause => return,
            message = open.next() => if !matches!(message, Some(Ok(_))) { *socket = None },
        }
    }
    pause.await;
}

/// One readiness probe; it takes as long as a health check may.
async fn ready_once(target: &Target) -> Result<(), String> {
    let late = |_| "no answer in time".to_owned();
    match &target.ready {
        Ready::Ws(_) => {
            let mut socket = timeout(target.timeout, handshake(target)).await.map_err(late)??;
            // It is ready; how it takes leave does not change that.
            let _ = timeout(GOODBYE, socket.close()).await;
            Ok(())
        }
        Ready::Tcp => timeout(target.timeout, connect(target)).await.map_err(late)?.map(|_| ()),
        Ready::Http(path) => timeout(target.timeout, http(target, path)).await.map_err(late)?,
        Ready::Log(_) => Err("readiness is seen in the output".to_owned()),
    }
}

async fn connect(target: &Target) -> Result<TcpStream, String> {
    let endpoint = &target.endpoint;
    let connected = async {
        let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        // Else what is measured is how long two kernels wait for each other.
        socket.set_nodelay(true)?;
        Ok(socket)
    };
    let connected: std::io::Result<TcpStream> = connected.await;
    connected.map_err(|error| format!("cannot connect to {}: {error}", endpoint.authority()))
}

/// Connects, over TLS if the endpoint is.
async fn open(target: &Target) -> Result<Stream, String> {
    let (socket, endpoint) = (connect(target).await?, &target.endpoint);
    if !endpoint.tls {
        return Ok(Stream::Plain(socket));
    }
    let secured = target.trust.connect(socket, &endpoint.host).await;
    secured.map_err(|error| format!("TLS with {}: {error}", endpoint.authority()))
}

async fn handshake(target: &Target) -> Result<Socket, String> {
    let endpoint = &target.endpoint;
    let path = match &target.ready {
        Ready::Ws(Some(path)) => path,
        _ => &endpoint.path,
    };
    let scheme = if endpoint.tls { "wss" } else { "ws" };
    let uri = format!("{scheme}://{}{path}", endpoint.authority());
    let stream = open(target).await?;
    let name = PROBE_HEADER.parse().map_err(|_| "bad header name".to_owned())?;
    let value = "1".parse().map_err(|_| "bad header value".to_owned())?;
    // The query may have a token in it, and what is said here is stored and shown.
    let shown = without_query(&uri);
    let builder = ClientBuilder::new().uri(&uri).map_err(|error| format!("{shown}: {error}"))?;
    let builder = builder.add_header(name, value).map_err(|error| error.to_string())?;
    match builder.connect_on(stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(format!("no WebSocket at {shown}: {error}")),
    }
}

async fn ping(target: &Target, socket: &mut Option<Socket>) -> Result<(), String> {
    let open = match socket {
        Some(open) => open,
        None => socket.insert(handshake(target).await?),
    };
    open.send(Message::ping("myagent")).await.map_err(|error| format!("ping failed: {error}"))?;
    loop {
        match open.next().await {
            Some(Ok(message)) if message.is_pong() => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(format!("no pong: {error}")),
            None => return Err("no pong: the agent closed the connection".to_owned()),
        }
    }
}

async fn http(target: &Target, path: &str) -> Result<(), String> {
    let mut stream = open(target).await?;
    let shown = without_query(path);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: myagent-probe\r\n{PROBE_HEADER}: 1\r\nConnection: close\r\n\r\n",
        target.endpoint.authority()
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("cannot ask {shown}: {error}"))?;
    stream.flush().await.map_err(|error| format!("cannot ask {shown}: {error}"))?;
    let mut head = Vec::new();
    let mut chunk = [0; 256];
    while !head.windows(2).any(|pair| pair == b"\r\n") && head.len() < 4096 {
        match stream.read(&mut chunk).await {
            Ok(0) => break,
            Ok(length) => head.extend_from_slice(&chunk[..length]),
            Err(error) => return Err(format!("no answer from {shown}: {error}")),
        }
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    match line.split_ascii_whitespace().nth(1).and_then(|status| status.parse::<u16>().ok()) {
        Some(200..=399) => Ok(()),
        _ => Err(format!("{shown} answered {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio_websockets::ServerBuilder;

    #[tokio::test]
    async fn an_agent_that_answers_the_handshake_and_nothing_else_was_ready() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let endpoint = Endpoint {
            tls: false,
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            path: "/".into(),
        };
        let hanging = async {
            let (stream, _) = listener.accept().await.unwrap();
            let accepted = ServerBuilder::new().accept(stream).await.unwrap();
            std::future::pending::<()>().await;
            drop(accepted);
        };
        // Shorter than any patience with its goodbye would be.
        let (ready, timeout) = (Ready::Ws(None), GOODBYE);
        let target = Target { endpoint, trust: Trust::system(), ready, timeout, interval: GOODBYE };
        let (sender, mut found) = mpsc::channel(1);
        tokio::select! {
            () = hanging => {}
            () = until_ready(target, sender) => {}
        }
        assert!(matches!(found.recv().await, Some(Found::Ready)));
    }
}
