//! The I/O thread: writes lines of output as JSON lines into rotated files. It may block on the disk; nobody waits for it.
//! What does not fit into its queue is refused, and what the disk does not take is dropped and counted.

use jiff::Timestamp;
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::time::Instant;

/// Batches that may wait.
const QUEUE: usize = 256;
/// Bytes that may wait.
const QUEUE_BYTES: usize = 512 * 1024;
/// Encoded bytes for one write.
const WRITE_BYTES: usize = 32 * 1024;
/// The thread formats and writes; it calls nothing deep.
const STACK: usize = 160 * 1024;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Lines that were read together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// When.
    pub(crate) at: Timestamp,
    /// From where.
    pub(crate) stream: Stream,
    /// Each with a line feed behind it.
    pub(crate) lines: Vec<u8>,
    /// Lines dropped since the last report of it; 0: nothing to report.
    pub(crate) dropped: u64,
}

/// What is written where.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    /// Folder.
    pub(crate) folder: PathBuf,
    /// `<service>-<index>`: names the files and is in each line.
    pub(crate) instance: String,
    /// Largest file, bytes.
    pub(crate) max_bytes: u64,
    /// How many files, the current one included.
    pub(crate) files: u32,
}

/// Handle of the thread. Dropping it lets the thread write what it has and end;
/// [`Self::close`] waits for that.
#[derive(Debug)]
pub(crate) struct LogWriter {
    queue: Option<SyncSender<Batch>>,
    waiting: Arc<AtomicUsize>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl LogWriter {
    /// Starts the thread.
    pub(crate) fn start(files: LogFiles) -> io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE);
        let waiting = Arc::new(AtomicUsize::new(0));
        let lost = Arc::new(AtomicU64::new(0));
        let (thread_waiting, thread_lost) = (Arc::clone(&waiting), Arc::clone(&lost));
        let thread = std::thread::Builder::new()
            .name("logs".to_owned())
            .stack_size(STACK)
            .spawn(move || write_all(&batches, Rotation::new(files), &thread_waiting, &thread_lost))?;
        Ok(Self { queue: Some(queue), waiting, lost, thread: Some(thread) })
    }

    /// Gives it a batch; false if its queue is full. Never blocks.
    pub(crate) fn offer(&self, batch: Batch) -> bool {
        let bytes = batch.lines.len();
        if self.waiting.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return false;
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        let taken = self.queue.as_ref().is_some_and(|queue| queue.try_send(batch).is_ok());
        if !taken {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Lines that the disk did not take.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Lets it write what it has, and waits for that, but not longer than `limit`: the disk may hang.
    pub(crate) async fn close(mut self, limit: Duration) {
        self.queue = None;
        let Some(thread) = self.thread.take() else { return };
        let deadline = Instant::now() + limit;
        while !thread.is_finished() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn write_all(batches: &Receiver<Batch>, mut rotation: Rotation, waiting: &AtomicUsize, lost: &AtomicU64) {
    let mut encoded = Vec::new();
    while let Ok(batch) = batches.recv() {
        let at = format!("{:.3}", batch.at);
        let mut in_buffer = 0;
        if batch.dropped > 0 {
            let line = format!("{} lines of output were dropped: there were too many", batch.dropped);
            encode(&mut encoded, &at, "runner", &rotation.files.instance, &line);
        }
        let lines = batch.lines.strip_suffix(b"\n").unwrap_or(&batch.lines);
        for line in lines.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            encode(&mut encoded, &at, batch.stream.as_str(), &rotation.files.instance, &line);
            in_buffer += 1;
            if encoded.len() >= WRITE_BYTES {
                write(&mut rotation, &mut encoded, &mut in_buffer, lost);
            }
        }
        write(&mut rotation, &mut encoded, &mut in_buffer, lost);
        waiting.fetch_sub(batch.lines.len(), Ordering::Relaxed);
    }
}

fn encode(encoded: &mut Vec<u8>, at: &str, stream: &str, instance: &str, line: &str) {
    // The order of the fields is part of the format, so this is not a map.
    let _ = write!(encoded, r#"{{"ts":"{at}","stream":"{stream}","instance":{},"line":"#, json!(instance));
    let _ = serde_json::to_writer(&mut *encoded, line);
    encoded.extend_from_slice(b"}\n");
}

fn write(rotation: &mut Rotation, encoded: &mut Vec<u8>, lines: &mut u64, lost: &AtomicU64) {
    if !encoded.is_empty() && rotation.write(encoded).is_err() {
        lost.fetch_add(*lines, Ordering::Relaxed);
    }
    *lines = 0;
    encoded.clear();
    if encoded.capacity() > 4 * WRITE_BYTES {
        *encoded = Vec::new();
    }
}

/// The current file, and its predecessors.
#[derive(Debug)]
struct Rotation {
    files: LogFiles,
    open: Option<(File, u64)>,
}

impl Rotation {
    fn new(files: LogFiles) -> Self {
        Self { files, open: None }
    }

    /// Appends whole lines, all or nothing.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, size)| size + lines.len() as u64 > self.files.max_bytes) {
            self.open = None;
            self.rotate()?;
        }
        if self.open.is_none() {
            self.open = Some(self.open_current(lines.len() as u64)?);
        }
        let Some((file, size)) = &mut self.open else { return Ok(()) };
        if let Err(error) = file.write_all(lines) {
            // Half a line would spoil the next one.
            let _ = file.set_len(*size);
            self.open = None;
            return Err(error);
        }
        *size += lines.len() as u64;
        Ok(())
    }

    fn open_current(&self, room: u64) -> io::Result<(File, u64)> {
        let current = self.path(0);
        std::fs::create_dir_all(&self.files.folder)?;
        let size = std::fs::metadata(&current).map_or(0, |metadata| metadata.len());
        if size > 0 && size + room > self.files.max_bytes {
            self.rotate()?;
        }
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(&current)?;
        let mut size = file.metadata()?.len();
        if size > 0 && !ends_with_line_feed(&mut file)? {
            file.write_all(b"\n")?;
            size += 1;
        }
        Ok((file, size))
    }

    fn rotate(&self) -> io::Result<()> {
        let renamed = |from: &Path, to: &Path| match std::fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        for number in (1..self.files.files).rev() {
            renamed(&self.path(number - 1), &self.path(number))?;
        }
        if self.files.files <= 1 {
            match std::fs::remove_file(self.path(0)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn path(&self, number: u32) -> PathBuf {
        let suffix = if number == 0 { String::new() } else { format!(".{number}") };
        self.files.folder.join(format!("{}.log{suffix}", self.files.instance))
    }
}

fn ends_with_line_feed(file: &mut File) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn files(folder: &Path, max_bytes: u64, files: u32) -> LogFiles {
        LogFiles { folder: folder.to_owned(), instance: "weather-0".to_owned(), max_bytes, files }
    }

    fn close(mut writer: LogWriter) {
        writer.queue = None;
        writer.thread.take().unwrap().join().unwrap();
    }

    fn batch(lines: &[u8]) -> Batch {
        Batch {
            at: "2026-01-02T03:04:05.678Z".parse().unwrap(),
            stream: Stream::Stderr,
            lines: lines.to_vec(),
            dropped: 0,
        }
    }

    fn offer_patiently(writer: &LogWriter, lines: &[u8]) {
        while !writer.offer(batch(lines)) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn each_line_is_a_json_document() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("weather-0.log"), "half a li").unwrap();
        let writer = LogWriter::start(files(folder.path(), 1 << 20, 2)).unwrap();
        assert!(writer.offer(Batch { dropped: 7, ..batch(b"a \"b\"\n\xff\x01\n\n") }));
        close(writer);
        let text = std::fs::read_to_string(folder.path().join("weather-0.log")).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[2],
            r#"{"ts":"2026-01-02T03:04:05.678Z","stream":"stderr","instance":"weather-0","line":"a \"b\""}"#
        );
        let read = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        assert_eq!(read(lines[1])["stream"], "runner");
        assert!(read(lines[1])["line"].as_str().unwrap().starts_with("7 lines"));
        assert_eq!(read(lines[3])["line"], "\u{fffd}\u{1}");
        assert_eq!(read(lines[4])["line"], "");
    }

    #[test]
    fn files_are_rotated_and_their_sum_is_capped() {
        for count in [1, 3] {
            let folder = tempfile::tempdir().unwrap();
            let writer = LogWriter::start(files(folder.path(), 100_000, count)).unwrap();
            for number in 0..500 {
                offer_patiently(&writer, format!("{number} {}\n", "x".repeat(1000)).as_bytes());
            }
            assert_eq!(writer.lost(), 0);
            close(writer);
            let sizes: Vec<u64> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|e| e.unwrap().metadata().unwrap().len())
                .collect();
            assert_eq!(sizes.len(), count as usize);
            assert!(sizes.iter().all(|size| *size <= 100_000), "{sizes:?}");
            let newest = std::fs::read_to_string(folder.path().join("weather-0.log")).unwrap();
            assert!(newest.lines().last().unwrap().contains("499 xxx"));
        }
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_lines_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let blocked = folder.path().join("logs");
        std::fs::write(&blocked, "a file where the folder should be").unwrap();
        let writer = LogWriter::start(files(&blocked, 1 << 20, 2)).unwrap();
        offer_patiently(&writer, b"1\n2\n");
        while writer.lost() < 2 {
            std::thread::yield_now();
        }
        std::fs::remove_file(&blocked).unwrap();
        offer_patiently(&writer, b"3\n");
        close(writer);
        assert!(std::fs::read_to_string(blocked.join("weather-0.log")).unwrap().contains(r#""line":"3""#));
    }

    #[test]
    fn a_full_queue_refuses_and_does_not_wait() {
        let (queue, _batches) = sync_channel(QUEUE);
        let writer =
            LogWriter { queue: Some(queue), waiting: Arc::default(), lost: Arc::default(), thread: None };
        let big = vec![b'\n'; 100 * 1024];
        let taken = (0..100).filter(|_| writer.offer(batch(&big))).count();
        assert_eq!(taken, QUEUE_BYTES / big.len());
    }
}
