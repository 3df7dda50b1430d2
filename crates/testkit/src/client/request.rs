//! Requests of the test clients.

use bytes::Bytes;

#[cfg(feature = "testing")]
use crate::fixtures::RecordedRequest;
use crate::headers::Headers;

/// A request whose header lines are sent as given, in order and in their case. What is missing of `Host` and
/// of the body's framing is added behind them, unless [`Request::exact`] was called.
#[derive(Clone, Debug)]
#[must_use]
pub struct Request {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Headers,
    pub(super) body: Bytes,
    pub(super) chunks: Option<Vec<Bytes>>,
    pub(super) exact: bool,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
            chunks: None,
            exact: false,
        }
    }

    /// A GET.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A POST of JSON.
    pub fn post(target: &str, body: impl Into<Bytes>) -> Self {
        Self::new("POST", target).header("Content-Type", "application/json").body(body)
    }

    #[cfg(feature = "testing")]
    /// A recorded request, header lines and all; its `Host` and `Content-Length` are made to fit.
    /// A body that was not kept is replaced by spaces of the same length, and one that was compressed is compressed again.
    pub fn recorded(recorded: &RecordedRequest) -> Self {
        let body =
            recorded.body.clone().unwrap_or_else(|| Bytes::from(vec![b' '; recorded.body_bytes_on_wire]));
        let is_gzip = recorded.headers.get("content-encoding") == Some("gzip");
        let body = if is_gzip { gzip(&body) } else { body };
        let mut headers = recorded.headers.clone();
        headers.remove("host");
        headers.remove("content-length");
        Self { headers, ..Self::new(&recorded.method, &recorded.target).body(body) }
    }

    /// Adds a header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// The method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target, as it is sent.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Replaces every line of that name by one at the end.
    pub fn set_header(mut self, name: &str, value: &str) -> Self {
        self.headers.remove(name);
        self.header(name, value)
    }

    /// The first value of `name`.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// Removes every line of that name.
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Adds `Authorization: Bearer`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// A body with `Content-Length`.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.chunks = None;
        self
    }

    /// A chunked body; over HTTP/2, one DATA frame each.
    pub fn chunked<B: Into<Bytes>>(mut self, chunks: impl IntoIterator<Item = B>) -> Self {
        self.chunks = Some(chunks.into_iter().map(Into::into).collect());
        self
    }

    /// Nothing is added to the headers, whatever is missing.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    /// The bytes of its HTTP/1.1 head, for a server that calls itself `host`.
    pub fn head_bytes(&self, host: &str) -> Bytes {
        let mut headers = self.headers.clone();
        if !self.exact {
            if !headers.contains("host") {
                headers.push("Host", host);
            }
            if !headers.contains("content-length") && !headers.contains("transfer-encoding") {
                if self.chunks.is_some() {
                    headers.push("Transfer-Encoding", "chunked");
                } else if !self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE")
                {
                    headers.push("Content-Length", self.body.len().to_string());
                }
            }
        }
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        headers.write_to(&mut head);
        head.extend_from_slice(b"\r\n");
        Bytes::from(head)
    }

    /// The bytes of its HTTP/1.1 body, with chunks if it has them.
    pub fn body_bytes(&self) -> Bytes {
        match &self.chunks {
            None => self.body.clone(),
            Some(chunks) => {
                let mut wire: Vec<u8> = chunks.iter().flat_map(|chunk| chunk_bytes(chunk)).collect();
                wire.extend_from_slice(b"0\r\n\r\n");
                Bytes::from(wire)
            }
        }
    }
}

/// One chunk as HTTP/1.1 has it; nothing for an empty one, which would be the last.
pub(super) fn chunk_bytes(chunk: &[u8]) -> Vec<u8> {
    if chunk.is_empty() {
        return Vec::new();
    }
    let mut wire = format!("{:x}\r\n", chunk.len()).into_bytes();
    wire.extend_from_slice(chunk);
    wire.extend_from_slice(b"\r\n");
    wire
}

#[cfg(feature = "testing")]
fn gzip(body: &[u8]) -> Bytes {
    use std::io::Read as _;
    let mut compressed = Vec::new();
    // Reading from memory into memory cannot fail.
    let _ = flate2::read::GzEncoder::new(body, flate2::Compression::fast()).read_to_end(&mut compressed);
    compressed.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_added_behind() {
        let request = Request::new("POST", "/x?y").header("X-A", "1").body("abc");
        assert_eq!(
            request.head_bytes("h:1"),
            "POST /x?y HTTP/1.1\r\nX-A: 1\r\nHost: h:1\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(request.exact().head_bytes("h:1"), "POST /x?y HTTP/1.1\r\nX-A: 1\r\n\r\n");
        assert_eq!(Request::get("/").head_bytes("h"), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }

    #[test]
    fn chunks() {
        let request = Request::new("POST", "/").chunked(["ab", "", "c"]);
        assert!(request.head_bytes("h").ends_with(b"Transfer-Encoding: chunked\r\n\r\n"));
        assert_eq!(request.body_bytes(), "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
    }
}
