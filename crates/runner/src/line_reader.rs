//! Lines from a stream, bounded in length. Reading can be cancelled and taken up again without losing a byte.

use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest line, bytes. The longest request is a disconnect with its reason, far below.
const MAX_LINE: usize = 64 * 1024;
/// Read at once.
const READ: usize = 1024;

/// Reads lines.
#[derive(Debug)]
pub(crate) struct LineReader<R> {
    inner: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// Over this stream.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new() }
    }

    /// The next line without its end; `None` at the end of the stream. A line that is too long is an error.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let rest = self.buffer.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > MAX_LINE {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 KiB"));
            }
            self.buffer.reserve(READ);
            if self.inner.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Vec<Result<String, io::ErrorKind>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut reader = LineReader::new(bytes);
            let mut found = Vec::new();
            loop {
                match reader.next().await {
                    Ok(Some(line)) => found.push(Ok(String::from_utf8(line).unwrap())),
                    Ok(None) => return found,
                    Err(error) => {
                        found.push(Err(error.kind()));
                        return found;
                    }
                }
            }
        })
    }

    #[test]
    fn lines_end_with_a_line_feed_and_are_bounded() {
        assert_eq!(read_all(b"a\n\nbc\nrest"), [Ok("a".into()), Ok(String::new()), Ok("bc".into())]);
        assert_eq!(read_all(b""), []);
        assert_eq!(read_all(&vec![b'x'; 1_000_000]), [Err(io::ErrorKind::InvalidData)]);
        let long = format!("{}\n", "y".repeat(60_000));
        assert_eq!(read_all(long.as_bytes())[0].as_ref().unwrap().len(), 60_000);
    }
}
