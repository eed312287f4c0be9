//! The head of an agent's answer, and what the client gets of it.

use super::body::{Body, Framing, is_chunked};
use super::{HOP_BY_HOP, OF_BODY, is_one_of, named_by_connection, push_header};
use crate::wire::handover::MAX_HEADERS;

/// Largest head of an answer, bytes.
const MAX_ANSWER_HEAD: usize = 32 * 1024;
/// How the answer of a TLS server begins that was not spoken to over TLS: an alert of any version.
const TLS_ALERT: &[u8] = &[0x15, 0x03];

/// The head of an agent's answer, and what was read behind it.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Reason phrase.
    reason: String,
    headers: Vec<(String, Vec<u8>)>,
    /// Headers of this hop only, besides those that always are.
    hop_by_hop: Vec<String>,
    /// Bytes behind the head.
    pub rest: Vec<u8>,
    /// How its body ends; meaningless for a 101.
    pub body: Body,
}

/// Takes the head of an answer, and what is behind it, out of the bytes; none: there is more to come. Interim answers (100,
/// 103) are given to `interim`.
pub fn parse(
    bytes: &mut Vec<u8>,
    is_head: bool,
    mut interim: impl FnMut(&Answer),
) -> Result<Option<Answer>, String> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() > MAX_ANSWER_HEAD => {
                return Err("its head is too long".to_owned());
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) if bytes.starts_with(TLS_ALERT) => {
                return Err("it speaks TLS there; the endpoint is wss:// and not ws://".to_owned());
            }
            Err(error) => return Err(error.to_string()),
        };
        let status = response.code.unwrap_or_default();
        if status < 100 {
            return Err(format!("{status:03} is no status"));
        }
        let body = Body::of_answer(status, is_head, response.headers).map_err(|error| error.to_string())?;
        let mut answer = Answer {
            status,
            reason: response.reason.unwrap_or_default().to_owned(),
            headers: response
                .headers
                .iter()
                .map(|header| (header.name.to_owned(), header.value.to_vec()))
                .collect(),
            hop_by_hop: named_by_connection(response.headers).into_iter().map(str::to_owned).collect(),
            rest: Vec::new(),
            body,
        };
        if (100..200).contains(&status) && status != 101 {
            bytes.drain(..length);
            interim(&answer);
            continue;
        }
        answer.rest = bytes.split_off(length);
        bytes.clear();
        return Ok(Some(answer));
    }
}

impl Answer {
    /// The head for the client of a WebSocket or an event stream: the agent's own with `extra` headers. Unless it opens a
    /// WebSocket, the connection is closed after it.
    pub fn client_head(&self, extra: &[(&str, &str)]) -> Vec<u8> {
        let mut out = self.status_line();
        let opens = self.status == 101;
        for (name, value) in &self.headers {
            if opens || !is_one_of(name, &["connection", "keep-alive"]) {
                push_header(&mut out, name, value);
            }
        }
        if !opens {
            push_header(&mut out, "Connection", "close");
        }
        for (name, value) in extra {
            push_header(&mut out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// How the body of a plain answer is told to a client, and whether the connection has to end with it.
    pub fn plain_framing(&self, is_http_1_1: bool) -> (Framing, bool) {
        match self.body {
            Body::Length(_) => (Framing::AsItIs, false),
            Body::Chunked(_) if is_http_1_1 => (Framing::Chunks, false),
            Body::Chunked(_) | Body::UntilEnd => (Framing::AsItIs, true),
        }
    }

    /// The head for the client of a plain request, with `extra` headers. Its body is told in one way only.
    pub fn plain_head(&self, framing: Framing, keeps_alive: bool, extra: &[(&str, &str)]) -> Vec<u8> {
        let mut out = self.status_line();
        self.push_passing(&mut out);
        match self.body {
            _ if framing == Framing::Chunks => push_header(&mut out, "Transfer-Encoding", "chunked"),
            Body::Length(length) if length > 0 => push_header(&mut out, "Content-Length", length.to_string()),
            // A length may be told although no body comes: it is that of what `GET` would get.
            Body::Length(_) if self.status != 204 => {
                let told = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
                if let Some((name, value)) = told {
                    push_header(&mut out, name, value);
                }
            }
            Body::Length(_) | Body::Chunked(_) | Body::UntilEnd => {}
        }
        push_header(&mut out, "Connection", if keeps_alive { "keep-alive" } else { "close" });
        for (name, value) in extra {
            push_header(&mut out, name, value);
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    /// The whole of an interim answer, for the client of a plain request.
    pub fn interim(&self) -> Vec<u8> {
        let mut out = self.status_line();
        self.push_passing(&mut out);
        out.extend_from_slice(b"\r\n");
        out
    }

    fn status_line(&self) -> Vec<u8> {
        format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes()
    }

    /// Its body is coded in a way that nobody asked for: what is passed on without the name of the coding could not be read.
    pub fn has_other_coding(&self) -> bool {
        let mut codings =
            self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"));
        codings.any(|(_, value)| !is_chunked(value) && !value.trim_ascii().eq_ignore_ascii_case(b"identity"))
    }

    /// The headers that are not of this hop, nor of the body.
    fn push_passing(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.headers {
            let is_named = self.hop_by_hop.iter().any(|other| other.eq_ignore_ascii_case(name));
            if !is_named && !is_one_of(name, &HOP_BY_HOP) && !is_one_of(name, &OF_BODY) {
                push_header(out, name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_head: bool) -> Result<Option<Answer>, String> {
        parse(&mut text.as_bytes().to_vec(), is_head, |_| {})
    }

    #[test]
    fn heads_of_answers() {
        let mut bytes = b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 101 Switching".to_vec();
        let mut interim = Vec::new();
        assert!(parse(&mut bytes, false, |answer| interim.push(answer.interim())).unwrap().is_none());
        assert_eq!(interim, [b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"]);
        bytes
            .extend_from_slice(b" Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nframes");
        let answer = parse(&mut bytes, false, |_| {}).unwrap().unwrap();
        assert_eq!((answer.status, answer.rest.as_slice()), (101, b"frames".as_slice()));
        assert_eq!(
            String::from_utf8(answer.client_head(&[("X-MyAgent-Service", "s")])).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\nX-MyAgent-Service: s\r\n\r\n"
        );
        let answer =
            read("HTTP/1.1 404 Not Found\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nno", false);
        assert_eq!(
            String::from_utf8(answer.unwrap().unwrap().client_head(&[])).unwrap(),
            "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
        );
        assert!(read("SSH-2.0-x\r\n\r\n", false).is_err());
        assert!(read("HTTP/1.1 099 Odd\r\n\r\n", false).is_err());
        let error = read("\x15\x03\x01\x00\x02\x02\x46", false).unwrap_err();
        assert!(error.contains("wss:// and not ws://"), "{error}");
    }

    #[test]
    fn plain_answers() {
        let check = |text: &str, is_head: bool, is_http_1_1: bool, expected: &str| {
            let answer = read(text, is_head).unwrap().unwrap();
            let (framing, ends) = answer.plain_framing(is_http_1_1);
            let head = String::from_utf8(answer.plain_head(framing, !ends, &[("X-Own", "1")])).unwrap();
            assert_eq!(head, expected, "{text}");
        };
        let chunked = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nX: y\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nTrailer: Z\r\n\r\n";
        check(
            chunked,
            false,
            true,
            "HTTP/1.1 200 OK\r\nX: y\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\nX-Own: 1\r\n\r\n",
        );
        check(chunked, false, false, "HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\nX-Own: 1\r\n\r\n");
        check(
            "HTTP/1.0 200 OK\r\n\r\n",
            false,
            true,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nX-Own: 1\r\n\r\n",
        );
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n";
        for is_head in [false, true] {
            check(
                sized,
                is_head,
                true,
                "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: keep-alive\r\nX-Own: 1\r\n\r\n",
            );
        }
        check(
            "HTTP/1.1 204 No\r\nContent-Length: 7\r\n\r\n",
            false,
            true,
            "HTTP/1.1 204 No\r\nConnection: keep-alive\r\nX-Own: 1\r\n\r\n",
        );
        check(
            "HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n",
            false,
            true,
            "HTTP/1.1 304 No\r\nContent-Length: 7\r\nConnection: keep-alive\r\nX-Own: 1\r\n\r\n",
        );
        assert!(read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", false).is_err());
    }
}
