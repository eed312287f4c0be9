//! Where the body of an HTTP message ends, and what its content is.
//!
//! Strict: what two readers could understand differently is no body. Between a front door and an agent that is how one
//! request is smuggled in another.

use super::find;

/// Longest extension of a chunk's size, bytes.
const MAX_EXTENSION: u16 = 1024;
/// Longest trailer, bytes.
const MAX_TRAILER: u16 = 16 * 1024;

/// How a body ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// With the connection.
    UntilEnd,
    /// After so many more bytes.
    Length(u64),
    /// With the last chunk.
    Chunked(Chunk),
}

/// What comes next in a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// A digit of the size, or what ends it; the size so far, and the number of digits.
    Size(u64, u8),
    /// A byte of the extension; the size, and the length of the extension so far.
    Extension(u64, u16),
    /// The line feed of the size line.
    SizeEnd(u64),
    /// Data.
    Data(u64),
    /// The carriage return behind the data.
    DataReturn,
    /// The line feed behind that.
    DataEnd,
    /// A byte of the trailer; whether its line has anything in it, and the length of all so far.
    Trailer(bool, u16),
    /// The line feed of a line of the trailer, likewise.
    TrailerEnd(bool, u16),
    /// Nothing: it is over.
    Over,
}

/// Why a body cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Both `Transfer-Encoding` and `Content-Length`.
    #[error("it has both Content-Length and Transfer-Encoding")]
    Both,
    /// Not a number, or several that differ.
    #[error("its Content-Length is not a number, or there are several")]
    Length,
    /// Something else than `chunked`, once.
    #[error("its Transfer-Encoding is not just chunked")]
    Encoding,
    /// HTTP/1.0 has none.
    #[error("its Transfer-Encoding is not of its version of HTTP")]
    Version,
    /// A chunk's size, its line end, or the trailer.
    #[error("its chunks cannot be read")]
    Chunk,
}

impl Body {
    /// There is none.
    pub const NONE: Self = Self::Length(0);

    /// A chunked one, at its beginning.
    pub const fn chunked() -> Self {
        Self::Chunked(Chunk::Size(0, 0))
    }

    /// Of a request. Whatever is not plain is refused.
    pub fn of_request(headers: &[httparse::Header<'_>], is_http_1_1: bool) -> Result<Self, BodyError> {
        let mut codings =
            headers.iter().filter(|header| header.name.eq_ignore_ascii_case("transfer-encoding"));
        let length = content_length(headers)?;
        let Some(coding) = codings.next() else { return Ok(length.map_or(Self::NONE, Self::Length)) };
        if length.is_some() {
            Err(BodyError::Both)
        } else if !is_http_1_1 {
            Err(BodyError::Version)
        } else if codings.next().is_some() || !is_chunked(coding.value) {
            Err(BodyError::Encoding)
        } else {
            Ok(Self::chunked())
        }
    }

    /// Of an answer. `is_head`: it answers `HEAD`, and so has none whatever it says.
    pub fn of_answer(
        status: u16,
        is_head: bool,
        headers: &[httparse::Header<'_>],
    ) -> Result<Self, BodyError> {
        if is_head || (100..200).contains(&status) || matches!(status, 204 | 304) {
            return Ok(Self::NONE);
        }
        // Who sends both means the coding (RFC 9112 section 6.3).
        if let Some(coding) = find(headers, "transfer-encoding") {
            let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default();
            return Ok(if is_chunked(last) { Self::chunked() } else { Self::UntilEnd });
        }
        Ok(content_length(headers)?.map_or(Self::UntilEnd, Self::Length))
    }

    /// Follows the next bytes; returns how many of them belong to the body if it ends in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Option<usize>, BodyError> {
        self.feed_into(bytes, |_| {})
    }

    /// The same, and calls `content` with each piece of what the body says.
    pub fn feed_into(
        &mut self,
        bytes: &[u8],
        mut content: impl FnMut(&[u8]),
    ) -> Result<Option<usize>, BodyError> {
        match self {
            Self::UntilEnd => {
                content(bytes);
                Ok(None)
            }
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                content(&bytes[..count]);
                *left -= count as u64;
                Ok((*left == 0).then_some(count))
            }
            Self::Chunked(chunk) => {
                let mut at = 0;
                while let Some(&byte) = bytes.get(at) {
                    if let Chunk::Data(left) = chunk {
                        let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - at);
                        content(&bytes[at..at + count]);
                        at += count;
                        *chunk = match *left - count as u64 {
                            0 => Chunk::DataReturn,
                            left => Chunk::Data(left),
                        };
                        continue;
                    }
                    *chunk = chunk.next(byte).ok_or(BodyError::Chunk)?;
                    at += 1;
                    if *chunk == Chunk::Over {
                        return Ok(Some(at));
                    }
                }
                Ok(None)
            }
        }
    }
}

pub(super) fn is_chunked(coding: &[u8]) -> bool {
    coding.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

/// The one length that is meant: several may say the same.
fn content_length(headers: &[httparse::Header<'_>]) -> Result<Option<u64>, BodyError> {
    let mut found = None;
    for header in headers.iter().filter(|header| header.name.eq_ignore_ascii_case("content-length")) {
        let digits = header.value.trim_ascii();
        // Checked here because the parser would take a sign as well.
        let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
        let length = text.and_then(|text| text.parse().ok()).ok_or(BodyError::Length)?;
        if found.replace(length).is_some_and(|other: u64| other != length) {
            return Err(BodyError::Length);
        }
    }
    Ok(found)
}

impl Chunk {
    /// What follows a byte that is no data; none: it must not be there.
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Size(_, 0), b'\r' | b';') => None,
            (Self::Size(size, _) | Self::Extension(size, _), b'\r') => Some(Self::SizeEnd(size)),
            (Self::Size(size, _), b';') => Some(Self::Extension(size, 0)),
            (Self::Size(size, digits), _) => {
                let digit = char::from(byte).to_digit(16)?;
                // Leading zeros are digits, too, and there may not be any number of them.
                let size = (digits < 16).then_some(size)?.checked_mul(16)?;
                Some(Self::Size(size + u64::from(digit), digits + 1))
            }
            (Self::Extension(..), b'\n') | (Self::Extension(_, MAX_EXTENSION), _) => None,
            (Self::Extension(size, length), _) => Some(Self::Extension(size, length + 1)),
            (Self::SizeEnd(0), b'\n') => Some(Self::Trailer(false, 0)),
            (Self::SizeEnd(size), b'\n') => Some(Self::Data(size)),
            (Self::DataReturn, b'\r') => Some(Self::DataEnd),
            (Self::DataEnd, b'\n') => Some(Self::Size(0, 0)),
            (Self::Trailer(filled, length), b'\r') => Some(Self::TrailerEnd(filled, length)),
            (Self::Trailer(..), b'\n') | (Self::Trailer(_, MAX_TRAILER), _) => None,
            (Self::Trailer(_, length), _) => Some(Self::Trailer(true, length + 1)),
            (Self::TrailerEnd(true, length), b'\n') => Some(Self::Trailer(false, length)),
            (Self::TrailerEnd(false, _), b'\n') => Some(Self::Over),
            _ => None,
        }
    }
}

/// How content is written to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// As it is: the length was told, or the connection ends with it.
    AsItIs,
    /// In chunks of our own.
    Chunks,
}

impl Framing {
    /// Appends a piece of content.
    pub fn push(self, out: &mut Vec<u8>, content: &[u8]) {
        if content.is_empty() {
            return;
        }
        match self {
            Self::AsItIs => out.extend_from_slice(content),
            Self::Chunks => {
                out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
                out.extend_from_slice(content);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends the end.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self == Self::Chunks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_is_found_in_any_split() {
        let check = |body: &Body, bytes: &[u8], expected: Option<usize>| {
            assert_eq!(body.clone().feed(bytes), Ok(expected));
            let mut body = body.clone();
            let found = bytes.iter().position(|byte| body.feed(&[*byte]).unwrap().is_some());
            assert_eq!(found.map(|at| at + 1), expected);
        };
        check(&Body::UntilEnd, b"anything", None);
        check(&Body::Length(3), b"abcd", Some(3));
        check(&Body::Length(5), b"abcd", None);
        check(&Body::chunked(), b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\nmore", Some(32));
        check(&Body::chunked(), b"0\r\nX: y\r\nZ: 1\r\n\r\n.", Some(17));
        check(&Body::chunked(), b"3\r\n0\r\n\r\n0\r\n", None);
        assert_eq!(Body::Length(0).feed(b""), Ok(Some(0)));
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_no_body() {
        for bytes in [
            "\r\n",
            ";x\r\n",
            "3\nabc\r\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\n0\r\n\r\n",
            " 3\r\nabc\r\n",
            "3 \r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "+3\r\nabc\r\n",
            "-1\r\n",
            "00000000000000003\r\nabc\r\n",
            "10000000000000000\r\n",
            "3;a\nb\r\nabc\r\n",
            "3\rabc",
            "0\r\nX: y\n\r\n",
            "0\r\n\rX",
        ] {
            assert_eq!(Body::chunked().feed(bytes.as_bytes()), Err(BodyError::Chunk), "{bytes:?}");
        }
        assert_eq!(Body::chunked().feed(b"ffffffffffffffff\r\n"), Ok(None));
        let long = |count: usize| "x".repeat(count);
        let extension = |count| format!("1;{}\r\nx\r\n", long(count));
        assert_eq!(Body::chunked().feed(extension(1024).as_bytes()), Ok(None));
        assert_eq!(Body::chunked().feed(extension(1025).as_bytes()), Err(BodyError::Chunk));
        let trailer = format!("0\r\n{}", "a: b\r\n".repeat(5000));
        assert_eq!(Body::chunked().feed(trailer.as_bytes()), Err(BodyError::Chunk));
    }

    fn headers(text: &str) -> Vec<(String, String)> {
        let lines = text.split('|').filter(|line| !line.is_empty());
        let pairs = lines.map(|line| line.split_once(':').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn parsed(headers: &[(String, String)]) -> Vec<httparse::Header<'_>> {
        headers.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect()
    }

    #[test]
    fn of_requests() {
        use BodyError::{Both, Encoding, Length, Version};
        for (text, expected) in [
            ("", Ok(Body::NONE)),
            ("Content-Length: 5", Ok(Body::Length(5))),
            ("content-length:5|Content-Length: 5 ", Ok(Body::Length(5))),
            ("Transfer-Encoding: Chunked", Ok(Body::chunked())),
            ("Content-Length: 5|Transfer-Encoding: chunked", Err(Both)),
            ("Content-Length: 5|Content-Length: 6", Err(Length)),
            ("Content-Length: 5, 5", Err(Length)),
            ("Content-Length: +5", Err(Length)),
            ("Content-Length: 0x5", Err(Length)),
            ("Content-Length:", Err(Length)),
            ("Content-Length: 99999999999999999999", Err(Length)),
            ("Transfer-Encoding: gzip, chunked", Err(Encoding)),
            ("Transfer-Encoding: chunked, chunked", Err(Encoding)),
            ("Transfer-Encoding: identity", Err(Encoding)),
            ("Transfer-Encoding: xchunked", Err(Encoding)),
            ("Transfer-Encoding: chunked|Transfer-Encoding: chunked", Err(Encoding)),
            ("Transfer-Encoding: chunked|Transfer-Encoding: identity", Err(Encoding)),
        ] {
            let headers = headers(text);
            assert_eq!(Body::of_request(&parsed(&headers), true), expected, "{text}");
        }
        let chunked = headers("Transfer-Encoding: chunked");
        assert_eq!(Body::of_request(&parsed(&chunked), false), Err(Version));
    }

    #[test]
    fn of_answers() {
        for (status, is_head, text, expected) in [
            (200, false, "", Ok(Body::UntilEnd)),
            (200, false, "Content-Length: 5", Ok(Body::Length(5))),
            (200, true, "Content-Length: 5", Ok(Body::NONE)),
            (204, false, "Content-Length: 5", Ok(Body::NONE)),
            (304, false, "Transfer-Encoding: chunked", Ok(Body::NONE)),
            (101, false, "Content-Length: x", Ok(Body::NONE)),
            (200, false, "Content-Length: 5|Transfer-Encoding: gzip, chunked", Ok(Body::chunked())),
            (200, false, "Transfer-Encoding: gzip", Ok(Body::UntilEnd)),
            (200, false, "Content-Length: 5|Content-Length: 6", Err(BodyError::Length)),
        ] {
            let headers = headers(text);
            assert_eq!(Body::of_answer(status, is_head, &parsed(&headers)), expected, "{status} {text}");
        }
    }

    proptest! {
        /// What was written in chunks is read again, whatever the pieces are.
        #[test]
        fn content_comes_through(content in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20), split in 1..50_usize) {
            let mut written = Vec::new();
            for piece in &content {
                Framing::Chunks.push(&mut written, piece);
            }
            Framing::Chunks.finish(&mut written);
            let (mut body, mut read, mut over) = (Body::chunked(), Vec::new(), false);
            for piece in written.chunks(split) {
                prop_assert!(!over);
                over = body.feed_into(piece, |data| read.extend_from_slice(data)).unwrap() == Some(piece.len());
            }
            prop_assert!(over);
            prop_assert_eq!(read, content.concat());
        }

        /// Nothing makes it panic, and what was not read is not said to be.
        #[test]
        fn noise_is_no_danger(bytes in prop::collection::vec(prop::sample::select(b"0123456789afAF;\r\n x".to_vec()), 0..60)) {
            let mut length = 0;
            if let Ok(Some(used)) = Body::chunked().feed_into(&bytes, |data| length += data.len()) {
                prop_assert!(length <= used && used <= bytes.len());
            }
        }
    }
}
