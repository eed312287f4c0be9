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
        let grep = query.grep.as_deref().map(myagent_core::probe::compile).transpose();
        let grep = grep.map_err(|fault| Problem::fields(vec![FieldError::new("grep", fault)]))?;
        Ok(Self { since: query.since, grep, tail: query.tail.unwrap_or(DEFAULT_TAIL).min(MOST) })
    }

    fn keep(&self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.ts >= since)
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.line))
    }
}

/// The last lines that match, oldest first.
pub(crate) async fn read(
    folder: PathBuf,
    instances: Vec<String>,
    query: LogQuery,
) -> Result<Vec<LogLine>, Problem> {
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

fn read_files(
    folder: &Path,
    instances: &[String],
    filter: &Filter,
    ends: &BTreeMap<String, u64>,
) -> Vec<LogLine> {
    let mut lines: Vec<LogLine> = Vec::new();
    for instance in instances {
        let mut last: VecDeque<LogLine> = VecDeque::new();
        let paths = files(folder, instance);
        let current = paths.len().saturating_sub(1);
        for (number, path) in paths.iter().enumerate() {
            let Ok(file) = File::open(path) else { continue };
            let end = if number == current { ends.get(instance).copied() } else { None };
            for line in BufReader::new(file.take(end.unwrap_or(u64::MAX))).split(b'\n').map_while(Result::ok)
            {
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
    let ends: BTreeMap<String, u64> =
        tails.iter().map(|(name, tail)| (name.clone(), tail.position)).collect();
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
                tails.entry(name.clone()).or_insert_with(|| Tail {
                    position: 0,
                    inode: None,
                    partial: Vec::new(),
                });
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn line(second: i64, instance: &str, text: &str) -> String {
        let ts = jiff::Timestamp::from_second(second).unwrap();
        let line = LogLine { ts, stream: "stdout".into(), instance: instance.into(), line: text.into() };
        serde_json::to_string(&line).unwrap() + "\n"
    }

    fn append(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        let mut file = File::options().create(true).append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn texts(lines: &[LogLine]) -> Vec<&str> {
        lines.iter().map(|line| line.line.as_str()).collect()
    }

    fn two_instances() -> (tempfile::TempDir, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), "a-0.log.2", &line(1, "a-0", "one"));
        append(folder.path(), "a-0.log.1", &line(3, "a-0", "three"));
        append(folder.path(), "a-0.log", &(line(5, "a-0", "five") + "torn {\n" + &line(6, "a-0", "six")));
        append(folder.path(), "a-1.log", &(line(2, "a-1", "two") + &line(4, "a-1", "four")));
        (folder, vec!["a-0".to_owned(), "a-1".to_owned()])
    }

    #[tokio::test]
    async fn instances_and_rotated_files_are_merged_by_time_and_filtered() {
        let (folder, names) = two_instances();
        let ask = |query: LogQuery| read(folder.path().to_owned(), names.clone(), query);
        let all = ask(LogQuery::default()).await.unwrap();
        assert_eq!(texts(&all), ["one", "two", "three", "four", "five", "six"]);
        let last = ask(LogQuery { tail: Some(2), ..LogQuery::default() }).await.unwrap();
        assert_eq!(texts(&last), ["five", "six"]);
        let since = Some(jiff::Timestamp::from_second(4).unwrap());
        let some = ask(LogQuery { since, grep: Some("^f".into()), tail: None }).await.unwrap();
        assert_eq!(texts(&some), ["four", "five"]);
        let bad = ask(LogQuery { grep: Some("(".into()), ..LogQuery::default() }).await.unwrap_err();
        assert!(bad.detail.starts_with("grep: \"(\" is not a regular expression: unclosed group"));
    }

    #[tokio::test]
    async fn a_follower_gets_the_past_once_and_what_comes_also_across_a_rotation() {
        let (folder, names) = two_instances();
        let query = LogQuery { tail: Some(1), ..LogQuery::default() };
        let mut lines = follow(folder.path().to_owned(), move || Some(names.clone()), query).await.unwrap();
        let mut next = async || lines.recv().await.unwrap().line;
        assert_eq!(next().await, "six");
        append(folder.path(), "a-1.log", &line(7, "a-1", "seven"));
        assert_eq!(next().await, "seven");
        // A line in two pieces, and a rotation before the rest was read.
        let eight = line(8, "a-0", "eight");
        append(folder.path(), "a-0.log", &eight[..10]);
        append(folder.path(), "a-0.log", &eight[10..]);
        std::fs::rename(folder.path().join("a-0.log"), folder.path().join("a-0.log.1")).unwrap();
        append(folder.path(), "a-0.log", &line(9, "a-0", "nine"));
        assert_eq!((next().await, next().await), ("eight".to_owned(), "nine".to_owned()));
    }
}
