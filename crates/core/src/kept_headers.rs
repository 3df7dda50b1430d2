//! The headers of a request, kept for another try while the first one goes out with the map itself.
//!
//! Nearly always there is one try. Copying names and values into one piece of memory costs a fraction of what a second map
//! does, which has an allocation or a count of references for each of them.

use std::fmt;

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Lengths of a name and of its value, and whether the value is sensitive.
const PREFIX: usize = 9;

/// All headers of a map, in their order.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptHeaders {
    count: usize,
    bytes: Vec<u8>,
}

/// Not its bytes: there are tokens among them.
impl fmt::Debug for KeptHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeptHeaders({})", self.count)
    }
}

impl KeptHeaders {
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
        Some(Self { count: headers.len(), bytes })
    }

    /// The map again, with the same headers in the same order. `None` if it cannot be made, which does not happen to what
    /// [`Self::of`] made: better no further try than one with a part of the headers.
    pub fn to_map(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(self.count);
        let mut rest = self.bytes.as_slice();
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
        assert_eq!(format!("{:?}", KeptHeaders::of(&headers).unwrap()), "KeptHeaders(1)");
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
    }
}
