//! Reads the log files of instances: filtered, merged by time, followed, searched.
//!
//! Everything is read from the newest line backwards ([`back`], [`merge`]), so that the last lines of a long log cost no more
//! than those of a short one.

mod back;
mod follow;
mod merge;
mod search;

pub(crate) use follow::follow;
pub(crate) use search::{Searched, Searches};

use back::{End, Stored};
use jiff::{SignedDuration, Timestamp};
use merge::Merge;
use myagent_core::error::{Code, FieldError, Problem};
use myagent_core::logs::{LogLevel, LogLine, LogQuery, LogStream};
use regex::Regex;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Lines of one answer where the query names no number.
const DEFAULT_TAIL: usize = 1000;
/// Most lines of one answer.
const MOST: usize = 100_000;
/// How far a clock may have been set back, for a line behind an older one to be found.
const SET_BACK: SignedDuration = SignedDuration::from_mins(1);

/// The filter of a query, compiled.
#[derive(Debug, Default)]
struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    grep: Option<Regex>,
    level: Option<LogLevel>,
    stream: Option<LogStream>,
}

impl Filter {
    fn of(query: &LogQuery) -> Result<Self, Problem> {
        let grep = pattern("grep", query.grep.as_deref())?;
        Ok(Self { since: query.since, until: query.until, grep, level: query.level, stream: None })
    }

    /// Whether it is time: cheap, and enough to leave most lines unread.
    fn keeps_time(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at <= until)
    }

    /// Whether no line before this time can be meant.
    fn is_over(&self, at: Timestamp) -> bool {
        self.since.is_some_and(|since| at.saturating_add(SET_BACK).is_ok_and(|at| at < since))
    }

    /// The line, if it is meant, with its level.
    fn take(&self, line: &Stored<'_>, instance: &str) -> Option<LogLine> {
        let is_meant = self.keeps_time(line.ts)
            && self.stream.is_none_or(|stream| line.stream == stream.as_str())
            && self.grep.as_ref().is_none_or(|grep| grep.is_match(&line.line));
        if !is_meant {
            return None;
        }
        let level = LogLevel::of(&line.stream, &line.line);
        self.level.is_none_or(|least| level >= least).then(|| LogLine {
            ts: line.ts,
            stream: line.stream.clone().into_owned(),
            instance: instance.to_owned(),
            line: line.line.clone().into_owned(),
            level: Some(level),
        })
    }
}

/// A pattern that a person typed, compiled; `field` is where it was.
fn pattern(field: &str, pattern: Option<&str>) -> Result<Option<Regex>, Problem> {
    let compiled = pattern.map(myagent_core::probe::compile).transpose();
    compiled.map_err(|fault| Problem::fields(vec![FieldError::new(field, fault)]))
}

/// Bytes that are read for one answer at most.
const BUDGET: u64 = 256 * 1024 * 1024;
/// Lines between two looks at what was read, and at whether anybody waits for the answer.
const LOOK_EVERY: usize = 256;

/// Says that nobody waits any more, when it is dropped.
struct Left(Arc<AtomicBool>);

impl Left {
    /// With what the reader looks at.
    fn watched() -> (Self, Arc<AtomicBool>) {
        let is_left = Arc::new(AtomicBool::new(false));
        (Self(Arc::clone(&is_left)), is_left)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
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

/// As [`read`], of each instance only what was there when its end was noted in `ends`.
async fn read_until(
    folder: PathBuf,
    instances: Vec<String>,
    query: LogQuery,
    ends: BTreeMap<String, End>,
) -> Result<Vec<LogLine>, Problem> {
    let filter = Filter::of(&query)?;
    let tail = query.tail.unwrap_or(DEFAULT_TAIL).min(MOST);
    let (left, is_left) = Left::watched();
    let read = tokio::task::spawn_blocking(move || {
        let mut merge = Merge::new(&folder, instances, &ends);
        let (mut lines, mut looked_at) = (Vec::new(), 0);
        while lines.len() < tail
            && let Some(at) = merge.newest()
            && !filter.is_over(at)
        {
            looked_at += 1;
            if looked_at % LOOK_EVERY == 0 && (merge.bytes() >= BUDGET || is_left.load(Ordering::Relaxed)) {
                break;
            }
            lines
                .extend(merge.next(|instance, line| filter.take(line, instance), |at| filter.keeps_time(at)));
        }
        lines.reverse();
        // Lines of one instance keep their order; they are sorted already unless the clock was set.
        lines.sort_by_key(|line: &LogLine| line.ts);
        lines
    });
    let lines = read.await;
    drop(left);
    lines.map_err(|error| Problem::new(Code::Internal, format!("reading logs was cut short: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;
    use std::path::Path;

    fn line(second: i64, instance: &str, text: &str) -> String {
        let ts = jiff::Timestamp::from_second(second).unwrap();
        let (stream, instance, line) = ("stdout".into(), instance.into(), text.into());
        serde_json::to_string(&LogLine { ts, stream, instance, line, level: None }).unwrap() + "\n"
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
        let some = ask(LogQuery { since, grep: Some("^f".into()), ..LogQuery::default() }).await.unwrap();
        assert_eq!(texts(&some), ["four", "five"]);
        let bad = ask(LogQuery { grep: Some("(".into()), ..LogQuery::default() }).await.unwrap_err();
        assert!(bad.detail.starts_with("grep: \"(\" is not a regular expression: unclosed group"));
        let until = Some(Timestamp::from_second(2).unwrap());
        let old = ask(LogQuery { until, ..LogQuery::default() }).await.unwrap();
        assert_eq!(texts(&old), ["one", "two"]);
        append(folder.path(), "a-1.log", &line(7, "a-1", "ERROR: seven"));
        let severe = ask(LogQuery { level: Some(LogLevel::Warn), ..LogQuery::default() }).await.unwrap();
        assert_eq!((texts(&severe), severe[0].level), (vec!["ERROR: seven"], Some(LogLevel::Error)));
        assert_eq!(all[0].level, Some(LogLevel::Info));
    }

    #[test]
    fn the_last_lines_of_a_long_log_cost_as_much_as_those_of_a_short_one() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..50_000).map(|second| line(second, "a-0", "a line of usual length")).collect();
        append(folder.path(), "a-0.log.1", &text);
        append(folder.path(), "a-0.log", &text);
        let mut merge = Merge::new(folder.path(), vec!["a-0".to_owned()], &BTreeMap::new());
        for _ in 0..100 {
            merge.next(|_, _| Some(()), |_| true).unwrap();
        }
        assert!(merge.bytes() < 100_000, "{} of {}", merge.bytes(), 2 * text.len());
        // Nor is read what was before the time that is meant.
        let since = Some(Timestamp::from_second(49_900).unwrap());
        let filter = Filter { since, ..Filter::default() };
        let mut merge = Merge::new(folder.path(), vec!["a-0".to_owned()], &BTreeMap::new());
        while merge.newest().is_some_and(|at| !filter.is_over(at)) {
            merge.next(|_, _| Some(()), |at| filter.keeps_time(at));
        }
        assert!(merge.bytes() < 100_000, "{} of {}", merge.bytes(), 2 * text.len());
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
