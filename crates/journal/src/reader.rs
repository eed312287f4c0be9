//! Reading records by their position, with one read for many where they lie close together.

use crate::Position;
use crate::record::{HEADER, Header, SEGMENT_HEADER};
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Most segments that are open for reading at once.
const MAX_FILES: usize = 8;

/// How much is read at once where a session's records are as close together as this; where they are not, one is read.
const REACH: usize = 32 * 1024;
/// A record of usual size.
const FEW: usize = 512;
/// Of records longer than this the last byte is looked at first.
const PROBED: usize = 64 * 1024;

/// Where the bytes of a log are.
pub(crate) trait Source {
    /// Fills `out` from the offset on; the number of bytes there were, less than asked for at the end. A segment that is not
    /// there is an error.
    fn read(&self, segment: u32, offset: u64, out: &mut [u8]) -> io::Result<usize>;
}

/// The files of a log, opened when they are asked for.
pub(crate) struct Files {
    folder: PathBuf,
    /// The one that was used last is the last one.
    open: RefCell<Vec<(u32, File)>>,
}

/// The file of a segment.
pub(crate) fn segment_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

impl Files {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: RefCell::default() }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The segment is about to be removed or replaced.
    pub(crate) fn forget(&self, segment: u32) {
        self.open.borrow_mut().retain(|(number, _)| *number != segment);
    }
}

impl Source for Files {
    fn read(&self, segment: u32, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let mut open = self.open.borrow_mut();
        let file = match open.iter().position(|(number, _)| *number == segment) {
            Some(at) => open.remove(at),
            None => (segment, File::open(segment_path(&self.folder, segment))?),
        };
        if open.len() >= MAX_FILES {
            open.remove(0);
        }
        open.push(file);
        let Some((_, file)) = open.last() else { return Ok(0) };
        read_at(file, offset, out)
    }
}

/// Reads as much as there is, whatever interrupts it.
pub(crate) fn read_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match file.read_at(&mut out[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Reads records through a window of the segment.
pub(crate) struct Reader<'a> {
    source: &'a dyn Source,
    window: Vec<u8>,
    /// Bytes of the window that are filled.
    filled: usize,
    segment: u32,
    start: u64,
    /// What was asked for last.
    asked: Position,
    /// How much the window takes in before and behind what is asked for, where that is close to what was asked for before.
    reach: (usize, usize),
}

impl<'a> Reader<'a> {
    /// For a few records here and there.
    pub(crate) fn single(source: &'a dyn Source) -> Self {
        Self::new(source, 0, FEW)
    }

    /// For following a session's records from the newest to the oldest.
    pub(crate) fn backward(source: &'a dyn Source) -> Self {
        Self::new(source, REACH, FEW)
    }

    /// For reading events in the order in which they were said.
    pub(crate) fn forward(source: &'a dyn Source) -> Self {
        Self::new(source, 0, REACH)
    }

    fn new(source: &'a dyn Source, before: usize, behind: usize) -> Self {
        let reach = (before, behind);
        Self { source, window: Vec::new(), filled: 0, segment: 0, start: 0, asked: Position::NONE, reach }
    }

    /// Something that is not the record's own follows from it, so its checksum must be right as well as its session.
    pub(crate) fn record(&mut self, at: Position, session: u128) -> Option<(Header, &[u8])> {
        let (_, length) = self.header(at, session)?;
        Header::read(self.bytes(at, HEADER + length)?)
    }

    /// What stands before the payload, and the payload's length. Only the session is checked.
    pub(crate) fn header(&mut self, at: Position, session: u128) -> Option<(Header, usize)> {
        if at.offset() < SEGMENT_HEADER as u64 {
            return None;
        }
        Header::peek(self.bytes(at, HEADER)?).filter(|(header, _)| header.session == session)
    }

    /// Bytes of a segment; `None` if it has not as many.
    fn bytes(&mut self, at: Position, length: usize) -> Option<&[u8]> {
        let (segment, offset) = (at.segment(), at.offset());
        let inside = |start: u64, filled: usize| {
            let from = usize::try_from(offset.checked_sub(start)?).ok()?;
            (from + length <= filled).then_some(from..from + length)
        };
        if self.segment != segment || inside(self.start, self.filled).is_none() {
            // A length that is damage must not cost its own size in memory.
            let last = offset + length as u64 - 1;
            if length > PROBED && !self.source.read(segment, last, &mut [0]).is_ok_and(|count| count == 1) {
                return None;
            }
            let distance = self.asked.offset().abs_diff(offset);
            let is_close = self.asked.segment() == segment && (1..REACH as u64).contains(&distance);
            let (before, behind) = if is_close { self.reach } else { (0, FEW) };
            self.segment = 0;
            self.start = offset.saturating_sub(before as u64);
            let wanted = (offset - self.start) as usize + length + behind;
            if self.window.len() < wanted {
                self.window.resize(wanted, 0);
            }
            self.filled = self.source.read(segment, self.start, &mut self.window[..wanted]).ok()?;
            self.segment = segment;
        }
        self.asked = at;
        let range = inside(self.start, self.filled)?;
        self.window.get(range)
    }
}
