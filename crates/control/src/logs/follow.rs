//! New lines as they come.

use super::back::{End, Stored};
use super::{Filter, read_until};
use myagent_core::error::Problem;
use myagent_core::logs::{LogLine, LogQuery};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often a followed file is looked at.
const POLL: Duration = Duration::from_millis(200);
/// Most bytes of an instance that are read at once: a follower that is slow holds no more than that.
const CHUNK: u64 = 256 * 1024;

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
    let end = |tail: &Tail| End { inode: tail.inode, position: tail.position };
    let ends: BTreeMap<String, End> = tails.iter().map(|(name, tail)| (name.clone(), end(tail))).collect();
    let past = read_until(folder.clone(), names, query, ends).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        for line in past {
            if sender.send(line).await.is_err() {
                return;
            }
        }
        let mut has_more = false;
        loop {
            let pause = if has_more { Duration::ZERO } else { POLL };
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(pause) => {}
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
            has_more = false;
            for (name, tail) in &mut tails {
                has_more |= tail.read(&folder, name, &filter, &mut fresh);
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

    /// Reads on; whether there is more already.
    fn read(&mut self, folder: &Path, instance: &str, filter: &Filter, lines: &mut Vec<LogLine>) -> bool {
        let current = folder.join(format!("{instance}.log"));
        let Ok(metadata) = std::fs::metadata(&current) else { return false };
        if self.inode.is_some_and(|inode| inode != metadata.ino()) {
            // Rotated: what was not read yet is at the end of the file that is now `.log.1`.
            let rotated = folder.join(format!("{instance}.log.1"));
            let is_ours = std::fs::metadata(&rotated).is_ok_and(|rotated| Some(rotated.ino()) == self.inode);
            if is_ours && self.read_file(&rotated, instance, filter, lines) {
                return true;
            }
            (self.position, self.partial) = (0, Vec::new());
        }
        self.inode = Some(metadata.ino());
        metadata.len() != self.position && self.read_file(&current, instance, filter, lines)
    }

    /// Reads some of a file; whether there is more of it.
    fn read_file(&mut self, path: &Path, instance: &str, filter: &Filter, lines: &mut Vec<LogLine>) -> bool {
        let Ok(mut file) = File::open(path) else { return false };
        let mut bytes = std::mem::take(&mut self.partial);
        if file.seek(SeekFrom::Start(self.position)).is_err() {
            return false;
        }
        let length = file.take(CHUNK).read_to_end(&mut bytes).unwrap_or_default() as u64;
        self.position += length;
        let complete = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let found = bytes[..complete].split(|byte| *byte == b'\n').filter_map(Stored::parse);
        lines.extend(found.filter_map(|line| filter.take(&line, instance)));
        self.partial = bytes.split_off(complete);
        length == CHUNK
    }
}
