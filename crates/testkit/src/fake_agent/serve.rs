//! The fake agent's life: its port, its connections, its end.

use super::http;
use super::misbehave;
use super::options::Options;
use super::protocol::Conversation;
use anyhow::{Context, Result};
use futures_util::{SinkExt, StreamExt};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_websockets::{Message, ServerBuilder, WebSocketStream};

/// How often a hanging agent looks whether it still hangs, and one that may hang whether it does.
const LOOK: Duration = Duration::from_millis(20);

/// The program `myagent-fake-agent`: serves on `$HOST:$PORT` (127.0.0.1 without `HOST`).
pub fn main(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => return complain(&format!("{error:?}"), 2),
    };
    if let Some(code) = options.crash_on_start {
        return complain("crashing on start, as asked", code);
    }
    if let Some(file) = &options.descendant {
        return match misbehave::be_descendant(file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error.to_string(), 1),
        };
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(options))) {
        Ok(code) => exit_code(code),
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}

fn complain(text: &str, code: i32) -> ExitCode {
    // Nobody reads it: then nobody misses it.
    let _ = writeln!(std::io::stderr(), "fake agent: {text}");
    exit_code(code)
}

async fn run(options: Options) -> Result<i32> {
    misbehave::start(&options)?;
    // A handler that is there and never asked is what ignores the signal.
    let _term = options.ignore_term.then(|| signal(SignalKind::terminate())).transpose()?;
    let (exit_after, code) = (options.exit_after, options.code);
    let end = async {
        match exit_after {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let live = async {
        if options.never_listen {
            return std::future::pending().await;
        }
        sleep(options.listen_after.unwrap_or_default()).await;
        let host = std::env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
        let port: u16 =
            std::env::var("PORT").context("PORT is not set")?.parse().context("PORT is no port")?;
        let listener =
            TcpListener::bind((host.as_str(), port)).await.with_context(|| format!("port {port}"))?;
        if let Some(line) = &options.ready_line {
            writeln!(std::io::stdout(), "{line}")?;
        }
        serve(listener, options).await
    };
    tokio::select! {
        () = end => Ok(code),
        served = live => served.map(|()| 0),
    }
}

/// Serves clients until it is dropped: an agent inside a test. Options about the process itself are for [`main`] only.
pub async fn serve(listener: TcpListener, options: Options) -> Result<()> {
    let warm_at = Instant::now() + options.warm_up.unwrap_or_default();
    let agent = Arc::new(Agent { options, warm_at, had_handshake: AtomicBool::new(false) });
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let agent = Arc::clone(&agent);
                // A client that goes wrong is that client's affair.
                clients.spawn(async move { drop(agent.client(accepted?.0).await); std::io::Result::Ok(()) });
            }
            Some(_) = clients.join_next() => {}
        }
    }
}

struct Agent {
    options: Options,
    /// From then on plain HTTP is answered with 200.
    warm_at: Instant,
    had_handshake: AtomicBool,
}

impl Agent {
    fn hangs(&self) -> bool {
        self.options.hang_after_ready && self.had_handshake.load(Ordering::Relaxed)
            || self.options.hang_while.as_ref().is_some_and(|file| file.exists())
    }

    /// How many messages a generous agent is asked for.
    fn asked_for(&self, message: &Message) -> Option<u64> {
        message.as_text().filter(|_| self.options.generous)?.strip_prefix("send ")?.parse().ok()
    }

    /// Answers a plain HTTP request; false: it is none, and nothing of it was taken.
    async fn is_plain_http(&self, stream: &mut TcpStream) -> Result<bool> {
        let mut head = [0; 4096];
        // Whoever asks sends the whole head at once, as clients do.
        let length = stream.peek(&mut head).await?;
        let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
        if head.contains("\r\nupgrade:") || !head.starts_with("get ") {
            return Ok(false);
        }
        let status = if Instant::now() < self.warm_at { "503 Service Unavailable" } else { "200 OK" };
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n");
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Closed with its request unread, the connection would be reset.
        tokio::io::copy(stream, &mut tokio::io::sink()).await?;
        Ok(true)
    }

    async fn client(&self, mut stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        while self.hangs() {
            sleep(LOOK).await;
        }
        if self.options.http && http::is_plain(&mut stream).await? {
            return http::serve(stream).await;
        }
        if self.is_plain_http(&mut stream).await? {
            return Ok(());
        }
        if self.options.refuse_while.as_ref().is_some_and(|file| file.exists()) {
            let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
            return Ok(());
        }
        let (_, mut socket) = ServerBuilder::new().accept(stream).await?;
        self.had_handshake.store(true, Ordering::Relaxed);
        let mut conversation = Conversation::new();
        let echoes = self.options.echo || self.options.generous;
        if !echoes {
            socket.send(Message::text(conversation.greeting().to_string())).await?;
        }
        loop {
            let message = tokio::select! {
                message = self.next(&mut socket) => message,
                () = sleep(self.options.delay), if conversation.is_answering() => {
                    for event in conversation.step() {
                        socket.send(Message::text(event.to_string())).await?;
                    }
                    continue;
                }
            };
            let Some(message) = message.transpose()? else { return Ok(()) };
            if message.is_ping() || message.is_pong() || message.is_close() {
                continue;
            }
            if let Some(count) = self.asked_for(&message) {
                for _ in 0..count {
                    socket.send(Message::binary(vec![b'x'; 64 * 1024])).await?;
                }
            } else if echoes {
                socket.send(message).await?;
            } else if let Some(answer) = conversation.receive(message.as_text().unwrap_or_default()) {
                socket.send(Message::text(answer.to_string())).await?;
            }
        }
    }

    /// The next message. Reading is what answers pings, so an agent that may hang looks whether it does in between.
    async fn next(
        &self,
        socket: &mut WebSocketStream<TcpStream>,
    ) -> Option<Result<Message, tokio_websockets::Error>> {
        if self.options.hang_while.is_none() && !self.options.hang_after_ready {
            return socket.next().await;
        }
        loop {
            while self.hangs() {
                sleep(LOOK).await;
            }
            if let Ok(message) = timeout(LOOK, socket.next()).await {
                return message;
            }
        }
    }
}
