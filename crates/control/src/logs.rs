//! Reads the log files of a service's instances: filtered, merged by time, followed.

use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::request::{LogLine, LogQuery};
use regex::Regex;
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines of one answer where the query names no number.
const DEFAULT_TAIL: usize = 1000;
/// Most lines of one answer.
const MOST: usize = 100_000;
/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(200);

/// The filter of a query, compiled.
struct Filter {
    since: Option<jiff::Timestamp>,
    grep: Option<Regex>,
    tail: usize,
}

impl Filter {
    fn of(query: &LogQuery) -> Result<Self, Problem> {
        let grep = query.grep.as_deref().map(Regex::new).transpose().map_err(|error| {
            Problem::fields(vec![FieldError::new("grep", format!("is not a regular expression: {error}"))])
        })?;
        Ok(Self { since: query.since, grep, tail: query.tail.unwrap_or(DEFAULT_TAIL).min(MOST) })
    }

    fn keep(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.ts >= since) && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.line))
    }
}

/// The last lines that match, oldest first.
pub(crate) async fn read(folder: PathBuf, instances: Vec<String>, query: LogQuery) -> Result<Vec<LogLine>, Problem> {
    read_until(folder, instances, query, BTreeMap::new()).await
}

/// As [`read`], of each instance's current file only the bytes before its end in `ends`.
async fn read_until(
    folder: PathBuf,
    instances: Vec<String>,
    query: LogQuery,
    ends: BTreeMap<String, u64>,
) -> Result<Vec<LogLine>, Problem> {
    let filter = Filter::of(&query)?;
    let read = tokio::task::spawn_blocking(move || read_files(&folder, &instances, &filter, &ends));
    read.await.map_err(|error| Problem::new(Code::Internal, format!("reading logs was cut short: {error}")))
}

fn read_files(folder: &Path, instances: &[String], filter: &Filter, ends: &BTreeMap<String, u64>) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = Vec::new();
    for instance in instances {
        let mut last: VecDeque<LogLine> = VecDeque::new();
        let paths = files(folder, instance);
        let current = paths.len().saturating_sub(1);
        for (number, path) in paths.iter().enumerate() {
            let Ok(file) = File::open(path) else { continue };
            let end = if number == current { ends.get(instance).copied() } else { None };
            for line in BufReader::new(file.take(end.unwrap_or(u64::MAX))).split(b'\n').map_while(Result::ok) {
                if let Some(line) = parse(&line).filter(|line| filter.keep(line)) {
                    last.push_back(line);
                    if last.len() > filter.tail {
                        last.pop_front();
                    }
                }
            }
        }
        lines.extend(last);
    }
    // Stable: lines of one instance keep their order.
    lines.sort_by_key(|line| line.ts);
    lines.drain(..lines.len().saturating_sub(filter.tail));
    lines
}

/// The log files of an instance, oldest first.
fn files(folder: &Path, instance: &str) -> Vec<PathBuf> {
    let current = folder.join(format!("{instance}.log"));
    let rotated = (1..=100).map(|number| folder.join(format!("{instance}.log.{number}")));
    let mut files: Vec<PathBuf> = rotated.take_while(|path| path.exists()).collect();
    files.reverse();
    files.push(current);
    files
}

/// A line that is not ours (a crash may have torn it) is left out.
fn parse(line: &[u8]) -> Option<LogLine> {
    serde_json::from_slice(line).ok()
}

/// What `read` gives, and then new lines until the receiver is dropped.
pub(crate) async fn follow(
    folder: PathBuf,
    instances: impl Fn() -> Option<Vec<String>> + Send + 'static,
    query: LogQuery,
) -> Result<mpsc::Receiver<LogLine>, Problem> {
    let filter = Filter::of(&query)?;
    let (sender, receiver) = mpsc::channel(256);
    // Positions first, then the past: a line that comes in between is in the past already and is skipped by its position.
    let names = instances().unwrap_or_default();
    let mut tails: BTreeMap<String, Tail> = BTreeMap::new();
    for name in &names {
        tails.insert(name.clone(), Tail::at_end(&folder, name));
    }
    let ends: BTreeMap<String, u64> = tails.iter().map(|(name, tail)| (name.clone(), tail.position)).collect();
    let past = read_until(folder.clone(), names, query, ends).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        for line in past {
            if sender.send(line).await.is_err() {
                return;
            }
        }
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            let Some(names) = instances() else { return };
            for name in names {
                tails.entry(name.clone()).or_insert_with(|| Tail { position: 0, inode: None, partial: Vec::new() });
            }
            let mut fresh: Vec<LogLine> = Vec::new();
            for (name, tail) in &mut tails {
                fresh.extend(tail.read(&folder, name).into_iter().filter(|line| filter.keep(line)));
            }
            fresh.sort_by_key(|line| line.ts);
            for line in fresh {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        }
    });
    // The task ends by itself when the receiver is dropped.
    tasks.detach_all();
    Ok(receiver)
}

/// Where we are in a file that grows and is rotated.
struct Tail {
    position: u64,
    inode: Option<u64>,
    partial: Vec<u8>,
}

impl Tail {
    fn at_end(folder: &Path, instance: &str) -> Self {
        let metadata = std::fs::metadata(folder.join(format!("{instance}.log"))).ok();
        let position = metadata.as_ref().map_or(0, std::fs::Metadata::len);
        Self { position, inode: metadata.map(|metadata| metadata.ino()), partial: Vec::new() }
    }

    fn read(&mut self, folder: &Path, instance: &str) -> Vec<LogLine> {
        let current = folder.join(format!("{instance}.log"));
        let mut lines = Vec::new();
        let Ok(metadata) = std::fs::metadata(&current) else { return lines };
        if self.inode.is_some_and(|inode| inode != metadata.ino()) {
            // Rotated: what was not read yet is at the end of the file that is now `.log.1`.
            let rotated = folder.join(format!("{instance}.log.1"));
            if std::fs::metadata(&rotated).is_ok_and(|rotated| Some(rotated.ino()) == self.inode) {
                self.read_file(&rotated, &mut lines);
            }
            (self.position, self.partial) = (0, Vec::new());
        }
        self.inode = Some(metadata.ino());
        if metadata.len() != self.position {
            self.read_file(&current, &mut lines);
        }
        lines
    }

    fn read_file(&mut self, path: &Path, lines: &mut Vec<LogLine>) {
        let Ok(mut file) = File::open(path) else { return };
        let mut bytes = std::mem::take(&mut self.partial);
        if file.seek(SeekFrom::Start(self.position)).is_err() {
            return;
        }
        if let Ok(length) = file.read_to_end(&mut bytes) {
            self.position += length as u64;
        }
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        lines.extend(bytes[..complete].split(|byte| *byte == b'\n').filter_map(parse));
        self.partial = bytes.split_off(complete);
    }
}
