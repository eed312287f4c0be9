//! The access log: one JSON line for each connection of a client, when it ends, in files of their own.
//!
//! **Invariant: nobody waits for the disk.** A thread of its own writes. What does not fit into its queue, and what the disk
//! does not take, is dropped and counted; that is told once, and how many it were when lines are written again.
//!
//! A line has no query, no path and no header but `User-Agent`: the first two may have secrets in them, and so may the others.

use jiff::Timestamp;
use myagent_core::wire::control::{Closed, Connection};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Lines that may wait.
const QUEUE: usize = 8192;
/// Bytes for one write.
const WRITE_BYTES: usize = 64 * 1024;
/// Size at which the file is put aside.
const MAX_BYTES: u64 = 10 * 1024 * 1024;
/// Files that were put aside and are kept.
const KEPT: u32 = 5;

/// The way to the thread; cheap to clone. The default one writes nothing.
#[derive(Clone, Debug, Default)]
pub struct AccessLog(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    Flush(oneshot::Sender<()>),
}

/// What is written of a connection; the order is that of the line.
#[derive(Serialize)]
struct Line<'a> {
    ts: Timestamp,
    connection_id: String,
    session_id: Option<&'a str>,
    client: std::net::SocketAddr,
    user_agent: Option<&'a str>,
    service: &'a str,
    instance: &'a str,
    routed_by: &'static str,
    rule: Option<&'a str>,
    strategy: Option<&'a str>,
    connected_at: Timestamp,
    seconds: f64,
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    moves: u32,
    code: u16,
    reason: &'a str,
}

impl AccessLog {
    /// Writes to this file, and puts it aside as `<file>.1` when it is full.
    pub fn start(path: PathBuf) -> io::Result<Self> {
        Self::with_limit(path, MAX_BYTES)
    }

    fn with_limit(path: PathBuf, max_bytes: u64) -> io::Result<Self> {
        let (queue, messages) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer { path, max_bytes, file: None, dropped: Arc::clone(&dropped), is_told: false };
        std::thread::Builder::new().name("access".to_owned()).spawn(move || writer.run(&messages))?;
        Ok(Self(Some(Arc::new(Shared { queue, dropped }))))
    }

    /// A connection of this instance has ended.
    pub(crate) fn ended(&self, instance: &str, closed: &Closed) {
        self.write(instance, &closed.connection, closed.closed_at, closed.code, &closed.reason);
    }

    /// The runner of this instance has ended, and with it this connection, of which it could say nothing more.
    pub(crate) fn cut(&self, instance: &str, connection: &Connection, at: Timestamp) {
        self.write(instance, connection, at, 1006, "the runner has ended");
    }

    fn write(&self, instance: &str, connection: &Connection, at: Timestamp, code: u16, reason: &str) {
        let Some(shared) = &self.0 else { return };
        let lived = at.duration_since(connection.connected_at).as_secs_f64().max(0.0);
        let line = Line {
            ts: at,
            connection_id: connection.connection_id.to_string(),
            session_id: connection.session_id.as_deref(),
            client: connection.client,
            user_agent: connection.user_agent.as_deref(),
            service: instance.rsplit_once('-').map_or(instance, |(service, _)| service),
            instance,
            routed_by: routed_by(connection),
            rule: connection.rule.as_deref(),
            strategy: connection.strategy.as_deref(),
            connected_at: connection.connected_at,
            seconds: (lived * 1000.0).round() / 1000.0,
            messages_in: connection.messages_in,
            messages_out: connection.messages_out,
            bytes_in: connection.bytes_in,
            bytes_out: connection.bytes_out,
            moves: connection.moves,
            code,
            reason,
        };
        let line = match serde_json::to_vec(&line) {
            Ok(line) => line,
            Err(error) => return tracing::error!(%error, "a line of the access log cannot be encoded"),
        };
        if shared.queue.try_send(Message::Line(line)).is_err() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until all lines are written, but not longer than `limit`: the disk may hang.
    pub async fn flush(&self, limit: Duration) {
        let Some(shared) = &self.0 else { return };
        let (done, written) = oneshot::channel();
        let is_asked = shared.queue.try_send(Message::Flush(done)).is_ok();
        if !is_asked || tokio::time::timeout(limit, written).await.is_err() {
            tracing::warn!("the last lines of the access log may not have been written");
        }
    }
}

/// Why a client came to its instance, as far as its runner was told: a rule, a session that it named, or its strategy alone
/// (among the instances of the service or tag that it named, or of all); `direct`: it came to the instance's own port.
fn routed_by(connection: &Connection) -> &'static str {
    match (&connection.rule, connection.strategy.as_deref()) {
        (Some(_), _) => "rule",
        (None, Some("manual")) => "session",
        (None, Some(_)) => "strategy",
        (None, None) => "direct",
    }
}

/// The thread.
struct Writer {
    path: PathBuf,
    max_bytes: u64,
    file: Option<(File, u64)>,
    dropped: Arc<AtomicU64>,
    /// That lines are dropped was told.
    is_told: bool,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        let (mut bytes, mut lines) = (Vec::new(), 0);
        while let Ok(first) = messages.recv() {
            let mut next = Some(first);
            // What waits is written in one go.
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        bytes.extend_from_slice(&line);
                        bytes.push(b'\n');
                        lines += 1;
                    }
                    Message::Flush(done) => {
                        self.write(&mut bytes, &mut lines);
                        // Who asked may have left.
                        let _ = done.send(());
                    }
                }
                next = if bytes.len() < WRITE_BYTES { messages.try_recv().ok() } else { None };
            }
            self.write(&mut bytes, &mut lines);
        }
    }

    fn write(&mut self, bytes: &mut Vec<u8>, lines: &mut u64) {
        if bytes.is_empty() {
            return;
        }
        match self.append(bytes) {
            Ok(()) => {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::warn!(dropped, "the access log is written again; lines of it are lost");
                }
                self.is_told = false;
            }
            Err(error) => {
                self.dropped.fetch_add(*lines, Ordering::Relaxed);
                self.file = None;
                if !self.is_told {
                    self.is_told = true;
                    tracing::warn!(path = %self.path.display(), %error, "the access log cannot be written; its lines are dropped");
                }
            }
        }
        *lines = 0;
        bytes.clear();
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let size = bytes.len() as u64;
        if self.file.as_ref().is_some_and(|(_, length)| *length > 0 && length + size > self.max_bytes) {
            self.file = None;
            rotate(&self.path)?;
        }
        let (file, length) = match &mut self.file {
            Some(open) => open,
            none => none.insert(open(&self.path)?),
        };
        file.write_all(bytes)?;
        *length += size;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut length = file.metadata()?.len();
    // A full disk may have cut the last line; the next one shall not go on in it.
    if length > 0 {
        use std::os::unix::fs::FileExt;
        let mut last = [0];
        file.read_exact_at(&mut last, length - 1)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
            length += 1;
        }
    }
    Ok((file, length))
}

fn rotate(path: &Path) -> io::Result<()> {
    let aside = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 0 { String::new() } else { format!(".{number}") });
        PathBuf::from(name)
    };
    for number in (0..KEPT).rev() {
        match std::fs::rename(aside(number), aside(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn closed(number: u64) -> Closed {
        let at = |second| Timestamp::from_second(second).unwrap();
        let connection = serde_json::from_value(json!({
            "connection_id": "0199d3a0-4f2c-7b31-9d55-0c8e6b1f2a77", "session_id": "s-1", "client": "192.0.2.7:1234",
            "user_agent": "Robot/1", "strategy": "round_robin", "rule": null, "connected_at": at(100),
            "last_activity": at(101), "messages_in": number, "messages_out": 2, "bytes_in": 3, "bytes_out": 4,
        }));
        let connection = connection.unwrap();
        Closed {
            number,
            connection,
            closed_at: at(130),
            code: 1000,
            reason: "bye \"now\"".into(),
            moved: false,
        }
    }

    fn lines(path: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_line_says_who_was_with_whom_for_how_long_and_why_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        // A line that a full disk has cut.
        std::fs::write(&path, "{\"ts\":\"2").unwrap();
        let log = AccessLog::start(path.clone()).unwrap();
        log.ended("weather-eu-0", &closed(1));
        let mut other = closed(2);
        (other.connection.rule, other.connection.user_agent) = (Some("v2".into()), None);
        log.cut("weather-eu-0", &other.connection, other.closed_at);
        log.flush(PATIENCE).await;
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.split_once('\n').unwrap().1).unwrap();
        let lines = lines(&path);
        let expected = json!({
            "ts": "1970-01-01T00:02:10Z", "connection_id": "0199d3a0-4f2c-7b31-9d55-0c8e6b1f2a77", "session_id": "s-1",
            "client": "192.0.2.7:1234", "user_agent": "Robot/1", "service": "weather-eu", "instance": "weather-eu-0",
            "routed_by": "strategy", "rule": null, "strategy": "round_robin", "connected_at": "1970-01-01T00:01:40Z",
            "seconds": 30.0, "messages_in": 1, "messages_out": 2, "bytes_in": 3, "bytes_out": 4, "moves": 0,
            "code": 1000, "reason": "bye \"now\"",
        });
        assert_eq!(lines[0], expected);
        assert_eq!((&lines[1]["routed_by"], &lines[1]["code"]), (&json!("rule"), &json!(1006)));
        // One that is switched off takes them all the same.
        AccessLog::default().ended("x-0", &closed(1));
        AccessLog::default().flush(PATIENCE).await;
    }

    #[tokio::test]
    async fn the_files_are_rotated_and_their_number_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::with_limit(path.clone(), 2000).unwrap();
        for number in 0..60 {
            log.ended("a-0", &closed(number));
            log.flush(PATIENCE).await;
        }
        let entries: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries.len() as u32, 1 + KEPT);
        assert!(entries.iter().all(|entry| entry.metadata().unwrap().len() <= 2000));
        assert_eq!(lines(&path).last().unwrap()["messages_in"], 59);
        let numbers =
            |path: &Path| lines(path).iter().map(|line| line["messages_in"].as_u64().unwrap()).max();
        assert!(numbers(&folder.path().join("access.log.1")) < numbers(&path));
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_costs_lines_and_they_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("data");
        std::fs::write(&blocked, "a file where the folder should be").unwrap();
        let log = AccessLog::start(blocked.join("access.log")).unwrap();
        let dropped = || log.0.as_ref().unwrap().dropped.load(Ordering::Relaxed);
        log.ended("a-0", &closed(1));
        log.ended("a-0", &closed(2));
        log.flush(PATIENCE).await;
        assert_eq!(dropped(), 2);
        std::fs::remove_file(&blocked).unwrap();
        std::fs::create_dir(&blocked).unwrap();
        log.ended("a-0", &closed(3));
        log.flush(PATIENCE).await;
        assert_eq!(dropped(), 0);
        assert_eq!(lines(&blocked.join("access.log")).len(), 1);
    }

    #[test]
    fn a_full_queue_refuses_and_does_not_wait() {
        let (queue, messages) = sync_channel(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let log = AccessLog(Some(Arc::new(Shared { queue, dropped: Arc::clone(&dropped) })));
        for number in 0..5 {
            log.ended("a-0", &closed(number));
        }
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
        drop(messages);
    }
}
