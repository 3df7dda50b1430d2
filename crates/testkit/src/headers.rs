//! Headers as they are on the wire: in order, repeated, in their own case.

use std::fmt;

/// An ordered list of header lines. Names compare without regard to case, and keep the case they came in.
///
/// A value that is not UTF-8 is read as Latin-1.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every value of `name`, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether there is a line of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Removes every line of that name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The lines in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The names in order, in their own case.
    pub fn names(&self) -> Vec<&str> {
        self.iter().map(|(name, _)| name).collect()
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the comma lists of all lines of that name have `member`, without regard to case.
    pub fn lists(&self, name: &str, member: &str) -> bool {
        self.get_all(name)
            .flat_map(|value| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(member))
    }

    /// The lines as HTTP/1.1 has them, each with its line end.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn from_map(map: &http::HeaderMap) -> Self {
        map.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes()))).collect()
    }

    #[cfg(feature = "testing")]
    /// For HTTP/2: what belongs to an HTTP/1.1 connection is left out, as are lines that are not legal.
    pub(crate) fn to_map(&self) -> http::HeaderMap {
        const CONNECTION_ONLY: [&str; 5] =
            ["connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"];
        let mut map = http::HeaderMap::new();
        for (name, value) in self.iter() {
            if CONNECTION_ONLY.iter().any(|banned| name.eq_ignore_ascii_case(banned)) {
                continue;
            }
            if let (Ok(name), Ok(value)) = (
                http::HeaderName::from_bytes(name.as_bytes()),
                http::HeaderValue::from_bytes(value.as_bytes()),
            ) {
                map.append(name, value);
            }
        }
        map
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(lines: I) -> Self {
        Self(lines.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl From<Vec<(String, String)>> for Headers {
    fn from(lines: Vec<(String, String)>) -> Self {
        Self(lines)
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, value)| format!("{name}: {value}"))).finish()
    }
}

/// Bytes of a head as text: UTF-8, else Latin-1.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_case_and_compare_without_it() {
        let headers: Headers = [("X-App", "cli"), ("via", "a"), ("Via", "b, c")].into_iter().collect();
        assert_eq!(headers.get("x-app"), Some("cli"));
        assert_eq!(headers.get_all("VIA").collect::<Vec<_>>(), ["a", "b, c"]);
        assert!(headers.lists("via", "C"));
        assert!(!headers.lists("via", "d"));
        assert_eq!(headers.names(), ["X-App", "via", "Via"]);
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin_1() {
        assert_eq!(text(b"caf\xe9"), "café");
        assert_eq!(text("café".as_bytes()), "café");
    }

    #[test]
    fn http2_has_no_connection_headers() {
        let headers: Headers =
            [("Transfer-Encoding", "chunked"), ("Connection", "close"), ("A", "1")].into_iter().collect();
        assert_eq!(Headers::from_map(&headers.to_map()).names(), ["a"]);
    }
}
