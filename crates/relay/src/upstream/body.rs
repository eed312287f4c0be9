//! Where the body of an HTTP answer ends, so that the client's connection can be closed there although the agent keeps its own
//! open. The bytes are passed on as they are.

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
    /// The rest of a size line; the size so far, and whether an extension has begun.
    Size(u64, bool),
    /// Data, and its line end.
    Data(u64),
    /// A line of the trailer; whether it has anything in it.
    Trailer(bool),
}

impl Body {
    pub(super) fn of(status: u16, is_head: bool, headers: &[httparse::Header<'_>]) -> Self {
        let find = |name: &str| {
            let found = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
        };
        if is_head || matches!(status, 204 | 304) {
            Self::Length(0)
        } else if let Some(coding) = find("transfer-encoding") {
            let chunked =
                coding.rsplit(',').next().is_some_and(|last| last.trim().eq_ignore_ascii_case("chunked"));
            if chunked { Self::Chunked(Chunk::Size(0, false)) } else { Self::UntilEnd }
        } else {
            find("content-length").and_then(|text| text.parse().ok()).map_or(Self::UntilEnd, Self::Length)
        }
    }

    /// Follows the next bytes; returns how many of them belong to the body if it ends in them.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::UntilEnd => None,
            Self::Length(left) if *left <= bytes.len() as u64 => Some(std::mem::take(left) as usize),
            Self::Length(left) => {
                *left -= bytes.len() as u64;
                None
            }
            Self::Chunked(chunk) => {
                let mut at = 0;
                while let Some(&byte) = bytes.get(at) {
                    at += chunk.advance(byte, bytes.len() - at)?;
                    if *chunk == Chunk::Data(0) {
                        // Only the end of the trailer leaves this behind.
                        return Some(at);
                    }
                }
                None
            }
        }
    }
}

impl Chunk {
    /// Takes the next byte, or as many as are data; how many it took. After the last byte of the body it is `Data(0)`.
    fn advance(&mut self, byte: u8, there: usize) -> Option<usize> {
        match self {
            Self::Size(size, _) if byte == b'\n' => {
                *self = if *size == 0 { Self::Trailer(false) } else { Self::Data(size.checked_add(2)?) };
            }
            Self::Size(size, extension) => match (byte as char).to_digit(16) {
                Some(digit) if !*extension => *size = size.checked_mul(16)?.checked_add(u64::from(digit))?,
                _ => *extension = true,
            },
            Self::Data(left) => {
                let count = (*left).min(there as u64);
                *self = if *left == count { Self::Size(0, false) } else { Self::Data(*left - count) };
                return Some(count as usize);
            }
            Self::Trailer(false) if byte == b'\n' => *self = Self::Data(0),
            Self::Trailer(filled) => *filled = byte != b'\n' && (*filled || byte != b'\r'),
        }
        Some(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found_in_any_split() {
        let check = |body: &Body, bytes: &[u8], expected: Option<usize>| {
            assert_eq!(body.clone().feed(bytes), expected);
            let mut body = body.clone();
            let found = bytes.iter().position(|byte| body.feed(&[*byte]).is_some());
            assert_eq!(found.map(|at| at + 1), expected);
        };
        check(&Body::UntilEnd, b"anything", None);
        check(&Body::Length(3), b"abcd", Some(3));
        check(&Body::Length(5), b"abcd", None);
        let chunked = Body::Chunked(Chunk::Size(0, false));
        check(&chunked, b"3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\n\r\nmore", Some(32));
        check(&chunked, b"0\r\nX: y\r\nZ: 1\r\n\r\n.", Some(17));
        check(&chunked, b"3\r\n0\r\n\r\n", None);
        assert_eq!(Body::Length(0).feed(b""), Some(0));
    }
}
