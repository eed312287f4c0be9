//! The accept loops: HTTP/1.1 on a Unix socket or a TCP listener, until told to close; then open requests may finish
//! within a bound. Only our own user (and root) may talk through the Unix socket.

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::{Extension, http};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most connections of one listener; more wait in the backlog.
const MAX_CONNECTIONS: usize = 1024;
/// How long a client may take to send the head of a request, and be silent between two.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
/// Largest request head, bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How long open requests may go on after the listener was told to close.
const DRAIN: Duration = Duration::from_secs(10);
/// Pause after a failed accept: the usual cause is a lack of descriptors, which does not pass by trying again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Tells a streaming answer that its listener closes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closing(CancellationToken);

impl Closing {
    /// Ends when the listener is told to close.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.clone().cancelled_owned()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Closing {
    type Rejection = Infallible;

    /// Without an accept loop of ours around it (in tests), it never closes.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Serves the manager's own socket until `shutdown`.
pub async fn serve_unix(
    listener: UnixListener,
    router: Router,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let (own, _) = UnixStream::pair()?;
    let uid = own.peer_cred()?.uid();
    serve(UnixIncoming { listener, uid }, router, shutdown).await;
    Ok(())
}

/// Serves a TCP listener until `shutdown`.
pub async fn serve_tcp(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    serve(TcpIncoming { listener }, router, shutdown).await;
    Ok(())
}

/// Where connections come from.
trait Incoming: Send {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection; `None`: it was refused.
    fn accept(&self) -> impl Future<Output = io::Result<Option<Self::Stream>>> + Send;
}

struct TcpIncoming {
    listener: TcpListener,
}

impl Incoming for TcpIncoming {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<Option<TcpStream>> {
        let (stream, _) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Some(stream))
    }
}

struct UnixIncoming {
    listener: UnixListener,
    uid: u32,
}

impl Incoming for UnixIncoming {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<Option<UnixStream>> {
        let (stream, _) = self.listener.accept().await?;
        let peer = stream.peer_cred()?.uid();
        if peer == self.uid || peer == 0 {
            return Ok(Some(stream));
        }
        tracing::warn!(peer, "refused another user on the manager's socket");
        Ok(None)
    }
}

async fn serve(incoming: impl Incoming, router: Router, shutdown: CancellationToken) {
    let router = router.layer(Extension(Closing(shutdown.clone())));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = incoming.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok(Some(stream)) => {
                    connections.spawn(connection(stream, router.clone(), shutdown.clone()));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(incoming);
    let drained =
        tokio::time::timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(open = connections.len(), "requests were cut off at the end of the listener");
        connections.shutdown().await;
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    shutdown: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        hyper::service::Service::call(&service, request.map(Body::new))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OpenListener;
    use crate::v1::manager::listeners::lines;
    use axum::routing::get;
    use futures_util::StreamExt;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    const PATIENCE: Duration = Duration::from_secs(20);
    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// Tells when it is dropped.
    struct Guard(Arc<Notify>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    /// Answers with the endless body of an attached listener.
    fn endless(dropped: &Arc<Notify>) -> Router {
        let dropped = Arc::clone(dropped);
        Router::new().route(
            "/",
            get(move |closing: Closing| {
                let guard = Box::new(Guard(Arc::clone(&dropped)));
                let open = OpenListener { address: "127.0.0.1:1".parse().unwrap(), guard };
                async move { Body::from_stream(lines(open).take_until(closing.closed())) }
            }),
        )
    }

    async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) {
        let mut seen = String::new();
        while !seen.contains(text) {
            let mut buffer = [0; 1024];
            let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
            assert!(length > 0, "the stream ended after {seen:?}");
            seen.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_its_answer_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api");
        let (dropped, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_unix(UnixListener::bind(&path).unwrap(), endless(&dropped), shutdown.clone()));
        let mut client = UnixStream::connect(&path).await.unwrap();
        client.write_all(GET).await.unwrap();
        read_until(&mut client, "127.0.0.1:1").await;
        drop(client);
        tokio::time::timeout(PATIENCE, dropped.notified()).await.unwrap();
        shutdown.cancel();
        tasks.join_next().await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn closing_ends_endless_answers_and_idle_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dropped, shutdown) = (Arc::new(Notify::new()), CancellationToken::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_tcp(listener, endless(&dropped), shutdown.clone()));
        let idle = TcpStream::connect(address).await.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(GET).await.unwrap();
        read_until(&mut client, "127.0.0.1:1").await;
        shutdown.cancel();
        let ended = tokio::time::timeout(DRAIN / 2, tasks.join_next()).await;
        ended.expect("open answers and idle connections were waited for").unwrap().unwrap().unwrap();
        read_until(&mut client, "0\r\n\r\n").await;
        TcpStream::connect(address).await.unwrap_err();
        drop(idle);
    }
}
