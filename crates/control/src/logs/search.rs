//! A search in the output of several services. How much one may read, and how many run at once, is bounded: a pattern that
//! nothing matches would else read every file there is, for everybody who asks.

use super::merge::Merge;
use super::{BUDGET, Filter, LOOK_EVERY, Left, pattern};
use myagent_core::error::{Code, Problem};
use myagent_core::logs::{FoundLine, FoundLines, LogSearch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Searches at once; others wait.
const AT_ONCE: usize = 2;

/// What all searches share.
#[derive(Clone)]
pub(crate) struct Searches(Arc<Semaphore>);

impl Default for Searches {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// An instance and the service that it is of.
pub(crate) struct Searched {
    pub(crate) instance: String,
    pub(crate) service: String,
}

impl Searches {
    /// Searches; waits while others do.
    pub(crate) async fn run(
        &self,
        folder: PathBuf,
        instances: Vec<Searched>,
        query: &LogSearch,
    ) -> Result<FoundLines, Problem> {
        let filter = Filter {
            since: query.since,
            until: query.until,
            grep: pattern("q", query.q.as_deref())?,
            level: query.level,
            stream: query.stream,
        };
        let limit = query.limit;
        let internal = |error: &dyn std::fmt::Display| {
            Problem::new(Code::Internal, format!("the search was cut short: {error}"))
        };
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|error| internal(&error))?;
        let (left, is_left) = Left::watched();
        let search = tokio::task::spawn_blocking(move || {
            let found = search(&folder, instances, &filter, limit, BUDGET, &is_left);
            // Not before: who leaves does not end the thread at once.
            drop(permit);
            found
        });
        let found = search.await.map_err(|error| internal(&error));
        drop(left);
        found
    }
}

fn search(
    folder: &Path,
    instances: Vec<Searched>,
    filter: &Filter,
    limit: usize,
    budget: u64,
    is_left: &AtomicBool,
) -> FoundLines {
    let services: BTreeMap<String, String> =
        instances.iter().map(|searched| (searched.instance.clone(), searched.service.clone())).collect();
    let names = instances.into_iter().map(|searched| searched.instance).collect();
    let mut merge = Merge::new(folder, names, &BTreeMap::new());
    let mut found = FoundLines::default();
    let mut lines = 0;
    while let Some(at) = merge.newest()
        && !filter.is_over(at)
    {
        lines += 1;
        let is_spent =
            lines % LOOK_EVERY == 0 && (merge.bytes() >= budget || is_left.load(Ordering::Relaxed));
        if is_spent || found.items.len() >= limit {
            (found.truncated, found.reached) = (true, Some(at));
            break;
        }
        found.items.extend(merge.next(
            |instance, line| {
                let service = services.get(instance).cloned().unwrap_or_default();
                filter.take(line, instance).map(|line| FoundLine { service, line })
            },
            |at| filter.keeps_time(at),
        ));
    }
    (found.scanned_bytes, found.files) = (merge.bytes(), merge.files());
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use myagent_core::logs::{LogLevel, LogStream};
    use std::time::Duration;

    fn line(millisecond: i64, stream: &str, text: &str) -> String {
        let at = Timestamp::from_millisecond(millisecond).unwrap();
        format!("{{\"ts\":\"{at:.3}\",\"stream\":\"{stream}\",\"instance\":\"x\",\"line\":\"{text}\"}}\n")
    }

    fn instances(names: &[&str]) -> Vec<Searched> {
        let searched = |name: &&str| Searched {
            instance: (*name).to_owned(),
            service: name.trim_end_matches("-0").to_owned(),
        };
        names.iter().map(searched).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        write("a-0.log.1", line(1, "stdout", "ERROR one"));
        write("a-0.log", line(3, "stderr", "WARNING three") + &line(5, "stdout", "five"));
        write("b-0.log", line(2, "stdout", "two") + &line(4, "runner", "4 lines were dropped"));
        folder
    }

    async fn ask(folder: &Path, query: LogSearch) -> Result<FoundLines, Problem> {
        Searches::default().run(folder.to_owned(), instances(&["a-0", "b-0", "c-0"]), &query).await
    }

    fn texts(found: &FoundLines) -> Vec<&str> {
        found.items.iter().map(|item| item.line.line.as_str()).collect()
    }

    #[tokio::test]
    async fn the_newest_lines_of_all_services_come_first_with_their_service_and_level() {
        let folder = folder();
        let query = LogSearch { limit: 10, ..LogSearch::default() };
        let all = ask(folder.path(), query.clone()).await.unwrap();
        assert_eq!(texts(&all), ["five", "4 lines were dropped", "WARNING three", "two", "ERROR one"]);
        assert_eq!((all.items[1].service.as_str(), all.items[1].line.instance.as_str()), ("b", "b-0"));
        assert_eq!((all.truncated, all.reached, all.files), (false, None, 3));
        assert!(all.scanned_bytes > 300, "{}", all.scanned_bytes);

        let warn = LogSearch { level: Some(LogLevel::Warn), ..query.clone() };
        let found = ask(folder.path(), warn).await.unwrap();
        assert_eq!(texts(&found), ["4 lines were dropped", "WARNING three", "ERROR one"]);
        assert_eq!(found.items[2].line.level, Some(LogLevel::Error));
        let errors = LogSearch { stream: Some(LogStream::Stderr), ..query.clone() };
        assert_eq!(texts(&ask(folder.path(), errors).await.unwrap()), ["WARNING three"]);
        let at = |millisecond| Some(Timestamp::from_millisecond(millisecond).unwrap());
        let some = LogSearch { q: Some("^[wtf]".into()), since: at(2), until: at(4), ..query };
        assert_eq!(texts(&ask(folder.path(), some).await.unwrap()), ["two"]);
    }

    #[tokio::test]
    async fn one_that_is_cut_short_says_how_far_it_came_and_can_go_on() {
        let folder = folder();
        let query = LogSearch { limit: 2, ..LogSearch::default() };
        let found = ask(folder.path(), query.clone()).await.unwrap();
        assert_eq!((texts(&found), found.truncated), (vec!["five", "4 lines were dropped"], true));
        let next = ask(folder.path(), LogSearch { until: found.reached, ..query.clone() }).await.unwrap();
        assert_eq!(texts(&next), ["WARNING three", "two"]);
        let last = ask(folder.path(), LogSearch { until: next.reached, ..query }).await.unwrap();
        assert_eq!((texts(&last), last.truncated), (vec!["ERROR one"], false));
        let bad = LogSearch { q: Some("(".into()), ..LogSearch::default() };
        assert!(ask(folder.path(), bad).await.unwrap_err().detail.starts_with("q: \"(\" is not a regular"));
    }

    #[test]
    fn it_reads_no_more_than_its_budget_and_stops_when_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let text: String = (0..20_000).map(|number| line(number, "stdout", "x")).collect();
        std::fs::write(folder.path().join("a-0.log"), &text).unwrap();
        std::fs::write(folder.path().join("b-0.log"), &text).unwrap();
        let filter = Filter { grep: pattern("q", Some("nothing")).unwrap(), ..Filter::default() };
        let run = |budget, left| {
            let is_left = AtomicBool::new(left);
            search(folder.path(), instances(&["a-0", "b-0"]), &filter, 10, budget, &is_left)
        };
        let some = run(1_000_000, false);
        assert!(some.truncated && some.scanned_bytes < 1_300_000, "{some:?}");
        // Both were read as far back.
        let reached = some.reached.unwrap().as_millisecond();
        let bytes = text.len() as u64 / 20_000 * (20_000 - reached.unsigned_abs()) * 2;
        assert!(bytes.abs_diff(some.scanned_bytes) < 400_000, "{bytes} {some:?}");
        let all = run(u64::MAX, false);
        assert_eq!((all.truncated, all.scanned_bytes), (false, 2 * text.len() as u64));
        assert!(run(u64::MAX, true).scanned_bytes < 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn a_third_waits_for_one_of_two() {
        let (searches, folder) = (Searches::default(), folder());
        let query = LogSearch { limit: 1, ..LogSearch::default() };
        let first = Arc::clone(&searches.0).acquire_owned().await.unwrap();
        let _second = Arc::clone(&searches.0).acquire_owned().await.unwrap();
        let run = searches.run(folder.path().to_owned(), instances(&["a-0"]), &query);
        let mut run = std::pin::pin!(run);
        assert!(tokio::time::timeout(Duration::from_mins(1), &mut run).await.is_err());
        drop(first);
        assert_eq!(texts(&run.await.unwrap()), ["five"]);
    }
}
