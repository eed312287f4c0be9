//! Bytes of output to lines, and the last lines in memory. Pure; where the bytes come from and go to is in
//! [`crate::logs`].

use std::collections::VecDeque;

/// Longest line that is kept whole, bytes.
pub(crate) const MAX_LINE: usize = 64 * 1024;
/// Most lines in memory.
const TAIL_LINES: usize = 1000;
/// Most bytes of them.
const TAIL_BYTES: usize = 256 * 1024;

/// Puts the lines of one stream together.
#[derive(Debug, Default)]
pub(crate) struct Assembler {
    partial: Vec<u8>,
    cut: usize,
}

impl Assembler {
    /// Appends each line that `bytes` complete to `lines`, with a line feed behind it; how many they are.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], lines: &mut Vec<u8>) -> u64 {
        let mut count = 0;
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.take(&bytes[..end]);
            self.complete(lines);
            bytes = &bytes[end + 1..];
            count += 1;
        }
        self.take(bytes);
        count
    }

    /// Whether a line has begun.
    pub(crate) fn has_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Ends a line that has begun; how many lines that makes.
    pub(crate) fn flush(&mut self, lines: &mut Vec<u8>) -> u64 {
        if self.has_partial() {
            self.complete(lines);
            1
        } else {
            0
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let room = MAX_LINE - self.partial.len();
        let kept = bytes.len().min(room);
        self.partial.extend_from_slice(&bytes[..kept]);
        self.cut += bytes.len() - kept;
    }

    fn complete(&mut self, lines: &mut Vec<u8>) {
        if self.cut > 0 {
            lines.extend_from_slice(&self.partial);
            lines.extend_from_slice(format!(" …[{} bytes cut]", self.cut).as_bytes());
        } else {
            lines.extend_from_slice(self.partial.strip_suffix(b"\r").unwrap_or(&self.partial));
        }
        lines.push(b'\n');
        self.cut = 0;
        // One long line must not hold memory for ever.
        if self.partial.capacity() > 8 * 1024 {
            self.partial = Vec::new();
        } else {
            self.partial.clear();
        }
    }
}

/// The last lines, bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: VecDeque<u8>,
    lines: usize,
}

impl Tail {
    /// Appends lines as [`Assembler`] makes them.
    pub(crate) fn push(&mut self, lines: &[u8], count: u64) {
        // What would be pushed out again at once need not come in.
        let skip = lines.len().saturating_sub(TAIL_BYTES);
        let (lines, count) = if skip == 0 {
            (lines, count as usize)
        } else {
            let start = memchr::memchr(b'\n', &lines[skip..]).map_or(lines.len(), |at| skip + at + 1);
            (&lines[start..], memchr::memchr_iter(b'\n', &lines[start..]).count())
        };
        while self.lines > 0
            && (self.lines + count > TAIL_LINES || self.bytes.len() + lines.len() > TAIL_BYTES)
        {
            self.pop();
        }
        self.bytes.extend(lines);
        self.lines += count;
        while self.lines > TAIL_LINES {
            self.pop();
        }
    }

    fn pop(&mut self) {
        let (front, back) = self.bytes.as_slices();
        let end = memchr::memchr(b'\n', front)
            .or_else(|| memchr::memchr(b'\n', back).map(|at| front.len() + at))
            .map_or(self.bytes.len(), |at| at + 1);
        self.bytes.drain(..end);
        self.lines -= 1;
    }

    /// The last `count` lines, oldest first. Bytes that are not UTF-8 are replaced.
    pub(crate) fn last(&self, count: usize) -> Vec<String> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let lines = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        if self.lines == 0 {
            return Vec::new();
        }
        lines
            .split(|byte| *byte == b'\n')
            .skip(self.lines.saturating_sub(count))
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, Assembler) {
        let mut assembler = Assembler::default();
        let mut out = Vec::new();
        let count: u64 = pieces.iter().map(|piece| assembler.feed(piece, &mut out)).sum();
        let lines: Vec<String> = String::from_utf8_lossy(&out).lines().map(str::to_owned).collect();
        assert_eq!(count as usize, lines.len());
        (lines, assembler)
    }

    #[test]
    fn lines_are_put_together_from_any_pieces() {
        let (found, mut assembler) = lines(&[b"a", b"b\nc\r\n\n", b"d\n", b"e"]);
        assert_eq!(found, ["ab", "c", "", "d"]);
        assert!(assembler.has_partial());
        let mut out = Vec::new();
        assert_eq!(assembler.flush(&mut out), 1);
        assert_eq!(out, b"e\n");
        assert_eq!(assembler.flush(&mut out), 0);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_with_a_mark() {
        let long = vec![b'x'; 1_000_000];
        let (found, _) = lines(&[&long, b"\nnext\n"]);
        assert_eq!(found.len(), 2);
        assert!(
            found[0].starts_with("xxx") && found[0].ends_with(" …[934464 bytes cut]"),
            "{}",
            found[0].len()
        );
        assert_eq!(found[1], "next");
    }

    #[test]
    fn the_tail_is_bounded_in_lines_and_bytes() {
        let mut tail = Tail::default();
        assert_eq!(tail.last(5), Vec::<String>::new());
        for number in 0..3000 {
            tail.push(format!("{number}\n").as_bytes(), 1);
        }
        assert_eq!(tail.last(2), ["2998", "2999"]);
        assert_eq!(tail.last(5000).len(), TAIL_LINES);
        assert_eq!(tail.last(5000)[0], "2000");
        let long = [vec![b'y'; 100_000], vec![b'\n']].concat();
        for _ in 0..10 {
            tail.push(&long, 1);
        }
        assert_eq!(tail.last(5000).len(), 2);
        let many = "z\n".repeat(300_000);
        tail.push(many.as_bytes(), 300_000);
        assert_eq!(tail.last(5000).len(), TAIL_LINES);
        tail.push(b"\n\xff\n", 2);
        assert_eq!(tail.last(2), ["", "\u{fffd}"]);
    }
}
