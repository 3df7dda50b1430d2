//! The headers of a request, kept for another try while the first one goes out with the map itself.
//!
//! Nearly always there is one try. What costs least is to keep the bytes that the headers were read from; where there are
//! none, names and values are copied into one piece of memory. A second map has an allocation or a count of references for
//! each of them.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::auth;

/// Lengths of a name and of its value, and whether the value is sensitive.
const PREFIX: usize = 9;

/// Most header fields of a head. The HTTP library's own bound for those that it reads.
const MAX_FIELDS: usize = 100;

/// All headers of a request, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptHeaders(Kept);

#[derive(Clone, PartialEq, Eq)]
enum Kept {
    /// The bytes of an HTTP/1.1 request, at least to the end of its head, and what told whose it is.
    Head { bytes: Vec<u8>, presented: Option<HeaderValue> },
    /// [`PREFIX`], name and value of each.
    Copied { count: usize, bytes: Vec<u8> },
}

/// Not its bytes: there are tokens among them.
impl fmt::Debug for KeptHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptHeaders(…)")
    }
}

impl KeptHeaders {
    /// Keeps the bytes of an HTTP/1.1 request that was read from them: at least all of its head.
    ///
    /// `headers`: those of this request. The rest of a body whose answer came early can look like a head, and over a
    /// connection that another proxy shares among people it may stand before the head of somebody else: one that does not
    /// say whose it is like the request itself is not taken for its own.
    pub fn head(bytes: Vec<u8>, headers: &HeaderMap) -> Self {
        Self(Kept::Head { bytes, presented: auth::presented(headers).cloned() })
    }

    /// Copies a map. `None` if a length does not fit into 32 bits, which no listener lets in.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let room = headers.iter().map(|(name, value)| PREFIX + name.as_str().len() + value.len()).sum();
        let mut bytes = Vec::with_capacity(room);
        for (name, value) in headers {
            let (name, sensitive) = (name.as_str().as_bytes(), u8::from(value.is_sensitive()));
            let mut prefix = [0; PREFIX];
            let [n0, n1, n2, n3, v0, v1, v2, v3, flag] = &mut prefix;
            [*n0, *n1, *n2, *n3] = u32::try_from(name.len()).ok()?.to_le_bytes();
            [*v0, *v1, *v2, *v3] = u32::try_from(value.len()).ok()?.to_le_bytes();
            *flag = sensitive;
            bytes.extend_from_slice(&prefix);
            bytes.extend_from_slice(name);
            bytes.extend_from_slice(value.as_bytes());
        }
        Some(Self(Kept::Copied { count: headers.len(), bytes }))
    }

    /// The map again, with the same headers in the same order. `None` if it cannot be made, which does not happen to what
    /// [`Self::of`] made: better no further try than one with a part of the headers, or with those of another request.
    pub fn to_map(&self) -> Option<HeaderMap> {
        match &self.0 {
            Kept::Head { bytes, presented } => {
                read_head(bytes).filter(|headers| auth::presented(headers) == presented.as_ref())
            }
            Kept::Copied { count, bytes } => read_copied(*count, bytes),
        }
    }
}

fn read_head(bytes: &[u8]) -> Option<HeaderMap> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    if request.parse(bytes).ok()?.is_partial() {
        return None;
    }
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers {
        headers.append(
            HeaderName::from_bytes(field.name.as_bytes()).ok()?,
            HeaderValue::from_bytes(field.value).ok()?,
        );
    }
    Some(headers)
}

fn read_copied(count: usize, bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(count);
    let mut rest = bytes;
    while let Some(([n0, n1, n2, n3, v0, v1, v2, v3, flag], behind)) = rest.split_first_chunk() {
        let name_length = usize::try_from(u32::from_le_bytes([*n0, *n1, *n2, *n3])).ok()?;
        let value_length = usize::try_from(u32::from_le_bytes([*v0, *v1, *v2, *v3])).ok()?;
        let (name, behind) = behind.split_at_checked(name_length)?;
        let (value, behind) = behind.split_at_checked(value_length)?;
        let mut value = HeaderValue::from_bytes(value).ok()?;
        value.set_sensitive(*flag != 0);
        headers.append(HeaderName::from_bytes(name).ok()?, value);
        rest = behind;
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue, bool)> {
        headers.iter().map(|(name, value)| (name, value, value.is_sensitive())).collect()
    }

    #[test]
    fn nothing_is_shown() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer canary"));
        assert_eq!(format!("{:?}", KeptHeaders::of(&headers).unwrap()), "KeptHeaders(…)");
    }

    #[test]
    fn no_headers_are_kept_as_well() {
        assert_eq!(KeptHeaders::of(&HeaderMap::new()).unwrap().to_map().unwrap(), HeaderMap::new());
    }

    proptest! {
        #[test]
        fn any_map_comes_back(
            given in prop::collection::vec(
                ("[a-z0-9!#$%&'*+.^_`|~-]{1,40}|accept|content-length|x-a", prop::collection::vec(any::<u8>(), 0..80), any::<bool>()),
                0..60,
            ),
        ) {
            let mut headers = HeaderMap::new();
            for (name, value, sensitive) in given {
                // What no header may hold is left out, the rest stays.
                let value: Vec<u8> = value.into_iter().filter(|&byte| byte == 9 || byte >= 32 && byte != 127).collect();
                let mut value = HeaderValue::from_bytes(&value).unwrap();
                value.set_sensitive(sensitive);
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
            }
            let again = KeptHeaders::of(&headers).unwrap().to_map().unwrap();
            prop_assert_eq!(fields(&again), fields(&headers));
        }

        #[test]
        fn a_head_gives_its_headers(
            given in prop::collection::vec(("[A-Za-z0-9-]{1,40}|accept|x-a", "[!-~]([ -~]{0,60}[!-~])?"), 0..MAX_FIELDS),
            body in prop::collection::vec(any::<u8>(), 0..80),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut headers = HeaderMap::new();
            let mut head = b"POST /v1/messages?beta=true HTTP/1.1\r\n".to_vec();
            for (name, value) in &given {
                headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
                head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            head.extend_from_slice(b"\r\n");
            let part = head[..cut.index(head.len())].to_vec();
            prop_assert_eq!(KeptHeaders::head(part, &headers).to_map(), None);
            head.extend_from_slice(&body);
            let again = KeptHeaders::head(head, &headers).to_map().unwrap();
            // Fields of one name stand together in a map.
            prop_assert_eq!(fields(&again), fields(&headers));
        }

        #[test]
        fn nothing_that_was_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = KeptHeaders::head(bytes, &HeaderMap::new()).to_map();
        }
    }

    #[test]
    fn a_head_of_more_fields_than_are_ever_read_gives_nothing() {
        let head = |count| [b"GET / HTTP/1.1\r\n".as_slice(), &b"a: b\r\n".repeat(count), b"\r\n"].concat();
        let of = |count| KeptHeaders::head(head(count), &HeaderMap::new()).to_map();
        assert_eq!(of(MAX_FIELDS).unwrap().len(), MAX_FIELDS);
        assert_eq!(of(MAX_FIELDS + 1), None);
    }

    #[test]
    fn the_head_of_somebody_else_gives_nothing() {
        let bearer = |token: &str| HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        let of = |name: &'static str, value: &HeaderValue| {
            HeaderMap::from_iter([(HeaderName::from_static(name), value.clone())])
        };
        let head = b"GET / HTTP/1.1\r\nAuthorization: Bearer a\r\n\r\nGET / HTTP/1.1\r\nAuthorization: Bearer b\r\n\r\n";
        let given = |headers: &HeaderMap| KeptHeaders::head(head.to_vec(), headers).to_map();
        assert_eq!(given(&of("authorization", &bearer("a"))), Some(of("authorization", &bearer("a"))));
        assert_eq!(given(&of("authorization", &bearer("b"))), None);
        assert_eq!(given(&of("x-api-key", &bearer("b"))), None);
        assert_eq!(given(&HeaderMap::new()), None);
    }
}
