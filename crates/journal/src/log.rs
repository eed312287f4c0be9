//! The log as bytes: records go to a buffer, the buffer to the newest segment, and a full segment is followed by the next.
//!
//! What a disk does not take stays in the buffer and is read from there. What is too much for the buffer is abandoned together
//! with its segment's number, so that no position ever leads to anything else than what it was given for.

use crate::Position;
use crate::limits::Limits;
use crate::reader::{Files, Source, segment_path};
use crate::record::{Header, SEGMENT_HEADER, segment_header};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a system call costs, in bytes that could be copied meanwhile.
const CALL: u64 = 2048;

/// The calls that can fail for want of room. Tests have one that fails when they want it to.
pub(crate) trait Disk: Send + Sync {
    /// Makes a segment, mode 0600.
    fn create(&self, path: &Path) -> io::Result<File>;
    /// Writes all of it.
    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()>;
}

/// The file system.
pub(crate) struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
    }

    fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }
}

/// A segment that has bytes in its file.
struct Segment {
    number: u32,
    length: u64,
    /// Bytes in it that were moved there from older segments: what lives long.
    moved: u64,
}

/// The log of one start.
pub(crate) struct Log {
    pub(crate) limits: Limits,
    disk: Arc<dyn Disk>,
    files: Files,
    /// Oldest first; the last one is the one that is written to.
    segments: VecDeque<Segment>,
    file: Option<File>,
    /// Bytes of the newest segment that the kernel has.
    written: u64,
    /// The last ones of them.
    recent: Vec<u8>,
    /// What follows them.
    pending: Vec<u8>,
    /// What is appended now is moved, not new.
    pub(crate) moving: bool,
    /// Bytes that were read, and as many again as a system call costs.
    read: Cell<u64>,
}

/// The part of a segment that could not be written and is lost.
pub(crate) struct Abandoned {
    pub(crate) segment: u32,
    from: u64,
    pending: Vec<u8>,
    file: Option<File>,
}

impl Log {
    pub(crate) fn new(files: Files, disk: Arc<dyn Disk>, limits: Limits) -> Self {
        let mut log = Self {
            limits,
            disk,
            files,
            segments: VecDeque::new(),
            file: None,
            written: 0,
            recent: Vec::new(),
            pending: Vec::new(),
            moving: false,
            read: Cell::default(),
        };
        log.begin_segment();
        log
    }

    /// An empty log in another folder, on the same disk.
    pub(crate) fn beside(&self, folder: PathBuf) -> Self {
        Self::new(Files::new(folder), Arc::clone(&self.disk), self.limits)
    }

    fn begin_segment(&mut self) {
        let number = self.head() + 1;
        self.segments.push_back(Segment { number, length: 0, moved: 0 });
        self.file = None;
        self.written = 0;
        self.recent.clear();
        self.pending.clear();
        self.pending.extend_from_slice(&segment_header(number));
    }

    /// The segment that is written to.
    pub(crate) fn head(&self) -> u32 {
        self.segments.back().map_or(0, |segment| segment.number)
    }

    /// The oldest segment, if it is not the one that is written to.
    pub(crate) fn oldest(&self) -> Option<u32> {
        self.segments.front().map(|segment| segment.number).filter(|number| *number != self.head())
    }

    pub(crate) fn segments(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of all segments, with what waits to be written.
    pub(crate) fn used(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum::<u64>() + self.pending.len() as u64
    }

    /// Bytes in all segments that were moved there: about as much lives long.
    pub(crate) fn moved(&self) -> u64 {
        self.segments.iter().map(|segment| segment.moved).sum()
    }

    /// What reading has cost up to now, in bytes.
    pub(crate) fn effort(&self) -> u64 {
        self.read.get()
    }

    /// Bytes that wait to be written.
    pub(crate) fn pending(&self) -> usize {
        if self.written == 0 { self.pending.len() - SEGMENT_HEADER } else { self.pending.len() }
    }

    /// Adds a record; `None` if it is larger than any may be.
    pub(crate) fn append(&mut self, header: &Header, parts: &[&[u8]]) -> Option<Position> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > self.limits.payload {
            return None;
        }
        let before = self.pending.len();
        let at = Position::new(self.head(), self.written + before as u64);
        header.write(&mut self.pending, parts);
        if self.moving
            && let Some(segment) = self.segments.back_mut()
        {
            segment.moved += (self.pending.len() - before) as u64;
        }
        Some(at)
    }

    /// Hands the buffer to the kernel. After an error it is as before, and the next call tries again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.pending() == 0 {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.disk.create(&segment_path(
                self.files.folder(),
                self.segments.back().map_or(0, |segment| segment.number),
            ))?),
        };
        // A part of it may have been written before: it is written again, to the same place.
        self.disk.write(file, &self.pending, self.written)?;
        self.written += self.pending.len() as u64;
        self.remember();
        self.pending.clear();
        self.pending.shrink_to(2 * self.limits.batch);
        if let Some(segment) = self.segments.back_mut() {
            segment.length = self.written;
        }
        if self.written >= self.limits.segment {
            self.begin_segment();
        }
        Ok(())
    }

    /// Keeps the last of what was written just now.
    fn remember(&mut self) {
        let keep = self.limits.recent;
        let new = self.pending.len();
        if new >= keep {
            self.recent.clear();
        } else if self.recent.len() + new > 2 * keep {
            self.recent.drain(..self.recent.len() + new - keep);
        }
        self.recent.extend_from_slice(&self.pending[new.saturating_sub(keep)..]);
    }

    /// Gives up what could not be written, and goes on in a new segment.
    pub(crate) fn abandon(&mut self) -> Abandoned {
        let (segment, from, file) = (self.head(), self.written, self.file.take());
        let pending = std::mem::take(&mut self.pending);
        self.begin_segment();
        Abandoned { segment, from, pending, file }
    }

    /// Nobody needs what was given up any more: the segment ends at its last whole record.
    pub(crate) fn give_up(&mut self, abandoned: Abandoned) {
        let Abandoned { segment, from, file, .. } = abandoned;
        if let Some(file) = file {
            // If even this fails, what follows is a torn record, which every reader expects at an end.
            let _ = file.set_len(from);
        }
        if from == 0 {
            self.segments.retain(|other| other.number != segment);
            let _ = std::fs::remove_file(segment_path(self.files.folder(), segment));
        }
    }

    /// Removes a segment that is not needed any more.
    pub(crate) fn remove_oldest(&mut self) {
        let Some(number) = self.oldest() else { return };
        self.segments.pop_front();
        self.files.forget(number);
        if let Err(error) = std::fs::remove_file(segment_path(self.files.folder(), number)) {
            tracing::warn!(%error, segment = number, folder = %self.files.folder().display(), "failed to remove a segment of the journal");
        }
    }
}

impl Source for Log {
    fn read(&self, segment: u32, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.read.set(self.read.get() + CALL + out.len() as u64);
        if segment != self.head() {
            return self.files.read(segment, offset, out);
        }
        // From the file, then from what was written last, then from what waits.
        let recent = self.written - self.recent.len() as u64;
        let from_file = usize::try_from(recent.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let (first, mut rest) = out.split_at_mut(from_file);
        let mut done = if first.is_empty() { 0 } else { self.files.read(segment, offset, first)? };
        if done < from_file {
            return Ok(done);
        }
        for (start, bytes) in [(recent, &self.recent), (self.written, &self.pending)] {
            let skip = usize::try_from((offset + done as u64).saturating_sub(start)).unwrap_or(usize::MAX);
            let bytes = bytes.get(skip..).unwrap_or_default();
            let count = bytes.len().min(rest.len());
            rest[..count].copy_from_slice(&bytes[..count]);
            rest = &mut rest[count..];
            done += count;
        }
        Ok(done)
    }
}

/// The log as it was before a part of it was given up.
pub(crate) struct Before<'a> {
    pub(crate) log: &'a Log,
    pub(crate) abandoned: &'a Abandoned,
}

impl Abandoned {
    /// The record there is lost.
    pub(crate) fn has(&self, at: Position) -> bool {
        at.segment() == self.segment && at.offset() >= self.from
    }
}

impl Source for Before<'_> {
    fn read(&self, segment: u32, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let Abandoned { segment: lost, from, pending, .. } = self.abandoned;
        if segment != *lost || offset < *from {
            return self.log.read(segment, offset, out);
        }
        let skip = usize::try_from(offset - from).unwrap_or(usize::MAX);
        let waiting = pending.get(skip..).unwrap_or_default();
        let count = waiting.len().min(out.len());
        out[..count].copy_from_slice(&waiting[..count]);
        Ok(count)
    }
}
