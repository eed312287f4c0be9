//! The control socket: says hello to each manager that connects, passes its requests on as events, and writes answers and
//! events to it. It decides nothing. Several managers may be connected; one that does not read is dropped, and none can
//! make this process wait.

use crate::event::Event;
use crate::line_reader::LineReader;
use myagent_core::wire::control::{Answer, Hello, PROTOCOL, RequestLine, RunnerEvent, RunnerLine};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Lines that may wait for one manager.
const OUTBOX: usize = 256;
/// Bytes that may wait for one manager; one line may always wait.
const OUTBOX_BYTES: usize = 16 * 1024 * 1024;
/// A manager must have said hello, and must have taken a line, within this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Managers at once.
const MAX_CLIENTS: usize = 32;

/// One connected manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ClientId(u64);

/// Everyone who is connected and has said hello. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Clients(Rc<RefCell<HashMap<ClientId, Outbox>>>);

struct Outbox {
    lines: mpsc::Sender<Rc<str>>,
    waiting: Rc<Cell<usize>>,
    /// Dropped with the outbox, and then the connection ends, even in the middle of a line.
    _kept: oneshot::Sender<Infallible>,
}

impl Clients {
    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Answers a request; an answer to someone who left is dropped.
    pub(crate) fn answer(&self, client: ClientId, id: u64, answer: Answer) {
        if let Some(line) = to_line(&RunnerLine::Answer { id, answer }) {
            self.put(&[client], &line);
        }
    }

    /// Tells everyone.
    pub(crate) fn broadcast(&self, event: RunnerEvent) {
        let everyone: Vec<ClientId> = self.0.borrow().keys().copied().collect();
        if everyone.is_empty() {
            return;
        }
        if let Some(line) = to_line(&RunnerLine::Event { event }) {
            self.put(&everyone, &line);
        }
    }

    fn put(&self, to: &[ClientId], line: &Rc<str>) {
        let mut clients = self.0.borrow_mut();
        for client in to {
            let Some(outbox) = clients.get(client) else { continue };
            let waiting = outbox.waiting.get();
            let fits = waiting == 0 || waiting + line.len() <= OUTBOX_BYTES;
            if fits && outbox.lines.try_send(Rc::clone(line)).is_ok() {
                outbox.waiting.set(waiting + line.len());
            } else {
                tracing::warn!("a manager does not read from the control socket; dropped");
                clients.remove(client);
            }
        }
    }

    /// Waits until everything is written, at most this long.
    pub(crate) async fn flush(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.0.borrow().values().any(|outbox| outbox.waiting.get() > 0) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn to_line(line: &RunnerLine) -> Option<Rc<str>> {
    match serde_json::to_string(line) {
        Ok(mut text) => {
            text.push('\n');
            Some(text.into())
        }
        Err(error) => {
            tracing::error!(%error, "failed to encode a line for the manager");
            None
        }
    }
}

/// Makes the control socket, replacing a stale one. Only our own user can reach it.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // The file gets the mode of the socket, so there is no moment in which others can connect.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, 64)?;
    UnixListener::from_std(socket.into())
}

/// Serves the socket for as long as it is polled.
pub(crate) async fn serve(listener: UnixListener, clients: Clients, events: mpsc::Sender<Event>) {
    let mut tasks = JoinSet::new();
    let mut next = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if tasks.len() < MAX_CLIENTS => {
                    next += 1;
                    tasks.spawn_local(serve_one(stream, ClientId(next), clients.clone(), events.clone()));
                }
                Ok(_) => tracing::warn!("too many connections to the control socket; one is refused"),
                Err(error) => {
                    // Mostly a want of descriptors: it passes, and an immediate retry would only spin.
                    tracing::warn!(%error, "failed to accept on the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn serve_one(stream: UnixStream, client: ClientId, clients: Clients, events: mpsc::Sender<Event>) {
    if let Err(error) = myagent_handover::check_peer(&stream) {
        tracing::warn!(%error, "refused a connection to the control socket");
        return;
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = LineReader::new(reader);
    match timeout(PATIENCE, greet(&mut reader, &mut writer)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return,
        Ok(Err(error)) => {
            return tracing::debug!(%error, "a connection to the control socket ended at its hello");
        }
        Err(_) => return tracing::debug!("a connection to the control socket said no hello in time"),
    }
    let (lines, outgoing) = mpsc::channel(OUTBOX);
    let waiting = Rc::new(Cell::new(0));
    let (kept, dropped) = oneshot::channel();
    clients.0.borrow_mut().insert(client, Outbox { lines, waiting: Rc::clone(&waiting), _kept: kept });
    if events.send(Event::Connected).await.is_ok() {
        // Whichever ends first ends both.
        tokio::select! {
            () = read_requests(&mut reader, client, &clients, &events) => {}
            () = write_lines(&mut writer, outgoing, &waiting) => {}
            _ = dropped => {}
        }
    }
    clients.0.borrow_mut().remove(&client);
}

/// Exchanges hellos; false: we speak no common version, and have said so.
async fn greet(reader: &mut LineReader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> io::Result<bool> {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let own = Hello { protocol: PROTOCOL, version, pid: std::process::id() };
    writer.write_all(format!("{}\n", serde_json::to_string(&own)?).as_bytes()).await?;
    let Some(line) = reader.next().await? else { return Ok(false) };
    let message = match serde_json::from_slice::<Hello>(&line) {
        Ok(hello) if hello.protocol.common(PROTOCOL).is_some() => return Ok(true),
        Ok(Hello { protocol, .. }) => format!(
            "no common protocol version: this runner speaks {} to {}, the manager {} to {}",
            PROTOCOL.min, PROTOCOL.max, protocol.min, protocol.max
        ),
        Err(error) => format!("the first line is not a hello: {error}"),
    };
    if let Some(line) = to_line(&RunnerLine::Answer { id: 0, answer: Answer::Failed { message } }) {
        writer.write_all(line.as_bytes()).await?;
    }
    Ok(false)
}

async fn read_requests(
    reader: &mut LineReader<OwnedReadHalf>,
    client: ClientId,
    clients: &Clients,
    events: &mpsc::Sender<Event>,
) {
    loop {
        let line = match reader.next().await {
            Ok(Some(line)) => line,
            Ok(None) => return,
            Err(error) => return tracing::debug!(%error, "a connection to the control socket broke"),
        };
        match serde_json::from_slice::<RequestLine>(&line) {
            Ok(line) => {
                if events.send(Event::Asked { client, line }).await.is_err() {
                    return;
                }
            }
            // A newer manager may know more requests than we do: its request fails, its connection goes on.
            Err(error) => {
                let message = format!("this runner does not understand the request: {error}");
                clients.answer(client, request_id(&line), Answer::Failed { message });
            }
        }
    }
}

/// The id of a request that could not be read otherwise; 0 if even that cannot be found.
fn request_id(line: &[u8]) -> u64 {
    let value: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    value.and_then(|value| value.get("id")?.as_u64()).unwrap_or(0)
}

async fn write_lines(writer: &mut OwnedWriteHalf, mut lines: mpsc::Receiver<Rc<str>>, waiting: &Cell<usize>) {
    while let Some(line) = lines.recv().await {
        // The time is for each piece: a long report over a slow reader is fine as long as it moves.
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match timeout(PATIENCE, writer.write(rest)).await {
                Ok(Ok(written)) if written > 0 => rest = &rest[written..],
                _ => return,
            }
        }
        waiting.set(waiting.get().saturating_sub(line.len()));
    }
}
