//! The headers of a client's request, of which every try makes what goes out.

use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use trunkline_core::kept_headers::KeptHeaders;

/// Gives the first try the map itself, and further ones what was kept of it. Not `Debug`: the user's token is among them.
pub(crate) struct ClientHeaders {
    /// The value that only the credential understands which gave it (codex.md, *Turn state*).
    state: Option<HeaderValue>,
    left: Mutex<Left>,
}

/// What is left for the next try.
enum Left {
    /// Nobody has had it. With the bytes that it was read from, if they are there.
    Map(HeaderMap, Option<Vec<u8>>),
    /// A copy; none if there could be none.
    Kept(Option<KeptHeaders>),
}

impl ClientHeaders {
    /// All headers as they came, and the bytes that they were read from, where those are known. `state`: the name of the one
    /// whose value belongs to a credential.
    pub(crate) fn new(headers: HeaderMap, read_from: Option<Vec<u8>>, state: Option<&HeaderName>) -> Self {
        let state = state.and_then(|name| headers.get(name)).cloned();
        Self { state, left: Mutex::new(Left::Map(headers, read_from)) }
    }

    /// The value that belongs to a credential, if there is one.
    pub(crate) fn credential_state(&self) -> Option<&HeaderValue> {
        self.state.as_ref()
    }

    /// The headers for one try. `None` if they could not be kept for another.
    pub(crate) fn for_try(&self) -> Option<HeaderMap> {
        // Nothing under the lock can panic half way.
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *left {
            Left::Map(map, read_from) => {
                let kept = match read_from.take() {
                    Some(bytes) => Some(KeptHeaders::head(bytes, map)),
                    None => KeptHeaders::of(map),
                };
                let map = std::mem::take(map);
                *left = Left::Kept(kept);
                Some(map)
            }
            Left::Kept(kept) => kept.as_ref().and_then(KeptHeaders::to_map),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_try_gets_all_of_them() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("accept", "a"), ("x-state", "s"), ("accept", "b")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let name = HeaderName::from_static("x-state");
        let bytes = b"GET / HTTP/1.1\r\nAccept: a\r\nX-State:s\r\naccept: b\r\n\r\nbody".to_vec();
        for read_from in [None, Some(bytes)] {
            let given = ClientHeaders::new(headers.clone(), read_from, Some(&name));
            assert_eq!(given.credential_state().unwrap(), "s");
            for _ in 0..3 {
                assert_eq!(given.for_try().unwrap(), headers);
            }
        }
        assert!(ClientHeaders::new(headers, None, None).credential_state().is_none());
    }
}
