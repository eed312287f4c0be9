//! The lines of one instance, from the newest backwards, across its rotated files.

use jiff::Timestamp;
use serde::Deserialize;
use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Read at once: the first of a file, and then more, for whoever goes on reads much.
const FIRST_BLOCK: usize = 16 * 1024;
const BLOCK: usize = 128 * 1024;
/// No line of ours is as long; what is, is not read.
const LONGEST: usize = 1024 * 1024;
/// Most files of one instance.
const FILES: u32 = 100;

/// A line of a file.
#[derive(Debug, Deserialize)]
pub(super) struct Stored<'a> {
    pub(super) ts: Timestamp,
    #[serde(borrow)]
    pub(super) stream: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) line: Cow<'a, str>,
}

impl<'a> Stored<'a> {
    /// A line that is not ours (a crash may have torn it) is left out.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// Where a file ended when somebody looked: which, and its length. None: there was no current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) inode: Option<u64>,
    pub(super) position: u64,
}

/// The lines of an instance.
pub(super) struct Chain {
    folder: PathBuf,
    instance: String,
    /// The next file: 0 is the current one.
    number: u32,
    /// Files that were read; one that was rotated meanwhile has another name.
    seen: Vec<u64>,
    /// What is newer than this is not read.
    end: Option<End>,
    file: Option<Backwards>,
    /// The line that is the newest now, in the block of the file.
    head: Option<Range<usize>>,
    /// Bytes that were read.
    pub(super) bytes: u64,
    /// Files that were opened.
    pub(super) files: usize,
}

impl Chain {
    pub(super) fn new(folder: &Path, instance: String, end: Option<End>) -> Self {
        Self {
            folder: folder.to_owned(),
            instance,
            number: u32::from(end.is_some_and(|end| end.inode.is_none())),
            seen: Vec::new(),
            end,
            file: None,
            head: None,
            bytes: 0,
            files: 0,
        }
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    /// Goes to the next older line that has a time; none: there is no more.
    pub(super) fn advance(&mut self) -> Option<Timestamp> {
        loop {
            if self.file.is_none() {
                self.file = Some(self.open()?);
            }
            let file = self.file.as_mut()?;
            let before = file.position;
            let line = file.next_line();
            self.bytes += before - file.position;
            match line {
                Ok(Some(range)) => {
                    if let Some(at) = time_of(&file.block[range.clone()]) {
                        self.head = Some(range);
                        return Some(at);
                    }
                }
                Ok(None) => self.file = None,
                Err(error) => {
                    tracing::warn!(instance = self.instance, %error, "a log file could not be read to its beginning");
                    self.file = None;
                }
            }
        }
    }

    /// The line that [`Self::advance`] went to.
    pub(super) fn head(&self) -> Option<Stored<'_>> {
        Stored::parse(self.file.as_ref()?.block.get(self.head.clone()?)?)
    }

    fn open(&mut self) -> Option<Backwards> {
        while self.number < FILES {
            let suffix = if self.number == 0 { String::new() } else { format!(".{}", self.number) };
            self.number += 1;
            let path = self.folder.join(format!("{}.log{suffix}", self.instance));
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            let (metadata, file) = match opened {
                Ok(opened) => opened,
                // While it is rotated there is no current one for a moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.number == 1 => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "a log file could not be opened");
                    continue;
                }
            };
            let inode = metadata.ino();
            if !metadata.is_file() || self.seen.contains(&inode) {
                continue;
            }
            let mut length = metadata.len();
            if let Some(End { inode: Some(noted), position }) = self.end {
                // What was begun after the end was noted is not meant.
                if self.seen.is_empty() && noted != inode {
                    continue;
                }
                if noted == inode {
                    length = length.min(position);
                }
            }
            self.seen.push(inode);
            self.files += 1;
            return Some(Backwards { file, position: length, block: Vec::new(), end: 0 });
        }
        None
    }
}

/// When a line was written. Ours begin with it; others are read whole.
fn time_of(line: &[u8]) -> Option<Timestamp> {
    let first = line.strip_prefix(br#"{"ts":""#).and_then(|rest| {
        let end = rest.iter().take(40).position(|byte| *byte == b'"')?;
        std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
    });
    first.or_else(|| Stored::parse(line).map(|line| line.ts))
}

/// A file from its end.
struct Backwards {
    file: File,
    /// Where `block` begins in the file.
    position: u64,
    block: Vec<u8>,
    /// Where the part of `block` ends that was not given.
    end: usize,
}

impl Backwards {
    /// The line before the last one, as a range of `block`; none: the file is at its beginning.
    fn next_line(&mut self) -> io::Result<Option<Range<usize>>> {
        loop {
            if let Some(feed) = memchr::memrchr(b'\n', &self.block[..self.end]) {
                let line = feed + 1..self.end;
                self.end = feed;
                return Ok(Some(line));
            }
            if self.position == 0 {
                let line = 0..self.end;
                self.end = 0;
                return Ok((!line.is_empty()).then_some(line));
            }
            if self.end > LONGEST {
                self.end = 0;
            }
            let most = if self.block.is_empty() { FIRST_BLOCK } else { BLOCK };
            let size = usize::try_from(self.position).unwrap_or(usize::MAX).min(most);
            let mut block = vec![0; size];
            self.file.read_exact_at(&mut block, self.position - size as u64)?;
            block.extend_from_slice(&self.block[..self.end]);
            self.position -= size as u64;
            (self.end, self.block) = (block.len(), block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(folder: &Path, end: Option<End>) -> Vec<String> {
        let mut chain = Chain::new(folder, "a-0".to_owned(), end);
        let mut lines = Vec::new();
        while chain.advance().is_some() {
            lines.extend(chain.head().map(|line| line.line.into_owned()));
        }
        lines
    }

    fn line(second: u32, text: &str) -> String {
        let at = Timestamp::from_second(second.into()).unwrap();
        format!("{{\"ts\":\"{at:.3}\",\"stream\":\"stdout\",\"instance\":\"a-0\",\"line\":\"{text}\"}}\n")
    }

    #[test]
    fn every_line_comes_once_and_the_newest_first_whatever_the_blocks_cut() {
        let folder = tempfile::tempdir().unwrap();
        let long = |number: usize| format!("{number} {}", "x".repeat(number * 37 % 9000));
        let (old, new) = ((0..100).map(long), (100..400).map(long));
        let text =
            |lines: &[String]| lines.iter().zip(0..).map(|(text, n)| line(n, text)).collect::<String>();
        let (old, new): (Vec<_>, Vec<_>) = (old.collect(), new.collect());
        std::fs::write(folder.path().join("a-0.log.1"), text(&old)).unwrap();
        // Torn at its end, and with something in it that has no line feed for a long time.
        let torn = format!("{}{}\n{}half a", text(&new[..7]), "y".repeat(3 * LONGEST), text(&new[7..]));
        std::fs::write(folder.path().join("a-0.log"), torn).unwrap();
        let mut all = [old, new].concat();
        all.reverse();
        assert_eq!(chain(folder.path(), None), all);
    }

    #[test]
    fn what_is_newer_than_a_noted_end_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let (current, rotated) = (folder.path().join("a-0.log"), folder.path().join("a-0.log.1"));
        std::fs::write(&current, line(1, "one")).unwrap();
        let metadata = current.metadata().unwrap();
        let end = End { inode: Some(metadata.ino()), position: metadata.len() };
        std::fs::write(&current, line(1, "one") + &line(2, "two")).unwrap();
        assert_eq!(chain(folder.path(), Some(end)), ["one"]);
        std::fs::rename(&current, &rotated).unwrap();
        std::fs::write(&current, line(3, "three")).unwrap();
        assert_eq!(chain(folder.path(), Some(end)), ["one"]);
        assert_eq!(chain(folder.path(), None), ["three", "two", "one"]);
        // There was no current one: what is in it now comes later.
        assert_eq!(chain(folder.path(), Some(End { inode: None, position: 0 })), ["two", "one"]);
    }

    #[test]
    fn a_file_that_is_rotated_while_it_is_read_comes_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |suffix: &str| folder.path().join(format!("a-0.log{suffix}"));
        std::fs::write(path(".1"), line(1, "one")).unwrap();
        std::fs::write(path(""), line(2, "two")).unwrap();
        let mut chain = Chain::new(folder.path(), "a-0".to_owned(), None);
        assert_eq!(chain.advance().unwrap().as_second(), 2);
        std::fs::rename(path(".1"), path(".2")).unwrap();
        std::fs::rename(path(""), path(".1")).unwrap();
        assert_eq!(chain.advance().unwrap().as_second(), 1);
        assert_eq!(chain.advance(), None);
        assert_eq!((chain.files, chain.bytes), (2, (line(1, "one") + &line(2, "two")).len() as u64));
    }
}
